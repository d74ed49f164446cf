"""Whether the env that a loop steps is the one that its config names: clips are made of that one."""

from __future__ import annotations

from typing import Any

import gymnasium as gym
from gymnasium.envs.registration import EnvSpec, WrapperSpec, load_env_creator

from rltrainer.config import Config
from rltrainer.core import UserError
from rltrainer.envs import CAMERA_OPTIONS
from rltrainer.fancy import is_fancy_id

PICTURE_OPTIONS = {"render_mode", "width", "height", *CAMERA_OPTIONS}
"""Arguments of an env that change nothing but how it looks."""


def check_env(env: Any, config: Config, *, shown: bool) -> None:
    """Raises UserError where the store would name another env than the one that is stepped: its clips could not be made.

    shown: whether people answer; then what is stepped has to be what its name makes, keyword arguments and wrappers included
    """
    spec: EnvSpec | None = env.get_attr("spec", 0)[0] if hasattr(env, "num_envs") else env.spec
    if spec is None or ":" in config.env:
        return
    if spec.id != config.env:
        raise UserError(f"config.env is {config.env!r}, and the wrapped env is {spec.id!r}; pass Config(env={spec.id!r})")
    if shown and not env.seat.black_box and env.seat.observation_space != _observed(env):
        raise UserError("clips are of what each env gives, and the vector gives something else; put VecFrameStack outside")
    if shown and not is_fancy_id(spec.id):
        _check_making(spec, config)


def _observed(env: Any) -> gym.Space[Any]:
    space: gym.Space[Any] = env.get_attr("observation_space", 0)[0] if hasattr(env, "num_envs") else env.observation_space
    return space


def _check_making(spec: EnvSpec, config: Config) -> None:
    named = gym.spec(spec.id)
    wanted = {**named.kwargs, **config.env_options}
    made = {key: value for key, value in spec.kwargs.items() if key not in PICTURE_OPTIONS}
    others = {key: value for key, value in made.items() if str(wanted.get(key)) != str(value)}
    if others:
        raise UserError(
            f"the wrapped env was made with {others}, and clips would be of {config.env!r} with {config.env_options}; "
            f"pass Config(env_options={ {**config.env_options, **others} })"
        )
    around = [one for one in spec.additional_wrappers[len(named.additional_wrappers) :] if _translates(one)]
    if around:
        raise UserError(
            f"the wrapped env has {around[0].name} around {config.env!r}, which clips would be made without; make both in a "
            "function of your own, pass its name as Config(env='package.module:function'), and wrap what it makes"
        )


def _translates(wrapper: WrapperSpec) -> bool:
    """Whether actions or observations go through it changed; of a class that stands inside a function nobody can tell."""
    try:
        kind = load_env_creator(wrapper.entry_point)
    except (ImportError, AttributeError):
        return False
    return isinstance(kind, type) and issubclass(kind, gym.ActionWrapper | gym.ObservationWrapper)
