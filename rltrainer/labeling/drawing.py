"""MuJoCo's geoms drawn in 2-D with Pillow, for machines without any GL.

A geom is drawn as the hull of its points, grown by its radius: a capsule is two points and a radius, a mesh its
outermost vertices. Far ones come first, near ones cover them. Importing this module does not import mujoco.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import gymnasium as gym
import numpy as np
from PIL import Image, ImageDraw

from rltrainer.core import Array
from rltrainer.floors import ENDLESS
from rltrainer.labeling.camera import (
    BOX,
    CAPSULE,
    CYLINDER,
    ELLIPSOID,
    HEIGHT_FIELD,
    MESH,
    PLANE,
    SPHERE,
    VISIBLE_GROUPS,
    Camera,
    View,
    simulation,
)

if TYPE_CHECKING:
    import mujoco  # type: ignore[import-untyped]

SKY = (196, 216, 236)
TILES = ((88, 98, 110), (122, 132, 144))
HAZES = 16
HAZE = 14.0
"""How many times the height of the eye away the floor's tiles have faded into one colour."""
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
DIRECTIONS = np.array([d for d in np.ndindex(3, 3, 3) if d != (1, 1, 1)], float) - 1
DIRECTIONS /= np.linalg.norm(DIRECTIONS, axis=1, keepdims=True)


@dataclass(frozen=True)
class Shape:
    """A geom or site: the hull of points [P, 3] in its own frame, grown by a radius.

    index: its place among geoms, then sites; kind: mujoco.mjtGeom; half_sizes: of a plane, 0 is without end
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
            outline = _hull(points)
            if len(outline) > 2:
                pen.polygon(outline, fill=self.colour, outline=edge, width=SMOOTHING)
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
        model, self._data = found
        self._size = size
        self._camera = Camera(env, *found)
        shapes = list(_shapes(model))
        self._grounds = [Ground(shape, size) for shape in shapes if shape.kind == PLANE]
        self._still = Cloud([shape for shape in shapes if shape.kind != PLANE and not shape.moves])
        self._moving = Cloud([shape for shape in shapes if shape.moves])
        self._background: tuple[Array, Image.Image] | None = None

    def picture(self) -> Array:
        """What the env looks like now, uint8 [size, size, 3]."""
        data, view = self._data, self._camera.view()
        places = np.concatenate([data.geom_xpos, data.site_xpos])  # [G, 3]
        turns = np.concatenate([data.geom_xmat, data.site_xmat]).reshape(-1, 3, 3)  # [G, 3, 3]
        image = self._without_moving(view, places, turns).copy()
        self._moving.draw(image, view, places, turns)
        return np.asarray(image.reduce(SMOOTHING))

    def _without_moving(self, view: View, places: Array, turns: Array) -> Image.Image:
        """What lies behind all that moves; the last one again while the camera stands still."""
        shown = [*self._still.owners, *(ground.index for ground in self._grounds)]
        state = np.concatenate([part.ravel() for part in (view.eye, view.axes, places[shown], turns[shown])])
        if self._background is None or not np.array_equal(self._background[0], state):
            tiles = np.zeros((self._size, self._size), np.uint8)
            for ground in self._grounds:
                ground.paint(tiles, view, places[ground.index], turns[ground.index])
            image = Image.fromarray(tiles)
            image.putpalette(_palette())
            large = self._size * SMOOTHING
            image = image.resize((large, large), Image.Resampling.NEAREST).convert("RGB")
            self._still.draw(image, view, places, turns)
            self._background = (state, image)
        return self._background[1]


class Cloud:
    """Shapes drawn together, the far ones first.

    owners: where each shape is among geoms and sites
    """

    def __init__(self, shapes: Sequence[Shape]) -> None:
        self._shapes = shapes
        self.owners = np.array([shape.index for shape in shapes], int)
        counts = [len(shape.points) for shape in shapes]
        ends = np.cumsum(counts, dtype=int)
        self._parts = [slice(end - count, end) for count, end in zip(counts, ends, strict=True)]
        self._points = np.concatenate([np.zeros((0, 3)), *(shape.points for shape in shapes)])  # [P, 3]
        self._point_owners = np.repeat(self.owners, counts)  # [P]

    def draw(self, image: Image.Image, view: View, places: Array, turns: Array) -> None:
        """Onto a square picture; places [G, 3] and turns [G, 3, 3] of all geoms and sites."""
        world = places[self._point_owners] + np.einsum("pij,pj->pi", turns[self._point_owners], self._points)
        seen = (world - view.eye) @ view.axes.T  # right, down, forward
        depth = np.maximum(seen[:, 2], NEAR)
        focal = view.focal(image.height)
        flat = seen[:, :2] / depth[:, None] * focal + image.height / 2  # [P, 2] in pixels
        pen = ImageDraw.Draw(image, "RGBA")
        distances = [float(depth[part].mean()) for part in self._parts]
        for number in np.argsort(distances)[::-1].tolist():
            part, shape = self._parts[number], self._shapes[number]
            if depth[part].min() > NEAR:
                shape.draw(pen, flat[part], shape.radius * focal / depth[part])


class Ground:
    """A plane as a tiled floor, seen by every pixel of the camera.

    The camera moves but seldom turns: where each pixel's ray meets a floor one unit below is kept until it does.
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
        odd = (np.floor(u / self._tile) + np.floor(v / self._tile)).astype(np.int32) & 1
        numbers = self._first_tile + odd.astype(np.uint8)
        inside = (np.abs(u) < self._half_sizes[0]) & (np.abs(v) < self._half_sizes[1])
        tiles.reshape(-1)[self._pixels[inside]] = numbers[inside]

    def _aim(self, view: View) -> None:
        line = np.arange(self._size, dtype=np.float32) + 0.5 - self._size / 2
        right, down = (part.ravel() / view.focal(self._size) for part in np.meshgrid(line, line))
        to_plane = (view.axes @ self._seen_from[1]).astype(np.float32)
        rays = np.stack([right, down, np.ones_like(right)], axis=1) @ to_plane
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
        own = model.geom_rgba[geom]
        rgba = model.mat_rgba[material] if material >= 0 and (own == UNSET).all() else own
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
        return DIRECTIONS * size[:3]
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
