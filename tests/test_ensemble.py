"""Facts about the ensemble of nets, worked out by hand."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
import toys
from learners import PUSH, make, oracle_pairs, reference, rows

from rltrainer.config import Reward
from rltrainer.core import Array, Comparison, Segment
from rltrainer.rewards import EnsembleLearner, ensemble, nets
from rltrainer.rewards.ensemble import _held_out_accuracy
from rltrainer.rewards.features import features, segment_features
from rltrainer.rewards.likelihood import preference_loss


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
