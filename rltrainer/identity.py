"""Whether the env that a loop steps is the one that its config names: clips are made of that one."""

from __future__ import annotations

from contextlib import closing
from typing import Any

from rltrainer.config import Config
from rltrainer.core import Segment, UserError
from rltrainer.envs import make_shown_env
from rltrainer.replay import Mismatch, replay

KNOWN = ("gymnasium.", "fancy_gym.", "rltrainer.")
"""Where envs come from that every process knows by their ids; others are named with the module that registers them."""
TRIED_SIZE = 32
"""Pixels of the env that a segment is tried in. Nothing is drawn there."""


def check_name(env: Any, config: Config) -> None:
    """Raises UserError where the store would name another env than the one that is stepped."""
    spec = env.get_attr("spec", 0)[0] if hasattr(env, "num_envs") else env.spec
    if spec is None and "env" not in config.model_fields_set:
        raise UserError("the wrapped env has no id, and config.env is not set; pass Config(env='package.module:function')")
    if spec is not None and ":" not in config.env and spec.id != config.env:
        place = spec.entry_point if isinstance(spec.entry_point, str) else getattr(spec.entry_point, "__module__", "")
        name = spec.id if place.startswith(KNOWN) else f"module:{spec.id}"
        raise UserError(f"config.env is {config.env!r}, and the wrapped env is {spec.id!r}; pass Config(env={name!r})")


def check_shown(segment: Segment, config: Config) -> None:
    """Raises UserError where what was recorded is not what the config's env does: no clip could be made of it."""
    why = why_not_shown(segment, config)
    if why is not None:
        raise UserError(
            f"clips are made of {config.env!r} with env_options {config.env_options}, and what was recorded cannot be shown "
            f"again there: {why}. Pass the arguments that your env is made with as Config(env_options=...); where it has "
            "wrappers of its own, make it in a function, pass that as Config(env='package.module:function'), and wrap what it "
            "makes; what stacks or scales observations goes outside"
        )


def why_not_shown(segment: Segment, config: Config) -> str | None:
    """None, or how a segment comes out differently in the config's env: it was recorded in another one."""
    if segment.frames:
        return None
    try:
        with closing(make_shown_env(config.env, config.env_options, TRIED_SIZE)) as shown:
            for _ in replay(shown, segment):
                pass
    except (Mismatch, UserError) as reason:
        return str(reason)
    except Exception as error:  # noqa: BLE001 - another env than was recorded may raise anything
        return f"it raised {type(error).__name__}: {error}"
    return None
