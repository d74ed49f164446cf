"""Labels lost by SIGKILL: a labeler streams labels in while the label service and the trainer's side are killed at random.

The service is `rltrainer label`. The trainer's side is a stand-in that writes to the store as the trainer does (segments,
pairs, events), in a process of its own: to start a run takes long, and benchmarks.resume kills those. The labeler speaks the
page's protocol, has up to 32 labels under way, and after each kill resends what was not acked, as the page does. A reader
follows the labels by cursor, as the loop does. The labeler answers whatever waits, whether or not it was shown.

The control is the same with a service that acks before it commits: what the harness finds there, it would find in ours.
SIGKILL leaves the disk's cache alone, so this tells the order of commit and ack, and nothing of power cuts.
"""

from __future__ import annotations

import asyncio
import contextlib
import math
import os
import signal
import socket
import sys
import tempfile
import time
import uuid
from asyncio.subprocess import DEVNULL, Process
from collections import Counter
from collections.abc import Sequence
from dataclasses import replace
from itertools import count
from pathlib import Path
from typing import Any

import numpy as np
from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import ConnectionClosed, InvalidHandshake
from websockets.typing import Origin

from benchmarks import reporting
from rltrainer.config import Config
from rltrainer.core import Label, Link, Query, Segment, Verdict
from rltrainer.envs import make_env
from rltrainer.inspection import inspect
from rltrainer.labeling import messages as wire
from rltrainer.labeling import server
from rltrainer.labeling.desk import StoreDesk
from rltrainer.labeling.effects import Lease, Release, SaveLabel
from rltrainer.labeling.gate import SOCKET_PATH, hashed, new_token
from rltrainer.store import Store

ENV = "Pendulum-v1"
CONTROL_SHARE = 0.2
UNDER_WAY = 32
WAITING = 200
STEPS = 5
POOL = 30
"""Segments that pairs are made of."""
STARTING_SHARE = 0.2
"""Of the rounds, in which the service is killed within `START_SECONDS`; in the others, within a second of its first ack."""
START_SECONDS = 3.0
PATIENCE_SECONDS = 60.0


def main() -> None:
    """The command."""
    options = reporting.flags(__doc__)
    options.add_argument("--kills", type=int, default=500, help="of the service; the control gets a fifth of them")
    options.add_argument("--minutes", type=float, default=90.0, help="of both arms together, at most")
    options.add_argument("--seed", type=int, default=0)
    chosen = options.parse_args()
    minutes = 1.6 if chosen.quick else chosen.minutes
    kills = {"service": chosen.kills, "control": math.ceil(CONTROL_SHARE * chosen.kills)}
    arms = {}
    for name, share in (("service", 1 - CONTROL_SHARE), ("control", CONTROL_SHARE)):
        with tempfile.TemporaryDirectory() as folder:
            arm = Arm(Path(folder) / "run", chosen.seed, control=name == "control")
            arms[name] = asyncio.run(arm.measure(kills[name], 60 * minutes * share))
    ours, control = arms["service"]["found"], arms["control"]["found"]
    figures = {**ours, **{f"control: {name}": value for name, value in control.items()}}
    reporting.write(chosen.json, figures, arms)


# ------------------------------------------------------------------ the harness


class Arm:
    """One run under kills, and what became of its labels."""

    def __init__(self, run: Path, seed: int, *, control: bool) -> None:
        self.run, self.rng, self.control = run, np.random.default_rng(seed), control
        config = Config.of({"env": ENV, "labels": 0, "clips": {"size": 64}})
        pool = [recorded(number) for number in range(POOL)]
        about = {"env": {"id": ENV, "options": {}}, "pool": [segment.id for segment in pool]}
        self.store = Store.create(run, config=config.model_dump(mode="json"), **about)
        self.store.keep(pool)
        self.port, token = free_port(), new_token()
        self.store.add_link(hashed(token), Link("labeler"))
        self.labeler, self.reader = Labeler(self.store, self.port, token, self.rng), Reader(self.store)
        self.resent = 0

    async def measure(self, kills: int, seconds: float) -> dict[str, Any]:
        """Rounds of one kill of each side: so many, and for so long at most."""
        deadline = time.monotonic() + seconds
        labeling = asyncio.create_task(self.labeler.work())
        trainer = await self._start("trainer")
        rounds: list[dict[str, Any]] = []
        try:
            while len(rounds) < kills and time.monotonic() < deadline:
                rounds.append(await self._round(trainer))
                trainer = await self._start("trainer") if trainer.returncode is not None else trainer
                if labeling.done():
                    labeling.result()
        finally:
            await kill(trainer)
            labeling.cancel()
            await asyncio.wait([labeling])
            found = self._found(rounds)
            self.store.close()
        print(f"{'control' if self.control else 'service'}: {found}", flush=True)
        return {"found": found, "rounds": rounds}

    async def _round(self, trainer: Process) -> dict[str, Any]:
        service = await self._start("service")
        began, acked, starting = time.monotonic(), len(self.labeler.acked), self.rng.random() < STARTING_SHARE
        try:
            if starting:
                await asyncio.sleep(self.rng.uniform(0, START_SECONDS))
            else:
                await self._first_ack(service, acked)
                moments = sorted([("trainer", self.rng.random()), ("service", self.rng.random())], key=lambda m: m[1])
                await asyncio.sleep(moments[0][1])
                await kill(trainer if moments[0][0] == "trainer" else service)
                await asyncio.sleep(moments[1][1] - moments[0][1])
                await kill(trainer)
        finally:
            await kill(service)
        lasted = time.monotonic() - began
        await asyncio.to_thread(self.reader.look)
        stored = self.reader.seen.keys()
        self.resent += len(self.labeler.outbox.keys() & stored)
        return {
            "killed_after_seconds": round(lasted, 3),
            "starting": starting,
            "acked": len(self.labeler.acked) - acked,
            "unacked": len(self.labeler.outbox),
            "acked_and_lost_so_far": len(self.labeler.acked - stored),
        }

    async def _first_ack(self, service: Process, acked: int) -> None:
        async with asyncio.timeout(PATIENCE_SECONDS):
            while len(self.labeler.acked) == acked:
                assert service.returncode is None, (self.run / "label-service.log").read_text()
                await asyncio.sleep(0.01)

    async def _start(self, role: str) -> Process:
        words = ["-m", "rltrainer", "label", str(self.run), "--port", str(self.port), "--no-open"]
        if role == "trainer" or self.control:
            words = ["-c", f"from benchmarks.faults import {role}; {role}()", str(self.run), str(self.port)]
        with (self.run / "label-service.log").open("a") as log:
            return await asyncio.create_subprocess_exec(
                sys.executable, *words, cwd=reporting.ROOT, stdout=DEVNULL, stderr=log, start_new_session=True
            )

    def _found(self, rounds: list[dict[str, Any]]) -> dict[str, Any]:
        self.reader.look()
        labels = self.store.labels()
        stored = Counter(label.id for label in labels)
        answers = Counter(label.query_id for label in labels)
        applied_twice = sum(n > 1 for counted in (answers, self.reader.seen) for n in counted.values())
        return {
            "kills of the service": len(rounds),
            "of them within 3 s of its start, by the clock": sum(one["starting"] for one in rounds),
            "kills of the trainer's side": sum(not one["starting"] for one in rounds),
            "labels acked": len(self.labeler.acked),
            "acked labels lost": len(self.labeler.acked - stored.keys()),
            "labels applied twice": applied_twice,
            "stored labels that the reader missed": len(stored.keys() - self.reader.seen.keys()),
            "labels stored, ack cut off, and so sent again": self.resent,
            "labels refused": self.labeler.refused,
            "what is wrong with the run folder": [
                f"{check.name}: {check.found}"
                for check in inspect(self.run)
                if check.name in ("store", "segments", "labels") and check.status != "ok"
            ],
        }


async def kill(process: Process) -> None:
    """SIGKILL to it and what it started, if it still lives."""
    if process.returncode is None:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
    await process.wait()


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as listening:
        return int(listening.getsockname()[1])


class Labeler:
    """A page that never tires: one answer to each pair, resent until it is acked."""

    def __init__(self, store: Store, port: int, token: str, rng: np.random.Generator) -> None:
        self.outbox: dict[str, wire.LabelMessage] = {}
        self.acked: set[str] = set()
        self.refused = 0
        self._store, self._origin, self._token, self._rng = store, f"http://127.0.0.1:{port}", token, rng
        self._answered: set[str] = set()

    async def work(self) -> None:
        """Label whenever the service is there."""
        while True:
            with contextlib.suppress(OSError, InvalidHandshake, ConnectionClosed, EOFError):
                where = self._origin.replace("http", "ws", 1) + SOCKET_PATH
                async with connect(where, origin=Origin(self._origin), compression=None, max_size=None, proxy=None) as page:
                    await page.send(wire.Hello(token=self._token).model_dump_json())
                    hearing = asyncio.create_task(self._hear(page))
                    try:
                        await self._send(page, hearing)
                    finally:
                        hearing.cancel()
            await asyncio.sleep(0.05)

    async def _hear(self, page: ClientConnection) -> None:
        async for message in page:
            heard = wire.heard(message) if isinstance(message, str) else None
            if isinstance(heard, wire.Ack):
                self.acked.add(heard.label_id)
                self.outbox.pop(heard.label_id, None)
            elif isinstance(heard, wire.Refused) and heard.label_id is not None:
                self.refused += 1
                self.outbox.pop(heard.label_id, None)

    async def _send(self, page: ClientConnection, hearing: asyncio.Task[None]) -> None:
        for message in list(self.outbox.values()):
            await page.send(message.model_dump_json())
        while not hearing.done():
            for query in await asyncio.to_thread(self._store.waiting):
                if len(self.outbox) >= UNDER_WAY:
                    break
                if query.id not in self._answered:
                    await page.send(self._label(query).model_dump_json())
            await asyncio.sleep(0.005)

    def _label(self, query: Query) -> wire.LabelMessage:
        preferred = (query.first, query.second)[self._rng.integers(2)]
        label = wire.LabelMessage(label_id=uuid.uuid4().hex, query_id=query.id, verdict=Verdict.PREFER, preferred=preferred)
        self._answered.add(query.id)
        self.outbox[label.label_id] = label
        return label


class Reader:
    """Takes the labels newer than its cursor, as the loop does."""

    def __init__(self, store: Store) -> None:
        self.seen: Counter[str] = Counter()
        self._store, self._cursor = store, 0

    def look(self) -> None:
        for label in self._store.labels(since=self._cursor):
            self.seen[label.id] += 1
            self._cursor = label.seq


# ------------------------------------------------------------------ what is killed


def trainer() -> None:
    """In a process of its own: asks and logs as the trainer does. Above `WAITING` pairs the oldest make room."""
    store, rng = Store.open(Path(sys.argv[1])), np.random.default_rng()
    shown = [store.segment(name) for name in store.fact("pool")]
    for number in count():
        store.log("progress", phase="training", step=number, steps=0)
        waiting = [query.id for query in store.waiting()]
        store.withdraw(waiting[: max(0, len(waiting) - WAITING)])
        chosen = rng.permuted(np.tile(np.arange(POOL), (20, 1)), axis=1)[:, :2]
        store.ask([(shown[first], shown[second]) for first, second in chosen], number, "uniform")
        store.keep([replace(shown[0], env_rewards=rng.normal(size=STEPS)) for _ in range(4)])
        time.sleep(0.2)


def recorded(seed: int) -> Segment:
    """A segment that can be shown: clips that fail would keep the service busy with nothing else."""
    env = make_env(ENV)
    env.action_space.seed(seed)
    observation, info = env.reset(seed=seed)
    observations, actions = [observation], []
    for _ in range(STEPS):
        actions.append(env.action_space.sample())
        observation, *_ = env.step(actions[-1])
        observations.append(observation)
    env.close()
    rows, done = np.array(observations, np.float32), np.array(actions)
    return Segment(rows, done, np.zeros(STEPS), info["episode_seed"], done[:0])


class HastyDesk(StoreDesk):
    """The control's mistake: a label is called saved while it waits for the disk."""

    async def save(
        self, labels: Sequence[SaveLabel], leases: Sequence[Lease | Release]
    ) -> list[Label | LookupError | ValueError]:
        self._thread.submit(self._store.note, [(one.label_id, one.query_id, one.labeler, one.answer) for one in labels], {})
        return [Label(one.label_id, one.query_id, one.labeler, one.answer) for one in labels]


def service() -> None:
    """In a process of its own: the control's service."""
    vars(server)["StoreDesk"] = HastyDesk
    server.serve(Path(sys.argv[1]), port=int(sys.argv[2]), announce=print)


if __name__ == "__main__":
    reporting.run(main)
