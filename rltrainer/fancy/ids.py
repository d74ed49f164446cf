"""Which env ids are fancy_gym's."""

from __future__ import annotations

PRIMITIVES = ("ProMP", "DMP", "ProDMP")


def is_fancy_id(env: str) -> bool:
    """Whether an env id is fancy_gym's: `fancy/…`, or a movement-primitive version such as `fancy_ProMP/…`."""
    return env.startswith("fancy/") or is_black_box_id(env)


def is_black_box_id(env: str) -> bool:
    """Whether an env id is a movement-primitive version, where one action is a whole trajectory."""
    namespace, slash, _ = env.partition("/")
    return bool(slash) and namespace.rpartition("_")[2] in PRIMITIVES and "_" in namespace
