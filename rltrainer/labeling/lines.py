"""Connections: what is still to be sent on each, whether anybody is at its other end, and which have not said who they are."""

from __future__ import annotations

import asyncio
import contextlib
import struct
import sys
import time
from collections.abc import Coroutine
from dataclasses import dataclass, field
from typing import Any

from websockets.asyncio.server import ServerConnection
from websockets.exceptions import ConnectionClosed

from rltrainer.labeling.effects import Close

MOST_UNSENT = 256
"""Messages that wait for a page which does not read. More than its labels that go into the store together, each with an ack."""
BEAT_SECONDS = 2.0
SILENT_BEATS = 3
"""Who for so many beats neither answers a ping nor takes any of what is on its way is not there any more: with the beat before
the ping that is seen within 8 s. A slow line is not a dead one: it answers once it has what was sent before the ping. Beats are
counted, not seconds, so that after a standstill of the service itself nobody is taken for dead."""


@dataclass
class Line:
    """A connection and what is still to be sent on it: no page waits for another."""

    connection: ServerConnection
    unsent: asyncio.Queue[str | bytes | Close] = field(default_factory=lambda: asyncio.Queue(MOST_UNSENT))
    slow_until: float = 0.0  # when its next message is read, by time.monotonic()

    def put(self, item: str | bytes | Close) -> None:
        """Drops the connection where the page has not read for long."""
        try:
            self.unsent.put_nowait(item)
        except asyncio.QueueFull:
            self.connection.transport.abort()

    async def send(self) -> None:
        """Send what is put, in order, until the connection ends."""
        with contextlib.suppress(ConnectionClosed):
            while not isinstance(item := await self.unsent.get(), Close):
                await self.connection.send(item)
            await self.connection.close(item.code, item.reason)

    def slow(self, seconds: float) -> None:
        """The page's next message is not read before."""
        self.slow_until = time.monotonic() + seconds

    async def rest(self) -> None:
        """Wait as long as the page is slowed."""
        wait = self.slow_until - time.monotonic()
        if wait > 0:
            await self.wait_for(asyncio.sleep(wait))

    async def wait_for(self, work: Coroutine[Any, Any, Any]) -> None:
        """Wait for it, though no longer than the page is there: who is gone holds no place and no pairs meanwhile."""
        tasks = [asyncio.create_task(one) for one in (work, self.connection.wait_closed())]
        try:
            await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for task in tasks:
                task.cancel()

    async def beat(self) -> None:
        """Drops the connection once nobody is at its other end."""
        answer, silent, left = asyncio.create_task(self._answer()), 0, 0
        try:
            while silent < SILENT_BEATS:
                await asyncio.sleep(BEAT_SECONDS)
                before, left = left, self._left()
                unread = time.monotonic() - self.slow_until < BEAT_SECONDS  # its answer may wait behind what we do not read
                silent = 0 if answer.done() or left < before or unread else silent + 1
                if answer.done():
                    answer = asyncio.create_task(self._answer())
            self.connection.transport.abort()
        finally:
            answer.cancel()

    async def _answer(self) -> None:
        with contextlib.suppress(ConnectionClosed):
            await (await self.connection.ping())

    def _left(self) -> int:
        """Bytes that the other end has not taken yet."""
        transport = self.connection.transport
        return transport.get_write_buffer_size() + _in_kernel(transport.get_extra_info("socket").fileno())


def _in_kernel(descriptor: int) -> int:
    """Bytes that the system has not seen arrive; 0 where it does not say."""
    if sys.platform != "linux" or descriptor < 0:
        return 0
    from fcntl import ioctl  # not on Windows
    from termios import TIOCOUTQ

    return int(struct.unpack("i", ioctl(descriptor, TIOCOUTQ, bytes(4)))[0])


class Strangers:
    """Connections that nobody was let in by yet, in the order in which they came."""

    def __init__(self, most: int) -> None:
        self._most = most
        self._here: dict[ServerConnection, None] = {}

    def came(self, connection: ServerConnection) -> None:
        """Ends the oldest where there are too many."""
        self._here[connection] = None
        if len(self._here) > self._most:
            oldest = next(iter(self._here))
            del self._here[oldest]
            oldest.transport.abort()

    def gone(self, connection: ServerConnection) -> None:
        """One has been let in, or has ended."""
        self._here.pop(connection, None)


class Caller(ServerConnection):
    """A connection that is a stranger's from its first byte until somebody is let in by it, or its end."""

    def __init__(self, strangers: Strangers, *about: Any, **more: Any) -> None:
        super().__init__(*about, **more)
        self._strangers = strangers

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        super().connection_made(transport)
        self._strangers.came(self)

    def connection_lost(self, exc: Exception | None) -> None:
        self._strangers.gone(self)
        super().connection_lost(exc)
