"""Facts about query strategies: the contract that each of them keeps, and what disagreement means."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import toys

from rltrainer.core import Array, Comparison, FitReport, RewardFunction, Segment, Strategy
from rltrainer.queries import STRATEGIES, disagreement, information_gain, near_on_policy, uniform
from rltrainer.queries.diversity import best_apart, pair_differences
from rltrainer.queries.information_gain import mutual_information


class KnownReturns:
    """A learner whose members' returns are written down."""

    def __init__(self, returns: Sequence[Sequence[float]]) -> None:
        self.returns = np.array(returns)

    def member_returns(self, segments: Sequence[Segment]) -> Array:
        return self.returns[:, [segment.episode_seed for segment in segments]]

    def fit(self, comparisons: Sequence[Comparison], reference: Sequence[Segment]) -> FitReport:
        raise AssertionError("a strategy never learns")

    def snapshot(self) -> RewardFunction:
        raise AssertionError("a strategy asks for member returns only")

    def state(self) -> dict[str, Array]:
        raise AssertionError

    def restore(self, state: Mapping[str, Array]) -> None:
        raise AssertionError


def candidates(count: int) -> list[Segment]:
    """`count` segments whose episode seeds are their numbers."""
    return toys.random_segments(count, np.random.default_rng(0), steps=3)


def learner(count: int, seed: int = 1) -> KnownReturns:
    return KnownReturns(np.random.default_rng(seed).normal(size=(3, count)).tolist())


@pytest.mark.parametrize("name", STRATEGIES)
class TestStrategy:
    """Registering a strategy in STRATEGIES is testing it."""

    @pytest.mark.parametrize(("segments", "count"), [(2, 1), (20, 1), (20, 4), (21, 10), (100, 5)])
    def test_it_gives_as_many_pairs_of_the_candidates_as_asked_for(self, name: str, segments: int, count: int) -> None:
        pairs = STRATEGIES[name](candidates(segments), learner(segments), count, np.random.default_rng(3))
        assert pairs.shape == (count, 2)
        assert np.issubdtype(pairs.dtype, np.integer)
        assert pairs.min() >= 0
        assert pairs.max() < segments

    def test_no_segment_is_put_beside_itself_and_no_pair_is_asked_twice(self, name: str) -> None:
        for seed in range(30):
            pairs = STRATEGIES[name](candidates(12), learner(12, seed), 6, np.random.default_rng(seed))
            assert (pairs[:, 0] != pairs[:, 1]).all()
            assert len({frozenset(pair) for pair in pairs.tolist()}) == 6

    def test_the_same_generator_gives_the_same_pairs(self, name: str) -> None:
        def pairs(seed: int) -> Any:
            return STRATEGIES[name](candidates(30), learner(30), 5, np.random.default_rng(seed)).tolist()

        assert pairs(1) == pairs(1)
        assert pairs(1) != pairs(2)

    def test_no_global_generator_is_moved(self, name: str) -> None:
        before = toys.global_draws()
        STRATEGIES[name](candidates(30), learner(30), 5, np.random.default_rng(1))
        np.testing.assert_array_equal(toys.global_draws(), before)

    def test_fewer_candidates_than_asked_for_give_fewer_pairs(self, name: str) -> None:
        pairs = STRATEGIES[name](candidates(5), learner(5), 10, np.random.default_rng(0))
        assert 1 <= len(pairs) <= 2

    def test_neither_side_is_favoured(self, name: str) -> None:
        """The oldest candidate stands on the left as often as on the right: 300 draws, 5 standard deviations."""
        left = right = 0
        for seed in range(300):
            pairs = STRATEGIES[name](candidates(2), learner(2), 1, np.random.default_rng(seed))
            left += pairs[0, 0] == 0
            right += pairs[0, 1] == 0
        assert left + right == 300
        assert abs(left - 150) < 5 * np.sqrt(75)


def test_disagreement_asks_the_pair_on_which_the_members_contradict_each_other() -> None:
    """0 and 1 divide the members; whatever else is paired, all members say the same of it."""
    members = KnownReturns([[5, 0, 9, 1], [0, 5, 9, 1], [5, 0, 9, 1]])
    found = set()
    for seed in range(40):
        (pair,) = disagreement(candidates(4), members, 1, np.random.default_rng(seed))
        found.add(frozenset(pair.tolist()))
    # paired at random: of {0,1} {2,3} the first; of {0,2} {1,3} and of {0,3} {1,2} the one without 2, whose 9 is clear
    assert frozenset({0, 1}) in found
    assert frozenset({2, 3}) not in found


def test_disagreement_is_of_probabilities_and_not_of_returns() -> None:
    """Members at +100 and +50 both say "surely the first"; members at +0.5 and -0.5 disagree."""
    members = KnownReturns([[100, 0, 0.5, 0], [50, 0, -0.5, 0]])
    orders = [disagreement(candidates(4), members, 2, np.random.default_rng(seed)).tolist() for seed in range(40)]
    found = [[set(pair) for pair in pairs] for pairs in orders]
    assert [{2, 3}, {0, 1}] in found
    assert [{0, 1}, {2, 3}] not in found


@pytest.mark.parametrize("strategy", [disagreement, information_gain])
def test_huge_returns_overflow_nothing(strategy: Strategy) -> None:
    """Members that are sure of opposite things contradict each other most; the pair of 2 and 3 says nothing."""
    members = KnownReturns([[1e6, -1e6, 0, 0], [-1e6, 1e6, 0, 0]])
    orders = [strategy(candidates(4), members, 2, np.random.default_rng(seed)).tolist() for seed in range(20)]
    found = [[set(pair) for pair in pairs] for pairs in orders]
    assert [{0, 1}, {2, 3}] in found
    assert [{2, 3}, {0, 1}] not in found


def logit(probability: float) -> float:
    return float(np.log(probability / (1 - probability)))


def test_the_information_gain_is_the_entropy_of_the_mean_less_the_mean_entropy() -> None:
    """In nats, one column a pair.

    0.9 and 0.1: H(0.5) - H(0.9) = 0.6931 - 0.3251 = 0.3681
    0.5 and 0.5: nobody knows, and no answer tells who is right: 0
    0.9 and 0.9: 0
    0.9 and 0.5: H(0.7) - (0.3251 + 0.6931) / 2 = 0.6109 - 0.5091 = 0.1018
    0 and 1, to the last bit: ln 2
    """
    logits = [[logit(0.9), 0.0, logit(0.9), logit(0.9), -1e4], [logit(0.1), 0.0, logit(0.9), 0.0, 1e4]]
    np.testing.assert_allclose(mutual_information(np.array(logits)), [0.3681, 0, 0, 0.1018, np.log(2)], atol=1e-4)


@pytest.mark.parametrize("strategy", [disagreement, information_gain])
def test_segments_that_are_all_alike_are_asked_about_in_the_order_of_their_scores(strategy: Strategy) -> None:
    """Nothing is gained by asking something else: there is nothing else."""
    alike = [toys.segment(np.ones((3, 2)), np.ones((2, 1)), seed=number) for number in range(40)]
    members = learner(40)
    pairs = strategy(alike, members, 20, np.random.default_rng(5))
    first = members.returns[:, pairs[:, 0]] - members.returns[:, pairs[:, 1]]
    scores = {disagreement: (1 / (1 + np.exp(-first))).std(axis=0), information_gain: mutual_information(first)}[strategy]
    assert (np.diff(scores) <= 1e-9).all()
    assert len({frozenset(pair) for pair in pairs.tolist()}) == 20


# ------------------------------------------------------------------ diversity


def places(*numbers: float) -> list[Segment]:
    """Segments of one step, each seen at one place all the time."""
    return [toys.segment(np.full((2, 1), number), np.zeros((1, 1)), seed=seed) for seed, number in enumerate(numbers)]


PAIRS = np.arange(10).reshape(5, 2)


def test_a_near_duplicate_of_a_chosen_pair_is_not_asked() -> None:
    """Differences 9, 9, -9, 3 and -3: after the best, the second and third are it again, from either side."""
    segments = places(9, 0, 10, 1, 1, 10, 3, 0, 4, 7)
    chosen = best_apart(PAIRS, np.array([0.5, 0.49, 0.48, 0.2, 0.1]), segments, 2)
    np.testing.assert_array_equal(chosen, [[0, 1], [6, 7]])


def test_of_pairs_as_far_away_the_higher_score_is_asked() -> None:
    """Differences 0 and 10, chosen first; then 5 and 5, which are both 5 away."""
    chosen = best_apart(PAIRS[:4], np.array([0.5, 0.5, 0.3, 0.4]), places(1, 1, 10, 0, 5, 0, 6, 1), 3)
    np.testing.assert_array_equal(chosen, [[0, 1], [2, 3], [6, 7]])


def test_a_pair_far_away_is_asked_for_half_the_score() -> None:
    """After the difference 0: 0.4 * 4 = 1.6 against 0.3 * 6 = 1.8."""
    chosen = best_apart(PAIRS[:3], np.array([0.5, 0.4, 0.3]), places(2, 2, 4, 0, 6, 0), 2)
    np.testing.assert_array_equal(chosen, [[0, 1], [4, 5]])


def test_a_pair_like_one_that_waits_for_an_answer_is_not_asked() -> None:
    """Pairs asked one by one: the best one is as the waiting one, from the other side."""
    segments, scores = places(9, 0, 10, 1, 1, 10, 3, 0, 4, 7), np.array([0.5, 0.49, 0.48, 0.2, 0.1])
    near, far = places(0, 9.1), places(3, 3)
    np.testing.assert_array_equal(best_apart(PAIRS, scores, segments, 1, [(near[0], near[1])]), [[6, 7]])
    np.testing.assert_array_equal(best_apart(PAIRS, scores, segments, 1, [(far[0], far[1])]), [[0, 1]])


def test_each_number_seen_counts_on_its_own_scale() -> None:
    """The place in metres or in millimetres: the same pairs are asked."""
    segments = toys.random_segments(40, np.random.default_rng(0))
    pairs, scores = np.arange(40).reshape(-1, 2), np.random.default_rng(1).random(20)
    large = [replace(s, observations=s.observations * np.array([1000, 1], np.float32)) for s in segments]
    np.testing.assert_array_equal(best_apart(pairs, scores, segments, 8), best_apart(pairs, scores, large, 8))


def test_a_segment_that_is_over_after_a_step_is_not_taken_for_a_rare_one() -> None:
    """Steps that differ by chance: their mean over one of them lies far out, and their sum does not."""
    noise = np.random.default_rng(0)
    lengths = (50, 40, 50, 45, *[1, 2] * 8)
    segments = [toys.segment(noise.normal(0, 1, (steps + 1, 2)), np.zeros((steps, 1))) for steps in lengths]
    pairs = np.arange(len(segments)).reshape(-1, 2)
    chosen = best_apart(pairs, np.full(len(pairs), 0.5), segments, 2)
    np.testing.assert_array_equal(np.sort(chosen, axis=0), [[0, 1], [2, 3]])


def test_of_two_that_do_the_same_for_longer_and_shorter_only_the_length_differs() -> None:
    """A number that never changes, 0.1, is told from one that does by no rounding."""
    segments = [toys.segment(np.full((steps + 1, 2), 0.1), np.full((steps, 1), 0.7)) for steps in (3, 50, 7, 24)]
    longer, shorter = pair_differences(np.array([[1, 0], [2, 3]]), segments)
    np.testing.assert_array_equal(np.sign([longer, shorter]), [[1, 0, 0, 0], [-1, 0, 0, 0]])


@pytest.mark.parametrize("strategy", [disagreement, information_gain])
def test_a_batch_is_not_the_same_query_again_and_again(strategy: Strategy) -> None:
    """Of 40 candidates, 30 show either of two behaviours that the members dispute most: one such pair is enough."""
    noise = np.random.default_rng(0)
    kinds = [0, 1] * 15 + list(range(2, 12))
    seen = [toys.segment(noise.normal(10.0 * kind % 7, 0.01, (3, 2)), np.zeros((2, 1)), seed=n) for n, kind in enumerate(kinds)]
    disputed = [[2.0 * (kind == 0) + 0.1 * kind for kind in kinds], [2.0 * (kind == 1) - 0.1 * kind for kind in kinds]]
    most = 0
    for seed in range(20):
        pairs = strategy(seen, KnownReturns(disputed), 4, np.random.default_rng(seed))
        most = max(most, sum({kinds[a], kinds[b]} == {0, 1} for a, b in pairs))
    assert most == 1


@pytest.mark.parametrize("name", STRATEGIES)
def test_choosing_five_of_fifty_pairs_takes_under_ten_milliseconds(name: str) -> None:
    """Of this thread's own time, HalfCheetah's segments, without the learner's; the quickest of five."""
    rng = np.random.default_rng(0)
    segments = [toys.segment(rng.normal(size=(51, 17)), rng.normal(size=(50, 6)), seed=number) for number in range(100)]
    taken = []
    for _ in range(5):
        began = time.thread_time()
        STRATEGIES[name](segments, learner(100), 5, rng)
        taken.append(time.thread_time() - began)
    assert min(taken) < 0.010


def test_near_on_policy_asks_about_the_newest_policy_and_no_other_while_there_is_enough_of_it() -> None:
    """Of 20 candidates 8 are of the newest policy: 4 pairs, any of the 28 that they make; a fifth has to go further back."""
    steps = [100] * 6 + [300] * 8 + [200] * 6
    segments = [replace(segment, policy_step=step) for segment, step in zip(candidates(20), steps, strict=True)]
    found = set()
    for seed in range(40):
        pairs = near_on_policy(segments, learner(20), 4, np.random.default_rng(seed))
        assert sorted(pairs.ravel()) == list(range(6, 14))
        found |= {frozenset(pair) for pair in pairs.tolist()}
    assert len(found) == 28
    further = near_on_policy(segments, learner(20), 5, np.random.default_rng(0))[-1]
    assert {steps[index] for index in further} == {200}


def test_uniform_draws_every_pair_alike() -> None:
    """Of 4 candidates there are 6 pairs; of 1,200 draws each comes about 200 times."""
    rng = np.random.default_rng(0)
    counts: dict[frozenset[int], int] = {}
    for _ in range(1200):
        (pair,) = uniform(candidates_of_four, learner(4), 1, rng)
        key = frozenset(pair.tolist())
        counts[key] = counts.get(key, 0) + 1
    assert len(counts) == 6
    assert all(abs(count - 200) < 5 * np.sqrt(200 * 5 / 6) for count in counts.values())


candidates_of_four = candidates(4)
