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
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from rltrainer.config import Ties
from rltrainer.core import Array
from rltrainer.rewards.likelihood import Answers, information, preference_loss

ROUNDS = 30
"""Of choosing the widths, at most."""
FIRST_STEPS, STEPS = 30, 1
"""Newton's in the first round, at most, and in each of the others."""
STILL = 1e-3
"""A step of no more than this, beside the largest weight, ends a round."""
HELD = 0.2
"""How much a kind's width counts beside what the answers say of one weight: less, and fewer features are taken for most."""
SETTLED = 0.01
"""Relative change of the widths below which they stay as they are."""


@dataclass(frozen=True, eq=False)
class Posterior:
    """A Gaussian over F weights.

    mean:  the mode, [F]
    root:  inverse of the lower Cholesky factor of the precision, [F, F]
    aside: R₁ − R₂ of each pair as the answers to other pairs have it, [N]
    """

    mean: Array
    root: Array
    aside: Array

    def draws(self, count: int, rng: np.random.Generator) -> Array:
        """Weights [count, F]."""
        return np.asarray(self.mean + rng.standard_normal((count, len(self.mean))) @ self.root)


@dataclass(frozen=True, eq=False)
class Evidence:
    """What was answered about N pairs.

    inputs: difference of the two segments' features, [N, F]
    noise:  share of such answers that are taken to be chance, [N]
    pairs:  which answers are about the same two segments, [N]: 0 to the number of pairs; the same one stands first in them
    """

    inputs: Array
    answers: Answers
    noise: Array
    ties: Ties
    pairs: Array

    def slope(self, leads: Tensor) -> tuple[float, Tensor]:
        """−log of the probability of all answers at R₁ − R₂ = leads [N], and its derivative [N]."""
        leads = leads.clone().requires_grad_()
        loss = preference_loss(leads, self.answers).sum()
        loss.backward()  # type: ignore[no-untyped-call]
        assert leads.grad is not None
        return loss.item(), leads.grad

    def curvature(self, leads: Tensor) -> Tensor:
        """How much one such answer is expected to say about R₁ − R₂, [N]: never negative."""
        return torch.from_numpy(information(leads.numpy(), self.noise, self.ties))


def posterior(evidence: Evidence, kinds: Sequence[tuple[slice, float]]) -> Posterior:
    """Of the weights w in R₁ − R₂ = inputs · w. kinds: which weights are of one kind, and its usual width."""
    inputs = torch.from_numpy(evidence.inputs)
    weights = torch.zeros(inputs.shape[1], dtype=torch.float64)
    precision = torch.ones_like(weights)
    for past in range(ROUNDS):
        weights, root = _climbed(inputs, evidence, weights, precision, STEPS if past else FIRST_STEPS)
        before, variances = precision.clone(), root.square().sum(dim=0)
        for part, width in kinds:
            determined, squares = 1 - precision[part] * variances[part], weights[part].square()
            shared = (squares.sum() + width**2) / (determined.sum() + 1)
            precision[part] = (determined + HELD) / (squares + HELD * shared)
        if (precision / before).log().abs().max() < SETTLED:
            break
    return Posterior(weights.numpy(), root.numpy(), _aside(inputs, evidence, weights, root).numpy())


def _climbed(inputs: Tensor, evidence: Evidence, weights: Tensor, precision: Tensor, steps: int) -> tuple[Tensor, Tensor]:
    """(weights nearer to the mode, inverse Cholesky factor of the precision there), by Newton's method."""

    def cost(weights: Tensor) -> tuple[float, Tensor]:
        loss, slope = evidence.slope(inputs @ weights)
        return loss + float(precision @ weights.square()) / 2, inputs.T @ slope + precision * weights

    loss, slope = cost(weights)
    for _ in range(steps):
        curved = inputs.T @ (evidence.curvature(inputs @ weights)[:, None] * inputs) + precision.diag()
        factor = torch.linalg.cholesky(curved)
        step = -torch.cholesky_solve(slope[:, None], factor)[:, 0]
        size = 1.0
        while (tried := cost(weights + size * step))[0] > loss and size > STILL:
            size /= 2
        weights, (loss, slope) = weights + size * step, tried
        if size * step.abs().max() < STILL * (1 + weights.abs().max()):
            break
    return weights, torch.linalg.solve_triangular(factor, torch.eye(len(weights), dtype=torch.float64), upper=False)


def _aside(inputs: Tensor, evidence: Evidence, weights: Tensor, root: Tensor) -> Tensor:
    """R₁ − R₂ without what the answers to that pair did to it, [N]: to first order (Opper & Winther 2000, section 4)."""
    leads = inputs @ weights
    spread = (inputs @ root.T).square().sum(dim=1)
    pairs = torch.from_numpy(evidence.pairs)
    pull, curvature = (
        torch.zeros(len(pairs), dtype=torch.float64).index_add_(0, pairs, part)[pairs]
        for part in (-evidence.slope(leads)[1], evidence.curvature(leads))
    )
    return leads - spread * pull / (1 - curvature * spread).clamp_min(1e-2)
