"""Facts about which pairs people are asked again."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import toys

from rltrainer.core import Comparison, Query
from rltrainer.repeats import EVERY, REMEMBERED, Repeats


def answered(count: int) -> list[Comparison]:
    segments = toys.random_segments(2, np.random.default_rng(0))
    return [toys.compare(*segments, name=f"q{n}") for n in range(count)]


def test_only_those_who_answer_still_are_asked_again() -> None:
    gone = [replace(comparison, labeler="ada") for comparison in answered(3 * EVERY)]
    here = [replace(comparison, labeler="bob") for comparison in answered(4 * EVERY)[3 * EVERY :]]
    for seed in range(30):
        due = Repeats(np.random.default_rng(seed)).due([*gone, *here])
        assert due is not None
        assert due.labeler == "bob"


def test_one_pair_is_due_for_each_twenty_answers_and_none_twice() -> None:
    repeats, chosen = Repeats(np.random.default_rng(0)), []
    for count in range(1, 5 * EVERY):
        due = repeats.due(answered(count))
        assert (due is not None) == (count % EVERY == 0)
        if due is not None:
            repeats.asked(due, Query(f"again {count}", due.second.id, due.first.id))
            chosen.append(due.query_id)
    assert len(set(chosen)) == len(chosen) == 4


def test_whoever_was_away_is_not_met_by_repeats() -> None:
    """However often it is asked what is due: only answers make another one due."""
    repeats = Repeats(np.random.default_rng(0))
    due = repeats.due(answered(EVERY))
    assert due is not None
    repeats.asked(due, Query("again", due.second.id, due.first.id))
    assert all(repeats.due(answered(EVERY)) is None for _ in range(100))


def test_neither_what_is_remembered_nor_a_repeat_is_repeated() -> None:
    for seed in range(30):
        repeats = Repeats(np.random.default_rng(seed))
        old = answered(2 * EVERY)
        repeats.asked(old[0], Query("q1", old[0].second.id, old[0].first.id))
        due = repeats.due(old)
        assert due is not None
        assert due.query_id not in {"q0", "q1"}
        assert int(due.query_id[1:]) < len(old) - REMEMBERED
