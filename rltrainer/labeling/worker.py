"""The clip worker's keeper: pairs are asked of it, and a worker that dies or hangs is replaced."""

from __future__ import annotations

import asyncio
import multiprocessing
import os
from collections.abc import Callable, Mapping
from concurrent.futures import BrokenExecutor
from typing import Any, ParamSpec, TypeVar

from rltrainer.config import Clips
from rltrainer.core import Query, Segment
from rltrainer.labeling.clips import Clip, clip_notice, clip_worker, make_clip
from rltrainer.labeling.effects import Pair
from rltrainer.labeling.messages import ClipHeader, PairHeader

CLIP_SECONDS = 120.0
"""A worker that takes longer for one clip hangs."""

P = ParamSpec("P")
T = TypeVar("T")


class Unshown(Exception):
    """A pair whose clips could not be made, and why, in words; not `final` where another try may help."""

    def __init__(self, reason: str, *, final: bool) -> None:
        super().__init__(reason)
        self.final = final


class ClipKeeper:
    """One worker process for the clips of one env.

    env, options: what makes the env
    """

    def __init__(self, env: str, options: Mapping[str, Any], settings: Clips) -> None:
        self._env, self._options, self._settings = env, dict(options), settings
        self._start()

    def _start(self) -> None:
        """The worker comes up, with the env ready, before it is needed."""
        before = multiprocessing.active_children()
        self._pool = clip_worker()
        self._ready = self._pool.submit(_get_ready, self._env, self._options, self._settings)
        self._processes = [child for child in multiprocessing.active_children() if child not in before]

    async def notice(self) -> str | None:
        """A line for the page on how the clips differ from what the env would show, or on why there are none."""
        try:
            return await self._result(asyncio.wrap_future(self._ready))
        except Unshown as error:
            return f"Clips cannot be made: {error}"

    async def pair(self, query: Query, first: Segment, second: Segment, settings: Clips) -> Pair:
        """Both clips of a query. Raises Unshown."""
        clips = [await self._make(segment, settings) for segment in (first, second)]
        headers = tuple(
            ClipHeader(
                segment_id=segment_id,
                bytes=len(clip.video),
                frames=clip.frames,
                frame_rate=clip.frame_rate,
                width=clip.width,
                height=clip.height,
            )
            for segment_id, clip in zip((query.first, query.second), clips, strict=True)
        )
        header = PairHeader(query_id=query.id, clips=(headers[0], headers[1]))
        return Pair(header, (clips[0].video, clips[1].video), (clips[0].steps, clips[1].steps))

    def close(self) -> None:
        """End the worker, whatever it is doing."""
        for process in self._processes:
            process.terminate()
        self._pool.shutdown(wait=True, cancel_futures=True)

    async def _make(self, segment: Segment, settings: Clips) -> Clip:
        return await self._run(make_clip, self._env, self._options, settings, segment)

    async def _run(self, function: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
        try:
            future = self._pool.submit(function, *args, **kwargs)
        except BrokenExecutor:  # it died since the last clip
            self._replace()
            future = self._pool.submit(function, *args, **kwargs)
        return await self._result(asyncio.wrap_future(future))

    async def _result(self, future: asyncio.Future[T]) -> T:
        """What the worker found. Raises Unshown for whatever went wrong: rendering runs code that is not ours."""
        try:
            await asyncio.wait({future}, timeout=CLIP_SECONDS)
        finally:
            future.cancel()  # nobody waits for it any more, if it is not done
        if future.cancelled():
            self._replace()
            raise Unshown(f"a clip was not ready after {CLIP_SECONDS:g} s", final=True)
        error = future.exception()
        if isinstance(error, BrokenExecutor):
            self._replace()
            raise Unshown("the process that renders clips died", final=False) from error
        if error is not None:
            raise Unshown(str(error) or type(error).__name__, final=True) from error
        return future.result()

    def _replace(self) -> None:
        self.close()
        self._start()


def _get_ready(env: str, options: Mapping[str, Any], settings: Clips) -> str | None:
    """In the worker. What an env prints must not fill the pipe on which the service told its address."""
    os.dup2(2, 1)
    return clip_notice(env, options, settings)
