"""Where a loop keeps its run."""

from __future__ import annotations

import json
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import gymnasium as gym
from gymnasium.envs.registration import EnvSpec, WrapperSpec, load_env_creator

from rltrainer.config import Config
from rltrainer.core import UserError
from rltrainer.envs import CAMERA_OPTIONS
from rltrainer.fancy import is_fancy_id
from rltrainer.labels import check_heritage, inherit
from rltrainer.sizes import Sizes
from rltrainer.store import Store

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


def open_home(run: Path | str | None, config: Config, sizes: Sizes) -> tuple[Store, tempfile.TemporaryDirectory[str] | None]:
    """The store in that folder, or a temporary one; where there is none a new one, with the labels that the config names.

    Raises UserError where they fit no run of these sizes, before anything is made, and where the store is another env's.
    """
    temporary = tempfile.TemporaryDirectory(prefix="rltrainer-") if run is None else None
    folder = Path(temporary.name) / "run" if temporary else Path(run)  # type: ignore[arg-type]
    facts: Mapping[str, Any] = {
        "env": {"id": config.env, "options": config.env_options},
        "config": config.model_dump(mode="json"),
        "sizes": sizes.fact,
    }
    there = Store.lies_in(folder)
    if config.labels_from is not None and not there:
        check_heritage(Path(config.labels_from), sizes)
    store = _opened(folder, config, sizes) if there else Store.create(folder, **facts)
    if config.labels_from is not None and not any(label.inherited for label in store.labels()):
        inherit(store, Path(config.labels_from))
    return store, temporary


def _opened(folder: Path, config: Config, sizes: Sizes) -> Store:
    """The store of a run that goes on: with the settings that it has now."""
    store = Store.open(folder)
    env = store.fact("env")
    made, now = (env["id"], env["options"], Sizes.stored(store)), (config.env, config.env_options, sizes)
    if json.dumps(made[:2]) != json.dumps(now[:2]) or made[2] != now[2]:
        store.close()
        what, this = (f"{name!r} with {options} ({size})" for name, options, size in (made, now))
        raise UserError(f"{str(folder)!r} holds a run on {what}, and this is one on {this}; pass another folder")
    store.set_fact("config", config.model_dump(mode="json"))
    return store
