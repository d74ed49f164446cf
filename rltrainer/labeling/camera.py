"""Where a MuJoCo env is looked at from: the same for pictures rendered with GL and for those drawn without."""

from __future__ import annotations

import itertools
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import gymnasium as gym
import numpy as np

from rltrainer.core import Array

if TYPE_CHECKING:
    import mujoco  # type: ignore[import-untyped]

VISIBLE_GROUPS = 3
"""MuJoCo shows geoms and sites of the groups below this one."""
AZIMUTH, ELEVATION = 90.0, -45.0
"""Of MuJoCo's free camera, in degrees, where an env does not set its own."""
DISTANCE = 3.0
"""From what it looks at, where nothing can move."""
ROOM = 1.05
"""How much further away the camera stands than it would have to."""

PLANE, HEIGHT_FIELD, SPHERE, CAPSULE, ELLIPSOID, CYLINDER, BOX, MESH = range(8)
"""mujoco.mjtGeom"""


def simulation(env: gym.Env[Any, Any]) -> tuple[mujoco.MjModel, mujoco.MjData] | None:
    """The MuJoCo model and state behind an env, None where there is none."""
    if "mujoco" not in sys.modules:  # an env with MuJoCo inside has imported it
        return None
    import mujoco

    model, data = (getattr(env.unwrapped, name, None) for name in ("model", "data"))
    return (model, data) if isinstance(model, mujoco.MjModel) and isinstance(data, mujoco.MjData) else None


def close(env: gym.Env[Any, Any]) -> None:
    """Close an env that gave pictures.

    Its own close leaves what MuJoCo holds of GL to the garbage collector, which frees it in whichever GL context is
    then the current one: the env that this context belongs to gives black pictures from there on.
    """
    renderer: Any = getattr(env.unwrapped, "mujoco_renderer", None)
    for viewer in getattr(renderer, "_viewers", {}).values():
        viewer.make_context_current()
        viewer.con.free()
    env.close()
    if renderer is not None:
        renderer.viewer = None
        renderer._viewers.clear()


@dataclass(frozen=True)
class View:
    """A pinhole camera. axes: rows right, down, forward [3, 3]; distance: to what it looks at; fovy: in degrees."""

    eye: Array
    axes: Array
    distance: float
    fovy: float

    def focal(self, height: int) -> float:
        """Pixels of a unit at a unit's distance, in a picture `height` pixels high."""
        return float(0.5 * height / np.tan(np.radians(self.fovy) / 2))


class Camera:
    """The camera that an env's renderer is set to: one of the model's, or a free one.

    What a free one's settings leave open is chosen so that all that bodies can reach is seen, and a body that it is to
    track is followed.
    """

    def __init__(self, env: gym.Env[Any, Any], model: mujoco.MjModel, data: mujoco.MjData) -> None:
        self._model, self._data = model, data
        self._renderer: Any = getattr(env.unwrapped, "mujoco_renderer", None)
        self._of_model = int(getattr(self._renderer, "camera_id", -1))
        settings: Mapping[str, Any] = getattr(self._renderer or env.unwrapped, "default_cam_config", None) or {}
        self._azimuth = float(settings.get("azimuth", AZIMUTH))
        self._elevation = float(settings.get("elevation", ELEVATION))
        self._axes = _looking(np.radians(self._azimuth), np.radians(self._elevation))
        self._fovy = float(model.vis.global_.fovy)
        middle, distance = _stage(model, self._axes, self._fovy)
        self._lookat = np.array(settings.get("lookat", middle), float)
        self._distance = float(settings.get("distance", distance))
        self._followed = max(0, int(settings.get("trackbodyid", 0)))

    def view(self) -> View:
        """The camera now."""
        if self._of_model >= 0:
            right, up, backward = self._data.cam_xmat[self._of_model].reshape(3, 3).T
            eye = self._data.cam_xpos[self._of_model].copy()
            distance = np.linalg.norm(eye - self._data.xpos[self._model.cam_bodyid[self._of_model]])
            fovy = float(self._model.cam_fovy[self._of_model])
            return View(eye, np.stack([right, -up, -backward]), float(distance), fovy)
        return View(self._looked_at() - self._distance * self._axes[2], self._axes, self._distance, self._fovy)

    def aim(self) -> None:
        """Make Gymnasium's renderer show this view, before each picture.

        Left to itself a free camera stays behind when a body runs away. With mujoco 2.3.3 and numpy 2 its settings do
        not even reach it: the vectors of an MjvCamera come with a stride of 0, so that all three numbers are written to
        the first. And where another env of this process has rendered last, the current GL context is that one's.
        """
        if self._renderer is None:
            return
        viewer = self._renderer._get_viewer("rgb_array")  # made by Gymnasium when a picture is first asked for
        viewer.make_context_current()
        if self._of_model < 0:
            camera = viewer.cam
            camera.azimuth, camera.elevation, camera.distance = self._azimuth, self._elevation, self._distance
            lookat = camera.lookat
            np.lib.stride_tricks.as_strided(lookat, (3,), (lookat.itemsize,))[:] = self._looked_at()

    def _looked_at(self) -> Array:
        if not self._followed:
            return self._lookat
        return np.array([*self._data.xpos[self._followed][:2], self._lookat[2]])


def _looking(azimuth: float, elevation: float) -> Array:
    """Rows right, down, forward of a camera at MuJoCo's angles, in radians."""
    forward = np.array([np.cos(elevation) * np.cos(azimuth), np.cos(elevation) * np.sin(azimuth), np.sin(elevation)])
    right = np.array([np.sin(azimuth), -np.cos(azimuth), 0.0])
    return np.stack([right, np.cross(forward, right), forward])


def _stage(model: mujoco.MjModel, axes: Array, fovy: float) -> tuple[Array, float]:
    """The middle of the part of the scene that its bodies can reach, and the distance from which all of it is seen."""
    import mujoco

    data = mujoco.MjData(model)
    mujoco.mj_kinematics(model, data)
    shown = (model.geom_group < VISIBLE_GROUPS) & (model.geom_rgba[:, 3] > 0) & (model.geom_type != PLANE)
    moves = shown & (model.body_weldid[model.geom_bodyid] > 0)
    if not moves.any():
        return np.zeros(3), DISTANCE
    halves = np.einsum("gij,gj->gi", np.abs(data.geom_xmat.reshape(-1, 3, 3)), _half_sizes(model))
    lows, highs = data.geom_xpos - halves, data.geom_xpos + halves
    low, high = lows[moves].min(axis=0), highs[moves].max(axis=0)
    reach = (high - low).max() * np.array([1.0, 1.0, 0.0])
    low, high = np.maximum(low - reach, lows[shown].min(axis=0)), np.minimum(high + reach, highs[shown].max(axis=0))
    corners = np.array(list(itertools.product((-0.5, 0.5), repeat=3))) * (high - low) @ axes.T  # right, down, forward
    distances = np.abs(corners[:, :2]).max(axis=1) / np.tan(np.radians(fovy) / 2) - corners[:, 2]
    return (low + high) / 2, float(ROOM * distances.max())


def _half_sizes(model: mujoco.MjModel) -> Array:
    """Of each geom along its own axes, [G, 3]."""
    radius, half_length, _ = model.geom_size.T
    kind = model.geom_type[:, None]
    ball = np.stack([radius] * 3, axis=1)
    rod = np.stack([radius, radius, half_length + np.where(model.geom_type == CAPSULE, radius, 0.0)], axis=1)
    return np.where(kind == SPHERE, ball, np.where((kind == CAPSULE) | (kind == CYLINDER), rod, model.geom_size))
