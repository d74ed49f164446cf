"""Which env ids are fancy_gym's, or made by it for another package. `module:` before them changes nothing."""

from __future__ import annotations

PRIMITIVES = ("ProMP", "DMP", "ProDMP")


def is_fancy_id(env: str) -> bool:
    """Whether an env id is fancy_gym's: `fancy/…`, or a movement-primitive version such as `fancy_ProMP/…`."""
    return env.rpartition(":")[2].startswith("fancy/") or is_black_box_id(env)


def is_black_box_id(env: str) -> bool:
    """Whether an env id is a movement-primitive version, where one action is a whole trajectory."""
    namespace, slash, _ = env.rpartition(":")[2].partition("/")
    return bool(slash) and namespace.rpartition("_")[2] in PRIMITIVES and "_" in namespace
