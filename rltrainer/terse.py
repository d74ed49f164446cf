"""Envs that say in `info` only what training reads."""

from __future__ import annotations

from typing import Any

import gymnasium as gym
from gymnasium.utils import RecordConstructorArgs

from rltrainer.core import FRAME, INNER_STEPS
from rltrainer.horizon import AT_REST

READ = (AT_REST, "episode_seed", FRAME, INNER_STEPS, "is_success")
"""What our wrappers put there, and what Stable-Baselines3 logs."""


class Terse(gym.Wrapper[Any, Any, Any, Any], RecordConstructorArgs):
    """Leaves the rest of an env's `info` out.

    SB3 copies every info of every step, item by item: for HalfCheetah's four numbers that takes as long as half the physics.
    """

    def __init__(self, env: gym.Env[Any, Any]) -> None:
        RecordConstructorArgs.__init__(self)
        gym.Wrapper.__init__(self, env)

    def reset(self, **options: Any) -> tuple[Any, dict[str, Any]]:
        observation, info = self.env.reset(**options)
        return observation, _read(info)

    def step(self, action: Any) -> tuple[Any, Any, bool, bool, dict[str, Any]]:
        observation, reward, terminated, truncated, info = self.env.step(action)
        return observation, reward, terminated, truncated, _read(info) if info else info


def _read(info: dict[str, Any]) -> dict[str, Any]:
    return {name: info[name] for name in READ if name in info}
