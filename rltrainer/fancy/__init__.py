"""fancy_gym's envs on today's Gymnasium. Importing this room imports no fancy_gym: making an env does."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import gymnasium as gym

from rltrainer.fancy.air_hockey import AirHockey
from rltrainer.fancy.black_box import BlackBox, black_box, is_black_box, step_based
from rltrainer.fancy.cameras import camera
from rltrainer.fancy.compat import enable, importable, quiet
from rltrainer.fancy.drawn import Drawn, is_drawn
from rltrainer.fancy.goals import forget_goal
from rltrainer.fancy.ids import is_black_box_id, is_fancy_id
from rltrainer.fancy.marks import enlarge_marks
from rltrainer.fancy.weights import Weights

__all__ = [
    "AirHockey",
    "BlackBox",
    "Drawn",
    "Weights",
    "black_box",
    "camera",
    "enable",
    "enlarge_marks",
    "forget_goal",
    "importable",
    "is_black_box",
    "is_black_box_id",
    "is_drawn",
    "is_fancy_id",
    "make",
    "step_based",
]


def make(env: str, options: Mapping[str, Any]) -> gym.Env[Any, Any]:
    """A fancy_gym env. Raises UserError where fancy_gym is missing, gymnasium.error.Error for an unknown id."""
    enable()
    if is_black_box_id(env):
        return black_box(env, **options)
    if env.startswith("fancy/AirHockey-"):
        spec = replace(gym.spec(env), entry_point="rltrainer.fancy:AirHockey", disable_env_checker=True)
        return gym.make(spec, **options)
    with quiet():
        return gym.make(env, disable_env_checker=True, **options)
