"""Goals and balls that fancy_gym draws too small to be seen in a clip."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

MARKS: Mapping[str, Mapping[str, float]] = {
    "fancy/BeerPong": {"target_ball": 2.0},
    "fancy/HopperJump": {"goal_site": 3.0},
    "fancy/HopperThrow": {"target_ball": 2.0},
    "fancy/Reacher": {"target": 3.0, "fingertip": 1.6},
    "fancy/TableTennis": {"target_ball": 2.0, "target_point_geom": 3.0},
}
"""Sites and geoms, and how many times larger they are shown. None of them touches anything: the motion stays."""


def enlarge_marks(env: str, model: Any) -> None:
    """Draw what a labeler has to see larger, in the MuJoCo model of an env id that is shown."""
    for prefix, marks in MARKS.items():
        if env.startswith(prefix):
            for kind in ("site", "geom"):
                for i in range(getattr(model, f"n{kind}")):
                    part = getattr(model, kind)(i)
                    part.size[:] *= marks.get(part.name, 1.0)
