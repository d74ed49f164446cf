"""Facts about how labelers are judged, with every figure worked out by hand."""

from __future__ import annotations

import pytest

from rltrainer.agreement import Judgement, agreements, consistency, judgements, kappa, pace, work
from rltrainer.core import Answer, Label, Query, Strength, Verdict

QUERIES = {f"q{n}": Query(f"q{n}", f"a{n}", f"b{n}") for n in range(4)} | {
    "again": Query("again", "b0", "a0", strategy="repeat")
}


def label(query_id: str, labeler: str, verdict: str, at: float = 0.0, strength: Strength = Strength.PLAIN) -> Label:
    """`verdict`: first, second, or another word for an answer that names no segment."""
    query = QUERIES[query_id]
    preferred = {"first": query.first, "second": query.second}.get(verdict)
    answer = Answer(Verdict.PREFER if preferred else Verdict(verdict), preferred, strength=strength)
    return Label(f"{labeler}-{query_id}-{at}", query_id, labeler, answer, created_at=at)


def test_kappa_is_what_is_agreed_beyond_chance() -> None:
    # Without ties chance agrees on one half: 3 of 4 the same is (0.75 - 0.5) / 0.5.
    assert kappa([(1, 1), (0, 0), (1, 1), (1, 0)]) == pytest.approx(0.5)
    assert kappa([(1, 0), (0, 1)]) == -1
    assert kappa([(1, 1), (1, 0)]) == 0
    # One tie in four by each, on one pair: p_o = 1, and chance would agree by 1/16 + 9/32 = 11/32.
    assert kappa([(0.5, 0.5), (1, 1), (0, 0), (1, 1)]) == 1
    # One tie in four by the first only: p_o = 3/4, p_e = 0 + (3/4)(1) / 2 = 3/8, so (3/8) / (5/8).
    assert kappa([(0.5, 1), (1, 1), (0, 0), (1, 1)]) == pytest.approx(0.6)


def test_kappa_says_nothing_of_no_pairs_or_of_two_who_only_tie() -> None:
    assert kappa([]) is None
    assert kappa([(0.5, 0.5), (0.5, 0.5)]) is None


def test_kappa_does_not_depend_on_which_segment_is_called_the_first() -> None:
    answers = [(1.0, 1.0), (0.0, 0.0), (1.0, 0.5), (0.0, 1.0), (1.0, 1.0)]
    turned = [(1 - a, 1 - b) if row % 2 else (a, b) for row, (a, b) in enumerate(answers)]
    assert kappa(turned) == pytest.approx(kappa(answers))


def test_two_labelers_are_compared_on_what_both_judged_by_their_last_word() -> None:
    judged = [
        Judgement("ada", "x", "y", 1),
        Judgement("bob", "y", "x", 0),  # the same answer, seen from the other side
        Judgement("ada", "x", "z", 0),
        Judgement("ada", "x", "z", 1),
        Judgement("bob", "x", "z", 0),
        Judgement("ada", "v", "w", 1),
        Judgement("cyd", "m", "n", 1),
    ]
    (found,) = agreements(judged)
    assert (found.one, found.other, found.pairs, found.same, found.kappa) == ("ada", "bob", 2, 0.5, 0.0)


def test_answers_to_a_pair_asked_again_agree_whole_half_or_not_at_all() -> None:
    first = Judgement("ada", "x", "y", 1)
    assert consistency([first, Judgement("ada", "y", "x", 0)]) == (1, 1)
    assert consistency([first, Judgement("ada", "y", "x", 1), Judgement("ada", "x", "y", 0.5)]) == (0.25, 2)
    assert consistency([first, Judgement("bob", "y", "x", 0)]) == (None, 0)


def test_pace_counts_the_time_between_answers_and_no_breaks() -> None:
    # Gaps of 10, 20, 3600 and 30 s: three answers in one minute at work.
    assert pace([100, 110, 130, 3730, 3760]) == (1.0, 3.0)
    assert pace([0, 60]) == (1.0, 1.0)
    assert pace([0, 61]) == (0.0, None)
    assert pace([5]) == pace([]) == (0.0, None)


def test_the_work_of_each_labeler_is_counted_from_all_revisions_and_what_stands() -> None:
    revisions = [
        label("q0", "ada", "first", 0),
        label("q1", "ada", "first", 10),
        label("q1", "ada", "undo", 15),
        label("q1", "ada", "second", 30, Strength.MUCH),
        label("q2", "ada", "skip", 60),
        label("q3", "ada", "equal", 70),
        label("again", "ada", "second", 80),
        label("q0", "bob", "second", 0),
    ]
    standing = [revisions[number] for number in (0, 3, 4, 5, 6, 7)]
    ada, bob = work(revisions, standing, QUERIES)
    assert (ada.labeler, ada.labels, ada.skipped, ada.taken_back) == ("ada", 4, 1, 1)
    assert ada.verdicts == {"prefer": 2, "much": 1, "skip": 1, "equal": 1}
    assert (ada.minutes, ada.per_minute) == (pytest.approx(80 / 60), pytest.approx(5 / (80 / 60)))  # undoing takes no answer
    assert (ada.consistency, ada.repeats) == (1, 1)
    assert (bob.labels, bob.minutes, bob.per_minute, bob.consistency) == (1, 0.0, None, None)
    (found,) = agreements(judgements(standing, QUERIES))
    assert (found.pairs, found.kappa) == (1, -1)


def test_what_teaches_nothing_is_no_judgement() -> None:
    assert judgements([label("q0", "ada", "skip")], QUERIES) == []
