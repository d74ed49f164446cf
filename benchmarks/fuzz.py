"""Whether any message hurts: crowds of guests send what they like to the label service, and every answer and row is checked.

The service is `rltrainer label` with its own limits and a store of its own; guests are spread over so many links that nobody is
slowed down. What they send is drawn by hypothesis (benchmarks.crowd): pages' own messages in any order, from labelers, admins
and strangers, with ids of others and of another run, hostile JSON, and good messages with bytes changed by a seeded mutator (it
reads messages with compiled code, where a fuzzer that follows Python's branches sees none). benchmarks.protocol
says what is owed for each, and which rows may be in the store. Bystanders label as people do meanwhile.

The controls are the same with services that have a planted fault each: one closes everybody on a certain message, one stores
answers under another's name, one raises on a certain message, one acks what it does not store. What the harness finds there, it
would find in ours.
"""

from __future__ import annotations

import asyncio
import contextlib
import dataclasses
import json
import random
import re
import sqlite3
import subprocess
import sys
import tempfile
import threading
import time
import uuid
from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from hypothesis import HealthCheck, Phase, seed, settings
from hypothesis.stateful import run_state_machine_as_test
from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import ConnectionClosed
from websockets.typing import Origin

from benchmarks import reporting
from benchmarks.crowd import Crowd, Findings, Loop, Party, Pass
from benchmarks.faults import ENV, POOL, STEPS, free_port, recorded
from benchmarks.protocol import Run
from rltrainer.config import Config
from rltrainer.core import Label, Link, Query
from rltrainer.inspection import inspect
from rltrainer.labeling import messages as wire
from rltrainer.labeling import server
from rltrainer.labeling.desk import StoreDesk
from rltrainer.labeling.effects import Close, Effect, Lease, Release, SaveLabel
from rltrainer.labeling.gate import SOCKET_PATH, hashed, new_token
from rltrainer.labeling.session import Session
from rltrainer.store import FILE, Store

CONTROLS = ("closes everybody", "stores under another's name", "raises", "acks and does not store")
CONTROL_MESSAGES = 1000
ROUND = 1000
"""Messages between two looks at the store."""
STEPS_OF_A_CROWD = 40
MESSAGES_OF_A_CROWD = 100
BYSTANDERS = 3
THINKING_SECONDS = (0.2, 0.6)
SLOW_SECONDS = 5.0
"""A bystander whose label is acked later waits."""
WAITING = 150
PATIENCE_SECONDS = 60.0
LASTING = """
    SELECT leases.* FROM leases JOIN queries ON queries.id = leases.query_id
    WHERE leases.expires_at > ? AND queries.id NOT IN (SELECT query_id FROM labels)
"""
"""One that is over, or whose pair was answered, holds nothing up."""
KINDS = ("crash", "bad row", "unexpected close", "wrong answer", "unanswered", "a bystander waits")


def main() -> None:
    """The command."""
    options = reporting.flags(__doc__)
    options.add_argument("--messages", type=int, default=100_000)
    options.add_argument("--seed", type=int, default=0)
    chosen = options.parse_args()
    messages = min(chosen.messages, 3000) if chosen.quick else chosen.messages
    figures, raw = measured("", messages, chosen.seed)
    for control in CONTROLS:
        found, raw[control] = measured(control, CONTROL_MESSAGES, chosen.seed)
        figures[f"control, {control}: found"] = sum(found[kind] for kind in KINDS)
    reporting.write(chosen.json, figures, raw)


def measured(control: str, messages: int, first_seed: int) -> tuple[dict[str, Any], dict[str, Any]]:
    """Figures of so many messages to a service of ours, or to one with that fault, and what they came from."""
    with tempfile.TemporaryDirectory() as folder:
        storm = Storm(Path(folder) / "run", messages)
        with storm.service(control):
            storm.blow(messages, first_seed, stops=bool(control))
        return storm.figures(), storm.raw()


# ------------------------------------------------------------------ people


class Bystander:
    """A page that answers what it is shown, after a while, as people do."""

    def __init__(self, link: Pass, page: ClientConnection, findings: Findings, rng: random.Random) -> None:
        self.link, self.page, self.findings, self.rng = link, page, findings, rng
        self.shown: dict[str, str] = {}  # the first segment of each pair on hand
        self.sent: dict[str, float] = {}  # what is not acked yet, and since when
        self.labels: dict[str, tuple[str, str]] = {}  # query and preferred of each label
        self.acked: dict[str, float] = {}  # how long it took, in seconds
        self.leaves = False
        self.tasks = [asyncio.create_task(work) for work in (self._hear(), self._answer())]

    async def _hear(self) -> None:
        with contextlib.suppress(ConnectionClosed):
            async for message in self.page:
                self._heard(message)
        if not self.leaves:
            self.findings.add("unexpected close", f"of bystander {self.link.labeler}: {self.page.close_code}")

    def _heard(self, message: str | bytes) -> None:
        if isinstance(message, bytes):
            header, _ = wire.unpack_pair(message)
            self.shown[header.query_id] = header.clips[0].segment_id
            return
        said = wire.heard(message)
        if isinstance(said, wire.Withdrawn):
            for query_id in said.query_ids:
                self.shown.pop(query_id, None)
        elif isinstance(said, wire.Ack):
            self.acked[said.label_id] = time.monotonic() - self.sent.pop(said.label_id)
        elif isinstance(said, wire.Refused):
            self.findings.add("wrong answer", f"bystander {self.link.labeler} was refused: {said.reason}")
        elif isinstance(said, wire.Status) and said.message:
            self.findings.add("wrong answer", f"bystanders were told: {said.message}")

    async def _answer(self) -> None:
        with contextlib.suppress(ConnectionClosed):
            while True:
                await asyncio.sleep(self.rng.uniform(*THINKING_SECONDS))
                if not self.shown:
                    continue
                query_id = next(iter(self.shown))
                label_id, preferred = uuid.uuid4().hex, self.shown.pop(query_id)
                self.labels[label_id], self.sent[label_id] = (query_id, preferred), time.monotonic()
                message = {"type": "label", "label_id": label_id, "query_id": query_id, "verdict": "prefer"}
                await self.page.send(json.dumps({**message, "preferred": preferred}))

    async def leave(self) -> None:
        """Go once everything is acked."""
        self.tasks[1].cancel()
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(SLOW_SECONDS):
                while self.sent and self.page.close_code is None:  # noqa: ASYNC110 - another task hears of it
                    await asyncio.sleep(0.01)
        self.leaves = True
        await self.page.close()
        await asyncio.wait(self.tasks)


# ------------------------------------------------------------------ the harness


class Storm:
    """A run, its service, and what crowds of guests do to it."""

    def __init__(self, run: Path, messages: int) -> None:
        self.folder, self.findings, self.port = run, Findings(), free_port()
        config = Config.of({"env": ENV, "labels": 0, "clips": {"size": 64}})
        pool = [recorded(number) for number in range(POOL)]
        self.store = Store.create(run, config=config.model_dump(mode="json"), env={"id": ENV, "options": {}})
        run.joinpath("config.yaml").write_text(config.dump())
        self.pool, self.rng = pool, np.random.default_rng()
        self.links = [self._invited(number) for number in range(6 * -(-messages // ROUND))]
        self.bystanders_links = [self._link(f"bystander {number}") for number in range(BYSTANDERS)]
        self.bad = [Pass(token, "nobody", bad=True) for token in (new_token(), "", "x" * 128, "ä\0\U0001f600")]
        self.bad.append(self._ended())
        self.rules: dict[str, Any] = {"allow_ties": True, "allow_skipping": True, "allow_editing": True, "allow_reasons": True}
        self.rules |= {"queue_size": config.labeling.queue_size, "speed": 1.0, "frame_rate": None}
        self.run = Run(STEPS, rules=dict(self.rules))
        self.elsewhere = [Query(uuid.uuid4().hex, pool[0].id, pool[1].id), Query(uuid.uuid4().hex, uuid.uuid4().hex, "a" * 32)]
        self.sent: dict[str, int] = {}
        self.bystanders: list[Bystander] = []
        self.seconds, self.rows, self._cursor = 0.0, 0, 0
        self._ids: set[str] = set()

    def _link(self, labeler: str, *, admin: bool = False) -> Pass:
        token = new_token()
        self.store.add_link(hashed(token), Link(labeler, admin))
        return Pass(token, labeler, admin)

    def _invited(self, number: int) -> Pass:
        """Of the six guests of a round one comes by two links, and two are admins."""
        crowd, place = divmod(number, 6)
        return self._link(f"guest {crowd}-{0 if place == 1 else place}", admin=place > 3)

    def _ended(self) -> Pass:
        link = self._link("somebody who was here")
        self.store.end_links(link.labeler)
        return dataclasses.replace(link, bad=True)

    @contextlib.contextmanager
    def service(self, control: str = "") -> Iterator[None]:
        """The service, or the control's, and bystanders at it."""
        words = ["-m", "rltrainer", "label", str(self.folder), "--port", str(self.port), "--no-open"]
        if control:
            words = ["-c", "from benchmarks.fuzz import service; service()", str(self.folder), str(self.port), control]
        self._feed()
        with (self.folder / "label-service.log").open("w") as log:
            process = subprocess.Popen([sys.executable, *words], cwd=reporting.ROOT, stdout=subprocess.DEVNULL, stderr=log)
        self._process, self._loop = process, asyncio.new_event_loop()
        thread = threading.Thread(target=self._loop.run_forever, daemon=True)
        thread.start()
        self.loop = Loop(self._loop)
        try:
            self.bystanders = [self.loop.do(self._bystander(link)) for link in self.bystanders_links]
            yield
        finally:
            self.loop.do(self._end())
            process.terminate()
            process.wait(PATIENCE_SECONDS)
            self._look()
            self._look_at_the_end()
            self.store.close()
            self._loop.call_soon_threadsafe(self._loop.stop)
            thread.join()
            self._loop.close()

    def blow(self, messages: int, first_seed: int, *, stops: bool = False) -> None:
        """Crowds, until so many messages are sent. stops: at the first finding, too."""
        began, number = time.monotonic(), 0
        while sum(self.sent.values()) < messages and not (stops and self.findings.found):
            self._round(number, first_seed, min(ROUND, messages - sum(self.sent.values())))
            number += 1
        self.seconds = time.monotonic() - began

    def _round(self, number: int, first_seed: int, messages: int) -> None:
        self._feed()
        links = self.links[6 * number % len(self.links) :][:6]
        pairs = list(self.run.pairs.values())[-WAITING:]
        party = Party(self.run, self.findings, self.loop, self._connect, links, self.bad, pairs, self.elsewhere, self.sent)
        party.reports = int(number % 10 == 0)
        chosen = settings(
            max_examples=max(1, messages // MESSAGES_OF_A_CROWD),
            stateful_step_count=STEPS_OF_A_CROWD,
            phases=[Phase.generate],
            deadline=None,
            database=None,
            suppress_health_check=list(HealthCheck),
        )
        machine = type("SomeCrowd", (Crowd,), {"party": party})
        run_state_machine_as_test(seed(first_seed + 1000 * number)(machine), settings=chosen)
        self._look()

    # ------------------------------------------------------------------ connections

    async def _connect(self) -> ClientConnection:
        origin = f"http://127.0.0.1:{self.port}"
        options: dict[str, Any] = {"origin": Origin(origin), "compression": None, "max_size": None, "proxy": None}
        deadline = time.monotonic() + PATIENCE_SECONDS
        while True:
            try:
                return await connect(origin.replace("http", "ws", 1) + SOCKET_PATH, **options)
            except OSError:
                if time.monotonic() > deadline or self._process.poll() is not None:
                    raise
                await asyncio.sleep(0.1)

    async def _bystander(self, link: Pass) -> Bystander:
        page = await self._connect()
        await page.send(json.dumps({"type": "hello", "token": link.token}))
        async with asyncio.timeout(PATIENCE_SECONDS):
            assert '"welcome"' in str(await page.recv())
        return Bystander(link, page, self.findings, random.Random(link.labeler))  # noqa: S311

    async def _end(self) -> None:
        for bystander in self.bystanders:
            await bystander.leave()

    # ------------------------------------------------------------------ the store

    def _feed(self) -> None:
        """Keep `WAITING` pairs waiting, as a trainer does."""
        lacking = WAITING - self.store.counts()["waiting"]
        chosen = self.rng.permuted(np.tile(np.arange(POOL), (max(0, lacking), 1)), axis=1)[:, :2]
        asked = self.store.ask([(self.pool[first], self.pool[second]) for first, second in chosen], 0, "uniform")
        self.run.pairs |= {query.id: query for query in asked}

    def _look(self) -> None:
        """The store is sound, and each new row is one that somebody asked for."""
        for label in self.store.labels(since=self._cursor):
            self._cursor, self.rows = label.seq, self.rows + 1
            self._ids.add(label.id)
            wrong = self._wrong_with(label)
            if wrong is not None:
                self.findings.add("bad row", f"{label}: {wrong}")
        damage = self.store.damage(thorough=True)
        if damage is not None:
            self.findings.add("bad row", damage)
        if self._process.poll() not in (None, 0, -15):
            self.findings.add("crash", f"the service ended with {self._process.returncode}")
            raise RuntimeError(self._log())

    def _wrong_with(self, label: Label) -> str | None:
        answer = label.answer
        for one in self.bystanders:
            if label.id in one.labels:
                as_said = (one.link.labeler, *one.labels[label.id], "prefer")
                return (
                    None if (label.labeler, label.query_id, answer.preferred, answer.verdict) == as_said else f"not {as_said}"
                )
        row = {"id": label.id, "labeler": label.labeler, "query_id": label.query_id, "verdict": answer.verdict.value}
        about = {
            "preferred": answer.preferred,
            "strength": answer.strength.value,
            "reason": answer.reason,
            "trims": answer.trims,
        }
        if label.source != "browser":
            return f"its source is {label.source!r}"
        return self.run.wrong_with({**row, **about})

    def _look_at_the_end(self) -> None:
        """Once everybody is gone: nothing acked is missing, nothing else is in the store, nothing is in the service's log."""
        for lost in (self.run.acked | {name for one in self.bystanders for name in one.acked}) - self._ids:
            self.findings.add("bad row", f"label {lost} was acked, and is not there")
        for one in self.bystanders:
            for waited in [*one.acked.values(), *(SLOW_SECONDS for _ in one.sent)]:
                if waited >= SLOW_SECONDS:
                    self.findings.add("a bystander waits", f"{one.link.labeler}: {waited:.1f} s")
        with contextlib.closing(sqlite3.connect(self.folder / FILE)) as database:
            changed = [(row[0], json.loads(row[1])) for row in database.execute("SELECT labeler, changes FROM settings")]
            pauses = [(row[0], bool(row[1])) for row in database.execute("SELECT labeler, paused FROM pauses")]
            leases = database.execute(LASTING, (time.time(),)).fetchall()
        self._compare("settings", *([(who, _as_numbers(what)) for who, what in rows] for rows in (changed, self.run.settings)))
        self._compare("pauses", pauses, self.run.pauses)
        self._compare("leases", leases, [])
        for check in inspect(self.folder):
            if check.name in ("store", "segments", "labels") and check.status != "ok":
                self.findings.add("bad row", f"{check.name}: {check.found}")
        for line in re.findall(r"^(?:Traceback|.*(?:ERROR|CRITICAL|failed)).*$", self._log(), re.MULTILINE):
            self.findings.add("crash", line)

    def _compare(self, table: str, found: Sequence[Any], owed: Sequence[Any]) -> None:
        lacking, beyond = (Counter(map(repr, rows)) for rows in (owed, found))
        for row in (lacking - beyond).keys() | (beyond - lacking).keys():
            self.findings.add("bad row", f"{table}: {row} is {'lacking' if row in lacking - beyond else 'nobody asked for it'}")

    def _log(self) -> str:
        return (self.folder / "label-service.log").read_text(errors="replace")

    # ------------------------------------------------------------------ figures

    def figures(self) -> dict[str, Any]:
        took = sorted(took for one in self.bystanders for took in one.acked.values()) or [0.0]
        return {
            "messages": sum(self.sent.values()),
            "of them changed bytes or hostile": sum(n for kind, n in self.sent.items() if kind != "pages' own"),
            **{kind: self.findings.count(kind) for kind in KINDS},
            "labels acked to guests": len(self.run.acked),
            "rows of labels": self.rows,
            "settings changed": len(self.run.settings),
            "pauses": len(self.run.pauses),
            "bystanders' labels": len(took),
            "bystanders' ack, p99 ms": 1000 * float(np.quantile(took, 0.99)),
            "bystanders' ack, longest ms": 1000 * took[-1],
            "messages a second": sum(self.sent.values()) / self.seconds,
        }

    def raw(self) -> dict[str, Any]:
        return {"sent": self.sent, "findings": self.findings.found[:50], "seconds": round(self.seconds, 1)}


# ------------------------------------------------------------------ the controls' faults


class ClosesEverybody(Session):
    """On a labeler's wish to pause."""

    def received(self, page: int, text: str, now: float) -> list[Effect]:
        effects = super().received(page, text, now)
        if "only an admin may pause" in str(effects):
            effects += [Close(other, 1011, "") for other in self._dealer.seats]
        return effects


class Raises(Session):
    """On a text that holds half a character."""

    def received(self, page: int, text: str, now: float) -> list[Effect]:
        if "\\ud800" in text:
            raise ValueError(text)
        return super().received(page, text, now)


class Confused(StoreDesk):
    """One label of many is stored under another's name."""

    async def save(
        self, labels: Sequence[SaveLabel], leases: Sequence[Lease | Release]
    ) -> list[Label | LookupError | ValueError]:
        labels = [dataclasses.replace(one, labeler="guest 0-2") if one.label_id[0] == "0" else one for one in labels]
        return await super().save(labels, leases)


class Forgetful(StoreDesk):
    """One label of many is never stored."""

    async def save(
        self, labels: Sequence[SaveLabel], leases: Sequence[Lease | Release]
    ) -> list[Label | LookupError | ValueError]:
        saved = iter(await super().save([one for one in labels if one.label_id[0] != "0"], leases))
        return [
            Label(one.label_id, one.query_id, one.labeler, one.answer) if one.label_id[0] == "0" else next(saved)
            for one in labels
        ]


def service() -> None:
    """In a process of its own: a control's service."""
    faults = zip(CONTROLS, (ClosesEverybody, Confused, Raises, Forgetful), strict=True)
    fault = dict(faults)[sys.argv[3]]
    vars(server)["Session" if issubclass(fault, Session) else "StoreDesk"] = fault
    server.serve(Path(sys.argv[1]), port=int(sys.argv[2]), announce=print)


def _as_numbers(changes: dict[str, Any]) -> dict[str, float | None]:
    """A setting may be stored as 2 and false where 2.0 and -0.0 were sent."""
    return {name: None if value is None else float(value) + 0.0 for name, value in changes.items()}


if __name__ == "__main__":
    reporting.run(main)
