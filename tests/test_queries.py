"""Facts about query strategies: the contract that each of them keeps, and what disagreement means."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pytest
import toys

from rltrainer.core import Array, Comparison, FitReport, RewardFunction, Segment, Strategy
from rltrainer.queries import STRATEGIES, disagreement, information_gain, uniform
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


def test_disagreement_orders_by_the_spread_over_the_members() -> None:
    members = learner(40)
    many = disagreement(candidates(40), members, 20, np.random.default_rng(5))
    probabilities = 1 / (1 + np.exp(-(members.returns[:, many[:, 0]] - members.returns[:, many[:, 1]])))
    spread = probabilities.std(axis=0)
    assert (np.diff(spread) <= 1e-9).all()


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


def test_information_gain_asks_the_highest_first() -> None:
    members = learner(40)
    many = information_gain(candidates(40), members, 20, np.random.default_rng(5))
    gain = mutual_information(members.returns[:, many[:, 0]] - members.returns[:, many[:, 1]])
    assert (np.diff(gain) <= 1e-9).all()


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
