"""The label service: the session tied to sockets, store and clip worker. It needs no trainer alive."""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import logging
import signal
import time
from collections.abc import Awaitable, Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, Literal

from websockets.asyncio.server import Server, ServerConnection
from websockets.asyncio.server import serve as serve_sockets
from websockets.datastructures import Headers
from websockets.exceptions import ConnectionClosed
from websockets.http11 import Request, Response

from rltrainer.config import Config
from rltrainer.core import Label, Link, UserError
from rltrainer.labeling.desk import StoreDesk
from rltrainer.labeling.effects import (
    Admit,
    ChangeSettings,
    Close,
    Effect,
    Lease,
    MakeClips,
    MakeReport,
    Pair,
    Pause,
    Release,
    SaveLabel,
    Send,
    SendPair,
    Slow,
)
from rltrainer.labeling.gate import (
    Gate,
    hashed,
    load_files,
    new_token,
    not_bound,
    own_hosts,
    page_url,
    web_folder,
)
from rltrainer.labeling.limits import MOST_STRANGERS
from rltrainer.labeling.lines import Caller, Line, Strangers
from rltrainer.labeling.messages import INBOUND_LIMIT, ReportReady, pack_pair
from rltrainer.labeling.reports import make_report
from rltrainer.labeling.session import Session
from rltrainer.labeling.worker import ClipKeeper, Unshown
from rltrainer.store import NoRoom, Store

POLL_SECONDS = 0.2
ROOM_SECONDS = 1.0
"""How often a full disk is tried again."""
REPORT_SECONDS = 1.0
LOOK_SHARE = 0.05
"""Of the time, at most, for one kind of look: with a long queue and many labels it takes a while, and labels wait for it."""
BUSY_SECONDS = 2.0
"""How much later the store is looked at, at most, while labels come in as fast as it takes them."""
OPEN_SECONDS = 5.0
CLOSE_SECONDS = 2.0
NOTICE_SECONDS = 20.0
MOST_JOBS = 100
"""What waits for the store. Beyond it no page is read until all of it is done: then each has its turn, whoever sends most."""
UNSUPPORTED = 1003

log = logging.getLogger(__name__)

Look = Literal["snapshot", "report"]
LOOKS: dict[Look, float] = {"snapshot": POLL_SECONDS, "report": REPORT_SECONDS}
"""How the store is looked at, and how often, in seconds."""
Write = SaveLabel | Lease | Release
Job = Write | ChangeSettings | Pause | Look


def serve(
    run: Path,
    *,
    port: int | None = None,
    host: str | None = None,
    announce: Callable[[str], None],
    until: Callable[[], bool] | None = None,
    labeler: str = "you",
) -> None:
    """Serve the labelers of a run until SIGINT or SIGTERM, or until `until()`, asked once a second, is true.

    port, host: instead of the run's own labeling.port and labeling.host; port 0 takes a free one
    announce:   told an admin's link once pages can connect
    labeler:    whose labels come in through that link

    Raises UserError where the folder holds no run or the port cannot be had.
    """
    asyncio.run(run_service(run, port=port, host=host, announce=announce, until=until, labeler=labeler))


async def run_service(
    run: Path,
    *,
    port: int | None = None,
    host: str | None = None,
    announce: Callable[[str], None],
    until: Callable[[], bool] | None = None,
    labeler: str = "you",
    stop: asyncio.Event | None = None,
) -> None:
    """`serve` in a running loop; it ends when `stop` is set, too."""
    store = Store.open(run)
    desk = StoreDesk(store)
    try:
        config = Config.of(store.fact("config"), "the run's config")
        service = Service(desk, store.fact("run"), store.fact("env"), config)
        stop = stop or asyncio.Event()
        host = config.labeling.host if host is None else host
        port = config.labeling.port if port is None else port
        with _signals(stop.set):
            await service.run(Address(host, port, labeler), announce, until or (lambda: False), stop)
    except NoRoom as error:
        raise UserError(f"{str(run)!r} lies on a disk that takes no more ({error.strerror}); make room on it") from error
    finally:
        desk.close()
        store.close()


@contextlib.contextmanager
def _signals(act: Callable[[], None]) -> Iterator[None]:
    """SIGINT and SIGTERM call `act`."""
    loop = asyncio.get_running_loop()
    with contextlib.ExitStack() as undo:
        for number in (signal.SIGINT, signal.SIGTERM):
            with contextlib.suppress(NotImplementedError):  # Windows has Ctrl-C only, as KeyboardInterrupt
                loop.add_signal_handler(number, act)
                undo.callback(loop.remove_signal_handler, number)
        yield


@dataclass(frozen=True)
class Address:
    """Where to listen (port 0: a free one), and whose link to give out."""

    host: str
    port: int
    labeler: str


class Service:
    """Carries out what the session says, and tells it what comes of it.

    One task does all that touches the store, in order; another has clips made.

    run: the run's name; env: its id and options
    """

    def __init__(self, desk: StoreDesk, run: str, env: Mapping[str, Any], config: Config) -> None:
        self.session = Session(run, env["id"], config)
        self._desk, self._env, self._config = desk, env, config
        self._gate = Gate((), {})  # nobody, until the port is known
        self._numbers = itertools.count(1)
        self._lines: dict[int, Line] = {}
        self._strangers = Strangers(MOST_STRANGERS)
        self._jobs: asyncio.Queue[Job] = asyncio.Queue()
        self._orders: asyncio.Queue[MakeClips] = asyncio.Queue()
        self._asked: asyncio.Queue[int] = asyncio.Queue()  # pages that wait for a report, each once
        self._asking: set[int] = set()  # the same
        self._reports: dict[int, str] = {}  # the path of each page's own
        self._took: dict[Look, float] = {}  # by each look, the last time, in seconds
        self._noticed = asyncio.Event()
        self._closing = False

    async def run(
        self, address: Address, announce: Callable[[str], None], until: Callable[[], bool], stop: asyncio.Event
    ) -> None:
        """Listen at `address`, announce the link, and serve until `stop` is set or `until()` is true."""
        self.session.remember(await self._desk.past())
        for look in LOOKS:
            self._carry_out(await self._do(look))
        server = await self._listen(address)
        keeper = ClipKeeper(self._env["id"], self._env.get("options", {}), self._config.clips)
        jobs = asyncio.create_task(self._do_jobs())
        others = [self._make_clips(keeper), self._make_reports(), self._watch_clock(), _true(until), stop.wait()]
        tasks = [jobs, *(asyncio.create_task(work) for work in others)]
        try:
            announce(await self._open(server, address))
            await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
        finally:
            await self._close(server, jobs)
            for task in tasks:
                task.cancel()
            await asyncio.wait(tasks)
            keeper.close()
        for task in tasks:
            if not task.cancelled():
                task.result()

    async def _open(self, server: Server, address: Address) -> str:
        """Let pages in; gives a new link."""
        port, token = server.sockets[0].getsockname()[1], new_token()
        self._gate = Gate(own_hosts(address.host, port), load_files(web_folder()))
        await self._desk.open(address.host, port, hashed(token), Link(address.labeler, admin=True))
        self.session.let_in(await self._desk.links(), time.monotonic())
        return page_url(address.host, port, token)

    async def _close(self, server: Server, jobs: asyncio.Task[None]) -> None:
        """Commit what was sent, say how the run stands, and close connections with 1001."""
        self._closing = True
        self._noticed.set()
        self._jobs.put_nowait("report")
        await self._finish_jobs(jobs)
        server.close()
        with contextlib.suppress(TimeoutError):  # a browser may hold a connection that it never uses
            async with asyncio.timeout(CLOSE_SECONDS):
                await server.wait_closed()
        await self._finish_jobs(jobs)

    async def _finish_jobs(self, jobs: asyncio.Task[None]) -> None:
        """Wait for the jobs in the queue, unless the task that does them is dead."""
        finished = asyncio.create_task(self._jobs.join())
        await asyncio.wait({finished, jobs}, return_when=asyncio.FIRST_COMPLETED)
        finished.cancel()

    # ------------------------------------------------------------------ sockets

    async def _listen(self, address: Address) -> Server:
        """Raises UserError where the port cannot be had."""
        try:
            return await serve_sockets(
                self._page,
                address.host,
                address.port,
                process_request=self._answer,
                create_connection=partial(Caller, self._strangers),  # type: ignore[arg-type]  # it is called like the class, and no more
                open_timeout=OPEN_SECONDS,
                ping_interval=None,  # lines have beats of their own
                compression=None,  # video does not get smaller
                max_size=INBOUND_LIMIT,
                close_timeout=CLOSE_SECONDS,
                server_header=None,
                logger=log.getChild("sockets"),
            )
        except OSError as error:
            raise not_bound(error, address.host, address.port) from None

    def _answer(self, _: ServerConnection, request: Request) -> Response | None:
        lists = [request.headers.get_all(name) for name in ("Host", "Origin", "Accept-Encoding")]
        reply = self._gate.reply(request.method, request.path, *lists)
        if reply is None:
            return None
        return Response(reply.status.value, reply.status.phrase, Headers(reply.headers), reply.content)

    async def _page(self, connection: ServerConnection) -> None:
        """One connection, from its first message to its end."""
        page, line = next(self._numbers), Line(connection)
        self._lines[page] = line
        tasks = [asyncio.create_task(work) for work in (line.send(), line.beat())]
        try:
            await self._noticed.wait()  # the welcome says how the clips are made
            self.session.connected(page, time.monotonic())
            async for message in connection:
                if isinstance(message, bytes):
                    await connection.close(UNSUPPORTED, "pages send text")
                    break
                self._carry_out(self.session.received(page, message, time.monotonic()))
                await line.rest()
                await (line.wait_for(self._jobs.join()) if self._jobs.qsize() > MOST_JOBS else asyncio.sleep(0))  # others' turn
        except ConnectionClosed:
            pass
        finally:
            del self._lines[page]
            self._gate.hide_report(self._reports.pop(page, ""))
            for task in tasks:
                task.cancel()
            self._carry_out(self.session.disconnected(page, time.monotonic()))

    # ------------------------------------------------------------------ effects

    def _carry_out(self, effects: Iterable[Effect]) -> None:
        for effect in effects:
            match effect:
                case Admit() | Send() | SendPair() | Slow() | Close() if effect.page in self._lines:
                    self._carry_to(self._lines[effect.page], effect)
                case MakeClips():
                    self._orders.put_nowait(effect)
                case MakeReport() if effect.page not in self._asking:
                    self._asking.add(effect.page)
                    self._asked.put_nowait(effect.page)
                case SaveLabel() | Release():
                    self._jobs.put_nowait(effect)
                case Lease() | ChangeSettings() | Pause() if not self._closing:
                    self._jobs.put_nowait(effect)

    def _carry_to(self, line: Line, effect: Admit | Send | SendPair | Slow | Close) -> None:
        match effect:
            case Admit():
                self._strangers.gone(line.connection)
            case Send():
                line.put(effect.message.model_dump_json())
            case SendPair():
                line.put(pack_pair(effect.header, effect.videos))
            case Slow():
                line.slow(effect.seconds)
            case Close():
                line.put(effect)

    # ------------------------------------------------------------------ the store

    async def _do_jobs(self) -> None:
        """What the store says reaches the session in the order in which the store said it.

        Labels and leases that wait go into the store together: one sync of the disk for all of them.
        """
        while True:
            jobs = [await self._jobs.get()]
            while isinstance(jobs[-1], Write) and not self._jobs.empty():
                jobs.append(self._jobs.get_nowait())
            writes = [job for job in jobs if isinstance(job, Write)]
            if writes:
                self._carry_out(await self._done(partial(self._write, writes)))
            if not isinstance(last := jobs[-1], Write):
                began = time.monotonic()
                self._carry_out(await self._done(partial(self._do, last)))
                if isinstance(last, str):
                    self._took[last] = time.monotonic() - began
            for _ in jobs:
                self._jobs.task_done()

    async def _done(self, work: Callable[[], Awaitable[list[Effect]]]) -> list[Effect]:
        """On a full disk no label is acked: pages keep theirs, and all that is to be written waits for room, in order."""
        while True:
            try:
                return await work()
            except NoRoom as error:
                log.warning("what pages sent waits: %s", error.strerror)
                if self._closing:
                    return []
                self._carry_out(self.session.delayed(f"the disk takes no more ({error.strerror})"))
                await asyncio.sleep(ROOM_SECONDS)

    async def _write(self, jobs: Sequence[Write]) -> list[Effect]:
        labels = [job for job in jobs if isinstance(job, SaveLabel)]
        saved = await self._desk.save(labels, [job for job in jobs if not isinstance(job, SaveLabel)])
        effects, now = [], time.monotonic()
        for asked, label in zip(labels, saved, strict=True):
            if isinstance(label, Label):
                effects += self.session.saved(label, now)
            else:
                effects += self.session.not_saved(asked.label_id, str(label), now)
        return effects

    async def _do(self, job: ChangeSettings | Pause | Look) -> list[Effect]:
        match job:
            case "snapshot":
                return self.session.ticked(await self._desk.snapshot(), time.monotonic())
            case "report":
                effects = self.session.let_in(await self._desk.links(), time.monotonic())
                effects += self.session.reported(*await self._desk.report())
                return effects + self.session.foretold(await self._desk.forecast())
            case _:
                await self._desk.note(job)
                return await self._do("snapshot")

    async def _watch_clock(self) -> None:
        """Time goes by, and the store is looked at again and again, less often while it has enough to do."""
        due = dict.fromkeys(LOOKS, 0.0)
        while True:
            await asyncio.sleep(POLL_SECONDS)
            now = time.monotonic()
            self._carry_out(self.session.elapsed(now))
            rest = {look: self._took.get(look, 0.0) / LOOK_SHARE if self._jobs.empty() else BUSY_SECONDS for look in LOOKS}
            for look in [look for look in LOOKS if now >= due[look] + min(rest[look], BUSY_SECONDS)]:
                due[look] = now + LOOKS[look]
                self._jobs.put_nowait(look)

    # ------------------------------------------------------------------ clips

    async def _make_clips(self, keeper: ClipKeeper) -> None:
        """Pairs are rendered one after the other; what fails is logged, and pages get other pairs."""
        asyncio.get_running_loop().call_later(NOTICE_SECONDS, self._noticed.set)
        self.session.notice = await keeper.notice()
        self._noticed.set()
        deaths = 0
        while True:
            order = await self._orders.get()
            try:
                pair = await self._pair(keeper, order)
            except Unshown as error:
                log.warning("pair %s is not shown: %s", order.query_id, error)
                deaths = 0 if error.final else deaths + 1
                await asyncio.sleep(min(30.0, 0.5 * 2**deaths) if deaths > 1 else 0.0)
                self._carry_out(self.session.clips_failed(order.query_id, str(error), time.monotonic(), final=error.final))
            else:
                deaths = 0
                self._carry_out(self.session.clips_ready(order.query_id, pair, time.monotonic()))

    async def _pair(self, keeper: ClipKeeper, order: MakeClips) -> Pair:
        """Raises Unshown."""
        try:
            query, first, second = await self._desk.pair(order.query_id)
        except (LookupError, UserError) as error:
            raise Unshown(str(error), final=True) from None
        return await keeper.pair(query, first, second, order.clips)

    # ------------------------------------------------------------------ reports

    async def _make_reports(self) -> None:
        """One after the other. A page's report is there until it has a newer one, or is gone."""
        while True:
            page = await self._asked.get()
            self._asking.remove(page)
            if page not in self._lines:
                continue
            try:
                content = await make_report(self._desk.run)
            except (UserError, OSError) as error:
                self._carry_out([Send(page, ReportReady(path=None, reason=str(error)))])
                continue
            if page in self._lines:
                self._gate.hide_report(self._reports.pop(page, ""))
                self._reports[page] = self._gate.show_report(content)
                self._carry_out([Send(page, ReportReady(path=self._reports[page], reason=""))])


async def _true(until: Callable[[], bool]) -> None:
    """Returns once `until()` is true, asked once a second."""
    while not until():  # noqa: ASYNC110 - whatever it is, it is nothing that could wake us
        await asyncio.sleep(1.0)
