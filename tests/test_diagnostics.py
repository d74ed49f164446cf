"""Facts about the diagnostics, worked out by hand: what they say of answers, of labelers, of rankings."""

from __future__ import annotations

import math
from dataclasses import asdict, replace

import numpy as np
import pytest
import toys

from rltrainer.config import Reward
from rltrainer.core import Array, Comparison, FitReport
from rltrainer.diagnostics import (
    ROWS,
    RankingHistory,
    Steps,
    calibration_error,
    diagnose,
    disagreement,
    held_out_hits,
    pearson,
    self_consistency,
    spearman,
    verdict,
    wilson,
)
from rltrainer.rewards import EnsembleLearner
from rltrainer.rewards.reliability import PRIOR

NAN = math.nan


def pairs(count: int, seed: int = 0) -> list[Comparison]:
    segments = toys.random_segments(2 * count, np.random.default_rng(seed))
    return [toys.compare(a, b, name=f"query {n}") for n, (a, b) in enumerate(zip(segments[::2], segments[1::2], strict=True))]


def again(comparison: Comparison, target: float, **changes: str) -> Comparison:
    """The same two segments with the sides swapped, answered once more: `target` is P(today's first is better)."""
    swapped = replace(
        comparison,
        first=comparison.second,
        second=comparison.first,
        first_range=comparison.second_range,
        second_range=comparison.first_range,
        target=target,
        query_id=f"{comparison.query_id} again",
    )
    return replace(swapped, **changes)


# ------------------------------------------------------------------ held-out answers


def test_wilsons_interval_of_eight_in_ten_is_the_textbooks() -> None:
    """(0.8 + 3.8416/20 ± 1.96 √(0.8 · 0.2/10 + 3.8416/400)) / (1 + 3.8416/10) = (0.99208 ± 0.31363) / 1.38416."""
    low, high = wilson(8, 10)
    assert low == pytest.approx((0.99208 - 0.31363) / 1.38416, abs=1e-4)
    assert high == pytest.approx((0.99208 + 0.31363) / 1.38416, abs=1e-4)
    assert (round(low, 2), round(high, 2)) == (0.49, 0.94)


def test_an_interval_stays_within_zero_and_one_and_narrows_with_more_answers() -> None:
    assert wilson(0, 0) == (0, 1)
    assert wilson(10, 10)[1] == 1
    assert wilson(0, 10)[0] == 0
    assert wilson(10, 10)[0] == pytest.approx(10 / (10 + 1.96**2))  # share 1: (1 + z²/2n − z²/2n) / (1 + z²/n)
    widths = [high - low for low, high in (wilson(8 * n, 10 * n) for n in (1, 4, 16))]
    assert widths[0] > widths[1] > widths[2]


def test_only_held_out_answers_that_prefer_a_side_are_judged() -> None:
    targets, held_out = [1.0, 0.0, 0.5, 1.0, 0.0], np.array([0.9, 0.2, 0.9, NAN, 0.6])
    comparisons = [replace(pair, target=target) for pair, target in zip(pairs(5), targets, strict=True)]
    assert held_out_hits(held_out, comparisons) == (2, 3)
    assert held_out_hits(None, comparisons) == (0, 0)


def test_calibration_is_the_gap_between_confidence_and_hits_weighed_by_bins() -> None:
    """Bins of 0.05 from 0.5: {0.72, 0.73} hit 1 of 2: |1.45 − 1| = 0.45; {0.92} hit: 0.08; {0.61} a tie: 0.11. By 4."""
    held_out, target = np.array([0.72, 0.27, 0.92, 0.61]), np.array([1.0, 1.0, 1.0, 0.5])
    assert calibration_error(held_out, target) == pytest.approx((0.45 + 0.08 + 0.11) / 4)


def test_calibration_takes_no_notice_of_which_segment_is_the_first_nor_of_what_was_learned_from() -> None:
    rng = np.random.default_rng(0)
    held_out, target = rng.uniform(size=200), rng.integers(0, 2, 200).astype(float)
    whole = calibration_error(held_out, target)
    assert whole is not None
    flipped = rng.random(200) < 0.5
    assert calibration_error(np.where(flipped, 1 - held_out, held_out), np.where(flipped, 1 - target, target)) == pytest.approx(
        whole
    )
    padded = calibration_error(np.append(held_out, NAN), np.append(target, 1.0))
    assert padded == pytest.approx(whole)


def test_a_forecast_that_is_as_good_as_it_says_has_no_calibration_error() -> None:
    assert calibration_error(np.full(10, 0.8), np.array([1.0] * 8 + [0.0] * 2)) == pytest.approx(0)
    assert calibration_error(np.full(10, 1.0), np.zeros(10)) == pytest.approx(1)
    assert calibration_error(np.array([NAN, NAN]), np.ones(2)) is None
    assert calibration_error(None, np.ones(2)) is None


def test_the_ensembles_held_out_forecasts_are_those_behind_its_accuracy() -> None:
    learner = EnsembleLearner(2, toys.PUSH, Reward(hidden=(16,), fit_steps=20), np.random.SeedSequence(0))
    comparisons = pairs(40)
    report = learner.fit(comparisons, [])
    assert report.held_out is not None
    hits, judged = held_out_hits(report.held_out, comparisons)
    assert 0.5 * 40 < judged < 40  # P(in no bootstrap of one member) = 1/e, so 1 − (1 − 1/e)³ = 0.75 of them
    assert hits / judged == report.held_out_accuracy
    known = report.held_out[np.isfinite(report.held_out)]
    least = PRIOR / (judged + PRIOR) / (judged + 2) / 2  # half of the least rate of chance that so many answers can show
    assert ((known >= least) & (known <= 1 - least)).all()


# ------------------------------------------------------------------ ensemble and labelers


def test_members_that_say_the_same_do_not_disagree_and_opposed_ones_do_fully() -> None:
    assert disagreement(np.array([[3.0, 1.0], [3.0, 1.0]])) == 0
    assert disagreement(np.array([[50.0, 0.0], [0.0, 50.0]])) == pytest.approx(0.5)  # P is 1 and 0
    assert disagreement(np.array([[math.log(3), 0.0, 0.0], [0.0, 0.0, 0.0]])) == pytest.approx((0.125 + 0) / 2)


def test_consistency_is_of_the_same_two_segments_with_the_sides_swapped() -> None:
    one, two, three, four = pairs(4)
    one, two, three = (replace(pair, target=1.0) for pair in (one, two, three))
    answers = [one, two, three, four, again(one, 0.0), again(two, 1.0), again(three, 0.5)]
    assert self_consistency(answers) == ((1 + 0 + 0.5) / 3, 3)  # the same side, the other one, a tie


def test_consistency_is_a_labelers_with_themselves() -> None:
    (pair,) = pairs(1)
    assert self_consistency([pair, again(pair, pair.target, labeler="bob")]) == (None, 0)
    assert self_consistency([]) == (None, 0)


def test_two_ties_agree_and_a_pair_asked_three_times_is_two_repeats() -> None:
    (pair,) = pairs(1)
    tied = replace(pair, target=0.5)
    third = replace(again(tied, 1.0), query_id="a third time")
    assert self_consistency([tied, again(tied, 0.5), third]) == (0.75, 2)


def test_a_pair_asked_again_is_held_out_with_its_twin_or_not_at_all() -> None:
    """Else the answer that was learned from would foretell its own repeat."""
    learner = EnsembleLearner(2, toys.PUSH, Reward(hidden=(4,), fit_steps=1), np.random.SeedSequence(0))
    comparisons = pairs(30)
    report = learner.fit([*comparisons, *(again(pair, 1 - pair.target) for pair in comparisons)], [])
    assert report.held_out is not None
    first, second = report.held_out[:30], report.held_out[30:]
    np.testing.assert_array_equal(np.isnan(first), np.isnan(second))
    np.testing.assert_allclose(first, 1 - second, atol=1e-6)


# ------------------------------------------------------------------ recent segments


def test_correlations_are_the_textbooks() -> None:
    assert pearson(np.array([1.0, 2, 3]), np.array([2.0, 4, 6])) == pytest.approx(1)
    assert pearson(np.array([1.0, 2, 3]), np.array([1.0, 0, -1])) == pytest.approx(-1)
    assert pearson(np.array([1.0, 2, 3, 4]), np.array([1.0, 3, 2, 4])) == pytest.approx(0.8)  # 4 / √(5 · 5)
    assert spearman(np.array([1.0, 10, 100, 1000]), np.array([-5.0, 0, 0.1, 9])) == pytest.approx(1)
    assert spearman(np.array([1.0, 2, 2, 3]), np.array([1.0, 2, 3, 4])) == pytest.approx(4.5 / math.sqrt(4.5 * 5))
    assert pearson(np.ones(3), np.arange(3.0)) is None
    assert pearson(np.array([-np.inf, np.inf, 0.0]), np.arange(3.0)) is None
    assert spearman(np.array([-np.inf, 0.0, 1.0]), np.arange(3.0)) == pytest.approx(1)


class Plain:
    """The true reward of `toys.random_segments`, times a factor."""

    version = 1

    def __init__(self, factor: float = 1.0) -> None:
        self.factor = factor

    def __call__(self, observations: Array, actions: Array, next_observations: Array) -> Array:
        found: Array = np.concatenate((observations, actions), axis=1) @ np.array([1.0, -2.0, 0.5])
        return self.factor * found


def test_the_steps_of_segments_give_their_rewards_and_returns_in_order() -> None:
    segments = [
        *toys.random_segments(3, np.random.default_rng(0), steps=4),
        *toys.random_segments(2, np.random.default_rng(1), steps=7),
    ]
    steps = Steps.of(segments)
    assert steps is not None
    np.testing.assert_allclose(steps.rewards(Plain()), steps.env_rewards, atol=1e-6)
    np.testing.assert_allclose(steps.returns(steps.env_rewards), steps.env_returns)
    np.testing.assert_allclose(steps.env_returns, [segment.env_return for segment in segments])
    assert Steps.of([]) is None


def test_long_segments_are_thinned_to_a_bounded_number_of_steps() -> None:
    segments = toys.random_segments(32, np.random.default_rng(0), steps=101)
    steps = Steps.of(segments)
    assert steps is not None
    assert ROWS / 2 <= len(steps.actions) <= ROWS + 32
    np.testing.assert_allclose(steps.rewards(Plain()), steps.env_rewards, atol=1e-6)
    assert len(steps.returns(steps.env_rewards)) == 32


def test_a_segment_that_reaches_over_an_end_returns_what_its_steps_pay() -> None:
    whole, ended = toys.random_segments(2, np.random.default_rng(0), steps=4)
    steps = Steps.of([whole, replace(ended, terminated=True, after=2)])
    assert steps is not None
    np.testing.assert_allclose(steps.returns(steps.rewards(Plain())), [whole.env_return, ended.env_return], atol=1e-6)


# ------------------------------------------------------------------ the ranking, and the verdict


def recent(seed: int = 5) -> Steps:
    steps = Steps.of(toys.random_segments(16, np.random.default_rng(seed)))
    assert steps is not None
    return steps


def test_the_ranking_is_compared_with_that_of_a_fifth_fewer_labels() -> None:
    """Not with the refit before: the reward that turns round slowly would never be seen to."""
    history = RankingHistory()
    assert history.add(80, Plain(-1), recent()) is None
    assert history.add(90, Plain(1), recent()) is None
    assert history.add(99, Plain(1), recent()) is None
    assert history.add(100, Plain(1), recent()) == pytest.approx(-1)  # 80 is a fifth fewer
    assert history.add(112, Plain(1), recent()) == pytest.approx(-1)  # 90 of 112 are more than four fifths
    assert history.add(113, Plain(1), recent()) == pytest.approx(1)
    assert list(history.agreements) == pytest.approx([-1, -1, 1])


def test_rewards_of_long_ago_are_forgotten() -> None:
    history = RankingHistory()
    for labels in range(1, 200):
        history.add(labels, Plain(), recent())
        assert len(history.past) <= labels * 0.2 + 2


@pytest.mark.parametrize(
    ("labels", "low", "agreements", "words"),
    [
        (19, 0.9, [1, 1, 1], "Too few"),
        (200, None, [1, 1, 1], "Too few"),
        (200, 0.9, [1, 1], "Too few"),
        (200, 0.5, [1, 1, 1], "better than chance"),
        (200, 0.51, [0.95, 1, 0.97], "More labels of this kind no longer change the ranking."),
        (200, 0.9, [1, 0.94, 1], "New labels still change the ranking."),
    ],
)
def test_the_verdict_is_in_plain_words(labels: int, low: float | None, agreements: list[float], words: str) -> None:
    assert words in verdict(labels, low, agreements)


def test_a_reward_is_judged_on_labels_and_on_recent_segments() -> None:
    learner = EnsembleLearner(2, toys.PUSH, Reward(hidden=(16,), fit_steps=40), np.random.SeedSequence(0))
    history, shown = RankingHistory(), toys.random_segments(32, np.random.default_rng(9))
    comparisons = pairs(100)
    found = []
    for count in (60, 80, 90, 100):
        report = learner.fit(comparisons[:count], shown)
        found.append(diagnose(comparisons[:count], report, learner, shown, history))
    last = found[-1]
    assert last.accuracy == report.held_out_accuracy
    assert last.accuracy is not None
    assert last.accuracy_low is not None
    assert last.accuracy_high is not None
    assert 0.5 < last.accuracy_low < last.accuracy < last.accuracy_high <= 1
    assert last.step_correlation is not None
    assert last.step_correlation > 0.7
    assert last.return_correlation is not None
    assert last.return_correlation > 0.8
    assert last.ranking_agreement is not None
    assert last.ranking_agreement > 0.8
    assert last.disagreement is not None
    assert 0 < last.disagreement < 0.5
    assert found[0].verdict == "Too few new labels to tell yet."
    assert last.verdict
    assert all(value is None or isinstance(value, (str, int)) or math.isfinite(value) for value in asdict(last).values())


def test_where_the_env_pays_always_the_same_there_is_no_true_reward_to_compare_with() -> None:
    learner = EnsembleLearner(2, toys.PUSH, Reward(hidden=(4,)), np.random.SeedSequence(0))
    shown = [replace(one, env_rewards=np.ones(len(one))) for one in toys.random_segments(8, np.random.default_rng(9))]
    found = diagnose(pairs(12), learner.fit(pairs(12), shown), learner, shown)
    assert (found.step_correlation, found.return_correlation) == (None, None)
    assert found.disagreement is not None


def test_a_learner_that_holds_nothing_out_and_an_env_with_nothing_to_cut_break_nothing() -> None:
    learner = toys.Remembering(2, toys.PUSH, None, None)
    found = diagnose(pairs(3), FitReport(1, 3, 0.5, None, None), learner, [])
    assert (found.labels, found.judged, found.accuracy, found.accuracy_low) == (3, 0, None, None)
    assert (found.calibration_error, found.disagreement, found.ranking_agreement) == (None, None, None)
