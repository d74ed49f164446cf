"""Segments → clips: pictures of a verified replay, encoded to what browsers play.

Clips are made in a worker process of their own (`clip_worker`): rendering in the trainer or in the service would hold
it up, and a GL context serves only the thread that made it.
"""

from __future__ import annotations

import atexit
import gc
import io
import json
import math
import multiprocessing
import os
import signal
import threading
from collections.abc import Callable, Collection, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from functools import lru_cache, partial
from typing import Any, cast

import gymnasium as gym
import imageio.v3 as iio
import numpy as np
from imageio.plugins.pyav import PyAVPlugin
from PIL import Image

from rltrainer.config import Clips
from rltrainer.core import Array, Segment, UserError
from rltrainer.envs import frames_per_second, make_shown_env, picture
from rltrainer.labeling.camera import Camera, close, simulation
from rltrainer.labeling.drawing import Drawing
from rltrainer.labeling.gl import no_gl, use_gl
from rltrainer.labeling.shelf import steps_at
from rltrainer.replay import replay

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


def steps_by_frame(steps: int, env_rate: float, frame_rate: float) -> list[int]:
    """The step that each frame shows, where a clip of `steps` steps has its frames at another rate than the env's."""
    return steps_at(max(1, round(steps * frame_rate / env_rate)), steps)


class ClipMaker:
    """Makes clips of one env, which it holds ready. Use it in one thread only, the one that made it.

    notice: None, or a line for the page on how the clips differ from what the env itself would show
    """

    def __init__(self, env: str, options: Mapping[str, Any], size: int) -> None:
        """size: pixels of a clip's longer side. Raises UserError where the env cannot be made or shown."""
        use_gl()
        self._size = size
        self._env = make_shown_env(env, options, size)
        self._env_rate = frames_per_second(self._env)
        self._picture, self.notice = pictures_of(self._env, size)

    def make(self, segment: Segment, frame_rate: float | None = None) -> Clip:
        """A clip of so many frames a second, the env's own if nothing is said.

        Raises Mismatch where the replay is not what was recorded: then there is no clip.
        """
        frame_rate = frame_rate or self._env_rate
        shown = steps_by_frame(len(segment), self._env_rate, frame_rate)
        last = len(segment.actions) - 1
        taken = {min(step, last) for step in shown} | ({last} if segment.after else set())
        pictures = _captured(segment, taken) if segment.frames else self._replayed(segment, taken)
        fitted = {step: fit(seen, self._size) for step, seen in pictures.items()}
        height, width, _ = fitted[min(taken)].shape
        if segment.after:
            fitted |= dict.fromkeys(range(last + 1, len(segment)), over(fitted[last]))
        video = encode([fitted[step] for step in shown], frame_rate)
        return Clip(video, len(shown), len(segment), frame_rate, width, height)

    def close(self) -> None:
        """Let the env and its GL context go."""
        close(self._env)

    def _replayed(self, segment: Segment, steps: Collection[int]) -> dict[int, Array]:
        return {step: self._picture() for step in replay(self._env, segment) if step in steps}


def pictures_of(env: gym.Env[Any, Any], size: int) -> tuple[Callable[[], Array], str | None]:
    """What takes pictures of an env from `make_shown_env`, uint8 [H, W, 3], and a line to say if they are not its own.

    Taking one raises UserError where MuJoCo renders nothing at all, as it does on another thread than the env's.
    """
    backend, found = use_gl(), simulation(env)
    if found is None:
        return partial(picture, env), None
    if backend is None:
        return Drawing(env, size).picture, f"Clips are drawn in 2-D because {no_gl()}."
    camera = Camera(env, *found)

    def aimed() -> Array:
        camera.aim()
        seen = picture(env)
        if not seen.any():
            raise UserError(f"MuJoCo's pictures are black with MUJOCO_GL={backend}; set another one (egl, osmesa)")
        return seen

    return aimed, None


def _captured(segment: Segment, steps: Collection[int]) -> dict[int, Array]:
    """Pictures that were taken while the env stepped; picture t + 1 shows what step t led to."""
    return {step: np.asarray(Image.open(io.BytesIO(segment.frames[step + 1])).convert("RGB")) for step in steps}


def fit(seen: Array, size: int) -> Array:
    """A picture [H, W, 3] made no larger than `size`, with sides rounded to even numbers."""
    height, width = seen.shape[:2]
    scale = min(1.0, size / max(height, width))
    even_width, even_height = (max(2, 2 * int(side * scale / 2 + 0.5)) for side in (width, height))
    if (even_width, even_height) == (width, height):
        return seen
    return np.asarray(Image.fromarray(seen).resize((even_width, even_height), Image.Resampling.BILINEAR))


def over(seen: Array) -> Array:
    """The last picture of an episode, darkened and grey: the time after it, in which nothing happens."""
    grey = seen.mean(axis=2, keepdims=True)
    return np.asarray(DARKNESS * (0.3 * seen + 0.7 * grey), np.uint8)


DARKNESS = 0.45


# ------------------------------------------------------------------ video


def encode(pictures: Sequence[Array], frame_rate: float, limit: int | None = LIMIT) -> bytes:
    """H.264 in MP4 of pictures uint8 [H, W, 3] with even sides; coarser where it would be more than `limit` bytes."""
    quality = QUALITY
    video = _encode(pictures, frame_rate, quality)
    while limit is not None and len(video) > limit and quality < 51:
        quality = min(51, quality + 1 + math.ceil(6 * math.log2(len(video) / limit)))  # 6 more halves the size
        video = _encode(pictures, frame_rate, quality)
    return video


def _encode(pictures: Sequence[Array], frame_rate: float, quality: int) -> bytes:
    """In memory, with the index in front of the pictures, so that a player can start at once."""
    container = {"moov_size": str(2048 + 32 * len(pictures))}
    with iio.imopen("<bytes>", "w", plugin=PyAVPlugin, extension=".mp4", container_options=container) as file:
        file.init_video_stream("libx264", fps=frame_rate, pixel_format="yuv420p", max_keyframe_interval=KEYFRAME_INTERVAL)
        stream: Any = file._video_stream  # imageio has no public way to the encoder's options
        stream.codec_context.options = {**ENCODER, "crf": str(quality)}
        stream.codec_context.thread_count = 1
        return cast(bytes, file.write(list(pictures)))


QUALITY = 24
"""x264's crf: 18 looks like the original, 30 is visibly coarse."""

KEYFRAME_INTERVAL = 10
"""Frames that a player has to decode at most to show one."""

ENCODER = {
    "preset": "veryfast",
    "profile": "main",
    "bf": "0",  # frames are decoded in the order they are shown in
    "colorspace": "smpte170m",  # how RGB becomes YUV here; players guess otherwise
    "color_primaries": "bt709",
    "color_trc": "bt709",
    "color_range": "tv",
}


# ------------------------------------------------------------------ the worker process


def clip_worker() -> ProcessPoolExecutor:
    """The process in which clips are made: `clip_worker().submit(make_clip, env, options, settings, segment)`.

    Made afresh and not forked, because a fork after anyone has rendered hangs.
    """
    spawn = multiprocessing.get_context("spawn")
    return ProcessPoolExecutor(1, mp_context=spawn, initializer=_begin_worker)


def make_clip(env: str, options: Mapping[str, Any], settings: Clips, segment: Segment) -> Clip:
    """In a worker: the clip of a segment, from an env that is kept for the next. Raises UserError and Mismatch."""
    return _maker(env, json.dumps(options), settings.size).make(segment, settings.frame_rate)


def clip_notice(env: str, options: Mapping[str, Any], settings: Clips) -> str | None:
    """In a worker: what the page has to say of these clips, if anything. Raises UserError."""
    return _maker(env, json.dumps(options), settings.size).notice


@lru_cache(maxsize=8)
def _maker(env: str, options: str, size: int) -> ClipMaker:
    maker = ClipMaker(env, json.loads(options), size)
    atexit.register(maker.close)
    gc.freeze()  # imageio collects garbage after each video: let it not look at all that stays
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
