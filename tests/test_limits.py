"""Facts about how many may be there and how fast they may send: who sends too much waits, and nobody else does."""

from __future__ import annotations

import asyncio
import json
from typing import Any

import pytest

from rltrainer.config import Config
from rltrainer.core import Link
from rltrainer.labeling import lines
from rltrainer.labeling import messages as wire
from rltrainer.labeling.effects import Admit, Close, Effect, SaveLabel, Send, Slow
from rltrainer.labeling.gate import hashed
from rltrainer.labeling.limits import (
    LINK_BURST,
    LINK_RATE,
    MOST_OF_A_LINK,
    MOST_PAGES,
    TOTAL_BURST,
    TOTAL_RATE,
    WRONG_BURST,
    WRONG_RATE,
    Bucket,
    Limits,
)
from rltrainer.labeling.lines import SILENT_BEATS
from rltrainer.labeling.session import NOT_ADMITTED, TRY_LATER, Session

HERE = '{"type": "here"}'


def house(links: int) -> Session:
    session = Session("run", "Pendulum-v1", Config())
    session.let_in(known(links), 0.0)
    return session


def known(links: int) -> dict[str, Link]:
    return {hashed(f"link {number}"): Link(f"labeler {number}") for number in range(links)}


def knock(session: Session, page: int, token: str, now: float = 0.0) -> list[Effect]:
    session.connected(page, now)
    return session.received(page, json.dumps({"type": "hello", "protocol": wire.PROTOCOL, "token": token}), now)


def of(kind: type, effects: list[Effect]) -> list[Effect]:
    return [effect for effect in effects if isinstance(effect, kind)]


def closes(effects: list[Effect]) -> list[int]:
    return [effect.code for effect in effects if isinstance(effect, Close)]


# ------------------------------------------------------------------ what is counted


def test_what_is_in_a_bucket_is_there_at_once_and_what_is_not_has_to_be_waited_for() -> None:
    bucket = Bucket(rate=4.0, most=2)
    assert [bucket.take(10.0) for _ in range(4)] == [0.0, 0.0, 0.25, 0.5]
    assert bucket.take(10.75) == 0.0, "half a second paid what was owed, a quarter filled one"


def test_a_bucket_fills_to_its_brim_and_no_further() -> None:
    bucket = Bucket(rate=4.0, most=2)
    bucket.take(0.0)
    assert bucket.level(1000.0) == 2.0


def test_a_bucket_of_which_only_what_is_there_is_taken_owes_nothing() -> None:
    bucket = Bucket(rate=1.0, most=1)
    assert [bucket.has(now) for now in (0.0, 0.0, 0.5, 1.0, 1.5)] == [True, False, False, True, False]


def test_two_hundred_labelers_at_seventy_labels_a_second_never_wait() -> None:
    """Each with a sign of life every 15 s beside; after ten minutes all are cut off and send 500 labels again at once."""
    limits = Limits()
    per_second = 70 + 200 // 15
    waits = {limits.message(f"link {number % 200}", number / per_second) for number in range(600 * per_second)}
    assert waits == {0.0}
    assert {limits.message(f"link {number % 200}", 700.0) for number in range(200 * 500)} == {0.0}


def test_who_sends_too_much_waits_at_the_rate_and_others_do_not() -> None:
    limits = Limits()
    waits = [limits.message("flood", 0.0) for _ in range(LINK_BURST + 3)]
    assert waits == [0.0] * LINK_BURST + [1 / LINK_RATE, 2 / LINK_RATE, 3 / LINK_RATE]
    assert limits.message("honest", 0.0) == 0.0


def test_when_all_together_send_too_much_those_wait_who_sent_most() -> None:
    limits = Limits()
    crowd = TOTAL_BURST // (LINK_BURST // 2)
    for number in range(TOTAL_BURST):
        limits.message(f"link {number % crowd}", 0.0)
    assert limits.message("link 0", 0.0) == 1 / TOTAL_RATE
    assert limits.message("honest", 0.0) == 0.0


# ------------------------------------------------------------------ what pages see of it


def test_a_flood_is_told_once_and_slowed_and_every_label_in_it_is_taken() -> None:
    session = house(2)
    knock(session, 1, "link 0")
    knock(session, 2, "link 1")
    effects: list[Effect] = []
    for number in range(LINK_BURST + 50):
        label = {"type": "label", "label_id": f"l{number}", "query_id": f"q{number}", "verdict": "equal"}
        effects += session.received(1, json.dumps(label), 0.0)
    slowed = of(Slow, effects)
    assert len(slowed) == 50
    assert slowed[0] == Slow(1, 1 / LINK_RATE)
    assert len(of(SaveLabel, effects)) == LINK_BURST + 50
    told = [effect.message for effect in effects if isinstance(effect, Send)]
    assert told == [
        wire.Refused(
            label_id=None, reason="this link sends more than 20 messages a second: they are read more slowly, and none is lost"
        )
    ]
    assert of(Slow, session.received(2, HERE, 0.0)) == []
    assert closes(effects) == []


def test_tabs_of_one_link_are_counted_together_and_what_is_not_understood_counts_too() -> None:
    session = house(1)
    knock(session, 1, "link 0")
    knock(session, 2, "link 0")
    for _ in range(LINK_BURST // 2):
        assert of(Slow, session.received(1, HERE, 0.0) + session.received(2, "nonsense", 0.0)) == []
    assert of(Slow, session.received(2, "nonsense", 0.0)) == [Slow(2, 1 / LINK_RATE)]


def test_a_flood_that_has_ended_may_send_and_is_told_of_the_next() -> None:
    session = house(1)
    knock(session, 1, "link 0")
    told = []
    for now in (0.0, 3600.0):
        effects = [effect for _ in range(LINK_BURST + 2) for effect in session.received(1, HERE, now)]
        told.append(len(of(Send, effects)))
    assert told == [1, 1]


def test_one_link_does_not_take_all_the_places() -> None:
    session = house(2)
    for page in range(MOST_OF_A_LINK):
        assert closes(knock(session, page, "link 0")) == []
    assert closes(knock(session, 1000, "link 0")) == [TRY_LATER]
    assert closes(knock(session, 1001, "link 1")) == []
    session.disconnected(0, 0.0)
    assert closes(knock(session, 1002, "link 0")) == []


def test_there_are_so_many_places_and_a_page_that_leaves_makes_room() -> None:
    session = house(MOST_PAGES + 1)
    for page in range(MOST_PAGES):
        knock(session, page, f"link {page}")
    assert closes(knock(session, MOST_PAGES, f"link {MOST_PAGES}")) == [TRY_LATER]
    session.disconnected(0, 0.0)
    assert closes(knock(session, MOST_PAGES + 1, f"link {MOST_PAGES}")) == []


def test_wrong_links_are_limited_and_a_right_one_is_let_in_all_the_while() -> None:
    session = house(1)
    for page in range(WRONG_BURST + 5):
        assert knock(session, page, f"guess {page}") == []
    assert of(Admit, knock(session, 1000, "link 0")) == [Admit(1000)]
    assert closes(session.let_in(known(1), 0.0)) == [NOT_ADMITTED] * WRONG_BURST + [TRY_LATER] * 5
    assert knock(session, 1001, "guess") == []
    assert closes(session.let_in(known(1), 1 / WRONG_RATE)) == [NOT_ADMITTED]


# ------------------------------------------------------------------ lines


class Wire:
    """A connection as far as a line and `Strangers` see it: what is on its way, at each look, and no answer to any ping."""

    def __init__(self, *on_its_way: int) -> None:
        self.transport, self.ended, self.looks = self, False, 0
        self._on_its_way = on_its_way

    def abort(self) -> None:
        self.ended = True

    async def ping(self) -> asyncio.Future[float]:
        return asyncio.get_running_loop().create_future()

    async def wait_closed(self) -> None:
        """It is closed."""

    def get_write_buffer_size(self) -> int:
        self.looks += 1
        return self._on_its_way[min(self.looks, len(self._on_its_way)) - 1]

    def get_extra_info(self, name: str) -> Wire:
        return self

    def fileno(self) -> int:
        return -1


@pytest.mark.parametrize(
    ("on_its_way", "looks"),
    [
        ((0,), SILENT_BEATS),
        ((500,), SILENT_BEATS),
        ((500, 400, 300, 200, 100, 0), 6 + SILENT_BEATS),
        ((500, 500, 400, 900), 3 + SILENT_BEATS),
    ],
)
def test_a_line_ends_when_nothing_is_answered_and_nothing_taken_for_some_beats(
    on_its_way: tuple[int, ...], looks: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(lines, "BEAT_SECONDS", 0.0)
    connection: Any = Wire(*on_its_way)
    asyncio.run(lines.Line(connection).beat())
    assert connection.ended
    assert connection.looks == looks


def test_nobody_is_taken_for_dead_whose_answers_we_do_not_read() -> None:
    connection: Any = Wire(0)

    async def watch() -> None:
        line = lines.Line(connection)
        line.slow(3600.0)
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.05):
                await line.beat()

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(lines, "BEAT_SECONDS", 0.001)
        asyncio.run(watch())
    assert connection.looks > SILENT_BEATS
    assert not connection.ended


def test_who_is_gone_waits_neither_for_their_turn_nor_for_the_store() -> None:
    connection: Any = Wire(0)

    async def leave() -> None:
        line = lines.Line(connection)
        line.slow(3600.0)
        async with asyncio.timeout(10.0):
            await line.rest()
            await line.wait_for(asyncio.Event().wait())

    asyncio.run(leave())


def test_of_too_many_strangers_the_oldest_goes_and_who_was_let_in_stays() -> None:
    callers: list[Any] = [Wire() for _ in range(5)]
    strangers = lines.Strangers(2)
    strangers.came(callers[0])
    strangers.gone(callers[0])
    for caller in callers[1:]:
        strangers.came(caller)
    assert [caller.ended for caller in callers] == [False, True, True, False, False]
