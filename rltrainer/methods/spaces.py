"""Which spaces Stable-Baselines3's policies take: what they do not is refused before a run begins, and not inside it."""

from __future__ import annotations

from typing import Any

import gymnasium as gym
import numpy as np
from gymnasium import spaces
from stable_baselines3.common.preprocessing import is_image_space

from rltrainer.core import UserError

LEAST_SIDE = 36
"""Pixels of the smallest picture that Stable-Baselines3's convolutions take (NatureCNN: Mnih et al. 2015)."""


def check_policy_spaces(observation_space: gym.Space[Any], action_space: gym.Space[Any]) -> None:
    """Raises UserError where no policy can act on such observations, or would take other actions than the env's."""
    parts = [observation_space]
    if isinstance(observation_space, spaces.Dict):
        parts = list(observation_space.values())
        if any(0 < least_side(part) < LEAST_SIDE for part in parts):
            raise UserError(
                f"the env's observations are {observation_space}, and Stable-Baselines3's policies see pictures inside from "
                f"{LEAST_SIDE} x {LEAST_SIDE} pixels on; wrap the env to enlarge them, or to give them as rows of numbers"
            )
    for part in parts:
        why = _unseen(part)
        if why is not None:
            raise UserError(f"the env's observations are {observation_space}, and Stable-Baselines3's policies {why}")
    if isinstance(action_space, spaces.Discrete) and action_space.start != 0:
        raise UserError(
            f"the env's actions are {action_space}, and Stable-Baselines3's policies count them from 0; wrap the env to take "
            f"Discrete({action_space.n})"
        )
    if isinstance(action_space, spaces.Box) and not np.isfinite([action_space.low, action_space.high]).all():
        raise UserError(
            f"the env's actions are {action_space}, and Stable-Baselines3's policies want a finite range for each; wrap the "
            "env to take a Box that has one"
        )


def least_side(space: gym.Space[Any]) -> int:
    """Pixels of the shorter side of a picture; 0 of what is none."""
    return sorted(space.shape or ())[-2] if is_image_space(space) else 0


def _unseen(part: gym.Space[Any]) -> str | None:
    """Why a policy cannot see this part, and the way out, in words; or None."""
    if isinstance(part, spaces.Dict | spaces.Tuple):
        return f"see no {type(part).__name__} inside; wrap the env to give a Dict of plain parts, or one Box"
    if isinstance(part, spaces.Discrete | spaces.MultiDiscrete) and np.any(part.start):
        return "count from 0; wrap the env to give numbers that do"
    if isinstance(part, spaces.MultiDiscrete) and len(part.shape) > 1:
        return "want one row of numbers; wrap the env with gymnasium.wrappers.FlattenObservation"
    if isinstance(part, spaces.Box) and not part.shape:
        return "want a row of numbers; wrap the env with gymnasium.wrappers.FlattenObservation"
    return None
