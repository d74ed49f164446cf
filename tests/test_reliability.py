"""Facts about labelers: how often each answers by chance, and what that does to what is learned."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pytest
import toys
from learners import PUSH, THRESHOLDS, accuracy, make, oracle_pairs, reference

from rltrainer.core import Comparison
from rltrainer.rewards import EnsembleLearner, ensemble
from rltrainer.rewards.features import segment_features
from rltrainer.rewards.likelihood import probabilities
from rltrainer.rewards.reliability import chance_rates, foretold, noise_of


def test_who_is_often_wrong_answers_by_chance_twice_as_often() -> None:
    """Chance is right half of the time. Of 40 answers 10 that cannot be meant: ε = 1/2. The prior, that of all, agrees."""
    which, meant = np.repeat([0, 1], 40), np.tile([0.0] * 10 + [1.0] * 30, 2)
    np.testing.assert_allclose(chance_rates(which, meant, np.full(80, 0.5), 2), [0.5, 0.5], atol=0.01)


def test_a_coin_is_told_from_who_is_always_right_by_enough_answers() -> None:
    """Who has given no answer is taken to be like all of them together; two wrong answers condemn nobody."""
    which, meant = np.repeat([0, 1], 2000), np.concatenate((np.ones(2000), np.tile([0.0, 1.0], 1000)))
    coin, sure, unknown = chance_rates(1 - which, meant, np.full(4000, 0.5), 3)
    assert coin > 0.9
    assert sure < 0.03
    assert unknown == pytest.approx((coin + sure) / 2, abs=0.01)
    few = np.concatenate((np.zeros(100, int), np.ones(2, int)))
    rates = chance_rates(few, np.concatenate((np.ones(100), np.zeros(2))), np.full(102, 0.5), 2)
    assert 0.3 < rates[1] < 0.6


def test_the_best_labelers_noise_is_as_set_and_the_others_is_more() -> None:
    """The reward is unsure of all answers alike, which counts against nobody. A coin's are worth nothing."""
    labelers = ["a"] * 500 + ["b"] * 500 + ["c"]
    meant = np.concatenate((np.tile([0.1, 0.9, 0.9, 0.9, 0.9], 100), np.tile([0.1, 0.9], 250), [np.nan]))
    noise = noise_of(labelers, meant, np.full(1001, 0.5), 0.1)
    np.testing.assert_allclose(noise[:500], 0.1)
    assert (noise[500:1000] > 0.75).all()
    assert 0.1 < noise[-1] < noise[500]
    np.testing.assert_allclose(noise_of(labelers, np.full(1001, 0.5), np.full(1001, 0.5), 0.1), 0.1)


def test_few_answers_that_all_look_like_chance_leave_everybody_some_worth() -> None:
    """The first answers of two people, none of them as the reward foretold: EM alone would find that all are chance."""
    noise = noise_of(["a"] * 9 + ["b"] * 4, np.full(13, 1e-9), np.full(13, 0.5), 0.1)
    assert noise.min() == pytest.approx(0.1)
    assert noise.max() < 0.5


def test_what_an_answer_would_be_if_meant_and_if_chance() -> None:
    """A lead of log 3 makes 3/4 of the answers "first". A tie is no answer of its own unless there is a model of it."""
    first, second = toys.random_segments(2, np.random.default_rng(0))
    pairs = [toys.compare(first, second, target) for target in (1.0, 0.0, 0.5, 1.0)]
    meant, share = probabilities(pairs, np.array([math.log(3)] * 3 + [np.nan]), THRESHOLDS["half"])
    np.testing.assert_allclose(meant, [0.75, 0.25, np.nan, np.nan], rtol=1e-6)
    np.testing.assert_array_equal(share, [0.5] * 4)
    meant, share = probabilities(pairs[2:3], np.array([0.0]), THRESHOLDS["rao_kupper"])
    np.testing.assert_allclose([meant, share], [[1 / 3]] * 2, rtol=1e-6)


def of_two_labelers(count: int, seed: int = 0) -> list[Comparison]:
    """As many pairs of either: of one who is always right, and of a coin."""
    rng = np.random.default_rng(seed)
    right = [replace(pair, labeler="right") for pair in oracle_pairs(count, seed=2 * seed)]
    return right + [replace(p, labeler="coin", target=float(rng.integers(2))) for p in oracle_pairs(count, seed=2 * seed + 1)]


def test_a_coin_beside_a_labeler_is_found_out_and_harms_less_for_that() -> None:
    pairs = of_two_labelers(120)
    together = [replace(pair, labeler="both") for pair in pairs]
    found, unaware = (make("ensemble", fit_steps=60, label_noise=0.1) for _ in range(2))
    for _ in range(4):
        found.fit(pairs, reference())
        unaware.fit(together, reference())
    assert isinstance(found, EnsembleLearner)
    noise = found._batch(pairs, [segment_features(PUSH, s) for s in reference()]).noise
    assert noise[0] == pytest.approx(0.1)
    assert noise[-1] > 0.4
    fresh = oracle_pairs(400, seed=1234)
    assert accuracy(found, fresh) > accuracy(unaware, fresh) + 0.02


def test_what_is_foretold_of_somebodys_answers_is_as_sure_as_they_were_right() -> None:
    """At logits of ±6, which are surely meant: of who is always right nearly as sure, of a coin one half."""
    first, second = toys.random_segments(2, np.random.default_rng(0))
    targets, logits = np.tile([1.0, 1.0, 0.0, 0.0], 50), np.tile([6.0, 6.0, -6.0, -6.0], 50)
    turned = np.tile([1.0, 0.0], 100)
    right, coin = (
        [replace(toys.compare(first, second, t), labeler=who) for t in said] for who, said in (("a", targets), ("b", turned))
    )
    for seen, alone in ((right, (0.99, 0.01)), (coin, (0.5, 0.5))):
        assert foretold(seen, logits, THRESHOLDS["half"])[[0, -1]] == pytest.approx(alone, abs=0.02)
    together = foretold([*right, *coin], np.tile(logits, 2), THRESHOLDS["half"])
    assert together[[0, 200]] == pytest.approx([0.99, 0.54], abs=0.02)  # each a little like both of them


def test_of_answers_that_all_taught_nothing_is_foretold() -> None:
    first, second = toys.random_segments(2, np.random.default_rng(0))
    assert np.isnan(foretold([toys.compare(first, second, 1.0)] * 3, np.full(3, np.nan), THRESHOLDS["half"])).all()


def test_who_labels_alone_is_believed_as_set(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing is estimated: the reward is what it always was."""
    monkeypatch.setattr(ensemble, "noise_of", lambda *_: pytest.fail("there is nobody to compare with"))
    learner = make("ensemble")
    for _ in range(2):
        learner.fit(oracle_pairs(12), reference())
