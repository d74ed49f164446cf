"""Facts about the learner of fixed features: its posterior, worked out by hand where that can be done, and what it finds."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest
import torch
import toys
from learners import accuracy, make, oracle_pairs, reference
from test_reliability import of_two_labelers

from rltrainer.config import Reward
from rltrainer.core import Array, Comparison, Segment, Strength
from rltrainer.refit import fit_through
from rltrainer.rewards import BayesLearner, make_learner
from rltrainer.rewards import posterior as posteriors
from rltrainer.rewards.basis import AT_ONCE, BENT, STRAIGHT, Basis
from rltrainer.rewards.bayes import same_pairs
from rltrainer.rewards.covariance import Covariance, covariance
from rltrainer.rewards.features import Scale
from rltrainer.rewards.posterior import HELD, Evidence, posterior
from rltrainer.rewards.thresholds import Thresholds
from rltrainer.sizes import Sizes


def evidence(inputs: Array, targets: Array, noise: float = 0.0, pairs: Array | None = None) -> Evidence:
    """That pairs whose features differ by `inputs` were answered so."""
    first, second = toys.random_segments(2, np.random.default_rng(0))
    comparisons = [toys.compare(first, second, float(target)) for target in targets]
    asked = np.arange(len(targets)) if pairs is None else pairs
    return Evidence(np.asarray(inputs, float), comparisons, np.full(len(targets), noise), Thresholds(0.0, 1.0), asked)


def dense(found: Covariance) -> Array:
    """Σ, [F, F]."""
    size = len(found.determined)
    return found.times(torch.eye(size, dtype=torch.float64)).numpy()


def drawn(count: int, weights: Array, seed: int = 0) -> tuple[Array, Array]:
    """Inputs [count, F], and answers by Bradley–Terry."""
    rng = np.random.default_rng(seed)
    inputs = rng.normal(size=(count, len(weights)))
    return inputs, (rng.random(count) < 1 / (1 + np.exp(-inputs @ weights))).astype(float)


def judged(value: Callable[[Segment], float], count: int, seed: int = 0) -> list[Comparison]:
    """Pairs of random segments, of which the one that is worth more is better."""
    segments = toys.random_segments(2 * count, np.random.default_rng(seed))
    pairs = zip(segments[::2], segments[1::2], strict=True)
    return [toys.compare(a, b, float(value(a) > value(b)), name=f"query {n}") for n, (a, b) in enumerate(pairs)]


# ------------------------------------------------------------------ the posterior


def test_the_slope_is_nought_at_the_mode_and_each_width_is_what_the_evidence_asks_for() -> None:
    """α w = Σ x (y − σ(x w)), and α (w² + h s) = γ + h, γ = 1 − α Σᵢᵢ, with Σ the inverse of xᵀ x σ (1 − σ) + diag(α),

    h the part of the kind's own width, and s = (Σ w² + 1) / (Σ γ + 1) that width's square.
    """
    inputs, targets = drawn(200, np.array([2.0, -1.0, 0.5]))
    found = posterior(evidence(inputs, targets), [(slice(0, 3), 1.0)])
    probability = 1 / (1 + np.exp(-inputs @ found.mean))
    precision = inputs.T @ (targets - probability) / found.mean
    covariance = np.linalg.inv((inputs.T * (probability * (1 - probability))) @ inputs + np.diag(precision))
    np.testing.assert_allclose(dense(found.covariance), covariance, rtol=0.05, atol=1e-3)
    determined = 1 - precision * covariance.diagonal()
    shared = (found.mean @ found.mean + 1) / (determined.sum() + 1)
    np.testing.assert_allclose(precision * (found.mean**2 + HELD * shared), determined + HELD, rtol=0.05)


def test_a_feature_that_explains_nothing_is_given_next_to_no_weight_beside_others_of_its_kind() -> None:
    inputs, targets = drawn(100, np.array([3.0, *np.zeros(30)]))
    found = posterior(evidence(inputs, targets), [(slice(0, 31), 1.0)])
    assert np.abs(found.mean[1:]).max() < 0.15 * found.mean[0]  # with one width for all: 0.25


def test_draws_vary_as_the_posterior_does() -> None:
    inputs, targets = drawn(60, np.array([1.0, -1.0]))
    found = posterior(evidence(inputs, targets, 0.1), [(slice(0, 2), 1.0)])
    draws = found.draws(20_000, np.random.default_rng(0))
    np.testing.assert_allclose(draws.mean(axis=0), found.mean, atol=0.02)
    np.testing.assert_allclose(np.cov(draws.T), dense(found.covariance), rtol=0.05, atol=0.005)


@pytest.mark.parametrize(("answers", "weights"), [(3, 8), (8, 3), (4, 4)])
def test_how_sure_weights_are_is_the_same_by_way_of_either_matrix(answers: int, weights: int) -> None:
    rng = np.random.default_rng(answers)
    rows, precision = rng.normal(size=(answers, weights)), rng.uniform(0.1, 10, weights)
    rows[0] = 0  # an answer that says nothing
    whole = np.linalg.inv(rows.T @ rows + np.diag(precision))
    found = covariance(torch.from_numpy(rows), torch.from_numpy(precision))
    np.testing.assert_allclose(dense(found), whole, atol=1e-12)
    np.testing.assert_allclose(found.determined.numpy(), 1 - precision * whole.diagonal(), atol=1e-12)
    draws = found.draws(200_000, np.random.default_rng(0))
    np.testing.assert_allclose(np.cov(draws.T), whole, atol=0.02 * whole.diagonal().max())


def test_a_kind_of_feature_that_explains_nothing_is_given_next_to_no_weight() -> None:
    useful, useless = np.array([3.0, -2.0, 1.0]), np.zeros(30)
    inputs, targets = drawn(150, np.concatenate((useful, useless)))
    found = posterior(evidence(inputs, targets), [(slice(0, 3), 1.0), (slice(3, 33), 0.3)])
    noise, sound = (np.sqrt(np.square(part).mean()) for part in (found.mean[3:], found.mean[:3]))
    assert noise < 0.06 * sound


def test_a_feature_in_which_no_pair_differs_stays_as_unknown_as_it_was() -> None:
    """Nothing is determined: α is 1 / width²."""
    inputs, targets = drawn(50, np.array([0.0, 2.0]))
    inputs[:, 0] = 0
    found = posterior(evidence(inputs, targets), [(slice(0, 1), 2.0), (slice(1, 2), 1.0)])
    assert found.mean[0] == 0
    assert float(dense(found.covariance)[0, 0]) == pytest.approx(2.0**2)


def with_mistakes(seed: int) -> tuple[Evidence, Callable[[Array], float]]:
    """60 answers of which one in ten is turned round, and what share of fresh pairs weights rank right.

    Two of four inputs count; a hundred bent sums of the four are features, too.
    """
    rng = np.random.default_rng(seed)
    mixed = rng.normal(size=(4, 100))

    def differences(count: int) -> Array:
        inputs = rng.normal(size=(count, 4))
        one, two = (np.tanh(side @ mixed) for side in (inputs, rng.normal(size=(count, 4))))
        return np.concatenate((inputs, one - two), axis=1)

    asked, fresh = differences(60), differences(2000)
    right = fresh[:, 0] > fresh[:, 1]
    targets = (asked[:, 0] > asked[:, 1]) ^ (rng.random(60) < 0.1)
    return evidence(asked, targets, 0.1), lambda weights: float(((fresh @ weights > 0) == right).mean())


def test_wrong_answers_are_not_explained_by_features_that_they_alone_call_for(monkeypatch: pytest.MonkeyPatch) -> None:
    kinds = [(slice(0, 4), STRAIGHT), (slice(4, 104), BENT)]
    found = [with_mistakes(seed) for seed in range(24)]
    doubted = np.array([ranked(posterior(one, kinds).mean) for one, ranked in found])
    monkeypatch.setattr(posteriors, "DOUBTS", ())
    believed = np.array([ranked(posterior(one, kinds).mean) for one, ranked in found])
    assert believed.mean() < 0.83  # seen: 0.80
    assert doubted.mean() > 0.87  # seen: 0.88
    assert (doubted > believed - 0.02).all()


@pytest.mark.parametrize("noise", [0.0, 0.1])
def test_what_is_foretold_of_an_answer_is_what_the_others_say(noise: float, monkeypatch: pytest.MonkeyPatch) -> None:
    """The closed form beside the real thing: fitted again without each of some answers.

    Where some are taken for chance one answer may make the difference between two modes, which a closed form about one of them
    cannot foretell: so it is for two of these ten, and for none where none is doubted.
    """
    inputs, targets = drawn(60, np.array([2.0, -1.0, 0.5, 0.0]))
    left_out = np.arange(0, 60, 6)

    def compared() -> Array:
        """[10, 3]: R₁ − R₂ of each of these answers, without it by the closed form, without it, with it."""
        kinds = [(slice(0, 4), 1.0)]
        found = posterior(evidence(inputs, targets, noise), kinds)
        others = [np.delete(np.arange(60), one) for one in left_out]
        means = [posterior(evidence(inputs[rest], targets[rest], noise), kinds).mean for rest in others]
        really = np.array([inputs[one] @ mean for one, mean in zip(left_out, means, strict=True)])
        return np.stack((found.aside[left_out], really, inputs[left_out] @ found.mean), axis=1)

    foretold, really, _ = compared().T
    assert (np.abs(foretold - really) < 0.25).sum() >= (8 if noise else 10)
    monkeypatch.setattr(posteriors, "DOUBTS", ())
    foretold, really, with_it = compared().T
    np.testing.assert_allclose(foretold, really, atol=0.25)
    assert np.abs(foretold - with_it).max() > 0.25  # it makes a difference


def test_no_answer_to_a_pair_foretells_another_answer_to_it() -> None:
    """Five labelers prefer the first of a pair that the other answers say nothing about: nothing is foretold."""
    inputs = np.concatenate((np.tile([[1.0, 0.0]], (5, 1)), drawn(40, np.array([0.0, 2.0]))[0] * [0, 1]))
    targets = np.concatenate((np.ones(5), (inputs[5:, 1] > 0).astype(float)))
    pairs = np.concatenate((np.zeros(5, int), np.arange(1, 41)))
    kinds = [(slice(0, 1), 1.0), (slice(1, 2), 1.0)]
    alone = posterior(evidence(inputs, targets, 0.1), kinds).aside
    together = posterior(evidence(inputs, targets, 0.1, pairs=pairs), kinds).aside
    assert (alone[:5] > 0.5).all()
    assert (together[:5] < 0.3 * alone[:5]).all()


def test_pairs_are_the_same_from_either_side() -> None:
    a, b, c = toys.random_segments(3, np.random.default_rng(0))
    pairs, swapped = same_pairs([toys.compare(*pair) for pair in ((a, b), (b, c), (b, a), (a, b), (c, a))])
    assert pairs.tolist() == [0, 1, 0, 0, 2]
    assert swapped.tolist() == [False, False, True, False, False]


# ------------------------------------------------------------------ the features


def test_features_are_one_the_scaled_numbers_their_squares_and_bent_sums_of_them() -> None:
    basis = Basis.drawn(1, toys.PUSH, np.random.default_rng(0))  # rows of o, a, o′
    scale = Scale(np.array([1.0, 0.0, 0.0], np.float32), np.array([2.0, 1.0, 1.0], np.float32))
    basis = replace(basis, scale=scale)
    found = basis(np.array([[5.0, 3.0, -1.0]], np.float32))[0]
    assert len(found) == len(basis) == 1 + 3 + 3 + 100
    constant, linear, squares, units = (found[part] for part, _ in basis.kinds)
    assert constant.tolist() == [1]
    assert linear.tolist() == [2, 3, -1]
    assert squares.tolist() == [3, 8, 0]
    bent = np.sqrt(2) * np.tanh(np.array([2.0, 3.0, -1.0]) @ basis.directions + basis.offsets)
    np.testing.assert_allclose(units, bent, rtol=1e-5)


# ------------------------------------------------------------------ the learner


def test_an_interrupted_refit_leaves_what_was_learned_before(monkeypatch: pytest.MonkeyPatch) -> None:
    pairs, shown = oracle_pairs(30), reference()
    learner = make("bayes")
    learner.fit(pairs[:20], shown)
    before = learner.state()

    def interrupted(*_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("rltrainer.rewards.bayes.posterior", interrupted)
    with pytest.raises(KeyboardInterrupt):
        learner.fit(pairs, shown)
    for name, array in learner.state().items():
        np.testing.assert_array_equal(array, before[name])


def test_features_summed_over_many_segments_are_what_each_sums_to_alone() -> None:
    rng = np.random.default_rng(0)
    basis = Basis.drawn(3, toys.PUSH, rng)
    width = len(basis.directions)
    segments = [rng.standard_normal((steps, width)).astype(np.float32) for steps in [*range(2 * AT_ONCE), 0]]
    alone = [basis(rows).sum(axis=0) for rows in segments]
    np.testing.assert_allclose(basis.totals(segments), alone, atol=1e-3)
    assert not basis.totals(segments)[[0, -1]].any(), "segments without a step"
    assert basis.totals([]).shape == (0, len(basis))


def test_it_is_the_default_wherever_numbers_are_observed_however_many() -> None:
    seed = np.random.SeedSequence(0)
    for observed, actions in ((2, 1), (105, 8), (348, 17)):  # a toy's, Ant-v5's, Humanoid-v5's
        assert type(make_learner(Sizes(observed, (actions,)), Reward(), seed)) is BayesLearner


def test_a_reward_of_squares_is_found_from_sixty_labels() -> None:
    """Minus the squared distance of what a step led to from nought: no straight line says anything about it."""

    def near(segment: Segment) -> float:
        return -float(np.square(segment.observations[1:]).sum())

    learner = make("bayes")
    learner.fit(judged(near, 60), reference(count=64))
    assert accuracy(learner, judged(near, 400, seed=1)) > 0.9


def test_a_reward_of_actions_alone_is_found_from_sixty_labels() -> None:
    def pushed(segment: Segment) -> float:
        return float(segment.actions.sum())

    learner = make("bayes")
    learner.fit(judged(pushed, 60), reference(count=64))
    assert accuracy(learner, judged(pushed, 400, seed=1)) > 0.95


def test_the_order_in_which_labels_came_makes_no_difference() -> None:
    pairs = oracle_pairs(30)
    learners = [make("bayes"), make("bayes")]
    for known in (10, 20):
        learners[0].fit(pairs[:known], reference())
    learners[0].fit(pairs, reference())
    learners[1].fit(pairs[::-1], reference())
    segments = reference(7)
    np.testing.assert_allclose(*(learner.snapshot()(*every_step(segments)) for learner in learners), rtol=1e-2, atol=1e-3)


def every_step(segments: list[Segment]) -> tuple[Array, Array, Array]:
    """All steps of segments."""
    before, actions, after = ([getattr(s, name)[cut] for s in segments] for name, cut in STEP)
    return np.concatenate(before), np.concatenate(actions), np.concatenate(after)


STEP = (("observations", slice(None, -1)), ("actions", slice(None)), ("observations", slice(1, None)))


def test_one_fit_is_as_good_as_many() -> None:
    learner, told = make("bayes"), []
    report = fit_through(learner, oracle_pairs(20), reference(), Reward(), lambda done, fits, _: told.append((done, fits)))
    assert report.settled
    assert report.version == 1
    assert len(told) == 1
    assert told[0][0] == told[0][1]


def test_members_agree_more_the_more_labels_there_are() -> None:
    segments = reference(7)
    learner, spreads = make("bayes"), []
    for count in (10, 40, 160):
        learner.fit(oracle_pairs(count), reference())
        returns = learner.member_returns(segments)
        spreads.append(float((returns.std(axis=0) / returns.mean(axis=0).std()).mean()))
    assert spreads == sorted(spreads, reverse=True)


def test_a_coin_beside_a_labeler_harms_less_for_being_found_out() -> None:
    fresh, gains = oracle_pairs(400, seed=1234), []
    for seed in range(4):
        pairs = of_two_labelers(60, seed)
        found, unaware = make("bayes"), make("bayes")
        found.fit(pairs, reference())
        unaware.fit([replace(pair, labeler="both") for pair in pairs], reference())
        gains.append(accuracy(found, fresh) - accuracy(unaware, fresh))
    assert min(gains) > 0
    assert np.mean(gains) > 0.05


def test_what_is_said_to_be_much_better_comes_to_lie_farther_ahead() -> None:
    pairs, leads = oracle_pairs(40), []
    for strength in (Strength.SLIGHTLY, Strength.MUCH):
        learner = make("bayes")
        learner.fit([replace(pair, strength=strength) for pair in pairs], reference())
        won = [(p.first, p.second) if p.target == 1 else (p.second, p.first) for p in pairs]
        ahead = learner.member_returns([a for a, _ in won]) - learner.member_returns([b for _, b in won])
        leads.append(float(ahead.mean()))
    assert leads[0] < leads[1]


def test_ties_bring_returns_nearer_to_each_other_under_rao_kupper() -> None:
    pairs, others = oracle_pairs(40), oracle_pairs(40, seed=1)
    apart = []
    for shown in (pairs, pairs + [replace(pair, target=0.5) for pair in others]):
        learner = make("bayes", ties="rao_kupper")
        learner.fit(shown, reference())
        one, two = (learner.member_returns([getattr(pair, side) for pair in others]) for side in ("first", "second"))
        apart.append(float(np.abs(one - two).mean()))
    assert apart[1] < 0.7 * apart[0]


def test_nought_is_what_being_over_pays_once_an_end_was_judged() -> None:
    """Of two segments the one that ended is worse, again and again: a step that is lived through pays."""
    whole = toys.random_segments(40, np.random.default_rng(0))
    ended = [replace(s, observations=s.observations[:6], actions=s.actions[:5], after=5, terminated=True) for s in whole[20:]]
    pairs = [toys.compare(a, b, 1.0) for a, b in zip(whole[:20], ended, strict=True)]
    learner = make("bayes")
    learner.fit(pairs, whole)
    assert (learner.snapshot()(*every_step(whole)) > 0).mean() > 0.95
    learner.fit(oracle_pairs(20), whole)
    assert abs(learner.snapshot()(*every_step(whole)).mean()) < 1e-3
