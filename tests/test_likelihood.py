"""Facts about the likelihood of an answer, worked out by hand: its loss, its slope, strengths and ties."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import get_args

import numpy as np
import pytest
import torch
import toys
from learners import MARGIN, THRESHOLDS, make, oracle_pairs, reference

from rltrainer.config import Ties
from rltrainer.core import Strength
from rltrainer.rewards.likelihood import Answers, first_is_better, preference_loss, probabilities
from rltrainer.rewards.thresholds import Thresholds


def answer(target: float, noise: float, strength: Strength = Strength.PLAIN, ties: Ties = "half") -> Answers:
    """What one comparison says."""
    first, second = toys.random_segments(2, np.random.default_rng(0))
    return Answers.of([replace(toys.compare(first, second, target), strength=strength)], noise, THRESHOLDS[ties])


def loss(logit: float, target: float, noise: float, strength: Strength = Strength.PLAIN, ties: Ties = "half") -> float:
    return float(preference_loss(torch.tensor([logit]), answer(target, noise, strength, ties)))


def test_a_tie_costs_log_two_when_returns_are_equal() -> None:
    assert loss(0.0, 0.5, 0.0) == pytest.approx(math.log(2))
    assert loss(0.0, 0.5, 0.1) == pytest.approx(math.log(2))
    assert loss(0.0, 1.0, 0.1) == pytest.approx(math.log(2))


def test_the_loss_is_the_cross_entropy_under_bradley_terry() -> None:
    """R₁ - R₂ = log 3 means P = 3/4."""
    assert loss(math.log(3), 1.0, 0.0) == pytest.approx(-math.log(3 / 4))
    assert loss(math.log(3), 0.0, 0.0) == pytest.approx(-math.log(1 / 4))
    assert loss(math.log(3), 0.5, 0.0) == pytest.approx(-0.5 * (math.log(3 / 4) + math.log(1 / 4)))


def test_answers_that_are_chance_put_a_floor_under_every_probability() -> None:
    """With ε = 0.1, P̃ = 0.9 · P + 0.05: never below 0.05 nor above 0.95."""
    assert loss(math.log(3), 1.0, 0.1) == pytest.approx(-math.log(0.9 * 0.75 + 0.05))
    assert loss(1000.0, 0.0, 0.1) == pytest.approx(-math.log(0.05))
    assert loss(1000.0, 1.0, 0.1) == pytest.approx(-math.log(0.95))
    assert loss(-1000.0, 1.0, 0.1) == pytest.approx(-math.log(0.05))


@pytest.mark.parametrize("logit", [-500.0, -50.0, 50.0, 500.0])
def test_the_gradient_is_not_zero_where_the_model_is_confidently_wrong(logit: float) -> None:
    """Without noise it is sigmoid(x) - target: one whole unit, however far off. A clamped probability gives 0."""
    x = torch.tensor([logit], requires_grad=True)
    target = 0.0 if logit > 0 else 1.0
    preference_loss(x, answer(target, 0.0)).sum().backward()  # type: ignore[no-untyped-call]
    assert x.grad is not None
    assert x.grad.item() == pytest.approx(math.copysign(1.0, logit))


@pytest.mark.parametrize("ties", get_args(Ties))
@pytest.mark.parametrize("noise", [0.0, 0.1, 0.5])
@pytest.mark.parametrize("logit", [-1e4, -3.0, 0.0, 3.0, 1e4])
@pytest.mark.parametrize(
    ("target", "strength"), [(0.5, Strength.PLAIN), *((side, strength) for side in (0.0, 1.0) for strength in Strength)]
)
def test_loss_and_gradient_are_always_numbers(
    noise: float, logit: float, target: float, strength: Strength, ties: Ties
) -> None:
    x = torch.tensor([logit], requires_grad=True)
    found = preference_loss(x, answer(target, noise, strength, ties)).sum()
    found.backward()  # type: ignore[no-untyped-call]
    assert math.isfinite(found.item())
    assert found.item() >= 0
    assert x.grad is not None
    assert torch.isfinite(x.grad).all()


@pytest.mark.parametrize("ties", get_args(Ties))
@pytest.mark.parametrize("noise", [0.0, 0.1, 0.5])
@pytest.mark.parametrize("strength", Strength)
def test_the_slope_of_an_answer_is_the_derivative_of_the_log_of_its_probability(
    noise: float, strength: Strength, ties: Ties
) -> None:
    leads = torch.tensor([-1e4, -3.0, 0.0, 3.0, 1e4], dtype=torch.float64, requires_grad=True)
    said = answer(1.0, noise, strength, ties)
    said.log_probability(leads).sum().backward()  # type: ignore[no-untyped-call]
    torch.testing.assert_close(said.expansion(leads.detach())[1], leads.grad)


@pytest.mark.parametrize("lead", [-3.0, 0.0, 1.1, 6.0])
@pytest.mark.parametrize("noise", [0.0, 0.1])
def test_slightly_and_much_better_are_together_what_better_is(lead: float, noise: float) -> None:
    """P̃(slightly) + P̃(much) = P̃(better): an answer that leaves the strength open is worth what it always was."""
    parts = [math.exp(-loss(lead, 1.0, noise, strength)) for strength in (Strength.SLIGHTLY, Strength.MUCH)]
    assert sum(parts) == pytest.approx(math.exp(-loss(lead, 1.0, noise)))


def test_the_strengths_part_where_nine_of_ten_would_prefer_the_better_one() -> None:
    """At R₁ - R₂ = log 9: P(better) = 0.9, P(much) = σ(0) = 0.5, and 0.4 is left for slightly; between equals, 1/5 is much."""
    assert loss(MARGIN, 1.0, 0.0, Strength.MUCH) == pytest.approx(-math.log(0.5))
    assert loss(MARGIN, 1.0, 0.0, Strength.SLIGHTLY) == pytest.approx(-math.log(0.4), rel=1e-5)
    assert loss(MARGIN, 1.0, 0.1, Strength.MUCH) == pytest.approx(-math.log(0.9 * 0.5 + 0.1 / 2 / 5))
    assert loss(-MARGIN, 0.0, 0.1, Strength.MUCH) == pytest.approx(-math.log(0.9 * 0.5 + 0.1 / 2 / 5))


def test_slightly_better_pulls_together_what_is_too_far_apart_and_much_better_pushes_on() -> None:
    """Slightly is likeliest at R₁ - R₂ = m / 2: beyond it the loss rises. Much better is never too far apart."""
    for strength, sign in ((Strength.SLIGHTLY, 1), (Strength.MUCH, -1), (Strength.PLAIN, -1)):
        x = torch.tensor([MARGIN / 2 + 1], requires_grad=True)
        preference_loss(x, answer(1.0, 0.0, strength)).sum().backward()  # type: ignore[no-untyped-call]
        assert x.grad is not None
        assert math.copysign(1, x.grad.item()) == sign
    x = torch.tensor([MARGIN / 2], requires_grad=True)
    preference_loss(x, answer(1.0, 0.0, Strength.SLIGHTLY)).sum().backward()  # type: ignore[no-untyped-call]
    assert x.grad is not None
    assert x.grad.item() == pytest.approx(0.0, abs=1e-6)


def test_what_is_said_to_be_much_better_comes_to_lie_farther_ahead() -> None:
    pairs = oracle_pairs(40)
    leads = []
    for strength in (Strength.SLIGHTLY, Strength.MUCH):
        learner = make("ensemble", fit_steps=100)
        learner.fit([replace(pair, strength=strength) for pair in pairs], reference())
        won = [(p.first, p.second) if p.target == 1 else (p.second, p.first) for p in pairs]
        ahead = learner.member_returns([a for a, _ in won]) - learner.member_returns([b for _, b in won])
        leads.append(float(ahead.mean()))
    slight, much = leads
    assert slight < MARGIN < much


def test_a_third_of_the_answers_on_equal_returns_are_ties_under_rao_kupper() -> None:
    """θ = 2: (θ - 1) / (θ + 1) = 1/3 for a tie, and 1 / (θ + 1) = 1/3 for either side. Chance has a third of each, too."""
    for noise in (0.0, 0.1):
        for target in (0.0, 0.5, 1.0):
            assert loss(0.0, target, noise, ties="rao_kupper") == pytest.approx(math.log(3))


def test_a_lead_of_log_two_makes_half_the_answers_preferences_under_rao_kupper() -> None:
    """π₁ = 2, π₂ = 1, θ = 2: P(first) = 2 / (2 + 2) = 1/2, P(second) = 1 / (1 + 2 · 2) = 1/5, and 3/10 is left for ties."""
    for target, probability in ((1.0, 0.5), (0.0, 0.2), (0.5, 0.3)):
        assert loss(math.log(2), target, 0.0, ties="rao_kupper") == pytest.approx(-math.log(probability))
        assert loss(math.log(2), target, 0.1, ties="rao_kupper") == pytest.approx(-math.log(0.9 * probability + 0.1 / 3))
        assert loss(-math.log(2), 1 - target, 0.0, ties="rao_kupper") == pytest.approx(-math.log(probability))


@pytest.mark.parametrize("lead", [-3.0, 0.0, 1.1, 6.0])
@pytest.mark.parametrize("noise", [0.0, 0.1])
@pytest.mark.parametrize("ties", get_args(Ties))
def test_all_answers_together_have_probability_one(lead: float, noise: float, ties: Ties) -> None:
    answers = [(side, strength) for side in (0.0, 1.0) for strength in (Strength.SLIGHTLY, Strength.MUCH)]
    answers += [(0.5, Strength.PLAIN)] if ties == "rao_kupper" else []
    assert sum(math.exp(-loss(lead, target, noise, strength, ties)) for target, strength in answers) == pytest.approx(1)


def test_a_tie_pulls_together_what_lies_apart() -> None:
    """Ties are likeliest at equal returns, under either model."""
    for ties in get_args(Ties):
        for lead in (-2.0, 2.0):
            assert loss(lead, 0.5, 0.1, ties=ties) > loss(0.0, 0.5, 0.1, ties=ties)


def test_what_is_foretold_counts_half_of_the_ties() -> None:
    """At a lead of log 2: 2/3 with ties as half an answer; 1/2 + 0.3 / 2 under Rao-Kupper. Chance is 1/2 either way."""
    lead = np.array([math.log(2), -math.log(2), np.nan])
    np.testing.assert_allclose(first_is_better(lead, 0.0, THRESHOLDS["half"]), [2 / 3, 1 / 3, np.nan])
    np.testing.assert_allclose(first_is_better(lead, 0.0, THRESHOLDS["rao_kupper"]), [0.65, 0.35, np.nan])
    np.testing.assert_allclose(
        first_is_better(lead, 0.2, THRESHOLDS["rao_kupper"]), [0.8 * 0.65 + 0.1, 0.8 * 0.35 + 0.1, np.nan]
    )


@pytest.mark.parametrize("ties", get_args(Ties))
@pytest.mark.parametrize("strength", Strength)
def test_an_answer_is_curved_as_the_log_of_its_probability_where_none_is_chance(strength: Strength, ties: Ties) -> None:
    leads = torch.tensor([-3.0, 0.0, 1.1, 6.0], dtype=torch.float64, requires_grad=True)
    said = answer(1.0, 0.0, strength, ties)
    (slope,) = torch.autograd.grad(said.log_probability(leads).sum(), leads, create_graph=True)
    (curvature,) = torch.autograd.grad(slope.sum(), leads)
    torch.testing.assert_close(said.expansion(leads.detach())[2], -curvature)


@pytest.mark.parametrize("strength", Strength)
def test_an_answer_that_is_likely_chance_is_hardly_curved(strength: Strength) -> None:
    """P(meant) times the curvature of log P: never negative, no less than that of log P̃, and nought far on the wrong side."""
    leads = torch.tensor([-30.0, -3.0, 0.0, 1.1, 6.0], dtype=torch.float64, requires_grad=True)
    said = answer(1.0, 0.3, strength)
    (slope,) = torch.autograd.grad(said.log_probability(leads).sum(), leads, create_graph=True)
    (curvature,) = torch.autograd.grad(slope.sum(), leads)
    found = said.expansion(leads.detach())[2]
    assert (found >= 0).all()
    assert (found >= -curvature - 1e-12).all()
    assert found[0] < 1e-9
    assert -curvature[1] < 0


def test_ties_bring_returns_nearer_to_each_other_under_rao_kupper() -> None:
    """Half of the pairs are called equal: those come to lie closer than they do without these answers."""
    pairs, others = oracle_pairs(40), oracle_pairs(40, seed=1)
    apart = []
    for shown in (pairs, pairs + [replace(pair, target=0.5) for pair in others]):
        learner = make("ensemble", fit_steps=100, ties="rao_kupper")
        learner.fit(shown, reference())
        returns = [learner.member_returns([getattr(pair, side) for pair in others]) for side in ("first", "second")]
        apart.append(float(np.abs(returns[0] - returns[1]).mean()))
    without, with_ties = apart
    assert with_ties < 0.7 * without


def test_ties_are_as_likely_between_equals_as_they_are_frequent() -> None:
    """(θ - 1) / (θ + 1) is their share, with one more answer of another kind; without ties, all is Bradley-Terry."""
    decided = oracle_pairs(5)
    tied = [*decided, *(replace(pair, target=0.5) for pair in oracle_pairs(3, seed=1))]
    theta = math.exp(Thresholds.of(tied, "rao_kupper").better)
    assert (theta - 1) / (theta + 1) == pytest.approx(3 / 9)
    assert math.isfinite(Thresholds.of(tied[5:], "rao_kupper").better)
    assert Thresholds.of(decided, "rao_kupper").better == 0
    assert Thresholds.of(tied, "half").better == 0


@pytest.mark.parametrize("ties", get_args(Ties))
def test_much_better_lies_as_far_out_as_it_is_rarely_said(ties: Ties) -> None:
    """Of preferences between equals as many are much better as of all, with one of either strength beside them."""
    tied = [replace(pair, target=0.5) for pair in oracle_pairs(4, seed=1)]
    for much, others in ((1, 5), (3, 3), (5, 1)):
        strong = [replace(pair, strength=Strength.MUCH) for pair in oracle_pairs(much, seed=2)]
        found = Thresholds.of([*strong, *oracle_pairs(others), *tied], ties)
        share = (1 + math.exp(found.better)) / (1 + math.exp(found.much))
        assert share == pytest.approx((much + 1) / 8)
        assert found.much > found.better


def test_what_answers_about_equals_are_is_what_chance_answers_are() -> None:
    """P(each answer) at R₁ = R₂ by the thresholds that a set of answers has, and the share of it among chance answers."""
    strong, slight = (
        [replace(pair, strength=strength) for pair in oracle_pairs(3)] for strength in (Strength.MUCH, Strength.SLIGHTLY)
    )
    pairs = [*strong, *slight, *(replace(pair, target=0.5) for pair in oracle_pairs(3, seed=1))]
    meant, share = probabilities(pairs, np.zeros(9), Thresholds.of(pairs, "rao_kupper"))
    np.testing.assert_allclose(meant, share, rtol=1e-5)


@pytest.mark.parametrize("name", ["bayes", "ensemble"])
def test_answers_that_are_no_ties_teach_the_same_under_either_model(name: str) -> None:
    returns = []
    for ties in get_args(Ties):
        learner = make(name, ties=ties)
        learner.fit(oracle_pairs(20), reference())
        returns.append(learner.member_returns(reference()))
    np.testing.assert_array_equal(*returns)
