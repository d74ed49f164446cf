"""The session as specification: what pages are owed and allowed. No sockets, no files; the store is two lists."""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
from typing import Any

import pytest

from rltrainer.config import Config
from rltrainer.core import Answer, Forecast, Label, Link, Query, Range, Strength, Verdict
from rltrainer.labeling import messages as wire
from rltrainer.labeling.dealing import AHEAD, Dealer, Seat
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
    Snapshot,
)
from rltrainer.labeling.gate import hashed
from rltrainer.labeling.rules import CHANGEABLE
from rltrainer.labeling.session import (
    HELLO_SECONDS,
    LINK_ENDED,
    NO_HELLO,
    NOT_ADMITTED,
    OTHER_PROTOCOL,
    POLICY_VIOLATION,
    TRY_LATER,
    Session,
)
from rltrainer.labeling.shelf import ATTEMPTS, steps_shown
from rltrainer.labeling.watch import WATCH_SECONDS

LINKS = {hashed("ada's"): Link("ada", admin=True), hashed("bob's"): Link("bob")}
LEASE = Config().labeling.lease_seconds


def query(name: str, labeler: str = "") -> Query:
    return Query(name, f"{name}-a", f"{name}-b", labeler=labeler)


def pair(name: str, frames: int = 50, steps: int = 50) -> Pair:
    clips = [
        wire.ClipHeader(segment_id=f"{name}-{side}", bytes=1, frames=frames, frame_rate=20.0, width=64, height=64)
        for side in "ab"
    ]
    return Pair(wire.PairHeader(query_id=name, clips=(clips[0], clips[1])), (b"a", b"b"), (steps, steps))


class House:
    """A session with a store and a clip worker that do at once, or when told, what the session asks of them."""

    def __init__(self, asked: Sequence[str] = (), *, saves: bool = True, renders: bool = True, **settings: Any) -> None:
        self.session = Session("run", "Pendulum-v1", Config.of(settings))
        self.links = dict(LINKS)
        self.session.let_in(LINKS, 0.0)
        self.asked = list(asked)
        self.replaced: list[str] = []  # withdrawn: an answer that still comes is kept
        self.labels: list[Label] = []
        self.settings: dict[str, Any] = {}
        self.paused = False
        self.leased: dict[str, str] = {}
        self.wanted: dict[str, str] = {}  # whom a pair is for
        self.saves, self.renders = saves, renders
        self.now = 1000.0
        self.done: list[Effect] = []
        self._pages = 0
        self._told = 0
        self._label_ids = 0
        self.tick()

    def page(self, token: str = "ada's", **more: Any) -> int:
        """A page that was let in."""
        self._pages += 1
        self.session.connected(self._pages, self.now)
        self.say(self._pages, type="hello", protocol=wire.PROTOCOL, token=token, **more)
        return self._pages

    def look_at_links(self) -> None:
        self.carry_out(self.session.let_in(self.links, self.now))

    def stranger(self) -> int:
        """A page that has not said hello."""
        self._pages += 1
        self.session.connected(self._pages, self.now)
        return self._pages

    def say(self, page: int, **message: Any) -> None:
        self.carry_out(self.session.received(page, json.dumps(message), self.now))

    def label(self, page: int, name: str, verdict: str = "prefer", label_id: str | None = None, **more: Any) -> str:
        """Send a label; gives its id."""
        self._label_ids += 1
        label_id = label_id or f"label-{self._label_ids}"
        preferred = f"{name}-a" if verdict == "prefer" else None
        message = {"query_id": name, "verdict": verdict, "preferred": preferred, **more}
        self.say(page, type="label", label_id=label_id, **message)
        return label_id

    def leave(self, page: int) -> None:
        self.carry_out(self.session.disconnected(page, self.now))

    def wait(self, seconds: float) -> None:
        self.now += seconds
        self.carry_out(self.session.elapsed(self.now))

    def tick(self) -> None:
        standing = {(label.query_id, label.labeler): label.answer.verdict for label in self.labels}
        answered = {name for (name, _), verdict in standing.items() if verdict is not Verdict.UNDO}
        waiting = [query(name, self.wanted.get(name, "")) for name in self.asked if name not in answered]
        new, self._told = self.labels[self._told :], len(self.labels)
        now = Snapshot(waiting, new, dict(self.leased), dict(self.settings), self.paused)
        self.carry_out(self.session.ticked(now, self.now))

    def replace(self, *names: str) -> None:
        """The trainer asks these instead of all that wait."""
        self.replaced, self.asked = [*self.replaced, *self.asked], list(names)
        self.tick()

    def carry_out(self, effects: list[Effect]) -> None:
        self.done += effects
        for effect in effects:
            if isinstance(effect, SaveLabel) and self.saves:
                self.save(effect)
            if isinstance(effect, MakeClips) and self.renders:
                self.carry_out(self.session.clips_ready(effect.query_id, pair(effect.query_id), self.now))

    def save(self, effect: SaveLabel) -> None:
        if effect.query_id in [*self.asked, *self.replaced]:
            label = Label(effect.label_id, effect.query_id, effect.labeler, effect.answer, seq=len(self.labels) + 1)
            self.labels.append(label)
            self.carry_out(self.session.saved(label, self.now))
        else:
            self.carry_out(self.session.not_saved(effect.label_id, f"no query {effect.query_id!r}", self.now))

    # what came of it

    def said(self, page: int, kind: type[wire.Message] | None = None) -> list[Any]:
        messages = [effect.message for effect in self.done if isinstance(effect, Send) and effect.page == page]
        return [message for message in messages if kind is None or isinstance(message, kind)]

    def refusals(self, page: int) -> list[str]:
        return [message.reason for message in self.said(page, wire.Refused)]

    def acked(self, page: int) -> list[str]:
        return [message.label_id for message in self.said(page, wire.Ack)]

    def pushed(self, page: int) -> list[str]:
        return [effect.header.query_id for effect in self.done if isinstance(effect, SendPair) and effect.page == page]

    def withdrawn(self, page: int) -> list[str]:
        return [name for message in self.said(page, wire.Withdrawn) for name in message.query_ids]

    def all(self, kind: type[Any]) -> list[Any]:
        return [effect for effect in self.done if isinstance(effect, kind)]

    def fails(self, name: str, *, final: bool = True) -> None:
        self.carry_out(self.session.clips_failed(name, "the replay differs", self.now, final=final))

    def is_ready(self, name: str, **lengths: int) -> None:
        self.carry_out(self.session.clips_ready(name, pair(name, **lengths), self.now))


SIX = ["q1", "q2", "q3", "q4", "q5", "q6"]

# ------------------------------------------------------------------ hello


def test_a_page_is_welcomed_by_the_name_that_its_token_gives() -> None:
    house = House(env="Pendulum-v1")
    welcome = house.said(house.page("bob's"))[0]
    assert (welcome.labeler, welcome.run, welcome.env, welcome.mode) == ("bob", "run", "Pendulum-v1", "label")
    assert (welcome.admin, house.said(house.page("ada's"))[0].admin) == (False, True)
    assert welcome.rules.allow_ties


def test_the_welcome_says_how_clips_differ_from_the_env() -> None:
    house = House()
    house.session.notice = "Clips are drawn in 2-D."
    assert house.said(house.page())[0].notice == "Clips are drawn in 2-D."


def test_a_token_that_is_not_known_is_turned_away() -> None:
    house = House(SIX)
    page = house.page("eve's")
    house.look_at_links()
    assert house.refusals(page) == ["this link is not valid; open the whole link that you were sent"]
    assert house.all(Close) == [Close(page, NOT_ADMITTED, house.refusals(page)[0])]
    assert house.pushed(page) == []


def test_welcome_and_acks_say_how_many_answers_of_the_labeler_stand() -> None:
    house = House(SIX)
    ada, bob = house.page("ada's"), house.page("bob's")
    house.label(ada, "q1")
    twice = house.label(ada, "q2", "skip")
    house.label(ada, "q2", "skip", label_id=twice)
    house.label(ada, "q1", "undo")
    house.label(bob, "q4")
    assert [ack.saved for ack in house.said(ada, wire.Ack)] == [1, 2, 2, 1]
    assert [house.said(house.page(token), wire.Welcome)[0].saved for token in ("ada's", "bob's")] == [1, 1]


def test_a_page_of_another_protocol_is_told_to_reload() -> None:
    house = House()
    page = house.stranger()
    house.say(page, type="hello", protocol=wire.PROTOCOL + 1, token="ada's")
    assert "reload" in house.refusals(page)[0]
    assert house.all(Close)[0].code == OTHER_PROTOCOL


def test_who_says_no_hello_for_five_seconds_is_closed() -> None:
    house = House(SIX)
    page = house.stranger()
    house.wait(HELLO_SECONDS)
    assert house.all(Close) == []
    house.wait(0.1)
    assert [(close.page, close.code) for close in house.all(Close)] == [(page, NO_HELLO)]
    house.wait(60)
    assert len(house.all(Close)) == 1


def test_who_said_hello_is_not_closed_for_saying_nothing_more() -> None:
    house = House()
    house.page()
    house.wait(3600)
    assert house.all(Close) == []


@pytest.mark.parametrize(
    "text",
    [
        "",
        "hello",
        "{}",
        '{"type": "label", "label_id": "l", "query_id": "q1", "verdict": "equal"}',
        '{"type": "settings", "changes": {"clips.speed": 2}}',
    ],
)
def test_whatever_else_comes_first_closes_the_connection(text: str) -> None:
    house = House(SIX)
    page = house.stranger()
    house.carry_out(house.session.received(page, text, house.now))
    assert house.all(Close) == [Close(page, POLICY_VIOLATION, "the first message is hello")]
    assert house.all(SaveLabel) == house.all(ChangeSettings) == []


def test_a_closed_page_is_not_heard_any_more() -> None:
    house = House(SIX)
    page = house.page("eve's")
    house.look_at_links()
    house.say(page, type="hello", protocol=wire.PROTOCOL, token="ada's")
    house.label(page, "q1")
    assert house.said(page, wire.Welcome) == []
    assert house.labels == []


def test_a_second_hello_is_refused_and_changes_nobody() -> None:
    house = House(SIX)
    page = house.page("ada's")
    house.say(page, type="hello", protocol=wire.PROTOCOL, token="bob's")
    house.label(page, "q1")
    assert house.refusals(page) == ["hello was said already"]
    assert [label.labeler for label in house.labels] == ["ada"]


def test_a_label_that_is_not_understood_is_refused_by_its_id() -> None:
    house = House(SIX)
    page = house.page()
    house.say(page, type="label", label_id="l7", query_id="q1", verdict="left")
    house.say(page, type="label", label_id="no id/", query_id="q1", verdict="equal")
    house.carry_out(house.session.received(page, "[" * 5000, house.now))
    refused = house.said(page, wire.Refused)
    assert [message.label_id for message in refused] == ["l7", None, None]
    assert house.all(Close) == []


# ------------------------------------------------------------------ dealing


def test_a_page_gets_three_pairs_ahead_the_oldest_first() -> None:
    house = House(SIX)
    assert house.pushed(house.page()) == ["q1", "q2", "q3"]


def test_an_answer_brings_the_next_pair() -> None:
    house = House(SIX)
    page = house.page()
    house.label(page, "q1")
    assert house.pushed(page) == ["q1", "q2", "q3", "q4"]


def test_the_next_pair_does_not_wait_for_the_store() -> None:
    house = House(SIX, saves=False)
    page = house.page()
    house.label(page, "q1")
    assert house.pushed(page) == ["q1", "q2", "q3", "q4"]
    assert house.acked(page) == []


def test_no_pair_is_with_two_pages() -> None:
    house = House(SIX)
    ada, bob = house.page("ada's"), house.page("bob's")
    assert set(house.pushed(ada)) | set(house.pushed(bob)) == set(SIX)
    assert not set(house.pushed(ada)) & set(house.pushed(bob))


def test_two_tabs_of_one_labeler_get_different_pairs() -> None:
    house = House(SIX)
    first, second = house.page("ada's"), house.page("ada's")
    assert not set(house.pushed(first)) & set(house.pushed(second))


def test_pairs_that_come_in_go_to_whoever_has_fewest() -> None:
    house = House(["q1", "q2", "q3"])
    ada, bob = house.page("ada's"), house.page("bob's")
    assert house.pushed(bob) == []
    house.asked += ["q4"]
    house.tick()
    assert house.pushed(bob) == ["q4"]
    house.label(ada, "q1")
    house.asked += ["q5", "q6"]
    house.tick()
    assert (house.pushed(ada), house.pushed(bob)) == (["q1", "q2", "q3", "q6"], ["q4", "q5"])


def test_a_pair_goes_to_its_page_once() -> None:
    house = House(SIX)
    page = house.page()
    for _ in range(3):
        house.tick()
        house.wait(1)
    assert house.pushed(page) == ["q1", "q2", "q3"]


def test_a_pair_is_pushed_when_its_clips_are_ready_and_not_before() -> None:
    house = House(SIX, renders=False)
    page = house.page()
    assert house.pushed(page) == []
    house.is_ready("q1")
    assert house.pushed(page) == ["q1"]


def test_what_a_page_held_goes_to_another_when_it_leaves() -> None:
    house = House(["q1", "q2", "q3"])
    ada, bob = house.page("ada's"), house.page("bob's")
    house.leave(ada)
    assert house.all(Release) == [Release(("q1", "q2", "q3"))]
    assert house.pushed(bob) == ["q1", "q2", "q3"]


def test_a_page_that_comes_back_gets_its_pairs_again_without_rendering() -> None:
    house = House(SIX)
    house.leave(house.page())
    rendered = len(house.all(MakeClips))
    assert house.pushed(house.page()) == ["q1", "q2", "q3"]
    assert len(house.all(MakeClips)) == rendered


def test_the_trainer_hears_what_is_looked_at() -> None:
    house = House(SIX)
    house.page("bob's")
    assert house.all(Lease) == [Lease(("q1", "q2", "q3"), "bob", LEASE)]


def test_an_answer_renews_what_the_page_holds() -> None:
    house = House(["q1", "q2", "q3"])
    page = house.page()
    house.now += 0.6 * LEASE
    house.label(page, "q1")
    assert house.all(Lease)[-1] == Lease(("q2", "q3"), "ada", LEASE)
    bob = house.page("bob's")
    house.wait(0.6 * LEASE)
    assert house.pushed(bob) == []


def test_answers_in_quick_succession_do_not_write_the_same_lease_again() -> None:
    house = House(["q1", "q2", "q3"])
    page = house.page()
    house.label(page, "q1")
    assert house.all(Lease) == [Lease(("q1", "q2", "q3"), "ada", LEASE)]


def test_a_pair_left_lying_goes_to_somebody_who_is_there() -> None:
    house = House(["q1", "q2", "q3"])
    ada = house.page("ada's")
    house.now += LEASE + 1
    bob = house.page("bob's")
    assert house.pushed(bob) == ["q1", "q2", "q3"]
    assert house.withdrawn(ada) == ["q1", "q2", "q3"]


def test_a_pair_left_lying_stays_while_nobody_else_wants_it() -> None:
    house = House(["q1"])
    page = house.page()
    house.wait(10 * LEASE)
    house.tick()
    assert house.withdrawn(page) == []
    house.label(page, "q1")
    assert len(house.labels) == 1


def test_two_idle_pages_do_not_pass_pairs_to_and_fro() -> None:
    house = House(["q1", "q2", "q3"])
    house.page("ada's")
    house.page("bob's")
    pushed = len(house.all(SendPair))
    for _ in range(20):
        house.wait(LEASE / 2)
    assert len(house.all(SendPair)) == pushed


def test_a_page_that_comes_back_keeps_the_pairs_it_has_and_gives_up_what_others_have_by_now() -> None:
    house = House(SIX)
    first = house.page("ada's")
    house.leave(first)
    bob = house.page("bob's")
    house.label(bob, "q1")
    assert house.pushed(bob) == ["q1", "q2", "q3", "q4"]
    ada = house.page("ada's", holds=["q1", "q3", "q5", "unknown"])
    assert house.withdrawn(ada) == ["q1", "q3", "unknown"]
    assert house.pushed(ada) == ["q5", "q6"]
    assert Lease(("q5",), "ada", 120.0) in house.all(Lease)


def test_a_page_that_comes_back_to_another_service_gets_its_pairs_before_they_are_dealt_to_others() -> None:
    house = House(SIX)
    ada = house.page("ada's", holds=["q5"])
    bob = house.page("bob's")
    assert (set(house.pushed(ada)), house.withdrawn(ada)) == ({"q5", "q1", "q2"}, [])
    assert house.pushed(bob) == ["q3", "q4", "q6"]


def test_a_pair_that_was_leased_by_an_earlier_service_waits_for_its_labeler() -> None:
    house = House(SIX)
    house.leased = {"q1": "bob", "q2": "bob"}
    house.tick()
    assert house.pushed(house.page("ada's")) == ["q3", "q4", "q5"]
    assert house.pushed(house.page("bob's")) == ["q1", "q2", "q6"]


# ------------------------------------------------------------------ labels


def test_an_ack_comes_after_the_commit() -> None:
    house = House(SIX, saves=False)
    page = house.page()
    label_id = house.label(page, "q1")
    assert house.acked(page) == []
    house.save(house.all(SaveLabel)[0])
    assert house.acked(page) == [label_id]


def test_a_label_names_the_segment_and_the_labeler_of_the_connection() -> None:
    house = House(SIX)
    house.label(house.page("bob's"), "q1", preferred="q1-b")
    assert house.labels[0].answer == Answer(Verdict.PREFER, "q1-b")
    assert house.labels[0].labeler == "bob"


@pytest.mark.parametrize(("verdict", "answer"), [("equal", Answer(Verdict.EQUAL)), ("skip", Answer(Verdict.SKIP))])
def test_a_pair_may_be_equal_or_skipped(verdict: str, answer: Answer) -> None:
    house = House(SIX)
    page = house.page()
    house.label(page, "q1", verdict)
    assert house.labels[0].answer == answer
    house.tick()
    assert house.pushed(page).count("q1") == 1


def test_a_label_sent_again_is_acked_again_and_saved_once() -> None:
    house = House(SIX)
    page = house.page()
    label_id = house.label(page, "q1")
    house.label(page, "q1", label_id=label_id)
    assert house.acked(page) == [label_id, label_id]
    assert len(house.all(SaveLabel)) == 1


def test_a_label_sent_again_while_it_is_being_saved_is_saved_once() -> None:
    house = House(SIX, saves=False)
    page, other = house.page(), house.page()
    label_id = house.label(page, "q1")
    house.label(other, "q1", label_id=label_id)
    assert len(house.all(SaveLabel)) == 1
    house.save(house.all(SaveLabel)[0])
    assert house.acked(page) == house.acked(other) == [label_id]


def test_a_label_from_before_a_restart_is_acked_by_what_the_store_holds() -> None:
    before = House(SIX)
    label_id = before.label(before.page(), "q1")
    after = House(SIX)
    after.labels = before.labels
    after.tick()
    page = after.page()
    after.label(page, "q1", label_id=label_id)
    assert after.acked(page) == [label_id]
    assert after.all(SaveLabel) == []


def test_a_label_that_was_saved_is_acked_even_if_the_rules_have_changed_since() -> None:
    house = House(SIX)
    page = house.page()
    label_id = house.label(page, "q1", "equal")
    house.settings = {"labeling.allow_ties": False}
    house.tick()
    house.label(page, "q1", "equal", label_id=label_id)
    assert house.acked(page) == [label_id, label_id]


def test_a_label_for_a_pair_that_another_page_holds_is_taken_and_the_other_is_told() -> None:
    house = House(["q1", "q2", "q3"])
    ada, bob = house.page("ada's"), house.page("bob's")
    label_id = house.label(bob, "q1")
    assert house.acked(bob) == [label_id]
    assert house.withdrawn(ada) == ["q1"]


def test_a_label_for_a_pair_that_was_withdrawn_is_taken() -> None:
    house = House(["q1"])
    page = house.page()
    house.carry_out(house.session.ticked(Snapshot(), house.now))
    assert house.withdrawn(page) == ["q1"]
    label_id = house.label(page, "q1")
    assert house.acked(page) == [label_id]


def test_labels_that_come_in_another_order_than_their_pairs_are_each_taken_once() -> None:
    house = House(SIX)
    page = house.page()
    sent = [house.label(page, name) for name in ("q3", "q1", "q2")]
    house.label(page, "q3", label_id=sent[0])
    assert house.acked(page) == [*sent, sent[0]]
    assert [(save.label_id, save.query_id) for save in house.all(SaveLabel)] == list(zip(sent, ("q3", "q1", "q2"), strict=True))


def test_a_label_from_an_outbox_for_a_pair_never_pushed_here_is_taken() -> None:
    house = House(SIX)
    page = house.page()
    label_id = house.label(page, "q6")
    assert house.acked(page) == [label_id]


def test_a_label_for_a_pair_of_another_run_is_refused_with_the_stores_words() -> None:
    house = House(SIX)
    page = house.page()
    label_id = house.label(page, "elsewhere")
    assert house.said(page, wire.Refused) == [wire.Refused(label_id=label_id, reason="no query 'elsewhere'")]


def test_a_label_is_saved_though_its_page_has_left() -> None:
    house = House(SIX, saves=False)
    page = house.page()
    house.label(page, "q1")
    house.leave(page)
    house.save(house.all(SaveLabel)[0])
    assert len(house.labels) == 1
    assert house.acked(page) == []


def test_another_answer_to_the_same_pair_is_a_new_label() -> None:
    house = House(SIX)
    page = house.page()
    house.label(page, "q1")
    house.label(page, "q1", preferred="q1-b")
    assert [label.answer.preferred for label in house.labels] == ["q1-a", "q1-b"]


def test_a_pair_on_its_way_into_the_store_is_dealt_to_nobody() -> None:
    house = House(["q1"], saves=False)
    ada = house.page("ada's")
    house.label(ada, "q1")
    bob = house.page("bob's")
    house.tick()
    assert house.pushed(bob) == []


# ------------------------------------------------------------------ rules


@pytest.mark.parametrize(
    ("setting", "label", "name"),
    [
        ("allow_ties", {"verdict": "equal"}, "labeling.allow_ties"),
        ("allow_ties", {"verdict": "both_bad"}, "labeling.allow_ties"),
        ("allow_reasons", {"reason": "it falls"}, "labeling.allow_reasons"),
        ("allow_skipping", {"verdict": "skip"}, "labeling.allow_skipping"),
        ("allow_editing", {"trims": {"q1-a": [5, 20]}}, "labeling.allow_editing"),
    ],
)
def test_what_the_rules_forbid_is_refused_and_not_saved(setting: str, label: dict[str, Any], name: str) -> None:
    house = House(SIX, labeling={setting: False})
    page = house.page()
    label_id = house.label(page, "q1", **label)
    refused = house.said(page, wire.Refused)[0]
    assert refused.label_id == label_id
    assert f"({name})" in refused.reason
    assert house.all(SaveLabel) == []


@pytest.mark.parametrize(
    "label",
    [
        {"preferred": None},
        {"preferred": "q2-a"},
        {"preferred": "q1"},
        {"verdict": "equal", "preferred": "q1-a"},
        {"verdict": "skip", "preferred": "q1-a"},
        {"trims": {"q2-a": [0, 5]}},
        {"trims": {"q1-a": [0, 51]}},
        {"trims": {"q1-a": [5, 5]}},
        {"trims": {"q1-a": [20, 10]}},
    ],
)
def test_a_label_that_does_not_fit_its_pair_is_refused(label: dict[str, Any]) -> None:
    house = House(SIX)
    page = house.page()
    label_id = house.label(page, "q1", **label)
    assert [message.label_id for message in house.said(page, wire.Refused)] == [label_id]
    assert house.labels == []


def test_a_pair_whose_label_was_refused_is_sent_again() -> None:
    """The page has put it away; without this, nobody could answer it before the page is loaded anew."""
    house = House(SIX, labeling={"allow_ties": False})
    page = house.page()
    house.label(page, "q1", "equal")
    assert house.pushed(page) == ["q1", "q2", "q3", "q1"]
    house.label(page, "q1")
    assert len(house.labels) == 1


# ------------------------------------------------------------------ trims


@pytest.mark.parametrize(
    ("trim", "frames", "steps", "shown"),
    [
        ((0, 50), 50, 50, (0, 50)),
        ((5, 40), 50, 50, (5, 40)),
        ((0, 25), 25, 50, (0, 50)),
        ((10, 11), 25, 50, (20, 22)),  # half the frames: each shows two steps
        ((10, 11), 100, 50, (5, 6)),  # twice the frames: half of step 5
        ((11, 12), 100, 50, (5, 6)),
        ((0, 1), 1, 50, (0, 50)),
        ((1, 2), 3, 10, (3, 7)),  # frame 1 of 3 is the time from 3.33 to 6.67 steps
    ],
)
def test_frames_become_the_steps_that_they_show(trim: Range, frames: int, steps: int, shown: Range) -> None:
    assert steps_shown(trim, frames, steps) == shown


def test_a_trim_is_saved_in_steps() -> None:
    house = House(["q1"], renders=False)
    page = house.page()
    house.is_ready("q1", frames=25, steps=50)
    house.label(page, "q1", trims={"q1-a": [2, 20], "q1-b": [0, 25]})
    assert house.labels[0].answer.trims == {"q1-a": (4, 40), "q1-b": (0, 50)}


def test_a_trim_of_a_pair_whose_clips_cannot_be_made_is_refused_at_once() -> None:
    house = House(["q1", "q2"], renders=False)
    page = house.page()
    house.fails("q1")
    house.label(page, "q1", trims={"q1-a": [0, 5]})
    assert house.refusals(page) == ["the trim cannot be checked: the clips of this pair cannot be made again"]


def test_a_pair_that_is_taken_from_a_page_is_leased_to_nobody() -> None:
    dealer = Dealer()
    dealer.seats[1] = Seat("ada", "link", admin=False, seen=0.0)
    dealer.give(1, ["q1", "q2"], 0.0, 9.0)
    assert dealer.keep(["q2"]) == [Release(("q1",))]


def test_a_tie_may_speak_of_trimmed_ranges() -> None:
    house = House(SIX)
    house.label(house.page(), "q1", "equal", trims={"q1-b": [10, 30]})
    assert house.labels[0].answer == Answer(Verdict.EQUAL, None, {"q1-b": (10, 30)})


def test_a_trim_of_a_pair_not_rendered_here_waits_for_its_clips() -> None:
    """As after a restart: how many frames a clip had is found out by making it again."""
    house = House(SIX, renders=False)
    page = house.page()
    label_id = house.label(page, "q6", trims={"q6-a": [2, 20]})
    assert house.all(SaveLabel) == []
    house.is_ready("q1")
    assert house.all(MakeClips)[-1].query_id == "q6", "it is rendered next"
    house.is_ready("q6", frames=25, steps=50)
    assert house.labels[0].answer.trims == {"q6-a": (4, 40)}
    assert house.acked(page) == [label_id]


def test_a_trim_that_cannot_be_checked_is_refused() -> None:
    house = House(["q1"], renders=False)
    page = house.page()
    label_id = house.label(page, "q1", trims={"q1-a": [2, 20]})
    house.fails("q1")
    assert [message.label_id for message in house.said(page, wire.Refused)] == [label_id]


def test_an_undo_does_not_overtake_the_trimmed_answer_that_it_undoes() -> None:
    house = House(["q1"], renders=False)
    page = house.page()
    house.label(page, "q1", trims={"q1-a": [2, 20]})
    house.label(page, "q1", "undo")
    house.is_ready("q1")
    assert [label.answer.verdict for label in house.labels] == [Verdict.PREFER, Verdict.UNDO]


# ------------------------------------------------------------------ undo


def test_an_undo_is_a_label_and_the_pair_is_asked_about_again() -> None:
    house = House(["q1"])
    page = house.page()
    house.label(page, "q1")
    label_id = house.label(page, "q1", "undo")
    assert [label.answer.verdict for label in house.labels] == [Verdict.PREFER, Verdict.UNDO]
    assert label_id in house.acked(page)
    house.tick()
    assert house.withdrawn(page) == []
    house.label(page, "q1", preferred="q1-b")
    assert house.labels[-1].answer.preferred == "q1-b"


def test_an_undone_pair_goes_to_nobody_else_and_is_not_sent_again() -> None:
    house = House(["q1", "q2", "q3"])
    ada, bob = house.page("ada's"), house.page("bob's")
    house.label(ada, "q1")
    house.label(ada, "q1", "undo")
    house.tick()
    house.tick()
    assert house.pushed(ada) == ["q1", "q2", "q3"], "the page has it on hand"
    assert house.pushed(bob) == []
    assert house.all(Lease)[-1] == Lease(("q1",), "ada", LEASE)


def test_an_undone_pair_is_sent_like_any_other_after_a_reload() -> None:
    house = House(["q1"])
    page = house.page()
    house.label(page, "q1")
    house.label(page, "q1", "undo")
    house.tick()
    house.leave(page)
    assert house.pushed(house.page()) == ["q1"]


def test_an_undo_may_follow_before_the_answer_is_saved() -> None:
    house = House(["q1"], saves=False)
    page = house.page()
    house.label(page, "q1")
    house.label(page, "q1", "undo")
    for save in house.all(SaveLabel):
        house.save(save)
    assert [label.answer.verdict for label in house.labels] == [Verdict.PREFER, Verdict.UNDO]
    assert house.refusals(page) == []


def test_an_answer_from_before_a_restart_can_be_undone() -> None:
    before = House(["q1"])
    before.label(before.page("ada's"), "q1")
    after = House(["q1"])
    after.labels = before.labels
    after.tick()
    page = after.page("ada's")
    after.label(page, "q1", "undo", label_id="the-undo")
    assert after.refusals(page) == []
    assert after.labels[-1].answer.verdict is Verdict.UNDO


def test_an_undone_pair_stays_where_it_was_though_the_line_dropped_before_the_ack() -> None:
    house = House(SIX)
    ada = house.page("ada's")
    house.label(ada, "q1")
    undo = house.label(ada, "q1", "undo")
    house.leave(ada)
    ada = house.page("ada's", holds=["q2", "q3"])  # of q1 it does not know yet that it may have it
    house.label(ada, "q1", "undo", label_id=undo)
    assert house.all(Lease)[-1] == Lease(("q1",), "ada", LEASE)
    assert house.acked(ada) == [undo]
    assert "q1" not in house.pushed(house.page("bob's"))


def test_a_pair_that_was_answered_again_does_not_come_back_by_an_old_undo() -> None:
    house = House(SIX)
    ada = house.page("ada's")
    house.label(ada, "q1")
    undo = house.label(ada, "q1", "undo")
    house.label(ada, "q1", preferred="q1-b")
    leases = house.all(Lease)
    house.label(ada, "q1", "undo", label_id=undo)
    assert house.all(Lease) == leases


def test_nobody_undoes_what_another_answered() -> None:
    house = House(SIX)
    house.label(house.page("ada's"), "q1")
    bob = house.page("bob's")
    house.label(bob, "q1", "undo")
    assert house.refusals(bob) == ["there is no answer of yours to undo"]


def test_what_is_undone_is_not_undone_again() -> None:
    house = House(SIX)
    page = house.page()
    house.label(page, "q1")
    label_id = house.label(page, "q1", "undo")
    house.label(page, "q1", "undo", label_id=label_id)
    house.label(page, "q1", "undo")
    assert house.acked(page).count(label_id) == 2, "the same message again is acked again"
    assert house.refusals(page) == ["there is no answer of yours to undo"]


def test_an_undo_whose_pair_the_trainer_withdrew_takes_it_off_the_page() -> None:
    house = House(["q1"])
    page = house.page()
    house.label(page, "q1")
    house.label(page, "q1", "undo")
    house.carry_out(house.session.ticked(Snapshot(), house.now))
    assert house.withdrawn(page) == ["q1"]


# ------------------------------------------------------------------ several labelers


def names(count: int) -> list[str]:
    return [f"q{number}" for number in range(1, count + 1)]


def work(house: House, page: int, count: int, verdict: str = "prefer") -> list[str]:
    """A labeler answers what comes first, so many times or while there is something. Gives the pairs."""
    done: list[str] = []
    while len(done) < count:
        answered = {effect.query_id for effect in house.all(SaveLabel) if effect.labeler == labeler_at(house, page)}
        if not {*house.pushed(page)} - answered:
            break
        done.append(next(name for name in house.pushed(page) if name not in answered))
        house.label(page, done[-1], verdict)
    return done


def labeler_at(house: House, page: int) -> str:
    return str(house.said(page, wire.Welcome)[0].labeler)


def judges(house: House) -> dict[str, list[str]]:
    """Who answered each pair, in their order."""
    found: dict[str, list[str]] = {}
    for label in house.labels:
        found.setdefault(label.query_id, []).append(label.labeler)
    return found


@pytest.mark.parametrize(("share", "twice"), [(0.0, 0), (0.1, 3), (0.5, 15)])
def test_of_two_labelers_pairs_that_share_is_judged_by_both_and_the_rest_by_one(share: float, twice: int) -> None:
    house = House(names(30), labeling={"overlap": share})
    ada, bob = house.page("ada's"), house.page("bob's")
    while work(house, ada, 1) + work(house, bob, 1):
        house.tick()
    assert len(judges(house)) == 30
    assert sum(who in (["ada", "bob"], ["bob", "ada"]) for who in judges(house).values()) == twice
    assert len(house.labels) == 30 + twice
    assert house.withdrawn(ada) == house.withdrawn(bob) == []


def test_nobody_is_asked_for_a_second_opinion_on_their_own_answers() -> None:
    house = House(names(20), labeling={"overlap": 1.0})
    first, second = house.page("ada's"), house.page("ada's")
    for _ in range(10):
        work(house, first, 1)
        work(house, second, 1)
    assert all(who == ["ada"] for who in judges(house).values())


def test_whoever_comes_later_holds_one_answered_pair_at_a_time() -> None:
    house = House(names(30), labeling={"overlap": 0.5})
    work(house, house.page("ada's"), 20)
    bob = house.page("bob's")
    assert house.pushed(bob) == ["q20", "q24", "q25"], "the newest that ada answered, and what nobody has"
    work(house, bob, 1)
    assert house.pushed(bob)[3:] == ["q19"]


def test_a_skipped_pair_needs_no_second_opinion() -> None:
    house = House(names(20), labeling={"overlap": 1.0})
    work(house, house.page("ada's"), 10, "skip")
    assert not {*house.pushed(house.page("bob's"))} & {*names(10)}


def test_a_third_labeler_does_not_get_what_two_have_judged() -> None:
    house = House(["q1"], labeling={"overlap": 1.0})
    house.session.let_in({**LINKS, hashed("cyd's"): Link("cyd")}, house.now)
    ada, bob = house.page("ada's"), house.page("bob's")
    house.label(ada, "q1")
    cyd = house.page("cyd's")
    assert (house.pushed(bob), house.pushed(cyd)) == (["q1"], []), "bob holds it"
    house.label(bob, "q1")
    house.tick()
    assert house.pushed(cyd) == []


def test_second_opinions_leave_the_budget_for_pairs_that_wait() -> None:
    house = House(names(8), labels=8, labeling={"overlap": 1.0})
    ada, bob = house.page("ada's"), house.page("bob's")
    while work(house, ada, 1) + work(house, bob, 1):
        house.tick()
    assert sorted(judges(house)) == names(8)
    assert len(house.labels) == 8


def test_the_first_labeler_may_change_the_answer_while_the_second_looks() -> None:
    house = House(["q1"], labeling={"overlap": 1.0})
    ada, bob = house.page("ada's"), house.page("bob's")
    house.label(ada, "q1")
    assert house.pushed(bob) == ["q1"]
    house.label(ada, "q1", "undo")
    house.tick()
    house.label(ada, "q1", "equal")
    house.tick()
    assert house.withdrawn(bob) == []
    house.label(bob, "q1")
    assert [(label.labeler, label.answer.verdict.value) for label in house.labels] == [
        ("ada", "prefer"),
        ("ada", "undo"),
        ("ada", "equal"),
        ("bob", "prefer"),
    ]


def test_a_second_opinion_may_be_undone_and_given_anew() -> None:
    house = House(["q1"], labeling={"overlap": 1.0})
    ada, bob = house.page("ada's"), house.page("bob's")
    house.label(ada, "q1")
    house.label(bob, "q1")
    house.label(bob, "q1", "undo")
    house.tick()
    assert (house.withdrawn(bob), house.pushed(bob)) == ([], ["q1"]), "it is on hand"
    house.label(bob, "q1", "equal")
    assert house.acked(bob) == ["label-2", "label-3", "label-4"]


def test_a_second_opinion_left_lying_is_taken_back_and_given_to_who_comes_next() -> None:
    house = House(["q1"], labeling={"overlap": 1.0})
    ada, bob = house.page("ada's"), house.page("bob's")
    house.label(ada, "q1")
    for _ in range(20):
        house.wait(LEASE / 2)
    assert (house.pushed(bob), house.withdrawn(bob)) == (["q1"], ["q1"])
    house.say(bob, type="here")
    assert house.pushed(bob) == ["q1", "q1"]


@pytest.mark.parametrize(("overlap", "stays"), [(1.0, True), (0.0, False)])
def test_a_page_that_lost_its_line_keeps_what_it_holds_for_a_second_opinion_if_one_is_due(overlap: float, stays: bool) -> None:
    house = House(names(5), labeling={"overlap": 1.0})
    work(house, house.page("ada's"), 1)
    bob = house.page("bob's")
    house.tick()
    (opinion,) = {*house.pushed(bob)} & {*judges(house)}
    held = house.pushed(bob)
    house.leave(bob)
    house.settings = {"labeling": {"overlap": overlap}}
    house.tick()
    bob = house.page("bob's", holds=held)
    assert house.withdrawn(bob) == ([] if stays else [opinion])
    house.label(bob, opinion)
    assert judges(house)[opinion] == ["ada", "bob"], "and a label for it is taken in any case"


def test_a_page_that_says_that_somebody_is_there_keeps_its_pairs() -> None:
    house = House(["q1", "q2", "q3"])
    ada, bob = house.page("ada's"), house.page("bob's")
    for _ in range(10):
        house.wait(LEASE * 0.6)
        house.say(ada, type="here")
        house.say(bob, type="here")
    assert house.all(Lease)[-1] == Lease(("q1", "q2", "q3"), "ada", LEASE)
    assert (house.withdrawn(ada), house.pushed(bob)) == ([], [])


def test_a_pair_that_is_asked_again_goes_to_who_answered_it_while_they_are_there() -> None:
    house = House(["q1", "q2", "q3", "q4"])
    house.wanted = {"q1": "bob"}
    house.tick()
    ada, bob = house.page("ada's"), house.page("bob's")
    assert house.pushed(ada)[:1] == ["q1"], "bob was not there yet"
    house.leave(ada)
    assert "q1" in house.pushed(bob)
    assert "q1" not in house.pushed(house.page("ada's"))


def test_a_withdrawn_pair_is_sent_again_to_a_page_that_gets_it_again() -> None:
    house = House(["q1", "q2", "q3"])
    ada = house.page("ada's")
    house.now += LEASE + 1
    bob = house.page("bob's")
    assert house.withdrawn(ada) == ["q1", "q2", "q3"]
    house.leave(bob)
    assert house.pushed(ada) == ["q1", "q2", "q3"] * 2


# ------------------------------------------------------------------ withdrawn pairs


def test_a_pair_that_was_answered_elsewhere_is_withdrawn_and_replaced() -> None:
    house = House(["q1", "q2", "q3", "q4"])
    page = house.page()
    house.labels.append(Label("x", "q2", "somebody", Answer(Verdict.EQUAL), seq=1))
    house.tick()
    assert house.withdrawn(page) == ["q2"]
    assert house.pushed(page) == ["q1", "q2", "q3", "q4"]


def test_a_page_does_not_hear_of_a_withdrawn_pair_that_it_never_had() -> None:
    house = House(["q1", "q2"], renders=False)
    page = house.page()
    house.is_ready("q1")
    house.asked = []
    house.tick()
    assert house.withdrawn(page) == ["q1"]


# ------------------------------------------------------------------ clips


def test_pairs_are_rendered_one_at_a_time() -> None:
    house = House(SIX, renders=False)
    house.page()
    house.tick()
    assert [order.query_id for order in house.all(MakeClips)] == ["q1"]
    house.is_ready("q1")
    assert [order.query_id for order in house.all(MakeClips)] == ["q1", "q2"]


def test_while_no_page_is_connected_one_pair_is_ready_for_the_first_to_come() -> None:
    house = House(SIX)
    assert [order.query_id for order in house.all(MakeClips)] == ["q1"]
    house.asked = house.asked[1:]
    house.tick()
    assert [order.query_id for order in house.all(MakeClips)] == ["q1", "q2"]


def test_no_clips_are_made_beyond_what_pages_hold() -> None:
    house = House(SIX)
    page = house.page()
    assert [order.query_id for order in house.all(MakeClips)] == ["q1", "q2", "q3"]
    house.label(page, "q1")
    assert [order.query_id for order in house.all(MakeClips)] == ["q1", "q2", "q3", "q4"]


def test_what_a_page_waits_for_is_rendered_before_what_nobody_waits_for() -> None:
    house = House(SIX, renders=False)
    house.leased = {"q1": "bob", "q2": "bob", "q3": "bob"}
    house.tick()
    house.page("ada's")
    house.is_ready("q1")
    assert house.all(MakeClips)[-1].query_id == "q4"


def test_the_first_pair_of_each_page_is_rendered_before_the_second_of_any() -> None:
    house = House(SIX, renders=False)
    house.page("ada's")
    house.page("bob's")
    for name in SIX:
        if house.all(MakeClips)[-1].query_id == name:
            house.is_ready(name)
    assert [order.query_id for order in house.all(MakeClips)][:3] == ["q1", "q4", "q2"]


def test_ready_pairs_are_dealt_before_those_still_to_be_rendered() -> None:
    house = House(SIX, renders=False)
    house.leased = {"q1": "bob"}
    house.tick()
    house.is_ready("q1")
    house.is_ready("q2")
    house.is_ready("q3")
    assert house.pushed(house.page("bob's")) == ["q1", "q2", "q3"]
    assert house.pushed(house.page("ada's")) == []


def test_a_pair_that_cannot_be_shown_is_replaced_without_a_word() -> None:
    house = House(["q1", "q2"], renders=False)
    page = house.page()
    house.fails("q1")
    house.is_ready("q2")
    house.tick()
    assert house.pushed(page) == ["q2"]
    assert house.said(page, wire.Withdrawn) == house.refusals(page) == []
    assert [order.query_id for order in house.all(MakeClips)] == ["q1", "q2"], "it is not tried again"
    assert house.all(Release) == [Release(("q1",))]


def test_a_pair_that_failed_by_accident_is_tried_once_more() -> None:
    house = House(["q1"], renders=False)
    house.page()
    for _ in range(ATTEMPTS + 1):
        house.fails("q1", final=False)
    house.tick()
    assert [order.query_id for order in house.all(MakeClips)] == ["q1"] * ATTEMPTS


def test_pages_are_told_when_nothing_can_be_shown_until_something_can() -> None:
    house = House(SIX, renders=False)
    page = house.page()
    counts = {"asked": 6, "waiting": 6, "labels": 0, "skipped": 0}
    for name in SIX[:3]:
        house.fails(name)
    house.carry_out(house.session.reported(counts, {"message": "The agent is learning."}))
    assert house.said(page, wire.Status)[-1].message == "Pairs cannot be shown: the replay differs"
    house.is_ready("q4")
    house.carry_out(house.session.reported(counts, {"message": "The agent is learning."}))
    assert house.said(page, wire.Status)[-1].message == "The agent is learning."


def test_rendered_pairs_in_memory_are_bounded() -> None:
    names = [f"q{number}" for number in range(40)]
    house = House(names, labeling={"queue_size": 2})
    page = house.page()
    for name in names[:30]:
        house.label(page, name)
    house.leave(page)
    rendered = len(house.all(MakeClips))
    house.page()
    assert len(house.all(MakeClips)) == rendered, "what is needed next is there"
    assert len(house.session._shelf._pairs) <= 6


# ------------------------------------------------------------------ settings

CHANGES = {"labeling.allow_ties": False, "clips.speed": 2.0, "clips.frame_rate": 10.0, "labeling.queue_size": 3}


def test_a_page_changes_settings_and_every_page_hears_the_new_rules() -> None:
    house = House(SIX)
    ada, bob = house.page("ada's"), house.page("bob's")
    house.say(ada, type="settings", changes=CHANGES)
    assert house.all(ChangeSettings) == [ChangeSettings(CHANGES, "ada")]
    assert house.said(ada, wire.Rules) == [], "not before they are on record"
    house.settings = CHANGES
    house.tick()
    house.tick()
    rules = house.said(ada, wire.Rules)
    assert rules == house.said(bob, wire.Rules)
    assert [(r.allow_ties, r.speed, r.frame_rate, r.queue_size) for r in rules] == [(False, 2.0, 10.0, 3)]
    house.label(ada, "q1", "equal")
    assert house.refusals(ada) == ["ties are off in this run (labeling.allow_ties)"]


def test_settings_changed_before_a_page_came_are_in_its_welcome() -> None:
    house = House()
    house.settings = {"labeling.allow_skipping": False}
    house.tick()
    assert not house.said(house.page())[0].rules.allow_skipping


@pytest.mark.parametrize("restricted", [False, True])
def test_an_admin_changes_settings_and_a_labeler_never_does(restricted: bool) -> None:
    house = House(labeling={"config_restricted": restricted})
    ada, bob = house.page("ada's"), house.page("bob's")
    house.say(bob, type="settings", changes={"clips.speed": 2.0})
    assert house.refusals(bob) == ["only an admin may change settings, and yours is a labeler's link"]
    assert house.all(ChangeSettings) == []
    house.say(ada, type="settings", changes={"clips.speed": 2.0})
    assert house.all(ChangeSettings) == [ChangeSettings({"clips.speed": 2.0}, "ada")]


def test_the_report_is_made_for_an_admin_and_for_nobody_else() -> None:
    house = House()
    ada, bob = house.page("ada's"), house.page("bob's")
    house.say(bob, type="report")
    assert house.refusals(bob) == ["only an admin may see the report, and yours is a labeler's link"]
    house.say(ada, type="report")
    assert house.all(MakeReport) == [MakeReport(ada)]


# ------------------------------------------------------------------ a queue that is replaced


def test_who_comes_while_a_new_queue_has_no_clips_yet_sees_a_pair_of_the_old_one_at_once() -> None:
    house = House(["old1", "old2"])
    house.renders = False
    house.replace("new1", "new2")
    page = house.page()
    assert house.pushed(page) == ["old1"]
    house.tick()
    assert house.withdrawn(page) == [], "what is on screen stays there"
    house.label(page, "old1")
    house.tick()
    house.is_ready("new1")
    assert (house.pushed(page), house.refusals(page)) == (["old1", "new1"], [])


def test_an_old_pair_goes_as_soon_as_a_new_one_has_clips() -> None:
    house = House(["old"])
    house.replace("new")
    assert [order.query_id for order in house.all(MakeClips)] == ["old", "new"]
    house.tick()
    assert house.pushed(house.page()) == ["new"]


def test_no_old_pair_stays_where_the_queue_is_empty() -> None:
    house = House(["old1", "old2"])
    house.replace()
    assert house.pushed(house.page()) == []


def test_no_old_pair_is_asked_again() -> None:
    house = House(["old1", "old2"])
    first = house.page()
    house.label(first, "old1")
    house.leave(first)
    house.renders = False
    house.replace("new")
    assert house.pushed(house.page()) == ["old2"]


# ------------------------------------------------------------------ links that come and go


def test_a_link_made_while_the_service_runs_lets_its_labeler_in() -> None:
    house = House(SIX)
    house.page("eve's")
    house.look_at_links()
    assert [close.code for close in house.all(Close)] == [NOT_ADMITTED]
    house.links[hashed("eve's")] = Link("eve")
    house.look_at_links()
    page = house.page("eve's")
    assert house.said(page)[0].labeler == "eve"
    assert house.pushed(page) == ["q1", "q2", "q3"]


def test_a_link_opened_before_the_service_knew_of_it_lets_its_labeler_in_at_the_next_look() -> None:
    house = House(SIX)
    house.links[hashed("eve's")] = Link("eve")
    page = house.page("eve's")
    assert house.said(page) == []
    assert house.all(Admit) == []
    house.wait(1.0)
    house.look_at_links()
    assert house.said(page)[0].labeler == "eve"
    assert house.all(Admit) == [Admit(page)]
    assert house.pushed(page) == ["q1", "q2", "q3"]


def test_a_page_whose_link_is_being_looked_up_tries_no_other() -> None:
    house = House(SIX)
    page = house.page("eve's")
    house.say(page, type="hello", protocol=wire.PROTOCOL, token="ada's")
    assert [close.code for close in house.all(Close)] == [POLICY_VIOLATION]
    house.say(page, type="hello", protocol=wire.PROTOCOL, token="ada's")
    house.look_at_links()
    assert house.all(Admit) == []


def test_who_leaves_before_their_link_was_looked_up_is_forgotten() -> None:
    house = House(SIX)
    house.links[hashed("eve's")] = Link("eve")
    house.leave(house.page("eve's"))
    house.look_at_links()
    assert house.all(Admit) == []


def test_a_link_that_cannot_be_looked_up_in_time_may_come_again() -> None:
    house = House(SIX)
    page = house.page("eve's")
    house.wait(HELLO_SECONDS + 1)
    assert house.all(Close) == [Close(page, TRY_LATER, "this link could not be looked up within 5 s")]
    house.look_at_links()
    assert len(house.all(Close)) == 1


def test_a_page_whose_link_is_ended_is_closed_with_a_sentence_and_its_pairs_go_on() -> None:
    house = House(["q1", "q2", "q3"])
    ada, bob = house.page("ada's"), house.page("bob's")
    house.carry_out(house.session.let_in({hashed("bob's"): Link("bob")}, house.now))
    reason = "This link has been ended by whoever runs the training."
    assert house.all(Close) == [Close(ada, LINK_ENDED, reason)]
    assert house.refusals(ada) == [reason]
    assert house.pushed(bob) == ["q1", "q2", "q3"]
    house.label(ada, "q1")
    assert house.all(SaveLabel) == [], "it is not heard any more"
    again, house.links = house.page("ada's"), {hashed("bob's"): Link("bob")}
    house.look_at_links()
    assert [close.code for close in house.all(Close) if close.page == again] == [NOT_ADMITTED]


def test_a_label_on_its_way_when_the_link_ends_is_saved() -> None:
    house = House(SIX, saves=False)
    page = house.page()
    house.label(page, "q1")
    house.carry_out(house.session.let_in({}, house.now))
    house.save(house.all(SaveLabel)[0])
    assert [label.query_id for label in house.labels] == ["q1"]
    assert house.acked(page) == []


def test_links_that_stay_close_nobody() -> None:
    house = House(SIX)
    house.page()
    before = list(house.done)
    house.carry_out(house.session.let_in(dict(LINKS), house.now))
    assert house.done == before


@pytest.mark.parametrize(
    "name", ["labeling.config_restricted", "labeling.host", "labels", "clips.size", "env", "ppo.gamma", "", "x.y"]
)
def test_only_settings_of_the_panel_can_be_changed(name: str) -> None:
    house = House()
    page = house.page()
    house.say(page, type="settings", changes={"clips.speed": 2.0, name: 1})
    assert f"may not change {name!r}" in house.refusals(page)[0]
    assert house.all(ChangeSettings) == []


@pytest.mark.parametrize(
    "changes",
    [
        {"clips.speed": 0},
        {"clips.speed": 17},
        {"clips.speed": None},
        {"clips.frame_rate": 0},
        {"clips.frame_rate": 1000},
        {"labeling.queue_size": 0},
        {"labeling.queue_size": 1.5},
        {"labeling.allow_ties": 7},
        {"labeling.allow_ties": None},
    ],
)
def test_a_value_that_the_config_refuses_is_refused_with_its_sentence(changes: dict[str, Any]) -> None:
    house = House()
    page = house.page()
    house.say(page, type="settings", changes=changes)
    name = next(iter(changes))
    assert house.refusals(page)[0].startswith(f"settings: {name} is ")
    assert house.all(ChangeSettings) == []


@pytest.mark.parametrize("name", CHANGEABLE)
def test_every_setting_of_the_panel_can_be_changed(name: str) -> None:
    house = House()
    house.say(house.page(), type="settings", changes={name: 1})
    changed = house.all(ChangeSettings)[0].changes
    assert changed == {name: 1}
    assert isinstance(changed[name], bool) == name.startswith("labeling.allow")


def test_another_frame_rate_is_used_for_new_clips_and_leaves_those_on_pages_alone() -> None:
    house = House(SIX)
    page = house.page()
    house.settings = {"clips.frame_rate": 10.0}
    house.tick()
    house.label(page, "q1")
    anew = [order.query_id for order in house.all(MakeClips) if order.clips.frame_rate == 10.0]
    assert anew == ["q4"]
    assert house.pushed(page) == ["q1", "q2", "q3", "q4"]


# ------------------------------------------------------------------ status

COUNTS = {"asked": 9, "waiting": 3, "labels": 5, "skipped": 1}
PROGRESS = {
    "phase": "training",
    "message": "The agent is learning.",
    "step": 20480,
    "steps": 200000,
    "steps_per_second": 2100.5,
    "held_out_accuracy": 0.82,
    "true_return": 512.3,
    "reward_version": 4,
    "diagnosis": {"labels": 5, "verdict": "New labels still change the ranking."},
    "at": 1.0,
}


def test_pages_hear_how_the_run_stands_when_it_changed() -> None:
    house = House(labels=100)
    page = house.page()
    for _ in range(3):
        house.carry_out(house.session.reported(COUNTS, PROGRESS))
    house.carry_out(house.session.reported({**COUNTS, "labels": 6}, PROGRESS))
    first, second = house.said(page, wire.Status)
    assert (first.phase, first.step, first.labels, first.wanted, first.waiting) == ("training", 20480, 5, 100, 3)
    assert first.verdict == "New labels still change the ranking."
    assert second.labels == 6


def test_a_page_that_comes_in_hears_how_the_run_stands() -> None:
    house = House()
    house.carry_out(house.session.reported(COUNTS, PROGRESS))
    assert [type(message) for message in house.said(house.page())] == [wire.Welcome, wire.Curves, wire.Status]


def course(*events: tuple[int, float | None, float | None, int]) -> list[wire.CurvePoint]:
    """The curves that a page gets after these events: step, accuracy, return, version."""
    names = ("step", "held_out_accuracy", "true_return", "reward_version")
    house = House()
    house.session.remember([dict(zip(names, event, strict=True)) for event in events[:-1]])
    house.carry_out(house.session.reported(COUNTS, dict(zip(names, events[-1], strict=True))))
    return house.said(house.page(), wire.Curves)[0].points


def test_curves_hold_what_the_service_was_told_and_what_came_before_it() -> None:
    start, learned, better = (2048, None, -310.0, 0), (4096, 0.7, -250.5, 1), (6144, 0.75, -250.5, 2)
    assert course(start, learned, better) == [start, learned, better]


def test_what_tells_nothing_new_is_no_point_and_what_is_no_number_is_unknown() -> None:
    assert course((2048, 0.7, 1.0, 1), (4096, 0.7, 1.0, 1), (6144, math.nan, math.inf, 1)) == [
        (2048, 0.7, 1.0, 1),
        (6144, None, None, 1),
    ]


def test_a_run_that_went_back_to_a_checkpoint_goes_on_from_there() -> None:
    events = [(step, None, float(step), 0) for step in (1000, 2000, 3000)]
    assert course(*events, (2000, None, 5.0, 0)) == [events[0], (2000, None, 5.0, 0)]


def test_long_curves_are_thinned_and_keep_their_ends() -> None:
    points = course(*[(step, None, float(step), 0) for step in range(1, 10_001)])
    assert len(points) <= wire.MOST_POINTS
    assert (points[0][0], points[-1][0]) == (1, 10_000)
    assert len(points) > wire.MOST_POINTS / 3


def test_a_page_of_a_run_that_has_told_nothing_gets_no_curves() -> None:
    house = House()
    assert house.said(house.page(), wire.Curves) == []


@pytest.mark.parametrize(
    "progress",
    [
        None,
        {},
        {"phase": None, "true_return": None, "diagnosis": None},
        {"true_return": float("nan"), "steps_per_second": float("inf")},
    ],
)
def test_a_trainer_that_says_little_is_a_run_that_starts(progress: dict[str, Any] | None) -> None:
    house = House(steps=1000)
    page = house.page()
    house.carry_out(house.session.reported(COUNTS, progress))
    status = house.said(page, wire.Status)[0]
    assert (status.phase, status.message, status.step, status.steps) == ("starting", "", 0, 1000)
    assert status.true_return is status.steps_per_second is None
    assert status.verdict == ""


# ------------------------------------------------------------------ mode "watch"


def watching(asked: Sequence[str] = (), **options: Any) -> House:
    return House(asked, labeler="oracle", **options)


def answer(house: House, *names: str, verdict: Verdict = Verdict.PREFER) -> None:
    """The oracle answers, in the trainer."""
    for name in names:
        preferred = f"{name}-b" if verdict is Verdict.PREFER else None
        house.labels.append(Label(f"of-{name}", name, "oracle", Answer(verdict, preferred), seq=len(house.labels) + 1))
    house.tick()


def test_a_watching_page_sees_what_the_oracle_chose() -> None:
    house = watching(SIX)
    page = house.page()
    assert house.said(page)[0].mode == "watch"
    assert house.pushed(page) == []
    answer(house, "q1")
    (shown,) = house.all(SendPair)
    assert shown.header.answer == wire.AnswerHeader(verdict=Verdict.PREFER, preferred="q1-b", labeler="oracle")


def test_a_watching_page_sees_the_newest_choice_and_one_every_three_seconds() -> None:
    house = watching(SIX)
    page = house.page()
    answer(house, "q1", "q2")
    answer(house, "q3")
    answer(house, "q4")
    assert house.pushed(page) == ["q2"]
    house.wait(WATCH_SECONDS - 0.1)
    assert house.pushed(page) == ["q2"]
    house.wait(0.1)
    assert house.pushed(page) == ["q2", "q4"]
    house.wait(10 * WATCH_SECONDS)
    assert house.pushed(page) == ["q2", "q4"]


def test_a_page_that_begins_to_watch_sees_the_last_choice() -> None:
    house = watching(SIX)
    answer(house, *SIX)
    first = house.page()
    assert house.pushed(first) == ["q6"]
    assert house.pushed(house.page()) == ["q6"]


def test_nothing_is_rendered_while_nobody_watches() -> None:
    house = watching(SIX)
    answer(house, "q1", "q2")
    house.wait(100)
    assert house.all(MakeClips) == []


def test_a_choice_is_shown_though_newer_ones_come_while_it_is_rendered() -> None:
    house = watching(SIX, renders=False)
    page = house.page()
    answer(house, "q1")
    answer(house, "q2")
    house.is_ready("q1")
    assert house.pushed(page) == ["q1"]


def test_a_choice_that_cannot_be_shown_makes_way_for_the_next() -> None:
    house = watching(SIX, renders=False)
    page = house.page()
    answer(house, "q1")
    house.fails("q1")
    answer(house, "q2")
    house.is_ready("q2")
    assert house.pushed(page) == ["q2"]


def test_a_tie_of_the_oracle_is_shown_as_one() -> None:
    house = watching(SIX)
    house.page()
    answer(house, "q1", verdict=Verdict.EQUAL)
    shown = wire.AnswerHeader(verdict=Verdict.EQUAL, preferred=None, labeler="oracle")
    assert house.all(SendPair)[0].header.answer == shown


@pytest.mark.parametrize("verdict", ["prefer", "equal", "skip", "undo"])
def test_a_watching_page_labels_nothing(verdict: str) -> None:
    house = watching(SIX)
    page = house.page()
    answer(house, "q1")
    house.label(page, "q1", verdict)
    assert "only watch" in house.refusals(page)[0]
    assert len(house.labels) == 1


def test_a_page_holds_no_more_than_it_should() -> None:
    house = House([f"q{number}" for number in range(30)])
    page = house.page()
    for number in range(20):
        house.label(page, f"q{number}")
        house.tick()
    assert len(house.pushed(page)) == 20 + AHEAD


# ------------------------------------------------------------------ strength


def test_how_much_better_a_clip_is_reaches_the_store() -> None:
    house = House(SIX)
    page = house.page()
    house.label(page, "q1", strength="slightly")
    (saved,) = house.all(SaveLabel)
    assert saved.answer == Answer(Verdict.PREFER, "q1-a", {}, Strength.SLIGHTLY)


def test_a_tie_of_some_strength_is_refused_in_a_sentence() -> None:
    house = House(SIX)
    page = house.page()
    house.label(page, "q1", "equal", strength="much")
    assert house.all(SaveLabel) == []
    assert [message.reason for message in house.said(page, wire.Refused)] == ["only 'prefer' has a strength"]


# ------------------------------------------------------------------ reasons


def test_a_reason_reaches_the_store_without_the_blanks_around_it() -> None:
    house = House(SIX)
    page = house.page()
    house.label(page, "q1", "both_bad", reason="  <b>both</b> fall ")
    (saved,) = house.all(SaveLabel)
    assert saved.answer == Answer(Verdict.BOTH_BAD, reason="<b>both</b> fall")


# ------------------------------------------------------------------ pausing


def test_an_admins_page_pauses_the_training_and_every_page_hears_of_it_once_it_is_on_record() -> None:
    house = House(SIX)
    ada, bob = house.page("ada's"), house.page("bob's")
    house.carry_out(house.session.reported(COUNTS, PROGRESS))
    house.say(bob, type="pause", paused=True)
    assert house.refusals(bob) == ["only an admin may pause training, and yours is a labeler's link"]
    house.say(ada, type="pause", paused=True)
    assert house.all(Pause) == [Pause(paused=True, labeler="ada")]
    assert [status.paused for status in house.said(ada, wire.Status)] == [False]
    house.paused = True
    house.tick()
    house.tick()
    assert [status.paused for status in house.said(ada, wire.Status)] == [False, True]
    assert house.said(ada, wire.Status) == house.said(bob, wire.Status)
    house.label(ada, "q1")
    assert len(house.acked(ada)) == 1


# ------------------------------------------------------------------ what the reward predicts


def forecast(*names: str, version: int = 4, seq: int = 1) -> Forecast:
    """Two steps of each segment of these pairs: -1 and 1 on one side, 0 and 0.5 on the other."""
    return Forecast(version, {f"{name}-{side}": paid for name in names for side, paid in SIDES.items()}, seq)


SIDES = {"a": [-1.0, 1.0], "b": [0.0, 0.5]}


def test_a_page_hears_once_what_the_reward_predicts_along_the_frames_of_the_pairs_it_has() -> None:
    house = House(["q1", "q2"], renders=False)
    page = house.page()
    house.carry_out(house.session.clips_ready("q1", pair("q1", frames=4, steps=2), house.now))
    for _ in range(2):
        house.carry_out(house.session.foretold(forecast("q1", "q2")))
    halves = {"q1-a": [-1.0, -1.0, 1.0, 1.0], "q1-b": [0.0, 0.0, 0.5, 0.5]}
    told = wire.Predicted(query_id="q1", version=4, rewards=halves)
    assert house.said(page, wire.Predicted) == [told], "q2 has no clips yet"
    house.carry_out(house.session.clips_ready("q2", pair("q2", frames=2, steps=2), house.now))
    pairs = [effect for effect in house.done if isinstance(effect, SendPair)]
    assert [effect.header.query_id for effect in pairs] == ["q1", "q2"]
    assert [message.query_id for message in house.said(page, wire.Predicted)] == ["q1", "q2"]
    assert house.done.index(pairs[1]) < len(house.done) - 1, "the pair comes before what is said of it"
    house.carry_out(house.session.foretold(forecast("q2", version=5, seq=2)))
    assert [(m.query_id, m.version) for m in house.said(page, wire.Predicted)] == [("q1", 4), ("q2", 4), ("q2", 5)]


def test_a_pair_sent_once_more_is_told_of_once_more_and_an_answered_one_no_more() -> None:
    house = House(["q1", "q2"])
    page = house.page()
    house.carry_out(house.session.foretold(forecast("q1", "q2")))
    house.label(page, "q1")
    house.label(page, "q2", "equal", strength="much")
    assert house.pushed(page) == ["q1", "q2", "q2"], "it was not taken"
    assert [message.query_id for message in house.said(page, wire.Predicted)] == ["q1", "q2", "q2"]
    house.carry_out(house.session.foretold(forecast("q1", "q2", version=5, seq=2)))
    assert [(m.query_id, m.version) for m in house.said(page, wire.Predicted)][3:] == [("q2", 5)]


def test_in_a_study_no_page_hears_what_the_reward_predicts() -> None:
    house = House(["q1"], labeling={"config_restricted": True})
    page = house.page()
    house.carry_out(house.session.foretold(forecast("q1")))
    house.tick()
    assert house.said(page, wire.Predicted) == []


# ------------------------------------------------------------------ what pages are told of the run


@pytest.mark.parametrize(
    ("facts", "seconds"),
    [
        ({"next_pair_at": 6000, "step": 1000, "steps_per_second": 250.0}, 20.0),
        ({"next_pair_at": 500, "step": 1000, "steps_per_second": 250.0}, 0.0),
        ({"next_pair_at": 6000, "step": 1000, "steps_per_second": None}, None),
        ({"next_pair_at": None, "step": 1000, "steps_per_second": 250.0}, None),
    ],
)
def test_pages_hear_when_the_next_pair_may_come(facts: dict[str, Any], seconds: float | None) -> None:
    house = House()
    page = house.page()
    house.carry_out(house.session.reported(COUNTS, facts))
    assert house.said(page, wire.Status)[-1].next_pair_seconds == seconds


@pytest.mark.parametrize(("method", "version"), [("ppo", 0), ("cpl", None)])
def test_a_run_that_learns_no_reward_has_no_version_of_it(method: str, version: int | None) -> None:
    house = House(method=method)
    page = house.page()
    house.carry_out(house.session.reported(COUNTS, {}))
    assert house.said(page, wire.Status)[-1].reward_version == version
