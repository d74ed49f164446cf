"""The noise that a Gaussian policy explores with."""

from __future__ import annotations

from typing import cast

import gymnasium as gym
import numpy as np
import torch
from stable_baselines3.common.policies import BasePolicy

from rltrainer.fancy.weights import Weights


def scale_noise(policy: BasePolicy, space: gym.Space[object]) -> None:
    """The first exploration noise is a share of what each action can do: Pendulum's torque of ±2 needs twice HalfCheetah's."""
    if not isinstance(space, gym.spaces.Box):
        return
    half = space.spread if isinstance(space, Weights) else (space.high - space.low) / 2
    scale = np.where(np.isfinite(half) & (half > 0), half, 1.0)
    with torch.no_grad():
        log_std = cast(torch.Tensor, policy.log_std)
        log_std += torch.as_tensor(np.log(scale).reshape(-1), dtype=torch.float32)


def hold_noise(policy: BasePolicy, *, held: bool) -> None:
    """Have the noise stay as it is, or learned from here on. Policies without a noise of their own are left alone.

    Policy gradients shrink the noise around what pays now. Where the reward is still to change that is too early: an agent
    that was paid for a posture and has stopped to try anything else does not find the way to what pays from then on.
    """
    log_std = getattr(policy, "log_std", None)
    if isinstance(log_std, torch.nn.Parameter):
        log_std.requires_grad_(not held)
