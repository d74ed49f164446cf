"""A reward that is linear in fixed features, with a posterior in place of nets."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import gymnasium as gym
import numpy as np
import torch

from rltrainer.config import Reward
from rltrainer.core import Array, Comparison, FitReport, RewardFunction, Segment, UserError
from rltrainer.rewards.basis import Basis, WeightedReward
from rltrainer.rewards.features import Scale
from rltrainer.rewards.likelihood import probabilities
from rltrainer.rewards.posterior import Evidence, Posterior, posterior
from rltrainer.rewards.reliability import foretold, noise_of
from rltrainer.rewards.thresholds import Thresholds

MEMBERS = 16
"""Draws from the posterior, which say how sure a return is."""
TRUSTING_ROUNDS = 3
"""Of finding out who answers by chance, and what the answers say then: what a guesser taught hides who guesses."""
LEAST_JUDGED = 5
"""Answers from which on it is told how many were foretold."""


class BayesLearner:
    """Fits the posterior, each time from nothing: what is found depends on the labels alone, not on the way there."""

    def __init__(self, observed: int, action_space: gym.Space[Any], settings: Reward, seed: np.random.SeedSequence) -> None:
        """observed: O of flattened observations. Raises UserError for pictures."""
        if not isinstance(observed, int):
            raise UserError("reward.learner is 'bayes', which cannot see pictures; leave it unset, or say ensemble")
        self.version = 0
        self._settings = settings
        rng = np.random.default_rng(seed)
        self._draws_seed = int(rng.integers(2**63))
        self._basis = Basis.drawn(observed, action_space, rng)
        self._weights = np.zeros(len(self._basis))
        self._members = rng.standard_normal((MEMBERS, len(self._basis))) / len(self._basis)
        self._zero, self._gain = 0.0, 1.0

    # ------------------------------------------------------------------ learning

    def fit(self, comparisons: Sequence[Comparison], reference: Sequence[Segment]) -> FitReport:
        """The posterior of all comparisons so far. Where it is interrupted, what was learned before stands."""
        sides = [[self._rows(c.first, c.first_range), self._rows(c.second, c.second_range)] for c in comparisons]
        shown = [self._basis.rows(segment) for segment in reference]
        basis = replace(self._basis, scale=Scale.of([*shown, *(rows for pair in sides for rows in pair)]))
        totals = basis.totals([rows for pair in sides for rows in pair]).reshape(len(sides), 2, -1)  # [N, 2, F]
        pairs, swapped = same_pairs(comparisons)
        steps = float(np.mean([len(rows) for pair in sides for rows in pair]))
        inputs = (totals[:, 0] - totals[:, 1]) / steps  # so that weights say how far apart two average segments are
        inputs[swapped] *= -1
        alike = [c.swapped() if other else c for c, other in zip(comparisons, swapped, strict=True)]
        found, evidence = self._found(alike, inputs, pairs)
        weights, version = found.mean / steps, self.version + 1
        members = found.draws(MEMBERS, np.random.default_rng([self._draws_seed, version])) / steps
        paid = basis(np.concatenate(shown or [rows for pair in sides for rows in pair])) @ weights
        self._zero, self._gain = _anchor(paid, comparisons)
        self._members = np.ascontiguousarray(members)  # as it comes back from disk: sums are rounded by how an array lies
        self._basis, self._weights, self.version = basis, weights, version
        return self._report(found, evidence, swapped)

    def _rows(self, segment: Segment, judged: tuple[int, int]) -> Array:
        """Rows [T, D] of the judged steps; the time after an episode's end has none and pays 0."""
        return self._basis.rows(segment)[slice(*judged)]

    def _found(self, comparisons: Sequence[Comparison], inputs: Array, pairs: Array) -> tuple[Posterior, Evidence]:
        """The posterior; where several people labeled, each answer taken to be chance as often as those of its labeler are."""
        noise = np.full(len(comparisons), self._settings.label_noise)
        thresholds = Thresholds.of(comparisons, self._settings.ties)
        evidence = Evidence(inputs, comparisons, noise, thresholds, pairs)
        found = posterior(evidence, self._basis.kinds)
        labelers = [c.labeler for c in comparisons]
        if len(set(labelers)) == 1:
            return found, evidence
        for _ in range(TRUSTING_ROUNDS):
            noise = noise_of(labelers, *probabilities(comparisons, found.aside, thresholds), self._settings.label_noise)
            evidence = replace(evidence, noise=noise)
            found = posterior(evidence, self._basis.kinds)
        return found, evidence

    def _report(self, found: Posterior, evidence: Evidence, swapped: Array) -> FitReport:
        """Losses with and without each answer; closed-form leave-one-out."""
        train, held_out = (
            evidence.loss(torch.from_numpy(leads)) / len(leads) for leads in (evidence.inputs @ found.mean, found.aside)
        )
        target = evidence.answers.target.numpy()
        decided = target != 0.5
        accuracy = float(((found.aside > 0) == (target > 0.5))[decided].mean()) if decided.sum() >= LEAST_JUDGED else None
        first = foretold(evidence.comparisons, found.aside, evidence.thresholds)
        first = np.where(swapped, 1 - first, first)
        return FitReport(self.version, len(target), train, held_out, accuracy, first, settled=True)

    # ------------------------------------------------------------------ what it learned

    def member_returns(self, segments: Sequence[Segment]) -> Array:
        """Return of each segment by each draw from the posterior, [M, N], in logits."""
        totals = self._basis.totals([self._basis.rows(segment) for segment in segments])  # [N, F]
        return np.asarray(self._members @ totals.T)

    def snapshot(self) -> RewardFunction:
        """The reward as it is now, for the wrapper: the posterior's mean."""
        return WeightedReward(self.version, self._basis, self._weights, self._zero, self._gain)

    def state(self) -> dict[str, Array]:
        """The features and their weights, as named arrays."""
        basis = self._basis
        return {
            "scale.mean": basis.scale.mean,
            "scale.std": basis.scale.std,
            "units.directions": basis.directions,
            "units.offsets": basis.offsets,
            "weights": self._weights,
            "members": self._members,
            "output": np.array([self._zero, self._gain]),
            "draws_seed": np.array([self._draws_seed]),
            "version": np.array([self.version]),
        }

    def restore(self, state: Mapping[str, Array]) -> None:
        """The inverse of `state`."""
        scale = Scale(np.asarray(state["scale.mean"]), np.asarray(state["scale.std"]))
        directions, offsets = (np.asarray(state[f"units.{name}"]) for name in ("directions", "offsets"))
        self._basis = replace(self._basis, scale=scale, directions=directions, offsets=offsets)
        self._weights, self._members = np.asarray(state["weights"]), np.asarray(state["members"])
        self._zero, self._gain = (float(value) for value in state["output"])
        self._draws_seed, self.version = int(state["draws_seed"][0]), int(state["version"][0])


def same_pairs(comparisons: Sequence[Comparison]) -> tuple[Array, Array]:
    """Which pair each comparison is about, [N], from 0 on, and whether its sides are swapped beside that pair's first, [N]."""
    known: dict[tuple[str, str], int] = {}
    pairs, swaps = [], []
    for one, two in ((c.first.id, c.second.id) for c in comparisons):
        swapped = (two, one) in known and one != two
        pairs.append(known.setdefault((two, one) if swapped else (one, two), len(known)))
        swaps.append(swapped)
    return np.array(pairs), np.array(swaps)


def _anchor(rewards: Array, comparisons: Sequence[Comparison]) -> tuple[float, float]:
    """(what is taken for 0, the gain) of the rewards [N] of the reference: frozen until the next refit.

    0 is what being over pays once a labeler has judged an end, and the mean of the reference before that: as `EnsembleLearner`
    does, and for its reasons.
    """
    ends = any(c.sees_end for c in comparisons)
    zero = 0.0 if ends else float(rewards.mean())
    return zero, 1 / max(float(np.sqrt(np.square(rewards - zero).mean())), 1e-6)
