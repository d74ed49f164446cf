"""PPO (Schulman et al. 2017) from Stable-Baselines3 as the way from reward to policy."""

from __future__ import annotations

from typing import Any, cast

import gymnasium as gym
import numpy as np
import torch
from stable_baselines3 import PPO
from stable_baselines3.common.policies import ActorCriticPolicy
from stable_baselines3.common.vec_env import VecEnv

from rltrainer.config import Config
from rltrainer.core import Array
from rltrainer.fancy import is_black_box_id
from rltrainer.fancy.weights import Weights
from rltrainer.methods.pull import PulledGaussian, PulledPPO
from rltrainer.methods.quick import OPTIMIZER, quicken
from rltrainer.methods.spaces import LEAST_SIDE, least_side

STEPS = 256
TRAJECTORIES = 16
"""Steps of a rollout in each env where the config leaves them open: a step of a black box takes as long as hundreds."""


def rollout_steps(config: Config) -> int:
    """Steps of a rollout in each env."""
    return config.ppo.n_steps or (TRAJECTORIES if is_black_box_id(config.env) else STEPS)


def ppo_settings(config: Config, n_envs: int) -> dict[str, Any]:
    """Stable-Baselines3's arguments for the config's `ppo` section."""
    settings = config.ppo.model_dump(exclude={"log_std_init"})
    settings["n_steps"] = rollout_steps(config)
    settings["batch_size"] = min(settings["batch_size"], settings["n_steps"] * n_envs)
    return settings


def actor(env: VecEnv, config: Config) -> tuple[str, dict[str, Any]]:
    """Name and arguments of the Stable-Baselines3 policy that acts in these envs."""
    options: dict[str, Any] = {"optimizer_kwargs": OPTIMIZER}
    if isinstance(env.action_space, gym.spaces.Box):
        options["log_std_init"] = config.ppo.log_std_init
    if isinstance(env.observation_space, gym.spaces.Dict):
        return "MultiInputPolicy", options
    return ("CnnPolicy" if least_side(env.observation_space) >= LEAST_SIDE else "MlpPolicy"), options


def make_ppo(env: VecEnv, config: Config, seed: int | None) -> PPO:
    """An untrained PPO with the settings of the config's `ppo` section. Without a seed it leaves those of the env alone.

    Where a reward is learned, its actions are pulled to the middle at first: `PulledPPO`.
    """
    policy, options = actor(env, config)
    kind = PulledPPO if config.learns_reward else PPO
    model = kind(policy, env, seed=seed, policy_kwargs=options, device="cpu", **ppo_settings(config, env.num_envs))
    quicken(model.policy)
    scale_noise(model.policy, env.action_space)
    if config.learns_reward and isinstance(env.action_space, gym.spaces.Box):
        model.policy.action_dist = PulledGaussian(
            *(torch.as_tensor(part, dtype=torch.float32) for part in reach(env.action_space))
        )
    return model


def scale_noise(policy: ActorCriticPolicy, space: gym.Space[Any]) -> None:
    """The first exploration noise is a share of what each action can do: Pendulum's torque of ±2 needs twice HalfCheetah's."""
    if not isinstance(space, gym.spaces.Box):
        return
    with torch.no_grad():
        log_std = cast(torch.Tensor, policy.log_std)
        log_std += torch.as_tensor(np.log(reach(space)[1]), dtype=torch.float32)


def reach(space: gym.spaces.Box) -> tuple[Array, Array]:
    """The middle of what each action can do and how far it goes from there, each [A]; 0 and 1 where a bound is missing."""
    bounded = np.isfinite(space.low) & np.isfinite(space.high)
    low, high = np.where(bounded, space.low, -1.0), np.where(bounded, space.high, 1.0)
    half = space.spread if isinstance(space, Weights) else (high - low) / 2
    return ((low + high) / 2).reshape(-1), np.where(half > 0, half, 1.0).reshape(-1)
