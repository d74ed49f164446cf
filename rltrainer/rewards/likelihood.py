"""How likely an answer is, given the returns that a net predicts.

Every answer bounds a latent difference D = R₁ − R₂ + logistic noise (a cumulative link: McCullagh 1980; Agresti 1992 for
paired comparisons), and P(a < D < b) = σ(R₁ − R₂ − a) − σ(R₁ − R₂ − b). That the first is better says 0 < D, which is
Bradley–Terry; that it is slightly better 0 < D < m, much better m < D, with m = `MARGIN`. An answer that leaves the strength
open is the sum of both, and teaches what it did before there were strengths.

A tie is half an answer for either side, or one of its own: |D| < log θ, and what is preferred lies log θ farther ahead than is
said above (Rao & Kupper 1967). θ is as large as ties are frequent, and 1 where there are none.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from rltrainer.config import Ties
from rltrainer.core import Array, Comparison, Strength

MARGIN = math.log(9)
"""D from which on a segment is much better: of answers to two that are so far apart nine in ten prefer the better one."""
_BOUNDS = {Strength.PLAIN: (0.0, math.inf), Strength.SLIGHTLY: (0.0, MARGIN), Strength.MUCH: (MARGIN, math.inf)}


@dataclass(frozen=True)
class Answers:
    """What comparisons say, each [...].

    target:    P(the first is better), 0.5 for a tie: the weight of the answer read as "first"; the rest reads it as "second"
    low, high: between which the winner's return is ahead of the other one's
    sure:      log(1 − ε) + log(1 − e^(low − high)), with ε the share of answers that are taken to be chance
    chance:    log of the probability that the answer is chance, and this one
    """

    target: Tensor
    low: Tensor
    high: Tensor
    sure: Tensor
    chance: Tensor

    @classmethod
    def of(cls, comparisons: Sequence[Comparison], noise: float | Array, threshold: float = 0.0) -> Answers:
        """noise: ε, of all or of each [N]; threshold: log θ, 0 where a tie is half an answer for either side"""
        rates = torch.as_tensor(noise, dtype=torch.float64)
        target = torch.tensor([c.target for c in comparisons], dtype=torch.float32)
        low, high = torch.tensor([_bounds(c, threshold) for c in comparisons], dtype=torch.float64).T
        sure = torch.log1p(-rates) + torch.log(-torch.expm1(low - high))
        chance = torch.log(rates * torch.from_numpy(_shares(comparisons, threshold)))
        return cls(target, low.float(), high.float(), sure.float(), chance.float())

    def __len__(self) -> int:
        return len(self.target)

    def __getitem__(self, picked: Tensor) -> Answers:
        return Answers(self.target[picked], self.low[picked], self.high[picked], self.sure[picked], self.chance[picked])

    def log_probability(self, lead: Tensor) -> Tensor:
        """The log of P̃ of the answer, [...], whose winner's return is ahead by `lead` [...]: P̃ = (1 − ε) P + ε · share.

        P = σ(lead − low) − σ(lead − high), as σ(lead − low) · σ(high − lead) · (1 − e^(low − high)): finite at any lead.
        Christiano et al. 2017, section 2.2.3, for ε.
        """
        return torch.logaddexp(self._meant(lead), self.chance)

    def slopes(self, lead: Tensor) -> tuple[Tensor, Tensor]:
        """The derivative of `log_probability` by the lead, and how it is curved, each [...].

        The derivative is that of log P, times m = P(the answer is meant | the answer). The curvature is that of −log P times m,
        which is what EM's expectation has (Dempster, Laird & Rubin 1977): never negative and no less than that of −log P̃.
        """
        meant, low, high = (
            torch.sigmoid(self._meant(lead) - self.chance),
            torch.sigmoid(self.low - lead),
            torch.sigmoid(lead - self.high),
        )
        return meant * (low - high), meant * (low * (1 - low) + high * (1 - high))

    def _meant(self, lead: Tensor) -> Tensor:
        """The log of the probability that the answer is meant, and this one."""
        return self.sure + F.logsigmoid(lead - self.low) + F.logsigmoid(self.high - lead)


def tie_threshold(comparisons: Sequence[Comparison], ties: Ties) -> float:
    """How far ahead, log θ, a segment has to be to be preferred: 0 where a tie is half an answer for either side.

    Two segments of equal return are called equal by (θ − 1) / (θ + 1) of the answers. That is taken to be the share of ties
    among all, which it is at least; one answer of another kind is added to them, so that θ stays finite.
    """
    if ties == "half":
        return 0.0
    return 2 * math.atanh(sum(c.target == 0.5 for c in comparisons) / (len(comparisons) + 1))


def _bounds(comparison: Comparison, threshold: float) -> tuple[float, float]:
    """Between which the latent difference lies, as seen from the winner; a tie of half an answer is read from either side."""
    if comparison.target == 0.5 and threshold:
        return -threshold, threshold
    low, high = _BOUNDS[comparison.strength]
    return low + threshold, high + threshold


def _shares(comparisons: Sequence[Comparison], threshold: float) -> Array:
    """Of chance answers, [N]: as often a tie as between equals, else either side, and either strength where it is said."""
    tied = math.tanh(threshold / 2)
    side = (1 - tied) / 2
    shares = {Strength.PLAIN: side, Strength.SLIGHTLY: side / 2, Strength.MUCH: side / 2}
    return np.array([tied if tied and c.target == 0.5 else shares[c.strength] for c in comparisons])


def probabilities(comparisons: Sequence[Comparison], logits: Array, threshold: float = 0.0) -> tuple[Array, Array]:
    """P(that answer) at R₁ − R₂ = logits [N] if it is meant, and if it is chance, each [N].

    NaN where nothing can be said: where the logit is NaN, and of ties that are half an answer for either side.
    """
    answers = Answers.of(comparisons, 0.0, threshold)
    meant = torch.exp(-preference_loss(torch.from_numpy(logits), answers)).numpy()
    undecided = (answers.target.numpy() == 0.5) & (threshold == 0)
    return np.where(undecided, np.nan, meant), _shares(comparisons, threshold)


def first_is_better(logits: Array, noise: float | Array, threshold: float = 0.0) -> Array:
    """P̃(the first is better) + P̃(tie) / 2, [...], at R₁ − R₂ = logits [...]."""
    ahead = (np.tanh((logits - threshold) / 2) + np.tanh((logits + threshold) / 2)) / 2  # P(first) − P(second)
    return np.asarray((1 - noise) * (1 + ahead) / 2 + noise / 2)


def preference_loss(logits: Tensor, answers: Answers) -> Tensor:
    """Cross-entropy of the answers (Christiano et al. 2017, eq. 1), [...], at R₁ − R₂ = logits [...]."""
    both = answers.log_probability(torch.stack((logits, -logits)))  # [2, ...]
    return -(answers.target * both[0] + (1 - answers.target) * both[1])
