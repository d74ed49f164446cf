"""Facts about synthetic teachers: the contract that each of them keeps, and what the oracle says."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import toys

from rltrainer.core import Answer, Query, Segment, Teacher, Verdict
from rltrainer.teachers import TEACHERS, OracleTeacher


def rated(*env_rewards: float, seed: int = 0) -> Segment:
    """A segment that is paid so, step by step."""
    steps = len(env_rewards)
    return toys.segment(np.arange(2 * (steps + 1)).reshape(-1, 2), np.zeros((steps, 1)), env_rewards, seed=seed)


def some_pairs(count: int = 60) -> list[tuple[Segment, Segment]]:
    segments = toys.random_segments(2 * count, np.random.default_rng(3))
    return list(zip(segments[::2], segments[1::2], strict=True))


def test_who_goes_on_longer_is_better_where_steps_pay_and_worse_where_they_cost() -> None:
    """Nothing is paid after an end, so segments of one length can be told apart by it."""
    rng = np.random.default_rng(0)
    for pay, better in ((1.0, 0), (-1.0, 1)):
        pair = (rated(*[pay] * 5), replace(rated(*[pay] * 2, seed=1), terminated=True, after=3))
        assert OracleTeacher()(*pair, rng).preferred == pair[better].id


@pytest.mark.parametrize("name", TEACHERS)
class TestTeacher:
    """Registering a teacher in TEACHERS is testing it."""

    def make(self, name: str) -> Teacher:
        return TEACHERS[name]()

    def test_every_answer_can_be_stored(self, name: str) -> None:
        teacher, rng = self.make(name), np.random.default_rng(0)
        for first, second in some_pairs():
            answer = teacher(first, second, rng)
            assert answer.verdict in (Verdict.PREFER, Verdict.EQUAL, Verdict.SKIP)
            assert answer.preferred in (None, first.id, second.id)
            assert (answer.verdict is Verdict.PREFER) == (answer.preferred is not None)
            assert all(segment in (first.id, second.id) for segment in answer.trims)

    def test_the_same_generator_gives_the_same_answers(self, name: str) -> None:
        def answers(seed: int) -> list[Answer]:
            teacher, rng = self.make(name), np.random.default_rng(seed)
            return [teacher(first, second, rng) for first, second in some_pairs()]

        assert answers(1) == answers(1)

    def test_no_global_generator_is_moved(self, name: str) -> None:
        before = toys.global_draws()
        self.make(name)(*some_pairs(1)[0], np.random.default_rng(0))
        np.testing.assert_array_equal(toys.global_draws(), before)

    def test_it_names_the_segment_and_not_the_side(self, name: str) -> None:
        """Which of the two stands on the left makes no difference to a clear case."""
        much, little = rated(50.0, 50.0), rated(-50.0, -50.0, seed=1)
        chosen = [
            answer.preferred
            for seed in range(20)
            for answer in (self.make(name)(*pair, np.random.default_rng(seed)) for pair in ((much, little), (little, much)))
            if answer.verdict is Verdict.PREFER
        ]
        assert chosen.count(much.id) > 0.8 * len(chosen) > 0

    def test_it_judges_by_the_true_reward_alone(self, name: str) -> None:
        first, second = some_pairs(1)[0]
        teacher = self.make(name)
        answer = teacher(first, second, np.random.default_rng(0))
        moved = [replace(s, observations=s.observations + 100, actions=-s.actions) for s in (first, second)]
        again = teacher(moved[0], moved[1], np.random.default_rng(0))
        assert answer.target(Query("q", first.id, second.id)) == again.target(Query("q", moved[0].id, moved[1].id))


def test_the_oracle_prefers_the_higher_true_return() -> None:
    oracle, rng = OracleTeacher(), np.random.default_rng(0)
    more, less = rated(1.0, 1.0, 1.5), rated(3.0, 0.0, 0.25, seed=1)  # 3.5 against 3.25
    assert oracle(more, less, rng) == oracle(less, more, rng) == Answer(Verdict.PREFER, more.id)


def test_the_oracle_says_equal_of_equal_returns() -> None:
    assert OracleTeacher()(rated(1.0, 2.0), rated(3.0, 0.0, seed=1), np.random.default_rng(0)) == Answer(Verdict.EQUAL)


def test_the_oracle_sums_and_does_not_average() -> None:
    """A pole that stands for longer is paid more, although each step is paid the same."""
    long, short = rated(1.0, 1.0, 1.0, 1.0), rated(1.0, 1.0, seed=1)
    assert OracleTeacher()(long, short, np.random.default_rng(0)).preferred == long.id


def test_the_oracle_never_skips() -> None:
    rng = np.random.default_rng(0)
    assert all(OracleTeacher()(a, b, rng).verdict is Verdict.PREFER for a, b in some_pairs())
