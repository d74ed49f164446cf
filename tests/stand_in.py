"""A small label service for tests of the page: the real messages, real clips, and a store in memory."""

from __future__ import annotations

import asyncio
import io
import threading
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import av
import numpy as np
from PIL import Image, ImageDraw
from websockets.asyncio.server import Server, ServerConnection, serve
from websockets.datastructures import Headers
from websockets.exceptions import ConnectionClosed
from websockets.http11 import Request, Response

from rltrainer.core import Verdict
from rltrainer.labeling import messages as wire
from rltrainer.labeling.gate import Gate, load_files, own_hosts

WEB = Path(__file__).parent.parent / "web"
TOKEN = "s3cret"
PATIENCE = 10.0

BIT = 16
"""Side of the blocks that spell a frame's number in bits along the clip's upper edge, the lowest bit first."""

Colour = tuple[int, int, int]
Pair = tuple[wire.PairHeader, tuple[bytes, bytes]]


def encode(pictures: Sequence[Image.Image], rate: int) -> bytes:
    """H.264 in MP4: no B-frames, a key frame every ten, as the service makes its clips."""
    file = io.BytesIO()
    with av.open(file, "w", format="mp4") as container:
        options = {"preset": "veryfast", "bf": "0", "g": "10", "crf": "18"}
        stream = container.add_stream("libx264", rate=rate, options=options)
        stream.width, stream.height = pictures[0].size
        stream.pix_fmt = "yuv420p"
        stream.codec_context.thread_count = 1
        for picture in pictures:
            container.mux(stream.encode(av.VideoFrame.from_ndarray(np.asarray(picture), format="rgb24")))
        container.mux(stream.encode())
    return file.getvalue()


def shapes(colour: Colour, frames: int, size: int = 128) -> list[Image.Image]:
    """A coloured disc that moves over the picture, with the number of each frame in digits and in bits."""
    pictures = []
    for number in range(frames):
        picture = Image.new("RGB", (size, size), (24, 26, 30))
        draw = ImageDraw.Draw(picture)
        across = size * (0.2 + 0.6 * number / max(1, frames - 1))
        draw.ellipse([across - 18, size / 2 - 18, across + 18, size / 2 + 18], fill=colour)
        draw.rectangle([0, size - 24, size, size], fill=colour)
        draw.text((6, size - 18), str(number), fill=(255, 255, 255))
        for bit in range(6):
            draw.rectangle([bit * BIT, 0, bit * BIT + BIT - 1, BIT - 1], fill="white" if number >> bit & 1 else "black")
        pictures.append(picture)
    return pictures


def make_pair(query_id: str, videos: tuple[bytes, bytes], frames: int, rate: float, size: int = 128, **more: Any) -> Pair:
    """A pair whose segments are called `<query>-a` and `<query>-b`."""
    shape: dict[str, Any] = {"frames": frames, "frame_rate": rate, "width": size, "height": size}
    first, second = (
        wire.ClipHeader(segment_id=f"{query_id}-{name}", bytes=len(video), **shape)
        for name, video in zip("ab", videos, strict=True)
    )
    return wire.PairHeader(query_id=query_id, clips=(first, second), **more), videos


def training(**changes: Any) -> wire.Status:
    """How a run stands in the midst of its training."""
    stands = wire.Status(
        phase="training",
        paused=False,
        message="The agent is learning.",
        labels=12,
        skipped=0,
        wanted=100,
        waiting=3,
        step=20_480,
        steps=200_000,
        steps_per_second=2100.4,
        held_out_accuracy=0.82,
        verdict="",
        true_return=None,
        reward_version=4,
        next_pair_seconds=None,
    )
    return stands.model_copy(update=changes)


class StandIn:
    """Serves web/ and one page or more. Change its fields before a page connects; call its methods from any thread.

    received: every message that came, in order, resent ones too
    stored:   labels by label id, each once
    silent:   labels are neither stored nor acked, as if the line had died
    refuse:   why a message is not taken, or None
    """

    def __init__(self, pairs: Sequence[Pair] = (), **welcome: Any) -> None:
        self.pairs = list(pairs)
        self.rules: dict[str, Any] = {
            "allow_editing": True,
            "allow_reasons": True,
            "allow_skipping": True,
            "allow_ties": True,
            "config_restricted": False,
            "speed": 1.0,
            "frame_rate": None,
            "queue_size": 8,
        }
        self.welcome: dict[str, Any] = {
            "run": "run-1",
            "env": "HalfCheetah-v5",
            "labeler": "you",
            "admin": True,
            "mode": "label",
            "task": "Which one runs better?",
            "notice": None,
            **welcome,
        }
        self.status: wire.Status | None = None
        self.received: list[wire.FromPage] = []
        self.stored: dict[str, wire.LabelMessage] = {}
        self.silent = False
        self.refuse: Callable[[wire.FromPage], str | None] = lambda _: None
        self.port = 0
        self.gate = Gate((), {})
        self.report = "<!doctype html><title>Report</title><style>h1 { color: rgb(1, 2, 3) }</style><h1>Report</h1>"
        self._files = load_files(WEB)
        self._news = threading.Condition()
        self._pages: set[ServerConnection] = set()
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, name="stand-in", daemon=True)
        self._thread.start()
        self._server: Server | None = None
        self.start()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}/#token={TOKEN}"

    @property
    def labels(self) -> list[wire.LabelMessage]:
        """Labels as they came, resent ones too."""
        return [message for message in self.received if isinstance(message, wire.LabelMessage)]

    # ------------------------------------------------------------------ from the test's thread

    def start(self) -> None:
        self._do(self._open())

    def stop(self) -> None:
        """As if killed: every connection ends."""
        self._do(self._shut())

    def close(self) -> None:
        self.stop()
        self._do(self._end())
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(PATIENCE)
        self._loop.close()

    def send(self, message: wire.Message) -> None:
        """To every page."""
        self._do(self._broadcast(message.model_dump_json()))

    def push(self, pair: Pair) -> None:
        self.pairs.append(pair)
        self._do(self._broadcast(wire.pack_pair(*pair)))

    def wait(self, fact: Callable[[], Any]) -> Any:
        """Until `fact()` is true of what came in."""
        with self._news:
            assert self._news.wait_for(fact, PATIENCE), f"never came; received {self.received}"
            return fact()

    def wait_labels(self, count: int) -> list[wire.LabelMessage]:
        """The first `count` labels, once they came."""
        self.wait(lambda: len(self.labels) >= count)
        return self.labels[:count]

    # ------------------------------------------------------------------ in the loop

    def _do(self, task: Any) -> Any:
        return asyncio.run_coroutine_threadsafe(task, self._loop).result(PATIENCE)

    async def _open(self) -> None:
        self._server = await serve(self._page, "127.0.0.1", self.port, process_request=self._file, compression=None)
        self.port = next(iter(self._server.sockets)).getsockname()[1]
        self.gate = Gate(own_hosts("127.0.0.1", self.port), self._files)

    async def _shut(self) -> None:
        if self._server is not None:
            for page in tuple(self._pages):
                page.transport.abort()
            self._server.close()
            await self._server.wait_closed()
            self._server = None

    async def _end(self) -> None:
        """Nothing is left over, such as a connection that came while the server closed."""
        others = asyncio.all_tasks() - {asyncio.current_task()}
        for task in others:
            task.cancel()
        await asyncio.gather(*others, return_exceptions=True)

    async def _broadcast(self, message: str | bytes) -> None:
        for page in tuple(self._pages):
            await page.send(message)

    def _file(self, _: ServerConnection, request: Request) -> Response | None:
        lists = [request.headers.get_all(name) for name in ("Host", "Origin", "Accept-Encoding")]
        reply = self.gate.reply(request.method, request.path, *lists)
        return reply and Response(reply.status.value, reply.status.phrase, Headers(reply.headers), reply.content)

    async def _page(self, page: ServerConnection) -> None:
        try:
            hello = self._note(str(await page.recv()))
            if not isinstance(hello, wire.Hello) or hello.token != TOKEN:
                await page.send(wire.Refused(label_id=None, reason="this link is not valid").model_dump_json())
                await page.close(4401, "this link is not valid")
                return
            await page.send(wire.Welcome(saved=self._saved(), rules=wire.Rules(**self.rules), **self.welcome).model_dump_json())
            self._pages.add(page)
            if self.status:
                await page.send(self.status.model_dump_json())
            for pair in self._unanswered():
                await page.send(wire.pack_pair(*pair))
            async for text in page:
                await self._take(page, self._note(str(text)))
        except ConnectionClosed:
            pass
        finally:
            self._pages.discard(page)

    def _saved(self) -> int:
        newest = {label.query_id: label.verdict for label in self.stored.values()}
        return sum(verdict is not Verdict.UNDO for verdict in newest.values())

    def _unanswered(self) -> list[Pair]:
        newest = {label.query_id: label.verdict for label in self.stored.values()}
        return [pair for pair in self.pairs if newest.get(pair[0].query_id, Verdict.UNDO) is Verdict.UNDO]

    async def _take(self, page: ServerConnection, message: wire.Message) -> None:
        if isinstance(message, wire.Hello | wire.Here) or self.silent:
            return
        if isinstance(message, wire.ReportMessage):
            path = self.gate.show_report(self.report.encode())
            await page.send(wire.ReportReady(path=path, reason="").model_dump_json())
            return
        label_id = message.label_id if isinstance(message, wire.LabelMessage) else None
        reason = self.refuse(message)
        if reason:
            await page.send(wire.Refused(label_id=label_id, reason=reason).model_dump_json())
        elif isinstance(message, wire.LabelMessage):
            self.stored.setdefault(message.label_id, message)
            await page.send(wire.Ack(label_id=message.label_id, saved=self._saved()).model_dump_json())
        elif isinstance(message, wire.PauseMessage):
            assert self.status
            self.status = self.status.model_copy(update={"paused": message.paused})
            await self._broadcast(self.status.model_dump_json())
        elif isinstance(message, wire.SettingsMessage):
            self.rules |= {name.rpartition(".")[2]: value for name, value in message.changes.items()}
            await self._broadcast(wire.Rules(**self.rules).model_dump_json())

    def _note(self, text: str) -> wire.FromPage:
        message = wire.read(text)
        with self._news:
            self.received.append(message)
            self._news.notify_all()
        return message
