"""Facts about pairs that nobody judged."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
from learners import PUSH, make, oracle_pairs, reference

from rltrainer.core import Array
from rltrainer.rewards import SurfLearner, ensemble, nets
from rltrainer.rewards.features import segment_features


def surf(**settings: Any) -> SurfLearner:
    learner = make("surf", **settings)
    assert isinstance(learner, SurfLearner)
    return learner


def test_crops_of_a_pair_last_equally_long_and_begin_anywhere_and_unequal_ones_are_left_whole() -> None:
    """Of 12 steps between 9 (three quarters) and 11 (0.92 of them) are kept, wherever they lie."""
    mask = torch.ones(200, 2, 12)
    mask[150:, 1, 6:] = 0
    cropped = surf()._cropped(mask, np.zeros(200, bool))
    assert torch.equal(cropped[150:], mask[150:])
    lengths, starts = cropped[:150].sum(dim=-1), cropped[:150].argmax(dim=-1)  # [P, 2]
    assert torch.equal(lengths[:, 0], lengths[:, 1])
    assert set(lengths.flatten().tolist()) == {9.0, 10.0, 11.0}
    assert (cropped[:150].diff(dim=-1).abs().sum(dim=-1) <= 2).all()  # no holes
    assert {(one, two) for one, two in starts.tolist() if max(one, two) < 2} == {(0, 0), (0, 1), (1, 0), (1, 1)}
    assert set(starts.flatten().tolist()) == {0, 1, 2, 3}


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
    cropped = learner._cropped(batch.mask, learner._turned)
    chosen = torch.from_numpy(learner._rng.integers(8, len(batch.mask), (2, 32)))
    whole, part = (learner._lead(batch.rows[chosen], mask[chosen]) for mask in (batch.mask, cropped))
    by_hand = torch.log1p(torch.exp(-part * whole.detach().sign())).mean(dim=1).sum()
    for before, after, added in zip(without, everything, torch.autograd.grad(by_hand, weights), strict=True):
        np.testing.assert_allclose(after - before, added.numpy(), rtol=1e-3, atol=1e-5)
