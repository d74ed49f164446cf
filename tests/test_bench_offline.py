"""The comparison of reward learners on a run's labels: who learns from what, and what the table says."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import toys
from gymnasium import spaces

from benchmarks.answers import ARMS as MANNERS
from benchmarks.answers import distance, equal, skipped, strengths
from benchmarks.answers import measured as said
from benchmarks.history import JUDGES, judged
from benchmarks.history import measured as remembered
from benchmarks.labelers import ALONE, APART, AS_ONE, GUESSES, KNOWS, half_guessed
from benchmarks.labelers import measured as guessed
from benchmarks.labelers import table as labelers_table
from benchmarks.offline import ARMS, BASE, Labelled, measured, table
from benchmarks.taught import Judge
from benchmarks.taught import table as taught_table
from rltrainer.core import Strength, Verdict
from rltrainer.sizes import Sizes


def labelled(count: int = 60) -> Labelled:
    segments = toys.random_segments(2 * count, np.random.default_rng(0))
    pairs = [toys.compare(a, b, name=str(n)) for n, (a, b) in enumerate(zip(segments[::2], segments[1::2], strict=True))]
    return Labelled("Toy-v0", Sizes.of(2, spaces.Box(-1, 1, (1,), np.float32)), pairs)


def test_a_share_of_the_labels_is_turned_round_and_the_others_stay_as_they_are() -> None:
    data = labelled()
    right = {c.query_id: c.target for c in data.comparisons}
    learned, others = data.drawn(40, 0.3, seed=0)
    assert len(learned) == 40
    assert {c.query_id for c in learned} | {c.query_id for c in others} == right.keys()
    assert len(others) == 20
    assert all(c.target == right[c.query_id] for c in others)
    assert 4 <= sum(c.target != right[c.query_id] for c in learned) <= 20
    assert [c.query_id for c in data.drawn(40, 0.0, seed=0)[0]] == [c.query_id for c in learned]
    assert [c.query_id for c in data.drawn(40, 0.3, seed=1)[0]] != [c.query_id for c in learned]


def test_what_was_learned_is_judged_on_all_other_labels() -> None:
    row = measured(labelled(), BASE, 40, 0.0, seed=0)
    assert row["judged"] == 20
    assert row["accuracy"] > 0.7


def test_the_table_says_how_far_an_arm_is_ahead_of_the_default_seed_by_seed() -> None:
    """Ahead by 2 and by 4 points: 3 in the mean, std √2, standard error 1, twice that is 2."""
    known = {"env": "Toy-v0", "labels": 50, "mistakes": 0.1}
    accuracies = {BASE: [0.7, 0.8], "robust": [0.72, 0.84]}
    rows = [
        {**known, "arm": arm, "seed": seed, "accuracy": accuracy}
        for arm, of_arm in accuracies.items()
        for seed, accuracy in enumerate(of_arm)
    ]
    assert set(accuracies) <= set(ARMS)
    assert table(rows, "Toy-v0").splitlines()[-1] == "| 50 | 10% | 75.0% | +3.0 ± 2.0 |"


def test_every_second_answer_is_guessed_and_the_others_stay_right() -> None:
    answers = half_guessed(labelled().comparisons, seed=0)
    right = {c.query_id: c.target for c in labelled().comparisons}
    assert [c.labeler for c in answers[:3]] == [KNOWS, GUESSES, KNOWS]
    assert all(c.target == right[c.query_id] for c in answers if c.labeler == KNOWS)
    wrong = [c.target != right[c.query_id] for c in answers if c.labeler == GUESSES]
    assert len(wrong) == 30
    assert 8 <= sum(wrong) <= 22


def test_who_guesses_is_told_from_who_knows() -> None:
    found = {row["arm"]: row["accuracy"] for row in guessed(labelled(300), "bayes", 100, seed=0)}
    assert found[APART] > found[AS_ONE]
    assert found[ALONE] > found[AS_ONE]
    assert "| Toy-v0 | bayes | 100 | 90.0% | -5.0 ± nan |" in labelers_table(
        [
            {"env": "Toy-v0", "learner": "bayes", "labels": 100, "seed": 0, "arm": arm, "accuracy": accuracy}
            for arm, accuracy in ((APART, 0.9), (AS_ONE, 0.85), (ALONE, 0.95))
        ]
    )


# ------------------------------------------------------------------ more than which is better


def test_how_much_better_and_equal_is_said_by_how_far_apart_a_pair_is() -> None:
    answers = labelled(40).comparisons
    distances = sorted(distance(c) for c in answers)

    def bound(share: float) -> float:
        return float(np.quantile(distances, share))

    much = [c for c in strengths(0.25)(answers, bound) if c.strength is Strength.MUCH]
    assert sorted(distance(c) for c in much) == distances[30:]
    tied = equal(0.25)(answers, bound)
    assert sorted(distance(c) for c in tied if c.target == 0.5) == distances[:10]
    assert [c.target for c in tied if c.target != 0.5] == [c.target for c in skipped(0.25)(answers, bound)]


def test_all_ways_to_answer_are_judged_on_the_same_other_labels() -> None:
    rows = said(labelled(), 40, 0.1, seed=0)
    assert [row["arm"] for row in rows] == list(MANNERS)
    assert all(0.5 < row["accuracy"] <= 1 for row in rows)


# ------------------------------------------------------------------ judges who remember


def test_judges_look_at_more_than_the_sum() -> None:
    late = np.concatenate((np.zeros(15), np.ones(15)))
    worth = {judge: (of(late), of(late[::-1])) for judge, of in JUDGES.items()}
    assert worth == {
        "the sum": (15, 15),
        "the worst moment": (0, 0),
        "the best moment and the end": (pytest.approx(2), pytest.approx(1)),
        "whether it gets better": (1, -1),
    }


def test_pairs_that_a_judge_finds_equal_are_left_out() -> None:
    data = labelled()
    same = replace(data.comparisons[0], second=data.comparisons[0].first)
    answered = judged([same, *data.comparisons], "the sum")
    assert [(c.query_id, c.target) for c in answered] == [(c.query_id, c.target) for c in data.comparisons]


def test_a_learner_is_measured_on_a_judges_answers() -> None:
    row = remembered(labelled(260), "the sum", BASE, 200, seed=0)
    assert row["judged"] == 60
    assert 0.8 < row["accuracy"] <= 1


def test_a_judge_who_teaches_prefers_what_is_worth_more_and_says_nothing_of_less_than_a_moment() -> None:
    judge, rng = Judge("the best moment and the end"), np.random.default_rng(0)
    worse, better, short = (
        toys.segment(np.zeros((steps + 1, 1)), np.zeros((steps, 1)), np.full(steps, pays))
        for steps, pays in ((20, 1), (20, 2), (5, 3))
    )
    for first, second in ((worse, better), (better, worse)):
        assert judge(first, second, rng).preferred == better.id
    assert judge(better, better, rng).verdict is Verdict.EQUAL
    assert judge(better, short, rng).verdict is Verdict.SKIP


def test_the_table_of_taught_agents_has_the_judges_word_and_the_true_return() -> None:
    rows = [
        {"env": "E", "judge": "J", "seed": 0, "learner": name, "judged": -0.5 * n, "true_return": -100.0 * n}
        for n, name in enumerate(("bayes", "ensemble", "transformer"), 1)
    ]
    assert taught_table(rows).splitlines()[2] == "| E | J | 0 | -0.50 (-100) | -1.00 (-200) | -1.50 (-300) |"
