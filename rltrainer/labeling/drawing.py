"""MuJoCo's geoms drawn in 2-D with Pillow, for machines without any GL.

A geom is drawn as the hull of its points, grown by its radius: a capsule is two points and a radius, a mesh its outermost
vertices. Far ones come first, near ones cover them. Importing this module does not import mujoco.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import gymnasium as gym
import numpy as np
from PIL import Image, ImageDraw

from rltrainer.core import Array

if TYPE_CHECKING:
    import mujoco  # type: ignore[import-untyped]

PLANE, HEIGHT_FIELD, SPHERE, CAPSULE, ELLIPSOID, CYLINDER, BOX, MESH = range(8)
"""mujoco.mjtGeom"""

SKY = (196, 216, 236)
TILES = ((88, 98, 110), (122, 132, 144))
HAZES = 16
HAZE = 14.0
"""How many times the height of the eye away the floor's tiles have faded into one colour."""
ENDLESS = 10.0
"""Half size, in metres, from which on a plane is drawn without end (in the simulation each one is)."""
SMOOTHING = 2
"""Shapes are drawn this many times as large, then shrunk, for smooth edges."""
NEAR = 1e-3
TILE = 0.3
"""Side of a tile of the floor, for each unit that the camera is away from what it looks at."""
UNSET = np.array([0.5, 0.5, 0.5, 1.0], np.float32)
"""The colour of a geom that leaves it to its material."""

CORNERS = np.array([(x, y, z) for x in (-1, 1) for y in (-1, 1) for z in (-1, 1)], float)
FACES = np.array([(0, 1, 3, 2), (4, 6, 7, 5), (0, 4, 5, 1), (2, 3, 7, 6), (0, 2, 6, 4), (1, 5, 7, 3)])
"""Of a box: rows of CORNERS round each face, its -x, +x, -y, +y, -z and +z one."""
SHADES = (0.75, 0.75, 0.85, 0.85, 0.6, 1.0)
DIRECTIONS = np.array([d for d in np.ndindex(5, 5, 5) if d != (2, 2, 2)], float) - 2
DIRECTIONS /= np.linalg.norm(DIRECTIONS, axis=1, keepdims=True)
VISIBLE_GROUPS = 3


def simulation(env: gym.Env[Any, Any]) -> tuple[mujoco.MjModel, mujoco.MjData] | None:
    """The MuJoCo model and state behind an env, None where there is none."""
    import mujoco

    model, data = (getattr(env.unwrapped, name, None) for name in ("model", "data"))
    return (model, data) if isinstance(model, mujoco.MjModel) and isinstance(data, mujoco.MjData) else None


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
    """Where the env itself is looked at from: its model's tracking camera, else the free camera of its settings."""

    def __init__(self, env: gym.Env[Any, Any], model: mujoco.MjModel, data: mujoco.MjData) -> None:
        self._model, self._data = model, data
        names = [model.cam(index).name for index in range(model.ncam)]
        self._fixed = names.index("track") if "track" in names else None
        renderer = getattr(env.unwrapped, "mujoco_renderer", None)
        settings: Mapping[str, Any] = getattr(renderer, "default_cam_config", None) or {}
        azimuth, elevation = (np.radians(settings.get(name, angle)) for name, angle in (("azimuth", 90.0), ("elevation", -45.0)))
        self._distance = float(settings.get("distance", model.stat.extent))
        self._axes = _looking(azimuth, elevation)
        self._followed = max(0, int(settings.get("trackbodyid", 0)))
        self._lookat = np.array(settings.get("lookat", np.median(data.geom_xpos, axis=0)), float)
        self._start = data.xpos[self._followed].copy()

    def view(self) -> View:
        """The camera now."""
        if self._fixed is not None:
            right, up, backward = self._data.cam_xmat[self._fixed].reshape(3, 3).T
            axes = np.stack([right, -up, -backward])
            eye = self._data.cam_xpos[self._fixed].copy()
            distance = np.linalg.norm(eye - self._data.xpos[self._model.cam_bodyid[self._fixed]])
            return View(eye, axes, float(distance), float(self._model.cam_fovy[self._fixed]))
        lookat = self._lookat + (self._data.xpos[self._followed] - self._start) * (1, 1, 0)
        eye = lookat - self._distance * self._axes[2]
        return View(eye, self._axes, self._distance, float(self._model.vis.global_.fovy))


def _looking(azimuth: float, elevation: float) -> Array:
    """Rows right, down, forward of a camera in MuJoCo's angles, in radians."""
    forward = np.array([np.cos(elevation) * np.cos(azimuth), np.cos(elevation) * np.sin(azimuth), np.sin(elevation)])
    right = np.array([np.sin(azimuth), -np.cos(azimuth), 0.0])
    return np.stack([right, np.cross(forward, right), forward])


@dataclass(frozen=True)
class Shape:
    """A geom or site: the hull of points [P, 3] in its own frame, grown by a radius.

    index: its place among geoms, then sites; faces: rows of points, where it is drawn face by face
    """

    index: int
    kind: int
    points: Array
    radius: float
    colour: tuple[int, int, int, int]
    moves: bool
    half_sizes: tuple[float, float] = (0.0, 0.0)

    def draw(self, pen: ImageDraw.ImageDraw, points: Array, radii: Array) -> None:
        """Onto a picture: points [P, 2] and radii [P] in its pixels."""
        edge = tuple(int(part * 0.55) for part in self.colour[:3]) + self.colour[3:]
        if self.kind == BOX:
            _draw_box(pen, points, self.colour, edge)
        elif self.radius == 0.0:
            pen.polygon(_hull(points), fill=self.colour, outline=edge, width=SMOOTHING)
        else:
            for grown, colour in ((SMOOTHING, edge), (0, self.colour)):
                _draw_capsule(pen, points, radii + grown, colour)


class Drawing:
    """Pictures of the simulation inside an env, from where the env itself is looked at."""

    def __init__(self, env: gym.Env[Any, Any], size: int) -> None:
        """size: pixels of each side. Raises ValueError where the env has no MuJoCo inside."""
        found = simulation(env)
        if found is None:
            raise ValueError(f"{env} has no MuJoCo model to draw")
        self._model, self._data = found
        self._size = size
        self._camera = Camera(env, *found)
        shapes = list(_shapes(self._model))
        self._grounds = [Ground(shape, size) for shape in shapes if shape.kind == PLANE]
        self._solids = [shape for shape in shapes if shape.kind != PLANE]
        self._points = np.concatenate([shape.points for shape in self._solids])                        # [P, 3]
        self._owners = np.repeat([shape.index for shape in self._solids], [len(shape.points) for shape in self._solids])
        ends = np.cumsum([len(shape.points) for shape in self._solids])
        self._parts = [slice(end - len(shape.points), end) for shape, end in zip(self._solids, ends, strict=True)]

    def picture(self) -> Array:
        """What the env looks like now, uint8 [size, size, 3]."""
        view = self._camera.view()
        large = self._size * SMOOTHING
        image = self._ground(view).resize((large, large), Image.Resampling.NEAREST).convert("RGB")
        self._draw_solids(ImageDraw.Draw(image, "RGBA"), view, large)
        return np.asarray(image.reduce(SMOOTHING))

    def _poses(self) -> tuple[Array, Array]:
        """Where each geom and then each site is, [G, 3], and how it is turned, [G, 3, 3]."""
        data = self._data
        turns = np.concatenate([data.geom_xmat, data.site_xmat]).reshape(-1, 3, 3)
        return np.concatenate([data.geom_xpos, data.site_xpos]), turns

    def _draw_solids(self, pen: ImageDraw.ImageDraw, view: View, size: int) -> None:
        places, turns = self._poses()
        world = places[self._owners] + np.einsum("pij,pj->pi", turns[self._owners], self._points)
        seen = (world - view.eye) @ view.axes.T                                                        # right, down, forward
        depth = np.maximum(seen[:, 2], NEAR)
        focal = view.focal(size)
        flat = seen[:, :2] / depth[:, None] * focal + size / 2                                         # [P, 2] in pixels
        distances = [float(depth[part].mean()) for part in self._parts]
        for number in sorted(range(len(self._solids)), key=lambda number: (self._solids[number].moves, -distances[number])):
            part, shape = self._parts[number], self._solids[number]
            if depth[part].min() > NEAR:
                shape.draw(pen, flat[part], shape.radius * focal / depth[part])

    def _ground(self, view: View) -> Image.Image:
        """The sky and the tiled planes before it, with a palette."""
        tiles = np.zeros((self._size, self._size), np.uint8)
        places, turns = self._poses()
        for ground in self._grounds:
            ground.paint(tiles, view, places[ground.index], turns[ground.index])
        image = Image.fromarray(tiles)
        image.putpalette(_palette())
        return image


class Ground:
    """A plane as a tiled floor, seen by every pixel of the camera.

    The camera moves but seldom turns: where each pixel's ray meets the floor of a unit's distance is kept until it does.
    """

    def __init__(self, plane: Shape, size: int) -> None:
        self.index = plane.index
        self._half_sizes = [half if 0 < half < ENDLESS else np.inf for half in plane.half_sizes]
        self._size = size
        self._seen_from: tuple[Array, ...] = ()
        self._tile = 0.0

    def paint(self, tiles: Array, view: View, place: Array, turn: Array) -> None:
        """Onto palette numbers [size, size]."""
        if not self._seen_from or not all(map(np.array_equal, self._seen_from, (view.axes, turn))):
            self._seen_from = (view.axes, turn.copy())
            self._aim(view)
        x, y, height = ((view.eye - place) @ turn).tolist()
        if height <= 0:
            return
        self._tile = self._tile or TILE * view.distance
        u, v = x + height * self._across, y + height * self._along
        numbers = self._first_tile + ((np.floor(u / self._tile) + np.floor(v / self._tile)).astype(np.int32) & 1).astype(np.uint8)
        inside = (np.abs(u) < self._half_sizes[0]) & (np.abs(v) < self._half_sizes[1])
        tiles.reshape(-1)[self._pixels[inside]] = numbers[inside]

    def _aim(self, view: View) -> None:
        line = np.arange(self._size, dtype=np.float32) + 0.5 - self._size / 2
        right, down = (part.ravel() / view.focal(self._size) for part in np.meshgrid(line, line))
        rays = np.stack([right, down, np.ones_like(right)], axis=1) @ (view.axes @ self._seen_from[1]).astype(np.float32)
        self._pixels = np.flatnonzero(rays[:, 2] < 0)
        across, along, towards = rays[self._pixels].T
        self._across, self._along = across / -towards, along / -towards
        haze = np.clip(np.hypot(self._across, self._along) / HAZE, 0, 1)
        self._first_tile = (1 + 2 * np.round(haze * (HAZES - 1))).astype(np.uint8)


def _palette() -> list[int]:
    """Sky, then the two tiles in ever thicker haze."""
    colours = [SKY]
    for haze in np.linspace(0, 1, HAZES):
        colours += [tuple((1 - haze) * np.array(tile) + haze * np.mean(TILES, axis=0)) for tile in TILES]
    return [int(part) for colour in colours for part in colour]


# ------------------------------------------------------------------ shapes


def _shapes(model: mujoco.MjModel) -> Iterator[Shape]:
    """Every visible geom and site."""
    for geom in range(model.ngeom):
        kind, size, material = int(model.geom_type[geom]), model.geom_size[geom], int(model.geom_matid[geom])
        rgba = model.mat_rgba[material] if material >= 0 and (model.geom_rgba[geom] == UNSET).all() else model.geom_rgba[geom]
        if model.geom_group[geom] >= VISIBLE_GROUPS or rgba[3] == 0 or kind == HEIGHT_FIELD:
            continue
        mesh = int(model.geom_dataid[geom])
        points = _outermost(_vertices(model, mesh)) if kind == MESH else _points(kind, size)
        moves = bool(model.body_weldid[model.geom_bodyid[geom]])
        yield Shape(geom, kind, points, _radius(kind, size), _colour(rgba), moves, (float(size[0]), float(size[1])))
    for site in range(model.nsite):
        kind, size, rgba = int(model.site_type[site]), model.site_size[site], model.site_rgba[site]
        if model.site_group[site] < VISIBLE_GROUPS and rgba[3] > 0:
            yield Shape(model.ngeom + site, kind, _points(kind, size), _radius(kind, size), _colour(rgba), True)


def _colour(rgba: Array) -> tuple[int, int, int, int]:
    red, green, blue, alpha = (np.clip(rgba, 0, 1) * 255).astype(int).tolist()
    return red, green, blue, alpha


def _radius(kind: int, size: Array) -> float:
    return float(size[0]) if kind in (SPHERE, CAPSULE) else 0.0


def _points(kind: int, size: Array) -> Array:
    """Points whose hull, grown by the radius, is that primitive."""
    if kind == CAPSULE:
        return np.array([[0.0, 0.0, -size[1]], [0.0, 0.0, size[1]]])
    if kind == BOX:
        return CORNERS * size
    if kind == ELLIPSOID:
        return DIRECTIONS * size
    if kind == CYLINDER:
        angles = np.linspace(0, 2 * np.pi, 16, endpoint=False)
        rim = np.stack([np.cos(angles) * size[0], np.sin(angles) * size[0], np.full(16, size[1])], axis=1)
        return np.concatenate([rim, rim * (1, 1, -1)])
    return np.zeros((1, 3))


def _vertices(model: mujoco.MjModel, mesh: int) -> Array:
    first = model.mesh_vertadr[mesh]
    vertices: Array = model.mesh_vert[first : first + model.mesh_vertnum[mesh]]
    return vertices


def _outermost(vertices: Array) -> Array:
    """The vertices that reach furthest in each direction: what is seen of a mesh's hull."""
    outermost: Array = vertices[np.unique(np.argmax(vertices @ DIRECTIONS.T, axis=0))].astype(float)
    return outermost


# ------------------------------------------------------------------ ink


def _draw_capsule(pen: ImageDraw.ImageDraw, points: Array, radii: Array, colour: tuple[int, ...]) -> None:
    if len(points) == 2:
        pen.line(points.ravel().tolist(), fill=colour, width=round(2 * float(radii.mean())))
    for (x, y), radius in zip(points.tolist(), radii.tolist(), strict=True):
        pen.ellipse((x - radius, y - radius, x + radius, y + radius), fill=colour)


def _draw_box(pen: ImageDraw.ImageDraw, points: Array, colour: tuple[int, ...], edge: tuple[int, ...]) -> None:
    """The faces that turn towards us, each side in a shade of its own."""
    for side, face in enumerate(FACES):
        corners = points[face]
        (ax, ay), (bx, by) = corners[1] - corners[0], corners[3] - corners[0]
        if ax * by - ay * bx > 0:
            shade = tuple(int(part * SHADES[side]) for part in colour[:3]) + colour[3:]
            pen.polygon(corners.ravel().tolist(), fill=shade, outline=edge, width=SMOOTHING)


def _hull(points: Array) -> list[tuple[float, float]]:
    """The convex hull of points [P, 2], in order (Andrew's monotone chain)."""
    ordered = sorted(map(tuple, points.tolist()))

    def chain(points: list[tuple[float, float]]) -> list[tuple[float, float]]:
        kept: list[tuple[float, float]] = []
        for x, y in points:
            while len(kept) > 1:
                (ax, ay), (bx, by) = kept[-2:]
                if (bx - ax) * (y - ay) - (by - ay) * (x - ax) > 0:
                    break
                kept.pop()
            kept.append((x, y))
        return kept[:-1]

    return chain(ordered) + chain(ordered[::-1])
