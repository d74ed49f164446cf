"""Facts about learners: the contract that each of them keeps, and the maths of the ensemble, worked out by hand."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import Any, get_args

import gymnasium as gym
import numpy as np
import pytest
import torch
import toys
from safetensors.numpy import load, save

from rltrainer.config import Reward, Ties
from rltrainer.core import Array, Comparison, Learner, Segment, Strength, rewards_along
from rltrainer.rewards import LEARNERS, EnsembleLearner, RobustLearner, SurfLearner, ensemble, nets
from rltrainer.rewards.ensemble import _held_out_accuracy
from rltrainer.rewards.features import CLIP, Scale, encode_actions, features, segment_features
from rltrainer.rewards.likelihood import Answers, first_is_better, preference_loss, probabilities
from rltrainer.rewards.reliability import chance_rates, foretold, noise_of
from rltrainer.rewards.robust import sorted_out
from rltrainer.rewards.thresholds import Thresholds

PUSH = toys.PUSH
WEIGHTS = (1.0, -2.0, 0.5)


def make(name: str, seed: int = 0, space: gym.Space[Any] = PUSH, observed: int = 2, **settings: Any) -> Learner:
    """A learner of envs with 2 observed numbers and 1 action, quick to fit."""
    wanted = {"hidden": (16,), "fit_steps": 20, **settings}
    learner: Learner = LEARNERS[name](observed, space, Reward(**wanted), np.random.SeedSequence(seed))
    return learner


def oracle_pairs(count: int, seed: int = 0, **kwargs: Any) -> list[Comparison]:
    segments = toys.random_segments(2 * count, np.random.default_rng(seed), **kwargs)
    return [toys.compare(a, b, name=f"query {n}") for n, (a, b) in enumerate(zip(segments[::2], segments[1::2], strict=True))]


def reference(seed: int = 99, count: int = 16) -> list[Segment]:
    return toys.random_segments(count, np.random.default_rng(seed))


def rows(count: int = 50, seed: int = 5, space: gym.Space[Any] = PUSH) -> tuple[Array, Array, Array]:
    """Observations, actions and next observations of `count` steps."""
    rng = np.random.default_rng(seed)
    space.seed(seed)
    actions = np.stack([np.asarray(space.sample()) for _ in range(count)])
    return rng.normal(size=(count, 2)).astype(np.float32), actions, rng.normal(size=(count, 2)).astype(np.float32)


def accuracy(learner: Learner, pairs: list[Comparison]) -> float:
    """Share of pairs whose better segment has the higher return under the learned reward."""
    reward = learner.snapshot()
    leads = [rewards_along(reward, pair.first).sum() - rewards_along(reward, pair.second).sum() for pair in pairs]
    return float(np.mean([(lead > 0) == (pair.target > 0.5) for lead, pair in zip(leads, pairs, strict=True)]))


# ------------------------------------------------------------------ the contract of every learner


class LearnerContract:
    """What holds for a learner of any name."""

    def test_a_reward_is_there_before_anything_was_learned(self, name: str) -> None:
        learner = make(name)
        assert learner.snapshot()(*rows()).shape == (50,)
        assert np.isfinite(learner.snapshot()(*rows())).all()
        assert learner.snapshot().version == 0

    def test_each_fit_raises_the_version_and_reports_what_it_saw(self, name: str) -> None:
        learner = make(name)
        for version in (1, 2, 3):
            report = learner.fit(oracle_pairs(5 * version), reference())
            assert report.version == version == learner.snapshot().version
            assert report.comparisons == 5 * version
            assert math.isfinite(report.train_loss)
            assert report.held_out_loss is None or math.isfinite(report.held_out_loss)
            assert report.held_out_accuracy is None or 0 <= report.held_out_accuracy <= 1

    def test_one_comparison_is_enough_to_begin_with(self, name: str) -> None:
        learner = make(name)
        learner.fit(oracle_pairs(1), reference())
        assert np.isfinite(learner.snapshot()(*rows())).all()

    def test_only_ties_teach_no_direction_and_break_nothing(self, name: str) -> None:
        learner = make(name)
        report = learner.fit([replace(pair, target=0.5) for pair in oracle_pairs(12)], reference())
        assert report.held_out_accuracy is None
        assert np.isfinite(learner.snapshot()(*rows())).all()

    def test_member_returns_are_one_number_for_each_member_and_segment(self, name: str) -> None:
        learner = make(name, members=4)
        segments = toys.random_segments(7, np.random.default_rng(0), steps=9) + toys.random_segments(
            2, np.random.default_rng(1), steps=3
        )
        for _ in range(2):
            returns = learner.member_returns(segments)
            assert returns.shape[1] == 9
            assert np.isfinite(returns).all()
            np.testing.assert_allclose(learner.member_returns(segments[4:6]), returns[:, 4:6], rtol=1e-4, atol=1e-5)
            learner.fit(oracle_pairs(10), reference())

    def test_a_snapshot_is_frozen(self, name: str) -> None:
        learner = make(name)
        learner.fit(oracle_pairs(10), reference())
        snapshot = learner.snapshot()
        before = snapshot(*rows())
        learner.fit(oracle_pairs(40, seed=3), reference(7))
        np.testing.assert_array_equal(snapshot(*rows()), before)
        assert snapshot.version == 1
        assert not np.array_equal(learner.snapshot()(*rows()), before)

    def test_a_reward_does_not_depend_on_the_steps_beside_it(self, name: str) -> None:
        learner = make(name)
        learner.fit(oracle_pairs(10), reference())
        reward, (observations, actions, after) = learner.snapshot(), rows()
        together = reward(observations, actions, after)
        alone = [reward(observations[i : i + 1], actions[i : i + 1], after[i : i + 1])[0] for i in range(10)]
        np.testing.assert_allclose(together[:10], alone, rtol=1e-4, atol=1e-5)

    def test_the_arrays_that_are_handed_in_stay_as_they_are(self, name: str) -> None:
        learner = make(name)
        pairs, batch = oracle_pairs(6), reference()
        seen = [array for pair in pairs for array in (pair.first.observations, pair.second.actions)] + [
            s.observations for s in batch
        ]
        before = [array.copy() for array in seen]
        inputs = rows()
        copies = [part.copy() for part in inputs]
        learner.fit(pairs, batch)
        learner.snapshot()(*inputs)
        for now, then in zip([*seen, *inputs], [*before, *copies], strict=True):
            np.testing.assert_array_equal(now, then)

    def test_the_same_seed_and_labels_give_the_same_reward(self, name: str) -> None:
        learners = [make(name, seed) for seed in (4, 4, 5)]
        for learner in learners:
            learner.fit(oracle_pairs(15), reference())
            learner.fit(oracle_pairs(20), reference())
        first, same, other = (learner.snapshot()(*rows()) for learner in learners)
        np.testing.assert_array_equal(first, same)
        assert not np.array_equal(first, other)

    def test_no_other_generator_is_used_or_moved(self, name: str) -> None:
        torch_state, numpy_state = torch.get_rng_state(), toys.global_draws()
        make(name).fit(oracle_pairs(5), reference())
        assert torch.equal(torch.get_rng_state(), torch_state)
        np.testing.assert_array_equal(toys.global_draws(), numpy_state)

    def test_the_true_reward_is_never_looked_at(self, name: str) -> None:
        pairs, batch = oracle_pairs(15), reference()
        noise = np.random.default_rng(8)

        def blind(segment: Segment) -> Segment:
            return replace(segment, env_rewards=noise.normal(size=len(segment)))

        learners = [make(name), make(name)]
        learners[0].fit(pairs, batch)
        learners[1].fit([replace(p, first=blind(p.first), second=blind(p.second)) for p in pairs], [blind(s) for s in batch])
        for key, value in learners[0].state().items():
            if key != "bags.pairs":  # segments' names, which hold the true reward
                np.testing.assert_array_equal(value, learners[1].state()[key])

    def test_what_lies_outside_a_trim_is_never_looked_at(self, name: str) -> None:
        pairs = [replace(pair, first_range=(2, 6), second_range=(0, 9)) for pair in oracle_pairs(12)]

        def scribbled(pair: Comparison) -> Comparison:
            first, second = pair.first.observations.copy(), pair.second.observations.copy()
            first[:2], first[7:], second[10:] = 200, 100, 200  # step t is of rows t and t + 1
            actions = pair.first.actions.copy()
            actions[:2], actions[6:] = 50, -50
            return replace(
                pair,
                first=replace(pair.first, observations=first, actions=actions),
                second=replace(pair.second, observations=second),
            )

        learners = [make(name), make(name)]
        learners[0].fit(pairs, reference())
        learners[1].fit([scribbled(pair) for pair in pairs], reference())
        np.testing.assert_array_equal(*(learner.snapshot()(*rows()) for learner in learners))

    def test_a_trim_is_the_same_as_a_shorter_segment(self, name: str) -> None:
        def cut(segment: Segment, start: int, end: int) -> Segment:
            return toys.segment(
                segment.observations[start : end + 1], segment.actions[start:end], segment.env_rewards[start:end]
            )

        pairs = oracle_pairs(12)
        trimmed = [replace(pair, first_range=(3, 7), second_range=(1, 9)) for pair in pairs]
        shorter = [
            replace(
                pair,
                first=cut(pair.first, 3, 7),
                first_range=(0, 4),
                second=cut(pair.second, 1, 9),
                second_range=(0, 8),
            )
            for pair in pairs
        ]
        learners = [make(name), make(name)]
        learners[0].fit(trimmed, reference())
        learners[1].fit(shorter, reference())
        np.testing.assert_array_equal(*(learner.snapshot()(*rows()) for learner in learners))

    def test_the_side_on_which_a_segment_stood_does_not_matter(self, name: str) -> None:
        pairs = oracle_pairs(60)
        turned = [
            replace(
                p,
                first=p.second,
                second=p.first,
                target=1 - p.target,
                first_range=p.second_range,
                second_range=p.first_range,
            )
            for p in pairs
        ]
        learners = [make(name), make(name)]
        learners[0].fit(pairs, reference())
        learners[1].fit(turned, reference())
        np.testing.assert_allclose(*(learner.snapshot()(*rows()) for learner in learners), rtol=0.05, atol=0.02)

    def test_what_was_learned_survives_a_trip_to_disk(self, name: str) -> None:
        learner = make(name, members=2)
        learner.fit(oracle_pairs(15), reference())
        learner.fit(oracle_pairs(18), reference())
        on_disk = save({key: np.asarray(value, order="C") for key, value in learner.state().items()})
        other = make(name, seed=77, members=2)
        other.restore(load(on_disk))
        np.testing.assert_array_equal(other.snapshot()(*rows()), learner.snapshot()(*rows()))
        assert other.snapshot().version == 2
        segments = reference()
        np.testing.assert_array_equal(other.member_returns(segments), learner.member_returns(segments))

    def test_a_learner_that_was_restored_goes_on_as_the_one_that_was_kept(self, name: str) -> None:
        kept, restored = make(name), make(name, seed=77)
        kept.fit(oracle_pairs(15), reference())
        kept.fit(oracle_pairs(18), reference())
        restored.restore(load(save({key: np.asarray(value, order="C") for key, value in kept.state().items()})))
        reports = [learner.fit(oracle_pairs(30), reference()) for learner in (kept, restored)]
        assert reports[0] == reports[1]
        for key, value in kept.state().items():
            np.testing.assert_array_equal(value, restored.state()[key])

    def test_the_state_that_was_given_does_not_change_later(self, name: str) -> None:
        learner = make(name)
        learner.fit(oracle_pairs(10), reference())
        state = learner.state()
        before = {key: value.copy() for key, value in state.items()}
        learner.fit(oracle_pairs(20), reference())
        for key, value in state.items():
            np.testing.assert_array_equal(value, before[key])

    def test_discrete_actions_and_bytes_are_taken(self, name: str) -> None:
        space = gym.spaces.Discrete(3, start=-1)
        rng = np.random.default_rng(0)
        segments = [toys.segment(rng.integers(0, 255, (6, 2)), rng.integers(-1, 2, 5), seed=n) for n in range(12)]
        segments = [replace(s, observations=s.observations.astype(np.uint8)) for s in segments]
        pairs = [
            toys.compare(a, b, float(a.actions.sum() > b.actions.sum()))
            for a, b in zip(segments[::2], segments[1::2], strict=True)
        ]
        learner = make(name, space=space)
        learner.fit(pairs, segments)
        observations, actions, after = rows(space=space)
        assert np.isfinite(learner.snapshot()(observations.astype(np.uint8), actions, after.astype(np.uint8))).all()

    def test_a_linear_reward_is_found_from_sixty_oracle_labels(self, name: str) -> None:
        learner = make(name, seed=1, **Reward().model_dump())
        pairs = oracle_pairs(60)
        for known in (20, 30, 40, 50, 60):  # as they come in during a run
            report = learner.fit(pairs[:known], reference(count=64))
        assert accuracy(learner, oracle_pairs(400, seed=1234)) > 0.85
        assert report.held_out_accuracy is not None
        assert report.held_out_accuracy > 0.6


@pytest.mark.parametrize("name", LEARNERS)
class TestLearner(LearnerContract):
    """Registering a learner in LEARNERS is testing it."""


# ------------------------------------------------------------------ the loss


MARGIN = math.log(9)
THRESHOLDS: dict[Ties, Thresholds] = {
    "half": Thresholds(0.0, MARGIN),
    "rao_kupper": Thresholds(math.log(2), math.log(2) + MARGIN),
}
"""θ = 2: two of equal return are called equal by a third of the answers."""


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
    torch.testing.assert_close(said.slopes(leads.detach())[0], leads.grad)


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
    torch.testing.assert_close(said.slopes(leads.detach())[1], -curvature)


@pytest.mark.parametrize("strength", Strength)
def test_an_answer_that_is_likely_chance_is_hardly_curved(strength: Strength) -> None:
    """P(meant) times the curvature of log P: never negative, no less than that of log P̃, and nought far on the wrong side."""
    leads = torch.tensor([-30.0, -3.0, 0.0, 1.1, 6.0], dtype=torch.float64, requires_grad=True)
    said = answer(1.0, 0.3, strength)
    (slope,) = torch.autograd.grad(said.log_probability(leads).sum(), leads, create_graph=True)
    (curvature,) = torch.autograd.grad(slope.sum(), leads)
    found = said.slopes(leads.detach())[1]
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


# ------------------------------------------------------------------ labelers


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


# ------------------------------------------------------------------ labels that look wrong


def test_a_label_is_left_out_from_a_bound_on_its_loss_on_and_turned_round_where_it_is_surely_wrong() -> None:
    """ρ = 1: -log 1 + 1/2, and β standard deviations, which are 2: β is 3 at first and 1 after 30 refits. 3 log 10 = 6.9."""
    losses = np.array([0.0, 0.0, 4.0, 4.0, np.nan])
    assert sorted_out(losses, 1.0, 0)[0].tolist() == [False, False, True, True, False]  # never more than 0.5 + 3
    assert sorted_out(losses * 0.75, 1.0, 0)[0].tolist() == [False] * 5
    left_out, turned = sorted_out(losses, 1.0, 30)  # 0.5 + 2
    assert left_out.tolist() == [False, False, True, True, False]
    assert not turned.any()
    left_out, turned = sorted_out(np.array([0.0, 0.0, 6.8, 7.0, np.nan]), 1.0, 0)
    assert left_out.tolist() == [False, False, True, False, False]
    assert turned.tolist() == [False, False, False, True, False]


def with_mistakes(count: int, share: float, seed: int = 0) -> tuple[list[Comparison], Array]:
    """Oracle pairs, and which of them were turned round."""
    pairs = oracle_pairs(count, seed)
    wrong = np.random.default_rng(seed).random(count) < share
    return [replace(p, target=1 - p.target) if turned else p for p, turned in zip(pairs, wrong, strict=True)], wrong


def sorted_by_robust(pairs: list[Comparison], refits: int) -> tuple[ensemble.Batch, ensemble.Batch]:
    """All labels, and what the robust learner learns from of them after so many refits."""
    learner = make("robust", fit_steps=60)
    assert isinstance(learner, RobustLearner)
    for _ in range(refits):
        learner.fit(pairs, reference())
    batch = learner._batch(pairs, [segment_features(PUSH, s) for s in reference()])
    return batch, learner._learned_from(batch)


def test_what_is_left_out_and_turned_round_is_mostly_wrong_and_reported_as_it_was_given() -> None:
    """Few are found, of 24 that are wrong, and hardly ever one that is right."""
    pairs, wrong = with_mistakes(120, 0.2)
    batch, learned = sorted_by_robust(pairs, refits=4)
    unlike = ((learned.bags != batch.bags).any(axis=0)) | (learned.answers.target != batch.answers.target).numpy()
    assert unlike.sum() >= 3
    assert wrong[unlike].mean() > 0.7
    np.testing.assert_array_equal(batch.answers.target.numpy(), [pair.target for pair in pairs])


def test_a_tie_is_never_left_out() -> None:
    pairs = with_mistakes(60, 0.2)[0] + [replace(pair, target=0.5) for pair in oracle_pairs(20, seed=3)]
    batch, learned = sorted_by_robust(pairs, refits=3)
    np.testing.assert_array_equal(learned.bags[:, 60:], batch.bags[:, 60:])
    assert (learned.answers.target[60:] == 0.5).all()


# ------------------------------------------------------------------ pairs that nobody judged


def surf(**settings: Any) -> SurfLearner:
    learner = make("surf", **settings)
    assert isinstance(learner, SurfLearner)
    return learner


def test_a_crop_is_one_window_for_both_sides_of_a_pair_and_leaves_unequal_ones_whole() -> None:
    """Of 12 steps between 9 (three quarters) and 11 (0.92 of them) are kept, wherever they lie."""
    mask = torch.ones(200, 2, 12)
    mask[150:, 1, 6:] = 0
    cropped = surf()._cropped(mask)
    assert torch.equal(cropped[150:], mask[150:])
    assert torch.equal(cropped[:150, 0], cropped[:150, 1])
    assert set(cropped[:150, 0].sum(dim=-1).tolist()) == {9.0, 10.0, 11.0}
    assert (cropped[:150, 0].diff(dim=-1).abs().sum(dim=-1) <= 2).all()  # no holes
    assert set(cropped[:150, 0].argmax(dim=-1).tolist()) == {0, 1, 2, 3}


def test_unlabelled_pairs_are_of_what_was_judged_and_of_the_reference_and_of_equal_length() -> None:
    learner = surf()
    pairs = [replace(pair, first_range=(3, 7), second_range=(1, 9)) for pair in oracle_pairs(12)]
    learner._reference = reference(count=24)
    found = learner._unlabelled(pairs)
    known = {(s.id, s.whole) for s in learner._reference}
    known |= {(pair.first.id, (3, 7)) for pair in pairs} | {(pair.second.id, (1, 9)) for pair in pairs}
    used = {(c.first.id, c.first_range) for c in found} | {(c.second.id, c.second_range) for c in found}
    assert used <= known
    assert {end - start for _, (start, end) in used} == {4, 8, 10}
    for c in found:
        assert c.first is not c.second
        assert c.first_range[1] - c.first_range[0] == c.second_range[1] - c.second_range[0]


def test_unlabelled_pairs_are_in_no_report() -> None:
    report = surf().fit(oracle_pairs(20), reference())
    assert report.comparisons == 20
    assert report.held_out is not None
    assert report.held_out.shape == (20,)


@pytest.mark.parametrize("at_once", [1, 10_000])
def test_a_pair_of_which_a_member_is_sure_counts_as_judged_by_it(at_once: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """The gradient grows by that of softplus(-|lead|) of the crops, over four times as many pairs as are labelled.

    All steps are seen here, so that it can be worked out.
    """
    monkeypatch.setattr(nets, "ROWS_AT_ONCE", at_once)
    monkeypatch.setattr(ensemble.Batch, "thinned", lambda batch, picked, _: (batch.rows[picked], batch.mask[picked]))
    learner = surf(members=2, hidden=(4,))
    learner._reference = reference()
    batch = learner._batch(oracle_pairs(8), [segment_features(PUSH, s) for s in reference()])
    indices = learner._minibatches(batch.bags, 1)[0]  # [M, B]
    weights = list(learner._nets.parameters())[:-1]

    def gradient(sure: float) -> list[Array]:
        monkeypatch.setattr("rltrainer.rewards.surf.SURE", sure)
        learner._rng = np.random.default_rng(0)
        learner._optimizer.zero_grad()
        learner._backward(batch, indices)
        return [weight.grad.clone().numpy() for weight in weights if weight.grad is not None]

    without, everything = gradient(math.inf), gradient(0.0)
    learner._rng = np.random.default_rng(0)
    cropped = learner._cropped(batch.mask)
    chosen = torch.from_numpy(learner._rng.integers(8, len(batch.mask), (2, 32)))
    whole, part = (learner._lead(batch.rows[chosen], mask[chosen]) for mask in (batch.mask, cropped))
    by_hand = torch.log1p(torch.exp(-part * whole.detach().sign())).mean(dim=1).sum()
    for before, after, added in zip(without, everything, torch.autograd.grad(by_hand, weights), strict=True):
        np.testing.assert_allclose(after - before, added.numpy(), rtol=1e-3, atol=1e-5)


# ------------------------------------------------------------------ features and scale


def test_discrete_actions_become_one_hot_rows() -> None:
    np.testing.assert_array_equal(encode_actions(gym.spaces.Discrete(3), np.array([2, 0])), [[0, 0, 1], [1, 0, 0]])
    np.testing.assert_array_equal(encode_actions(gym.spaces.Discrete(3, start=5), np.array([5, 7])), [[1, 0, 0], [0, 0, 1]])


def test_box_actions_are_flattened() -> None:
    actions = np.arange(12.0).reshape(2, 2, 3)
    np.testing.assert_array_equal(
        encode_actions(gym.spaces.Box(-1, 1, (2, 3)), actions), [[0, 1, 2, 3, 4, 5], [6, 7, 8, 9, 10, 11]]
    )


def test_a_step_is_seen_as_before_action_and_after() -> None:
    one = toys.segment([[1, 2], [3, 4], [5, 6]], [[0.5], [0.25]])
    expected = [[1, 2, 0.5, 3, 4], [3, 4, 0.25, 5, 6]]
    np.testing.assert_array_equal(segment_features(PUSH, one), expected)
    np.testing.assert_array_equal(features(PUSH, one.observations[:-1], one.actions, one.observations[1:]), expected)


def test_what_comes_after_an_end_is_no_step() -> None:
    one = toys.segment([[1, 2], [3, 4]], [[0.5]], terminated=True, after=2)
    assert len(one) == 3
    np.testing.assert_array_equal(segment_features(PUSH, one), [[1, 2, 0.5, 3, 4]])


def test_a_scale_gives_mean_zero_and_std_one_on_its_own_rows() -> None:
    data = np.random.default_rng(0).normal(3, 7, (500, 4)).astype(np.float32)
    scaled = Scale.of([data[:100], data[100:]])(data)
    np.testing.assert_allclose(scaled.mean(axis=0), 0, atol=1e-5)
    np.testing.assert_allclose(scaled.std(axis=0), 1, atol=1e-4)


def test_a_feature_that_never_changes_is_left_unscaled() -> None:
    scale = Scale.of([np.array([[2.0, 1.0], [2.0, 3.0]], np.float32)])
    np.testing.assert_allclose(scale(np.array([[2.0, 2.0], [2.5, 4.0]], np.float32)), [[0.0, 0.0], [0.5, 2.0]])


def test_what_is_far_off_the_scale_is_clipped() -> None:
    scale = Scale.of([np.array([[-1.0], [1.0]], np.float32)])
    np.testing.assert_array_equal(scale(np.array([[1e9], [-1e9], [5.0]], np.float32)), [[CLIP], [-CLIP], [5.0]])


# ------------------------------------------------------------------ the ensemble


def known_net(*weights: float, members: int = 1) -> EnsembleLearner:
    """A learner whose nets are one linear layer of these weights on (o, a, o'), and whose scale changes nothing."""
    learner = EnsembleLearner(2, PUSH, Reward(hidden=(), members=members), np.random.SeedSequence(0))
    state = learner.state()
    state["nets.weights.0"] = np.repeat(np.array(weights, np.float32).reshape(1, -1, 1), members, axis=0)
    learner.restore(state)
    return learner


def test_a_segments_return_is_the_sum_over_its_steps() -> None:
    """r = 1·o₁ + 10·o₂ + 100·a + 1000·o₁' + 10000·o₂'."""
    learner = known_net(1, 10, 100, 1000, 10000)
    two = toys.segment([[1, 0], [2, 0], [3, 1]], [[0.5], [0.25]])  # 1 + 50 + 2000 = 2051; 2 + 25 + 3000 + 10000 = 13027
    one = toys.segment([[0, 1], [0, 0]], [[1]])  # 10 + 100 = 110
    np.testing.assert_allclose(learner.member_returns([two, one, two]), [[15078, 110, 15078]], rtol=1e-5)


def test_padding_and_trimmed_steps_count_for_nothing_in_the_loss() -> None:
    """Returns of unequal ranges are those of their own steps alone: the batch is padded to the longest."""
    learner = known_net(1, 10, 100, 1000, 10000, members=2)
    long = toys.segment([[1, 0], [2, 0], [3, 1], [4, 0]], [[0.5], [0.25], [0]])
    short = toys.segment([[0, 1], [0, 0]], [[1]])
    pairs = [toys.compare(long, short, 1.0, "a"), toys.compare(short, long, 0.0, "b", second_range=(1, 2))]
    batch = learner._batch(pairs, [np.zeros((1, 5), np.float32)])
    learner._nets.biases[0].data += 7.0  # a bias would show on a padded step
    returns = learner._nets.returns(batch.rows.expand(2, *batch.rows.shape), batch.mask.expand(2, *batch.mask.shape))
    scaled = [learner._sight.scale(segment_features(PUSH, segment)) for segment in (long, short)]
    weights = np.array([1, 10, 100, 1000, 10000])
    by_hand = [
        [(scaled[0] @ weights + 7).sum(), (scaled[1] @ weights + 7).sum()],
        [(scaled[1] @ weights + 7).sum(), scaled[0][1] @ weights + 7],
    ]
    np.testing.assert_allclose(returns.detach().numpy(), [by_hand, by_hand], rtol=1e-4)


@pytest.mark.parametrize("at_once", [1, 70, 10_000])
def test_a_gradient_step_in_parts_is_the_step_of_the_whole_minibatch(at_once: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """The gradient is that of the mean loss of each member's minibatch, worked out row by row; rewards come in parts, too."""
    monkeypatch.setattr(nets, "ROWS_AT_ONCE", at_once)
    learner = make("ensemble", members=2)
    assert isinstance(learner, EnsembleLearner)
    batch = learner._batch(oracle_pairs(12), [segment_features(PUSH, s) for s in reference()])
    indices = learner._minibatches(batch.bags, 1)[0]  # [M, B]
    picked = torch.from_numpy(indices)
    chosen = batch.rows[picked]  # [M, B, 2, T, D]
    steps = learner._nets(chosen.flatten(1, 3)).reshape(chosen.shape[:-1])
    returns = (steps * batch.mask[picked]).sum(dim=-1)
    loss = preference_loss(returns[..., 0] - returns[..., 1], batch.answers[picked]).mean(dim=1).sum()
    offset = learner._nets.offset  # what it has is rounding: it takes no part in a difference
    weights = [weight for weight in learner._nets.parameters() if weight is not offset]
    wanted = [gradient.numpy() for gradient in torch.autograd.grad(loss, weights)]
    together = learner._nets.rewards(np.asarray(chosen[0].flatten(0, 2)))
    learner._descend(batch, indices)
    scale = min(1.0, ensemble.MAX_GRADIENT / float(np.sqrt(sum((gradient**2).sum() for gradient in wanted))))
    for weight, gradient in zip(weights, wanted, strict=True):
        assert weight.grad is not None
        np.testing.assert_allclose(weight.grad.numpy(), gradient * scale, rtol=1e-3, atol=1e-5)
    np.testing.assert_allclose(together[0], steps[0].detach().flatten().numpy(), rtol=1e-4, atol=1e-5)


def test_a_gradient_step_sees_a_tenth_of_a_hundred_steps_which_stand_for_all_of_them() -> None:
    """One step out of each tenth of the range that was judged: of 100 steps ten, of the last 30 the last ten thirds."""
    learner = make("ensemble", members=2)
    assert isinstance(learner, EnsembleLearner)
    whole = toys.segment([[step, 0] for step in range(101)], [[0]] * 100)
    batch = learner._batch([toys.compare(whole, whole, 1.0, "a", second_range=(70, 100))], [])
    rows, stands_for = batch.thinned(torch.zeros((2, 16), dtype=torch.int64), np.random.default_rng(0))
    assert rows.shape == (2, 16, 2, 10, 5)
    assert stands_for[..., 0, :].unique().tolist() == [10]
    assert stands_for[..., 1, :].unique().tolist() == [3]
    seen = (rows[..., 0] * learner._sight.scale.std[0] + learner._sight.scale.mean[0]).round()  # the step's number
    tenths = torch.arange(10)
    assert torch.equal((seen[..., 0, :] // 10).long(), tenths.expand(2, 16, 10))
    assert torch.equal(((seen[..., 1, :] - 70) // 3).long(), tenths.expand(2, 16, 10))
    assert len(seen[..., 0, 0].unique()) > 3, "which one it is differs"


def test_the_linear_part_is_in_every_reward_alike() -> None:
    """0.5·o₁ − 2·a beside layers that pay nothing: in the nets, in returns, and in the reward that is handed out."""
    learner = EnsembleLearner(2, PUSH, Reward(members=2), np.random.SeedSequence(0))
    state = learner.state()
    state |= {name: np.zeros_like(value) for name, value in state.items() if name.startswith("nets.")}
    state["nets.linear"][:, :, 0] = [0.5, 0, -2, 0, 0]
    learner.restore(state)
    segment = toys.segment([[4, 1], [2, 9], [0, 0]], [[1], [3]])  # 2 − 2 = 0; 1 − 6 = −5
    np.testing.assert_allclose(learner.member_returns([segment]), [[-5], [-5]])
    paid = learner.snapshot()(segment.observations[:-1], segment.actions, segment.observations[1:])
    np.testing.assert_allclose(paid, [0, -5], atol=1e-6)


def test_a_label_stays_in_the_bootstrap_it_was_drawn_for() -> None:
    """What is held out stays held out, through refits, new labels, another order and a changed answer."""
    learner = make("ensemble", members=5)
    assert isinstance(learner, EnsembleLearner)
    pairs = oracle_pairs(20)
    seen = [segment_features(PUSH, s) for s in reference()]
    before = learner._batch(pairs, seen).bags
    learner.fit(pairs, reference())
    turned = [replace(pair, target=0.5) for pair in pairs[::-1]] + [
        replace(p, query_id=p.query_id + "x") for p in oracle_pairs(5, seed=3)
    ]
    after = learner._batch(turned, seen).bags
    np.testing.assert_array_equal(after[:, :20], before[:, ::-1])
    assert (before.sum(axis=0) > 0).all()  # every label teaches someone
    assert 0.2 < (before == 0).mean() < 0.5  # e⁻¹ = 0.37 of the members never see one


def test_held_out_accuracy_counts_only_members_that_did_not_see_the_label_and_no_ties() -> None:
    logits = np.array([[9.0, -1.0, 2.0, -3.0, 1.0, 8.0, -4.0], [-1.0, -2.0, -9.0, -1.0, 5.0, -8.0, 6.0]])
    bags = np.array([[1, 0, 0, 1, 0, 0, 2], [0, 0, 3, 0, 0, 1, 1]])
    target = np.array([1.0, 0.0, 1.0, 1.0, 1.0, 0.5, 0.0])
    # 0: member 1 says -1, wrong · 1: both, right · 2: member 0 says 2, right · 3: member 1 says -1, wrong
    # 4: both, right
    # 5: a tie, left out · 6: both have learned from it, left out
    assert _held_out_accuracy(logits, bags, target) == pytest.approx(3 / 5)


def test_held_out_accuracy_is_not_told_of_fewer_than_five_labels() -> None:
    logits, bags = np.ones((1, 6)), np.array([[0, 0, 0, 0, 1, 0]])
    assert _held_out_accuracy(logits, bags, np.array([1.0, 1, 1, 1, 1, 0.5])) is None
    assert _held_out_accuracy(logits, bags, np.array([1.0, 1, 1, 1, 1, 0.0])) == pytest.approx(4 / 5)


def test_the_output_has_mean_zero_and_std_one_on_the_reference_batch() -> None:
    learner, batch = make("ensemble"), reference(count=40)
    for _ in range(3):
        learner.fit(oracle_pairs(30), batch)
        reward = learner.snapshot()
        paid = np.concatenate([reward(s.observations[:-1], s.actions, s.observations[1:]) for s in batch])
        assert paid.mean() == pytest.approx(0, abs=1e-3)
        assert paid.std() == pytest.approx(1, abs=1e-3)


@pytest.mark.parametrize("hidden", [(), (8,), (16, 8), (8, 8, 8)])
def test_the_numpy_snapshot_is_the_torch_nets(hidden: tuple[int, ...]) -> None:
    """Its reward is the mean over the members, each of mean 0 and std 1 on the reference, over the std of that mean."""
    learner, batch = make("ensemble", hidden=hidden), reference(count=40)
    assert isinstance(learner, EnsembleLearner)
    learner.fit(oracle_pairs(30), batch)

    def by_torch(data: Array) -> Array:
        with torch.no_grad():
            return np.asarray(learner._nets(torch.from_numpy(learner._sight.scale(data)).expand(3, -1, -1)).double())

    on_reference = by_torch(np.concatenate([segment_features(PUSH, s) for s in batch]))
    mean, std = on_reference.mean(axis=1, keepdims=True), on_reference.std(axis=1, keepdims=True)
    overall = ((on_reference - mean) / std).mean(axis=0).std()
    expected = ((by_torch(features(PUSH, *rows())) - mean) / std).mean(0)
    expected /= overall
    np.testing.assert_allclose(learner.snapshot()(*rows()), expected, atol=2e-4)


def ended(rng: np.random.Generator, steps: int, after: int) -> Segment:
    """A walk that ended after some of its steps; what it saw says nothing of that."""
    walk = toys.random_segments(1, rng, steps=steps)[0]
    return replace(walk, env_rewards=np.ones(steps), terminated=after > 0, after=after)


def survivals(count: int, *, alive_is_better: bool) -> list[Comparison]:
    """Pairs of 8 steps each, in which one episode ended sooner than the other."""
    rng = np.random.default_rng(0)
    pairs = [(ended(rng, 8, 0), ended(rng, 3, 5)) for _ in range(count)]
    return [toys.compare(a, b, float(alive_is_better), name=f"query {n}") for n, (a, b) in enumerate(pairs)]


@pytest.mark.parametrize("alive_is_better", [True, False])
def test_where_episodes_end_being_over_pays_nothing_and_being_alive_what_the_labels_say(*, alive_is_better: bool) -> None:
    """Nothing but the labels decides whether each step survived is paid for or charged."""
    learner = make("ensemble", fit_steps=100)
    pairs = survivals(30, alive_is_better=alive_is_better)
    learner.fit(pairs, [pair.first for pair in pairs] + [pair.second for pair in pairs])
    reward = learner.snapshot()
    alive = np.concatenate(
        [reward(pair.first.observations[:-1], pair.first.actions, pair.first.observations[1:]) for pair in pairs]
    )
    assert (alive > 0.3).mean() > 0.95 if alive_is_better else (alive < -0.3).mean() > 0.95


def test_where_episodes_end_the_reference_has_root_mean_square_1() -> None:
    """About 0, which being over pays; a mean of 0 would charge for surviving, or for dying."""
    learner = make("ensemble", fit_steps=20)
    pairs = survivals(12, alive_is_better=True)
    batch = [pair.first for pair in pairs]
    learner.fit(pairs, batch)
    reward = learner.snapshot()
    paid = np.concatenate([reward(s.observations[:-1], s.actions, s.observations[1:]) for s in batch])
    assert np.square(paid).mean() == pytest.approx(1, abs=1e-3)
    assert paid.mean() > 0.5


def test_a_range_that_lies_beyond_the_end_returns_nothing() -> None:
    """Of 3 steps and 5 of being over, a labeler kept the last 4: none of them pays."""
    learner = known_net(1, 1, 1, 1, 1)
    whole, short = ended(np.random.default_rng(0), 8, 0), ended(np.random.default_rng(1), 3, 5)
    pairs = [toys.compare(whole, short, 1.0, "a", second_range=(4, 8))]
    batch = learner._batch(pairs, [])
    assert batch.ends
    assert batch.mask[0].sum(dim=1).tolist() == [8, 0]


def test_members_begin_apart() -> None:
    """They disagree where nothing is known yet, which is what disagreement queries go by."""
    returns = make("ensemble", members=4).member_returns(reference())
    assert len({tuple(np.round(member, 6)) for member in returns}) == 4


def test_the_weight_decay_follows_the_gap_between_held_out_and_training_loss() -> None:
    learner = make("ensemble")
    assert isinstance(learner, EnsembleLearner)
    before = learner.weight_decay
    learner._regularise(2.0)
    assert learner.weight_decay > before
    learner._regularise(1.3)
    risen = learner.weight_decay
    assert risen == learner.weight_decay
    learner._regularise(1.0)
    assert learner.weight_decay < risen
    for _ in range(200):
        learner._regularise(1.0)
    assert learner.weight_decay > 0


def test_no_member_learns_from_a_label_that_it_is_judged_on() -> None:
    """Of 400 members about 3 draw none of five labels (400 · e⁻⁵); those must not be held out and learned from."""
    learner = make("ensemble", members=400, hidden=(4,), fit_steps=1)
    assert isinstance(learner, EnsembleLearner)
    batch = learner._batch(oracle_pairs(5), [segment_features(PUSH, s) for s in reference()])
    indices = learner._minibatches(batch.bags, 2)  # [steps, M, B]
    for member in range(400):
        assert set(indices[:, member].ravel()) <= set(np.flatnonzero(batch.bags[member]))


def test_without_a_reference_batch_the_last_scale_of_the_output_stays() -> None:
    """A loop that finds labels of an earlier run before its first step has nothing to normalise on yet."""
    learner = make("ensemble")
    learner.fit(oracle_pairs(10), reference())
    learner.fit(oracle_pairs(12), [])
    assert np.isfinite(learner.snapshot()(*rows())).all()
