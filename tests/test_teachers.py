"""Facts about synthetic teachers: the contract that each of them keeps, and B-Pref's formulas on numbers worked out by hand."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from functools import partial

import numpy as np
import pytest
import toys

from rltrainer.core import Answer, Query, Segment, Teacher, UserError, Verdict
from rltrainer.teachers import TEACHERS, OracleTeacher

EVERY: dict[str, Callable[[], Teacher]] = {
    **TEACHERS,
    "stochastic": partial(OracleTeacher, beta=1.0),
    "myopic": partial(OracleTeacher, gamma=0.9),
    "mistaken": partial(OracleTeacher, mistake=0.1),
    "skipping": partial(OracleTeacher, skip=0.1),
    "tying": partial(OracleTeacher, equal=0.1),
}
"""The table's, and the oracle as Lee et al. 2021 set it in their experiments."""


def rated(*env_rewards: float, seed: int = 0) -> Segment:
    """A segment that is paid so, step by step."""
    steps = len(env_rewards)
    return toys.segment(np.arange(2 * (steps + 1)).reshape(-1, 2), np.zeros((steps, 1)), env_rewards, seed=seed)


def twin(number: int) -> np.random.Generator:
    return np.random.default_rng(number)


def some_pairs(count: int = 60) -> list[tuple[Segment, Segment]]:
    segments = toys.random_segments(2 * count, np.random.default_rng(3))
    return list(zip(segments[::2], segments[1::2], strict=True))


def test_who_goes_on_longer_is_better_where_steps_pay_and_worse_where_they_cost() -> None:
    """Nothing is paid after an end, so segments of one length can be told apart by it."""
    rng = np.random.default_rng(0)
    for pay, better in ((1.0, 0), (-1.0, 1)):
        pair = (rated(*[pay] * 5), replace(rated(*[pay] * 2, seed=1), terminated=True, after=3))
        assert OracleTeacher()(*pair, rng).preferred == pair[better].id


def test_infinite_returns_are_not_judged() -> None:
    """fancy_gym's ViaPointReacher pays −inf at nearly every step."""
    endless = rated(1.0, -np.inf)
    for other in (endless, rated(1.0, 1.0, seed=1)):
        with pytest.raises(UserError, match=r"infinite.*let people answer"):
            OracleTeacher()(other, endless, twin(0))


@pytest.mark.parametrize("name", EVERY)
class TestTeacher:
    """Registering a teacher in TEACHERS is testing it."""

    def make(self, name: str) -> Teacher:
        return EVERY[name]()

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

    def test_a_segment_that_ended_early_is_judged_as_if_it_went_on_unpaid(self, name: str) -> None:
        rng, plain, padded = np.random.default_rng(2), self.make(name), self.make(name)
        for number in range(40):
            first, second = (rated(*rng.normal(size=rng.integers(1, 6)), seed=2 * number + side) for side in (0, 1))
            longer = [rated(*s.env_rewards, *[0.0] * (max(map(len, (first, second))) - len(s))) for s in (first, second)]
            answer, again = (plain(first, second, twin(number)), padded(longer[0], longer[1], twin(number)))
            assert answer.verdict is again.verdict
            assert answer.target(Query("q", first.id, "-")) == again.target(Query("q", longer[0].id, "-"))


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


# ------------------------------------------------------------------ B-Pref's irrationalities


def shares(teacher: Teacher, first: Segment, second: Segment, draws: int = 2000) -> tuple[float, float]:
    """How often the first is preferred, and how often the second."""
    rng = np.random.default_rng(0)
    said = [teacher(first, second, rng).preferred for _ in range(draws)]
    return said.count(first.id) / draws, said.count(second.id) / draws


@pytest.mark.parametrize(("beta", "probability"), [(0.0, 0.5), (1.0, 0.7311), (2.0, 0.8808), (50.0, 1.0)])
def test_a_stochastic_teacher_prefers_by_the_sigmoid_of_beta_times_the_difference(beta: float, probability: float) -> None:
    """Returns 3 and 2, so P = 1 / (1 + exp(-beta)); 2,000 draws, 4 standard deviations."""
    better, worse = shares(OracleTeacher(beta=beta), rated(1.0, 2.0), rated(2.0, 0.0, seed=1))
    assert abs(better - probability) <= 4 * np.sqrt(probability * (1 - probability) / 2000)
    assert better + worse == 1


def test_a_stochastic_teacher_throws_a_coin_for_equal_returns() -> None:
    first, second = shares(OracleTeacher(beta=1.0), rated(1.0, 2.0), rated(2.0, 1.0, seed=1))
    assert abs(first - 0.5) < 4 * np.sqrt(0.25 / 2000)
    assert first + second == 1


def test_huge_differences_overflow_nothing() -> None:
    rich, poor = rated(1e6), rated(-1e6, seed=1)
    assert shares(OracleTeacher(beta=1e6), rich, poor, 10) == (1, 0)
    assert shares(OracleTeacher(beta=1e6), poor, rich, 10) == (0, 1)


def test_a_myopic_teacher_weighs_the_last_steps_most() -> None:
    """gamma = 0.5: 4, 0, 0 is worth 4 / 4 = 1, and 0, 0, 1.5 is worth 1.5."""
    early, late = rated(4.0, 0.0, 0.0), rated(0.0, 0.0, 1.5, seed=1)
    rng = np.random.default_rng(0)
    assert OracleTeacher(gamma=0.5)(early, late, rng).preferred == late.id
    assert OracleTeacher(gamma=0.7)(early, late, rng).preferred == early.id  # 4 * 0.49 = 1.96
    assert OracleTeacher(gamma=0.0)(rated(9.0, 0.0), rated(9.0, 0.0, seed=1), rng) == Answer(Verdict.EQUAL)


def test_a_mistaken_teacher_turns_that_share_of_its_preferences_round() -> None:
    better, worse = shares(OracleTeacher(mistake=0.1), rated(2.0), rated(1.0, seed=1))
    assert abs(worse - 0.1) < 4 * np.sqrt(0.1 * 0.9 / 2000)
    assert better + worse == 1


@pytest.mark.parametrize(
    "teacher", [OracleTeacher(mistake=0.5), OracleTeacher(mistake=0.5, equal=1.0), OracleTeacher(beta=0.0)]
)
def test_a_teacher_of_chance_says_nothing_of_the_true_reward(teacher: Teacher) -> None:
    """Whatever is paid, ties included, the same draws name the same side; and either side as often as the other."""

    def sides(*returns: float) -> list[float | None]:
        rng = np.random.default_rng(0)
        first, second = rated(returns[0]), rated(returns[1], seed=1)
        query = Query("q", first.id, second.id)
        return [teacher(first, second, rng).target(query) for _ in range(2000)]

    wins, losses, ties = sides(5.0, 1.0), sides(1.0, 5.0), sides(3.0, 3.0)
    assert wins == losses == ties
    assert set(wins) == {0.0, 1.0}
    assert abs(wins.count(1.0) - 1000) < 4 * np.sqrt(500)


def answers(teacher: Teacher, *pairs: tuple[Segment, Segment]) -> list[Answer]:
    return [teacher(first, second, np.random.default_rng(0)) for first, second in pairs]


TENS = (rated(10.0, 10.0), rated(10.0, 10.0, seed=1))


def test_a_pair_is_skipped_where_neither_return_reaches_the_share_of_the_recent_mean() -> None:
    """Threshold 0.5 after (10, 10) twice. With (1, 1) and (1, 0) the mean is 43 / 8, so 0.5 * 43 / 8 * 2 = 5.375 > 2."""
    assert answers(OracleTeacher(skip=0.5), TENS, (rated(1.0, 1.0), rated(1.0, 0.0)))[-1] == Answer(Verdict.SKIP)
    good = rated(3.0, 3.0)  # with it the mean is 47 / 8, and 0.5 * 47 / 8 * 2 = 5.875 < 6
    assert answers(OracleTeacher(skip=0.5), TENS, (rated(1.0, 0.0), good))[-1] == Answer(Verdict.PREFER, good.id)


def test_returns_closer_than_the_share_of_the_recent_mean_are_equal() -> None:
    """Threshold 0.1: of 20 and 19 the mean is 39 / 4, so 0.1 * 39 / 4 * 2 = 1.95 > 1; of 20 and 18, 1.9 < 2."""
    full = TENS[0]
    assert answers(OracleTeacher(equal=0.1), (full, rated(10.0, 9.0))) == [Answer(Verdict.EQUAL)]
    assert answers(OracleTeacher(equal=0.1), (full, rated(10.0, 8.0))) == [Answer(Verdict.PREFER, full.id)]


def test_what_is_equal_does_not_depend_on_the_rewards_sign() -> None:
    """-20 and -19, -20 and -18 as above; and where the mean is 0 the size counts: 0.1 * 20.5 / 4 * 2 = 1.025 > 0.5."""
    empty, slight = rated(-10.0, -10.0), rated(-10.0, -8.0)
    assert answers(OracleTeacher(equal=0.1), (empty, rated(-10.0, -9.0))) == [Answer(Verdict.EQUAL)]
    assert answers(OracleTeacher(equal=0.1), (empty, slight)) == [Answer(Verdict.PREFER, slight.id)]
    assert answers(OracleTeacher(equal=0.1), (rated(5.0, -5.0), rated(-5.0, 5.5))) == [Answer(Verdict.EQUAL)]


def test_where_rewards_are_costs_a_pair_is_skipped_that_costs_nearly_twice_the_mean() -> None:
    """Threshold 0.1, so beyond 1.9 times the mean. After six segments of (-1, -1):

    with (-10, -10) twice the mean is -52 / 16, and -1.9 * 52 / 16 * 2 = -12.35 > -20;
    with (-2, -2) twice it is -20 / 16, and -1.9 * 20 / 16 * 2 = -4.75 < -4.
    """
    usual = [(rated(-1.0, -1.0), rated(-1.0, -1.0, seed=1))] * 3
    dear, fair = ((rated(cost, cost), rated(cost, cost, seed=1)) for cost in (-10.0, -2.0))
    assert answers(OracleTeacher(skip=0.1), *usual, dear)[-1] == Answer(Verdict.SKIP)
    assert answers(OracleTeacher(skip=0.1), *usual, fair)[-1] == Answer(Verdict.EQUAL)


def test_thresholds_follow_the_newest_segments_only() -> None:
    """After ten pairs of little nobody remembers the tens: 0.5 of the recent mean is little, too."""
    little = (rated(1.0, 1.0), rated(1.0, 1.0, seed=1))
    said = answers(OracleTeacher(skip=0.5), TENS, TENS, *[little] * 20)
    assert said[2] == Answer(Verdict.SKIP)
    assert {answer.verdict for answer in said[12:]} == {Verdict.EQUAL}
