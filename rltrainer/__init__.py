"""rltrainer: teach a Gymnasium agent by choosing the better of two clips, while it learns."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from rltrainer.config import Config
    from rltrainer.core import UserError
    from rltrainer.envs import SeededEpisodes, make_env
    from rltrainer.learned import load_reward
    from rltrainer.loop import PreferenceLoop
    from rltrainer.methods import PreferenceCallback, RelabellingCallback
    from rltrainer.teachers import OracleTeacher
    from rltrainer.wrapper import PreferenceRewardVecWrapper, PreferenceRewardWrapper

_HOMES = {
    "Config": "config",
    "OracleTeacher": "teachers",
    "PreferenceCallback": "methods",
    "PreferenceLoop": "loop",
    "PreferenceRewardVecWrapper": "wrapper",
    "PreferenceRewardWrapper": "wrapper",
    "RelabellingCallback": "methods",
    "SeededEpisodes": "envs",
    "UserError": "core",
    "load_reward": "learned",
    "make_env": "envs",
}

__all__ = [
    "Config",
    "OracleTeacher",
    "PreferenceCallback",
    "PreferenceLoop",
    "PreferenceRewardVecWrapper",
    "PreferenceRewardWrapper",
    "RelabellingCallback",
    "SeededEpisodes",
    "UserError",
    "load_reward",
    "make_env",
]


def __getattr__(name: str) -> Any:
    """Public names are imported when asked for: the label service starts without waiting for torch."""
    if name not in _HOMES:
        raise AttributeError(f"module 'rltrainer' has no attribute {name!r}")
    return getattr(import_module(f"rltrainer.{_HOMES[name]}"), name)
