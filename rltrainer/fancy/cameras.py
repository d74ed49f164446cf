"""From where fancy_gym's envs are best watched."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

CAMERAS: Mapping[str, tuple[tuple[float, float, float], float, float, float]] = {
    "fancy/AirHockey-": ((-0.25, -0.05, 0.0), 2.3, -62.0, 90.0),
    "fancy/BeerPong": ((0.0, -1.6, 1.0), 5.8, -20.0, 180.0),
    "fancy/BoxPushing": ((0.4, 0.0, 0.2), 1.7, -45.0, 180.0),
    "fancy/HopperThrow": ((2.6, 0.0, 0.8), 8.0, -8.0, 90.0),
    "fancy/Reacher5d": ((0.0, 0.0, 0.0), 1.3, -90.0, 90.0),
    "fancy/Reacher7d": ((0.0, 0.0, 0.0), 1.8, -90.0, 90.0),
    "fancy/TableTennis": ((0.8, 0.0, 1.1), 4.3, -30.0, 140.0),
}
"""Point looked at and distance [m], elevation and azimuth [degrees], where the env's own view hides what matters."""


def camera(env: str) -> dict[str, Any] | None:
    """From where an env id is best watched, as MuJoCo's free camera is set; None where its own view will do."""
    for prefix, (lookat, distance, elevation, azimuth) in CAMERAS.items():
        if env.startswith(prefix):
            return {"lookat": np.array(lookat), "distance": distance, "elevation": elevation, "azimuth": azimuth}
    return None
