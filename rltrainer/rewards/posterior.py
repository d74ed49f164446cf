"""What answers say about the weights of features: their posterior, and how wide the prior is to be.

The returns of segments are linear in the weights, and answers are as likely as `likelihood.py` says. The posterior is taken for
a Gaussian around its mode (Laplace; MacKay 1992, "The evidence framework applied to classification networks"). The prior is
N(0, 1/α) with an α of its own for each weight, chosen by the evidence: α = γ / w², where γ, from 0 to 1, is how far the answers
determine that weight (MacKay 1992, "Bayesian interpolation", section 4; one α for each input is MacKay's automatic relevance
determination, 1994). So a feature that explains nothing is given next to no weight, and no setting has to say which of them an
env needs. A few answers fit nearly anything; so each α is held to that of its kind of features, which counts as much as `HELD`
of a determined weight: α = (γ + HELD) / (w² + HELD · width²). The kind's own width is found in the same way from all of its
weights, and is held to a usual one, which counts as one weight: width² = (Σ w² + usual²) / (Σ γ + 1).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from rltrainer.core import Array, Comparison
from rltrainer.rewards.covariance import Covariance, covariance
from rltrainer.rewards.likelihood import Answers, preference_loss
from rltrainer.rewards.thresholds import Thresholds

DOUBTS = (0.95, 0.8, 0.6)
"""Shares of the answers that are taken to be chance at first, one after the other."""
ROUNDS, DOUBTING_ROUNDS = 15, 8
"""Of choosing the widths, at most: for each of these shares the latter."""
FIRST_STEPS, STEPS = 30, 1
"""Newton's in the first round, at most, and in each of the others."""
STILL = 1e-3
"""A step of no more than this, beside the largest weight, ends a round."""
HELD = 0.05
"""How much a kind's width counts beside what the answers say of one weight: less, and fewer features are taken for most."""
SETTLED = 0.01
"""Relative change of the widths below which they stay as they are."""


@dataclass(frozen=True, eq=False)
class Posterior:
    """A Gaussian over F weights.

    mean:       the mode, [F]
    covariance: around it
    aside:      R₁ − R₂ of each pair as the answers to other pairs have it, [N]
    """

    mean: Array
    covariance: Covariance
    aside: Array

    def draws(self, count: int, rng: np.random.Generator) -> Array:
        """Weights [count, F]."""
        return np.asarray(self.mean + self.covariance.draws(count, rng))


@dataclass(frozen=True, eq=False)
class Evidence:
    """What was answered about N pairs.

    inputs:     difference of the two segments' features, [N, F]
    noise:      share of such answers that are taken to be chance, [N]
    thresholds: of their answers
    pairs:      which answers are about the same two segments, [N]: 0 to the number of pairs; the same one stands first in them
    """

    inputs: Array
    comparisons: Sequence[Comparison]
    noise: Array
    thresholds: Thresholds
    pairs: Array

    @cached_property
    def answers(self) -> Answers:
        """How likely they are."""
        return Answers.of(self.comparisons, self.noise, self.thresholds)

    def doubted(self, noise: float) -> Evidence:
        """The same, of which at least that share is taken to be chance."""
        return replace(self, noise=np.maximum(self.noise, noise))

    def loss(self, leads: Tensor) -> float:
        """−log of the probability of all answers at R₁ − R₂ = leads [N]."""
        return float(preference_loss(leads, self.answers).sum())

    def at(self, weights: Tensor) -> Place:
        """What the answers say of weights [F]."""
        leads = self.rows @ weights
        found, slopes, curvatures = self.answers.expansion(torch.stack((leads, -leads)))  # [2, N]: of either side as winner
        loss = -float((self._sides * found).sum())
        return Place(weights, leads, loss, (self._downhill * slopes).sum(dim=0), (self._sides * curvatures).sum(dim=0))

    @cached_property
    def rows(self) -> Tensor:
        """The inputs, as a tensor."""
        return torch.from_numpy(self.inputs)

    @cached_property
    def _sides(self) -> Tensor:
        """How much of each answer prefers the first, and the second, [2, N]."""
        return torch.stack((self.answers.target, 1 - self.answers.target))

    @cached_property
    def _downhill(self) -> Tensor:
        """The loss falls with a lead of the first as far as that is preferred, [2, N]."""
        return self._sides * torch.tensor([[-1.0], [1.0]])


class Place(NamedTuple):
    """A point in the space of F weights.

    leads:     R₁ − R₂ there, [N]
    loss:      −log of the probability of all answers
    slope:     its derivative by each lead, [N]
    curvature: how it is curved, [N]: as `Answers.expansion` has it
    """

    weights: Tensor
    leads: Tensor
    loss: float
    slope: Tensor
    curvature: Tensor


def posterior(evidence: Evidence, kinds: Sequence[tuple[slice, float]]) -> Posterior:
    """Of the weights w in R₁ − R₂ = inputs · w. kinds: which weights are of one kind, in order, and its usual width.

    Believed from the start, a wrong answer calls for features to explain it, and these then have the width to explain others.
    So at first most answers are taken to be chance, and then fewer (as graduated non-convexity has it: Blake & Zisserman 1987).
    """
    weights = torch.zeros(evidence.inputs.shape[1], dtype=torch.float64)
    precision = torch.ones_like(weights)
    steps = FIRST_STEPS
    for taken, rounds in [*((evidence.doubted(share), DOUBTING_ROUNDS) for share in DOUBTS), (evidence, ROUNDS)]:
        place = taken.at(weights)
        for _ in range(rounds):
            place, found = _climbed(taken, place, precision, steps)
            steps, weights, before = STEPS, place.weights, precision
            precision = torch.from_numpy(_precision(weights.numpy(), found.determined.numpy(), kinds))
            if (precision / before).log().abs().max() < SETTLED:
                break
    return Posterior(weights.numpy(), found, _aside(evidence, place, found).numpy())


def _precision(weights: Array, determined: Array, kinds: Sequence[tuple[slice, float]]) -> Array:
    """α of each weight, [F], as this module says, of which so much is determined [F]."""
    starts = [part.start for part, _ in kinds]
    usual = np.array([width for _, width in kinds])
    squares = np.square(weights)
    shared = (np.add.reduceat(squares, starts) + np.square(usual)) / (np.add.reduceat(determined, starts) + 1)
    shared = np.repeat(shared, [part.stop - part.start for part, _ in kinds])
    return np.asarray((determined + HELD) / (squares + HELD * shared))


def _climbed(evidence: Evidence, place: Place, precision: Tensor, steps: int) -> tuple[Place, Covariance]:
    """(a place nearer to the mode, how sure its weights are), by Newton's method."""

    def cost(place: Place) -> float:
        return place.loss + float(precision @ place.weights.square()) / 2

    for _ in range(steps):
        found = covariance(place.curvature.sqrt()[:, None] * evidence.rows, precision)
        step = -found.times((evidence.rows.T @ place.slope + precision * place.weights)[:, None])[:, 0]
        begun, size = place, 1.0
        reached = cost(begun)
        while cost(place := evidence.at(begun.weights + size * step)) > reached and size > STILL:
            size /= 2
        if size * step.abs().max() < STILL * (1 + place.weights.abs().max()):
            break
    return place, found


def _aside(evidence: Evidence, place: Place, found: Covariance) -> Tensor:
    """R₁ − R₂ without what the answers to that pair did to it, [N]: to first order (Opper & Winther 2000, section 4)."""
    spread = (evidence.rows * found.times(evidence.rows.T).T).sum(dim=1)
    pairs = torch.from_numpy(evidence.pairs)
    slope, curvature = (
        torch.zeros(len(pairs), dtype=torch.float64).index_add_(0, pairs, part)[pairs]
        for part in (place.slope, place.curvature)
    )
    return place.leads + spread * slope / (1 - curvature * spread).clamp_min(1e-2)
