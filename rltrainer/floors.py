"""Floors that go on under whoever runs, in pictures as in the simulation."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np

from rltrainer.core import Array

ENDLESS = 10.0
"""Half size, in metres, from which on a plane is drawn without end (in the simulation each one is)."""
PLANE = 0
"""mujoco.mjtGeom.mjGEOM_PLANE."""


@contextmanager
def brought_along(model: Any, data: Any) -> Iterator[None]:
    """While a picture is taken, the floor lies under what moves.

    MuJoCo draws HalfCheetah's 40 m to either side, which it leaves after a sixth of an episode; what then runs before an empty
    sky could as well stand still. The floor goes by whole tiles, so that nothing is seen of it, and then back again.
    """
    planes = np.flatnonzero((model.geom_type == PLANE) & (model.geom_size[:, :2] >= ENDLESS).all(axis=1))
    before = data.geom_xpos[planes].copy()
    for plane in planes:
        data.geom_xpos[plane] += _way(model, data, int(plane))
    try:
        yield
    finally:
        data.geom_xpos[planes] = before


def _way(model: Any, data: Any, plane: int) -> Array:
    """From where the plane lies to under the centre of what moves, in whole tiles, [3]."""
    axes = data.geom_xmat[plane].reshape(3, 3)
    tiles = np.append(_tile(model, plane), 1.0)
    there = axes.T @ (data.subtree_com[0] - data.geom_xpos[plane])
    there[2] = 0.0
    return np.asarray(axes @ (np.round(there / tiles) * tiles))


def _tile(model: Any, plane: int) -> Array:
    """Metres after which what is painted on the plane repeats, along its x and y, [2]."""
    material = int(model.geom_matid[plane])
    if material < 0:
        return np.ones(2)
    repeats = np.maximum(model.mat_texrepeat[material], 1e-6)
    return np.asarray((1.0 if model.mat_texuniform[material] else 2 * model.geom_size[plane, :2]) / repeats)
