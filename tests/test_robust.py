"""Facts about labels that look wrong: left out, or turned round."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
from learners import PUSH, make, oracle_pairs, reference

from rltrainer.core import Array, Comparison
from rltrainer.rewards import RobustLearner, ensemble
from rltrainer.rewards.features import segment_features
from rltrainer.rewards.robust import sorted_out


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
