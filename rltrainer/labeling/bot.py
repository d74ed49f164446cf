"""A labeler that is no person: it answers over the WebSocket as a page does, with the run's teacher."""

from __future__ import annotations

import asyncio
import contextlib
import uuid
from pathlib import Path

import numpy as np
from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import ConnectionClosed, InvalidHandshake
from websockets.typing import Origin

from rltrainer.config import Config
from rltrainer.core import Answer, Link, Teacher, UserError, Verdict
from rltrainer.labeling import messages as wire
from rltrainer.labeling.gate import SOCKET_PATH, hashed, new_token, page_url
from rltrainer.labeling.session import NOT_ADMITTED, TRY_LATER
from rltrainer.seeds import Seeds
from rltrainer.store import Store
from rltrainer.teachers import OracleTeacher

LABELER = "bot"


def answer(run: Path, *, host: str | None = None, port: int | None = None, pace: float = 0.0) -> int:
    """Answer the pairs of a run's label service until it ends, or until Ctrl-C. Gives how many labels were saved.

    host, port: where the service listens, instead of the run's own labeling.host and labeling.port
    pace:       seconds between two answers

    Raises UserError where no service of this run answers there, or an oracle answers within the run.
    """
    store = Store.open(run)
    try:
        config = Config.of(store.fact("config"), "the run's config")
        rng = np.random.default_rng(Seeds.of(config.seed).teacher)
        bot = Bot(store, OracleTeacher(**config.teacher.model_dump()), rng)
        token = new_token()
        store.add_link(hashed(token), Link(LABELER))
        where = (config.labeling.host if host is None else host, config.labeling.port if port is None else port)
        with contextlib.suppress(KeyboardInterrupt):
            asyncio.run(_work(bot, *where, token, pace))
        return bot.saved
    finally:
        store.close()


class Bot:
    """What the bot makes of the service's messages. No sockets here."""

    def __init__(self, store: Store, teacher: Teacher, rng: np.random.Generator) -> None:
        """store: where the true returns are looked up that the clips don't tell"""
        self.saved = 0
        self._store, self._teacher, self._rng = store, teacher, rng
        self._pairs: dict[str, wire.PairHeader] = {}
        self._may = {Verdict.EQUAL: True, Verdict.SKIP: True}

    @property
    def has_pairs(self) -> bool:
        """Whether there is something to answer."""
        return bool(self._pairs)

    def hear(self, message: str | bytes) -> None:
        """Raises UserError where this run's pages only watch."""
        if isinstance(message, bytes):
            header, _ = wire.unpack_pair(message)
            self._pairs[header.query_id] = header
            return
        match wire.heard(message):
            case wire.Welcome(mode="watch"):
                raise UserError("labeler is 'oracle' in this run, and pages only watch; use a run of --labeler browser")
            case wire.Welcome(rules=rules) | (wire.Rules() as rules):
                self._may = {Verdict.EQUAL: rules.allow_ties, Verdict.SKIP: rules.allow_skipping}
            case wire.Withdrawn(query_ids=gone):
                self._pairs = {query_id: header for query_id, header in self._pairs.items() if query_id not in gone}
            case wire.Ack():
                self.saved += 1

    def label(self) -> wire.LabelMessage:
        """The teacher's answer to the pair that came first. Where the rules don't allow it, either clip, as a person must."""
        header = self._pairs.pop(next(iter(self._pairs)))
        first, second = (self._store.segment(clip.segment_id) for clip in header.clips)
        said = self._teacher(first, second, self._rng)
        if not self._may.get(said.verdict, True):
            said = Answer(Verdict.PREFER, (first, second)[self._rng.integers(2)].id)
        return wire.LabelMessage(
            label_id=uuid.uuid4().hex,
            query_id=header.query_id,
            verdict=said.verdict,
            preferred=said.preferred,
            strength=said.strength,
        )


async def _work(bot: Bot, host: str, port: int, token: str, pace: float) -> None:
    """Be let in by the token, and answer until the service ends."""
    origin = page_url(host, port, token).partition("/#")[0]
    where = origin.replace("http", "ws", 1) + SOCKET_PATH
    try:
        async with connect(where, origin=Origin(origin), compression=None, max_size=None, proxy=None) as socket:
            await socket.send(wire.Hello(token=token).model_dump_json())
            await _answer_all(bot, socket, pace)
    except (OSError, InvalidHandshake) as error:
        raise UserError(
            f"labeling.port is {port}, and no label service answers at {origin} ({error}); "
            "start `rltrainer label RUN`, or pass its --port"
        ) from None
    except ConnectionClosed as end:
        code, reason = (end.rcvd.code, end.rcvd.reason) if end.rcvd else (None, "")
        if code == NOT_ADMITTED:
            raise UserError(
                f"labeling.port is {port}, and {origin} serves another run; pass the --port of this run's service"
            ) from None
        if code == TRY_LATER:
            raise UserError(f"the service at {origin} lets nobody in now: {reason}") from None


async def _answer_all(bot: Bot, socket: ClientConnection, pace: float) -> None:
    """Hear everything at once, and answer at the pace. Raises ConnectionClosed at the end."""
    clock = asyncio.get_running_loop().time
    due = clock() + pace
    while True:
        try:
            async with asyncio.timeout_at(due if bot.has_pairs else None):
                bot.hear(await socket.recv())
        except TimeoutError:
            await socket.send(bot.label().model_dump_json())
            due = clock() + pace
