"""Scores, and how sure they are."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from benchmarks.arms import CHANCE, DEFAULT, TRUE
from benchmarks.rows import DONE, FAILED, Row
from benchmarks.scores import ends_of_scale, improvement, interquartile_mean, iqm, labels_to, scores, true_returns


def row(arm: str, value: float, *, seed: int = 10, labels: int = 0, env: str = "Pendulum-v1", status: str = DONE) -> Row:
    steps = 0 if arm == CHANCE else 200_000
    found: Row = {"env": env, "arm": arm, "labels": labels, "steps": steps, "seed": seed, "status": status, "settings": {}}
    return found | ({"mean_return": value} if status == DONE else {"error": "it broke"})


ENDS = [row(CHANCE, -1200.0, seed=0), row(TRUE, -150.0, seed=10), row(TRUE, -250.0, seed=11)]  # from -1200 to -200


def test_a_random_policy_scores_0_and_ppo_on_the_true_reward_1_on_average() -> None:
    assert ends_of_scale(ENDS) == {"Pendulum-v1": (-1200.0, -200.0)}
    np.testing.assert_allclose(scores(ENDS)[TRUE, 0]["Pendulum-v1"], [1.05, 0.95])
    ours = [row(DEFAULT, -700.0, seed=11, labels=50), row(DEFAULT, -100.0, seed=10, labels=50)]
    np.testing.assert_allclose(scores(ENDS + ours)[DEFAULT, 50]["Pendulum-v1"], [1.1, 0.5])  # by seed


def test_a_run_that_failed_scores_0_and_is_not_dropped() -> None:
    ours = [row(DEFAULT, -200.0, seed=10, labels=50), row(DEFAULT, 0.0, seed=11, labels=50, status=FAILED)]
    np.testing.assert_allclose(scores(ENDS + ours)[DEFAULT, 50]["Pendulum-v1"], [1.0, 0.0])
    assert true_returns(ours) == {("Pendulum-v1", DEFAULT, 50): [-200.0]}


def test_an_env_without_both_ends_of_the_scale_has_no_scores() -> None:
    ours = row(DEFAULT, -200.0, labels=50)
    assert scores([ENDS[0], ours]) == {}
    assert scores([*ENDS[1:], ours]) == {}


def test_the_iqm_leaves_a_quarter_out_at_each_end() -> None:
    assert iqm(np.array([9.0, 1.0, 2.0, 3.0, 4.0, 5.0, 6.0, -50.0])) == (2 + 3 + 4 + 5) / 4
    assert iqm(np.array([1.0, 2.0, 6.0])) == 3.0  # a quarter of three is none


def test_labels_to_a_level_are_those_from_which_on_it_holds() -> None:
    assert labels_to(0.9, {25: 0.3, 50: 0.95, 100: 0.8, 200: 0.91, 350: 0.99}) == 200
    assert labels_to(0.9, {25: 0.95, 50: 0.95}) == 25
    assert labels_to(0.9, {25: 0.95, 50: 0.5}) is None


@pytest.fixture(scope="module")
def rliable() -> Any:
    from rliable import library, metrics  # type: ignore[import-untyped]  # it has no types

    return library, metrics


@pytest.mark.filterwarnings("ignore")  # its own, about its dependencies
def test_iqm_and_interval_are_those_of_rliable(rliable: Any) -> None:
    library, metrics = rliable
    runs = np.random.default_rng(0).normal(0.8, 0.3, (10, 4))
    point, interval = library.get_interval_estimates(
        {"ours": runs}, lambda values: np.array([metrics.aggregate_iqm(values)]), reps=1000
    )
    ours = interquartile_mean(list(runs.T))
    assert ours.value == pytest.approx(point["ours"][0])
    assert ours.runs == 40
    assert ours.worst == runs.min()
    np.testing.assert_allclose([ours.low, ours.high], interval["ours"][:, 0], atol=0.02)  # two bootstraps of one figure


@pytest.mark.filterwarnings("ignore")
def test_the_probability_of_improvement_is_that_of_rliable(rliable: Any) -> None:
    library, metrics = rliable
    rng = np.random.default_rng(1)
    one, two = rng.normal(0.9, 0.3, (10, 3)), rng.normal(0.7, 0.3, (10, 3))
    point, interval = library.get_interval_estimates({"pair": (one, two)}, metrics.probability_of_improvement, reps=300)
    ours = improvement(list(one.T), list(two.T))
    assert ours.value == pytest.approx(float(point["pair"]))
    np.testing.assert_allclose([ours.low, ours.high], np.ravel(interval["pair"]), atol=0.04)


def test_a_tie_counts_half_in_the_probability_of_improvement() -> None:
    assert improvement([np.array([1.0, 2.0])], [np.array([1.0])]).value == 0.75
