"""How soon labels are saved: 200 connected labelers, 70 labels a second in total, and PPO training on the same two cores.

The service is `rltrainer label`, the labelers speak the page's protocol over real WebSockets, each by a link of its own, and
answer at random moments. Pairs never run out: a feeder, a process of its own, keeps 1,500 waiting and logs as a trainer does.
The trainer beside is `rltrainer train` on HalfCheetah-v5 with an oracle, in a run of its own. Two cores cannot draw clips for
70 pairs a second, so labelers answer what the service has dealt to them (its leases), with clips or without; the clips that
are made meanwhile are pushed to them, and counted.

Phases: in the second one page stops reading, in the third a page with a good link sends as fast as it can, and in the
fourth somebody without one holds connections open and guesses links. Both are processes of their own, which give way to the
others as another machine would. What they do to the others' labels is the question.
An ack's time runs from the label's sending to the ack's arrival, in a harness that has to share the cores, too.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import subprocess
import sys
import tempfile
import time
import uuid
from collections import Counter, deque
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from dataclasses import dataclass, field
from itertools import count, pairwise
from pathlib import Path
from typing import Any

import numpy as np
from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import ConnectionClosed, InvalidHandshake
from websockets.typing import Origin

from benchmarks import reporting
from benchmarks.faults import ENV, POOL, free_port, recorded
from rltrainer.config import Config
from rltrainer.core import Link, UserError, Verdict
from rltrainer.labeling import messages as wire
from rltrainer.labeling.gate import SOCKET_PATH, hashed, new_token
from rltrainer.labeling.session import TRY_LATER
from rltrainer.store import Store

LABELERS = 200
PACE = 70.0
WAITING = 1500
TARGET_MS = 250.0
EVICTION_SECONDS = 10.0
LOOK_SECONDS = 0.25
HELD_OPEN = 500
AT_ONCE = 100
"""Wrong links that wait for their answer: each takes up to a second."""
PATIENCE_SECONDS = 120.0
FIRST_STEPS = 10_000


def main() -> None:
    """The command."""
    options = reporting.flags(__doc__)
    options.add_argument("--phase", type=float, default=40.0, help="seconds of each of the four phases")
    options.add_argument("--labelers", type=int, default=LABELERS)
    options.add_argument("--pace", type=float, default=PACE, help="labels a second, of all labelers together")
    options.add_argument("--seed", type=int, default=0)
    chosen = options.parse_args()
    seconds = 15.0 if chosen.quick else chosen.phase
    with tempfile.TemporaryDirectory() as folder, trainer(Path(folder) / "training") as steps_done:
        load = Load(Path(folder) / "run", chosen.labelers, chosen.pace, np.random.default_rng(chosen.seed))
        found, raw = asyncio.run(load.measure(seconds, steps_done))
    reporting.write(chosen.json, found, raw)


# ------------------------------------------------------------------ the labelers


@dataclass
class Labeler:
    """One page: what it was told, and what it still waits for."""

    name: str
    token: str
    page: ClientConnection | None = None
    unacked: dict[str, float] = field(default_factory=dict)
    shown: list[str] = field(default_factory=list)
    refused: list[str] = field(default_factory=list)


@dataclass
class Ack:
    """A label that was saved: when it was sent, by the harness's clock, and how long it took, in seconds."""

    sent: float
    took: float


class Load:
    """The run that is labelled, its labelers, and what they saw."""

    def __init__(self, run: Path, labelers: int, pace: float, rng: np.random.Generator) -> None:
        self.run, self.pace, self.rng = run, pace, rng
        config = Config.of({"env": ENV, "labels": 0, "clips": {"size": 64}, "labeling": {"queue_size": WAITING}})
        self.overlap = config.labeling.overlap
        pool = [recorded(number) for number in range(POOL)]
        about = {"env": {"id": ENV, "options": {}}, "pool": [segment.id for segment in pool]}
        self.store = Store.create(run, config=config.model_dump(mode="json"), **about)
        self.store.keep(pool)
        self.labelers = {name: self._invite(name) for name in [f"labeler {number}" for number in range(labelers)]}
        self.port = free_port()
        self.acks: list[Ack] = []
        self.errors: list[str] = []
        self.dealt: dict[str, list[str]] = {}  # to whom, by query
        self.answered: dict[str, set[str]] = {}  # by whom
        self.held: dict[str, list[str]] = {name: [] for name in self.labelers}

    def _invite(self, name: str) -> Labeler:
        token = new_token()
        self.store.add_link(hashed(token), Link(name))
        return Labeler(name, token)

    async def measure(self, seconds: float, steps_done: Callable[[], tuple[float, float]]) -> tuple[dict[str, Any], Any]:
        """Four phases of so many seconds. Gives the figures, and every ack."""
        guests = {name: self._invite(name) for name in ("deaf", "flood")}
        with self._process("feeder"), self._process("service"):
            async with asyncio.TaskGroup() as group:
                tasks = [group.create_task(self._hear(labeler)) for labeler in self.labelers.values()]
                tasks.append(group.create_task(self._look()))
                await self._everybody_is_there()
                tasks.append(group.create_task(self._answer()))
                await asyncio.sleep(seconds / 2)  # the beginning counts for nothing: everybody comes, and gets pairs, at once
                marks, trained = [time.monotonic()], steps_done()
                await asyncio.sleep(seconds)
                marks.append(time.monotonic())
                evicted = await self._deaf(guests["deaf"], seconds)
                marks.append(time.monotonic())
                flooded = await self._guest("flood", guests["flood"].token, seconds)
                marks.append(time.monotonic())
                strangers = await self._guest("strangers", "", seconds)
                ended, trained_on = time.monotonic(), steps_done()
                tasks.pop().cancel()
                await self._all_acked()
                for task in tasks:
                    task.cancel()
        bounds = [*marks, ended]
        phases = [[ack for ack in self.acks if first <= ack.sent < end] for first, end in pairwise(bounds)]
        speed = (trained_on[0] - trained[0]) / (trained_on[1] - trained[1])
        return self._found(phases, ended - marks[0], evicted, speed, {**flooded, **strangers}), self._raw(phases, marks[0])

    # ------------------------------------------------------------------ what they do

    async def _hear(self, labeler: Labeler) -> None:
        """Be connected, as a page is: again, and without its unsaved labels, where the connection was lost."""
        async with connected(self.port, labeler.token) as page:
            labeler.page = page
            try:
                async for message in page:
                    self._heard(labeler, message)
            except ConnectionClosed:
                pass
        self.errors.append(f"{labeler.name} was closed: {page.close_code} {page.close_reason}")

    def _heard(self, labeler: Labeler, message: str | bytes) -> None:
        if isinstance(message, bytes):
            labeler.shown.append(wire.unpack_pair(message)[0].query_id)
            return
        said = wire.heard(message)
        if isinstance(said, wire.Ack):
            sent = labeler.unacked.pop(said.label_id)
            self.acks.append(Ack(sent, time.monotonic() - sent))
        elif isinstance(said, wire.Refused):
            self.errors.append(f"{labeler.name} was refused: {said.reason}")

    async def _look(self) -> None:
        """What is dealt to whom."""
        while True:
            for query_id, name in (await asyncio.to_thread(self.store.leased, time.time())).items():
                if name in self.labelers and name not in self.dealt.setdefault(query_id, []):
                    self.dealt[query_id].append(name)
                    self.held[name].append(query_id)
            await asyncio.sleep(LOOK_SECONDS)

    async def _answer(self) -> None:
        """Answers at random moments, of random labelers who hold a pair."""
        due = time.monotonic()
        while True:
            due += self.rng.exponential(1 / self.pace)
            await asyncio.sleep(max(0.0, due - time.monotonic()))
            able = [labeler for name, labeler in self.labelers.items() if self.held[name]]
            if not able:
                self.errors.append("nobody held a pair")
                continue
            labeler = able[self.rng.integers(len(able))]
            query_id = self.held[labeler.name].pop(0)
            self.answered.setdefault(query_id, set()).add(labeler.name)
            label = wire.LabelMessage(label_id=uuid.uuid4().hex, query_id=query_id, verdict=Verdict.EQUAL)
            labeler.unacked[label.label_id] = time.monotonic()
            assert labeler.page is not None
            await labeler.page.send(label.model_dump_json())

    async def _deaf(self, guest: Labeler, seconds: float) -> float:
        """A page that is let in, gets its pairs, and reads nothing more. Gives seconds until they are free again."""
        deadline = time.monotonic() + seconds
        async with connected(self.port, guest.token, ping_interval=None, close_timeout=0.1) as page:
            await self._until(lambda: guest.name in self.store.leased(time.time()).values())
            page.transport.pause_reading()
            stopped = time.monotonic()
            await self._until(lambda: guest.name not in self.store.leased(time.time()).values())
            gone = time.monotonic() - stopped
        await asyncio.sleep(max(0.0, deadline - time.monotonic()))
        return gone

    async def _guest(self, role: str, token: str, seconds: float) -> dict[str, float]:
        """Somebody who means no well, in a process of their own that gives way to the others. Gives what they got done."""
        words = ["-c", f"from benchmarks.load import {role}; {role}()", str(self.port), token, str(seconds)]
        guest = await asyncio.create_subprocess_exec(sys.executable, *words, cwd=reporting.ROOT, stdout=subprocess.PIPE)
        said, _ = await guest.communicate()
        found: dict[str, float] = json.loads(said)
        return found

    # ------------------------------------------------------------------ what goes on meanwhile

    async def _everybody_is_there(self) -> None:
        await self._until(lambda: all(self.held.values()))

    async def _all_acked(self) -> None:
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(EVICTION_SECONDS):
                await self._until(lambda: not any(labeler.unacked for labeler in self.labelers.values()))

    async def _until(self, fact: Callable[[], bool]) -> None:
        async with asyncio.timeout(PATIENCE_SECONDS):
            while not await asyncio.to_thread(fact):  # noqa: ASYNC110 - other processes bring it about
                await asyncio.sleep(0.1)

    @contextlib.contextmanager
    def _process(self, role: str) -> Iterator[None]:
        """The service, or the feeder, until the block ends."""
        words = ["-m", "rltrainer", "label", str(self.run), "--port", str(self.port), "--no-open"]
        if role == "feeder":
            words = ["-c", "from benchmarks.load import feeder; feeder()", str(self.run)]
        with (self.run / "label-service.log").open("a") as log:
            process = subprocess.Popen(
                [sys.executable, *words], cwd=reporting.ROOT, stdout=subprocess.DEVNULL, stderr=log, start_new_session=True
            )
        try:
            yield
            assert process.poll() is None, (self.run / "label-service.log").read_text()
        finally:
            process.terminate()
            process.wait(PATIENCE_SECONDS)

    # ------------------------------------------------------------------ figures

    def _found(
        self, phases: Sequence[Sequence[Ack]], lasted: float, evicted: float, speed: float, guests: dict[str, Any]
    ) -> dict[str, Any]:
        everything = [ack for phase in phases for ack in phase]
        twice, answered = sum(len(names) > 1 for names in self.answered.values()), len(self.answered)
        shown = Counter(query_id for labeler in self.labelers.values() for query_id in labeler.shown)
        unacked = sum(len(labeler.unacked) for labeler in self.labelers.values())
        names = ("as ever", "one page stops reading", "one floods", "strangers hold and guess")
        return {
            "labelers": len(self.labelers),
            "labels a second": len(everything) / lasted,
            "ack, median ms": _quantile(everything, 0.5),
            "ack, p99 ms": _quantile(everything, 0.99),
            "ack, longest ms": _quantile(everything, 1.0),
            "ack target, p99 ms": TARGET_MS,
            **{f"ack, p99 ms, {name}": _quantile(phase, 0.99) for name, phase in zip(names, phases, strict=True)},
            "errors": len(self.errors) + unacked,
            "pairs answered": answered,
            "pairs given to two": twice,
            "pairs given to two beyond the overlap share": max(0, twice - int(self.overlap * answered)),
            "pairs given to more than two": sum(len(names) > 2 for names in self.dealt.values()),
            "pairs shown to two beyond those": sum(n > 1 and len(self.dealt[query_id]) < n for query_id, n in shown.items()),
            "pairs shown a second": sum(shown.values()) / lasted,
            "a page that stops reading is gone after seconds": evicted,
            **guests,
            "env steps a second of the training beside": speed,
        }

    def _raw(self, phases: Sequence[Sequence[Ack]], began: float) -> dict[str, Any]:
        """Every ack of each phase: when its label was sent, in seconds, and how long it took, in ms, as `sent:took`."""
        acks = [" ".join(f"{ack.sent - began:.2f}:{1000 * ack.took:.0f}" for ack in phase) for phase in phases]
        return {"errors": self.errors, "acks": acks}


async def _read(page: ClientConnection) -> None:
    """Whatever comes, until the end."""
    with contextlib.suppress(ConnectionClosed):
        async for _ in page:
            pass


def _quantile(acks: Sequence[Ack], share: float) -> float:
    """In ms."""
    return float(1000 * np.quantile([ack.took for ack in acks], share, method="higher"))


@contextlib.asynccontextmanager
async def connected(port: int, token: str, **more: Any) -> AsyncIterator[ClientConnection]:
    """A page that has said its link."""
    origin = f"http://127.0.0.1:{port}"
    where = origin.replace("http", "ws", 1) + SOCKET_PATH
    options: dict[str, Any] = {"origin": Origin(origin), "compression": None, "max_size": None, "proxy": None, **more}
    for left in reversed(range(int(PATIENCE_SECONDS / LOOK_SECONDS))):
        try:
            page = await connect(where, **options)
            break
        except OSError:
            if not left:
                raise
            await asyncio.sleep(LOOK_SECONDS)
    async with page:
        await page.send(wire.Hello(token=token).model_dump_json())
        yield page


# ------------------------------------------------------------------ who means no well


def flood() -> None:
    """A page that sends as fast as it can: settings that there are not, signs of life, nonsense. It reads the answers."""
    settings = wire.SettingsMessage(changes={"x" * 5000: 1}).model_dump_json()
    messages = (settings, wire.Here().model_dump_json(), "{" * 10_000)
    port, token, seconds = _guest()

    async def send() -> int:
        sent = 0
        with contextlib.suppress(TimeoutError, ConnectionClosed):
            async with asyncio.timeout(seconds), connected(port, token, close_timeout=0.1) as page:
                reading = asyncio.create_task(_read(page))
                for sent in count(1):
                    await page.send(messages[sent % len(messages)])
                reading.cancel()
        return sent

    print(json.dumps({"messages a second that a flooding page got rid of": asyncio.run(send()) / seconds}))


def strangers() -> None:
    """Connections that say nothing, as many as may be, and wrong links, many at a time, as fast as they are answered."""
    port, _, seconds = _guest()
    codes: Counter[int | None] = Counter()
    silent: deque[asyncio.StreamWriter] = deque()
    deadline = time.monotonic() + seconds

    async def guess() -> None:
        while time.monotonic() < deadline:
            with contextlib.suppress(OSError, InvalidHandshake, ConnectionClosed, EOFError):
                silent.append((await asyncio.open_connection("127.0.0.1", port))[1])
                async with connected(port, new_token()) as page:
                    await _read(page)
                codes[page.close_code] += 1
            if len(silent) > HELD_OPEN:
                silent.popleft().close()

    async def guess_all() -> None:
        await asyncio.gather(*(guess() for _ in range(AT_ONCE)))

    asyncio.run(guess_all())
    found = {"wrong links a second": codes.total(), "of them told to come later, a second": codes[TRY_LATER]}
    print(json.dumps({name: number / seconds for name, number in found.items()}))


def _guest() -> tuple[int, str, float]:
    """Port, token and seconds, from the command line; another machine would not take this one's cores."""
    os.nice(19)
    return int(sys.argv[1]), sys.argv[2], float(sys.argv[3])


# ------------------------------------------------------------------ what runs beside


@contextlib.contextmanager
def trainer(run: Path) -> Iterator[Callable[[], tuple[float, float]]]:
    """A training, past its first rollouts. Gives how to ask for its env steps and when it had done them (Unix seconds)."""
    settings = {"env": "HalfCheetah-v5", "steps": 100_000_000, "labeler": "oracle", "port": 0, "run": run}
    command = [sys.executable, "-m", "rltrainer", "train", *(f"--{name}={value}" for name, value in settings.items())]
    process = subprocess.Popen(
        [*command, "--no-open"], cwd=reporting.ROOT, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    )
    try:
        with contextlib.closing(_store_of(run, process)) as store:
            while _steps(store)[0] < FIRST_STEPS:
                time.sleep(0.5)
            yield lambda: _steps(store)
    finally:
        process.terminate()
        process.wait(PATIENCE_SECONDS)


def _store_of(run: Path, process: subprocess.Popen[bytes]) -> Store:
    """Once the training has made it."""
    while not (run / "store.db").exists():
        if process.poll() is not None:
            raise UserError("the training beside did not start; try `rltrainer train --env HalfCheetah-v5 --labeler oracle`")
        time.sleep(0.2)
    time.sleep(1.0)
    return Store.open(run)


def _steps(store: Store) -> tuple[float, float]:
    event = store.newest_event("progress") or {"step": 0, "at": 0.0}
    return event["step"], event["at"]


def feeder() -> None:
    """In a process of its own: keeps so many pairs waiting, and logs, as a trainer does."""
    store, rng = Store.open(Path(sys.argv[1])), np.random.default_rng()
    shown = [store.segment(name) for name in store.fact("pool")]
    for number in count():
        store.log("progress", phase="training", step=number, steps=0)
        lacking = WAITING - store.counts()["waiting"]
        chosen = rng.permuted(np.tile(np.arange(POOL), (max(0, lacking), 1)), axis=1)[:, :2]
        store.ask([(shown[first], shown[second]) for first, second in chosen], number, "uniform")
        time.sleep(0.25)


if __name__ == "__main__":
    reporting.run(main)
