"""Segments → clips: pictures of a verified replay, encoded to what browsers play.

Clips are made in a worker process of their own (`clip_worker`): rendering in the trainer or in the service would hold it up,
and a GL context serves only the thread that made it.
"""

from __future__ import annotations

import atexit
import io
import json
import math
import multiprocessing
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Callable, Collection, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from functools import cache, lru_cache, partial
from typing import Any, cast

import imageio.v3 as iio
import numpy as np
from imageio.plugins.pyav import PyAVPlugin
from PIL import Image

from rltrainer.config import Clips
from rltrainer.core import Array, Range, Segment
from rltrainer.envs import frames_per_second, make_shown_env, picture
from rltrainer.labeling.drawing import Drawing, simulation
from rltrainer.labeling.replay import replay

LIMIT = 125_000
"""Bytes of a clip at most, so that a pair stays within 250 KB."""


@dataclass(frozen=True)
class Clip:
    """A segment as H.264 in MP4. Frame 0 shows what the first step led to.

    frames: pictures in the video; steps: env steps that they show; frame_rate: frames per second; width, height: pixels
    """

    video: bytes
    frames: int
    steps: int
    frame_rate: float
    width: int
    height: int

    def steps_of(self, frames: Range) -> Range:
        """The env steps [first, end) that frames [first, end) speak of. Raises ValueError where the clip has no such frames."""
        first, end = frames
        if not 0 <= first < end <= self.frames:
            raise ValueError(f"frames [{first}, {end}) are not in a clip of {self.frames} frames")
        return first * self.steps // self.frames, -(-end * self.steps // self.frames)


def steps_shown(steps: int, env_rate: float, frame_rate: float) -> list[int]:
    """The step that each frame shows, where a clip of `steps` steps has its frames at another rate than the env's."""
    frames = max(1, round(steps * frame_rate / env_rate))
    return [min(steps - 1, (2 * frame + 1) * steps // (2 * frames)) for frame in range(frames)]


class ClipMaker:
    """Makes clips of one env, which it holds ready. Use it in one thread only, the one that made it.

    notice: None, or a line for the page on how the clips differ from what the env itself would show
    """

    def __init__(self, env: str, options: Mapping[str, Any], settings: Clips) -> None:
        """Raises UserError where the env cannot be made or shown."""
        self._settings = settings
        backend = use_gl()
        self._env = make_shown_env(env, options, settings.size)
        self._env_rate = frames_per_second(self._env)
        self._picture: Callable[[], Array] = partial(picture, self._env)
        self.notice: str | None = None
        if backend is None and simulation(self._env) is not None:
            self._picture = Drawing(self._env, settings.size).picture
            self.notice = f"Clips are drawn in 2-D because {no_gl()}."

    def make(self, segment: Segment) -> Clip:
        """Raises Mismatch where the replay is not what was recorded: then there is no clip."""
        frame_rate = self._settings.frame_rate or self._env_rate
        shown = steps_shown(len(segment), self._env_rate, frame_rate)
        pictures = _captured(segment, set(shown)) if segment.frames else self._replayed(segment, set(shown))
        fitted = {step: fit(seen, self._settings.size) for step, seen in pictures.items()}
        height, width, _ = fitted[shown[0]].shape
        video = encode([fitted[step] for step in shown], frame_rate)
        return Clip(video, len(shown), len(segment), frame_rate, width, height)

    def close(self) -> None:
        """Let the env and its GL context go."""
        self._env.close()

    def _replayed(self, segment: Segment, steps: Collection[int]) -> dict[int, Array]:
        return {step: self._picture() for step in replay(self._env, segment) if step in steps}


def _captured(segment: Segment, steps: Collection[int]) -> dict[int, Array]:
    """Pictures that were taken while the env stepped; picture t + 1 shows what step t led to."""
    return {step: np.asarray(Image.open(io.BytesIO(segment.frames[step + 1])).convert("RGB")) for step in steps}


def fit(seen: Array, size: int) -> Array:
    """A picture [H, W, 3] with sides of even length, the longer at most `size`."""
    height, width = seen.shape[:2]
    scale = min(1.0, size / max(height, width))
    even = tuple(max(2, 2 * round(side * scale / 2)) for side in (width, height))
    if even == (width, height):
        return seen
    return np.asarray(Image.fromarray(seen).resize(even, Image.Resampling.BILINEAR))


# ------------------------------------------------------------------ video


def encode(pictures: Sequence[Array], frame_rate: float, limit: int | None = LIMIT) -> bytes:
    """H.264 in MP4 of pictures uint8 [H, W, 3] with even sides; coarser where it would be more than `limit` bytes."""
    quality = 22
    video = _encode(pictures, frame_rate, quality)
    while limit is not None and len(video) > limit and quality < 51:
        quality = min(51, quality + 1 + math.ceil(6 * math.log2(len(video) / limit)))         # 6 more halves the size
        video = _encode(pictures, frame_rate, quality)
    return video


def _encode(pictures: Sequence[Array], frame_rate: float, quality: int) -> bytes:
    """In memory, with the index in front of the pictures, so that a player can start at once."""
    container = {"moov_size": str(2048 + 32 * len(pictures))}
    with iio.imopen("<bytes>", "w", plugin=PyAVPlugin, extension=".mp4", container_options=container) as file:
        file.init_video_stream("libx264", fps=frame_rate, pixel_format="yuv420p", max_keyframe_interval=KEYFRAME_INTERVAL)
        stream: Any = file._video_stream                             # imageio has no public way to the encoder's options
        stream.codec_context.options = {**ENCODER, "crf": str(quality)}
        stream.codec_context.thread_count = 1
        return cast(bytes, file.write(list(pictures)))


KEYFRAME_INTERVAL = 10
"""Frames that a player has to decode at most to show one."""

ENCODER = {
    "preset": "veryfast",
    "profile": "main",
    "bf": "0",                                                        # frames are decoded in the order they are shown in
    "colorspace": "smpte170m",                                        # how RGB becomes YUV here; players guess otherwise
    "color_primaries": "bt709",
    "color_trc": "bt709",
    "color_range": "tv",
}


# ------------------------------------------------------------------ GL

_TRY_GL = """
import mujoco
model = mujoco.MjModel.from_xml_string(
    "<mujoco><worldbody><light pos='0 0 3'/><geom type='sphere' size='1' rgba='1 1 1 1'/></worldbody></mujoco>"
)
data = mujoco.MjData(model)
mujoco.mj_forward(model, data)
renderer = mujoco.Renderer(model, 32, 32)
renderer.update_scene(data)
print("picture" if renderer.render().any() else "black", flush=True)
__import__("os")._exit(0)
"""


def gl_renders(backend: str) -> bool:
    """Whether MuJoCo gives a picture with MUJOCO_GL set to that; tried in a process of its own, since failing can crash it."""
    surroundings = {**os.environ, "MUJOCO_GL": backend}
    surroundings.pop("PYOPENGL_PLATFORM", None)                       # left by whichever backend this process tried before
    command = [sys.executable, "-c", _TRY_GL]
    try:
        tried = subprocess.run(command, env=surroundings, capture_output=True, text=True, timeout=60, check=False)
    except subprocess.TimeoutExpired:
        return False
    return tried.stdout.strip() == "picture"


@cache
def gl_backend() -> str | None:
    """The value of MUJOCO_GL that gives pictures here: the user's own where it is set. None: there is no GL at all."""
    return next(filter(gl_renders, _candidates()), None)


def _candidates() -> list[str]:
    if "MUJOCO_GL" in os.environ:
        return [os.environ["MUJOCO_GL"]]
    if sys.platform != "linux":
        return ["glfw"]
    display = "DISPLAY" in os.environ or "WAYLAND_DISPLAY" in os.environ
    return ["egl", "osmesa", "glfw"] if display else ["egl", "osmesa"]


def no_gl() -> str:
    """Why there are no GL pictures, where `gl_backend()` is None."""
    if "MUJOCO_GL" in os.environ:
        return f"MUJOCO_GL is {os.environ['MUJOCO_GL']!r}, which gives no pictures here (rltrainer doctor says what would)"
    return "this machine has no GL to render MuJoCo with (apt-get install libosmesa6 brings one)"


@cache
def use_gl() -> str | None:
    """Set MUJOCO_GL to what works and give it. Call before mujoco is imported."""
    backend = gl_backend()
    os.environ["MUJOCO_GL"] = backend or "disable"
    return backend


# ------------------------------------------------------------------ the worker process


def clip_worker() -> ProcessPoolExecutor:
    """The process in which clips are made: `clip_worker().submit(make_clip, env, options, settings, segment)`.

    Made afresh and not forked, because a fork after anyone has rendered hangs.
    """
    spawn = multiprocessing.get_context("spawn")
    return ProcessPoolExecutor(1, mp_context=spawn, initializer=_begin_worker)


def make_clip(env: str, options: Mapping[str, Any], settings: Clips, segment: Segment) -> Clip:
    """In a worker: the clip of a segment, from an env that is kept for the next. Raises UserError and Mismatch."""
    return _maker(env, json.dumps(options), settings).make(segment)


def clip_notice(env: str, options: Mapping[str, Any], settings: Clips) -> str | None:
    """In a worker: what the page has to say of these clips, if anything. Raises UserError."""
    return _maker(env, json.dumps(options), settings).notice


@lru_cache(maxsize=8)
def _maker(env: str, options: str, settings: Clips) -> ClipMaker:
    maker = ClipMaker(env, json.loads(options), settings)
    atexit.register(maker.close)
    return maker


def _begin_worker() -> None:
    """Behind training in the queue for the processor; Ctrl-C is for the service, with which this process ends."""
    if hasattr(os, "nice"):
        os.nice(10)
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    threading.Thread(target=_end_with_parent, daemon=True).start()
    use_gl()


def _end_with_parent() -> None:
    parent = multiprocessing.parent_process()
    if parent is not None:
        parent.join()
        os._exit(1)
