"""How likely an answer is, given the returns that a net predicts.

Every answer bounds a latent difference D = R₁ − R₂ + logistic noise (a cumulative link: McCullagh 1980; Agresti 1992 for
paired comparisons), and P(a < D < b) = σ(R₁ − R₂ − a) − σ(R₁ − R₂ − b). That the first is better says 0 < D, which is
Bradley–Terry; that it is slightly better 0 < D < m, much better m < D. An answer that leaves the strength open is the sum of
both, and teaches what it did before there were strengths.

A tie is an answer of its own, |D| < log θ, and what is preferred lies at least log θ ahead (Rao & Kupper 1967), or it is half
an answer for either side, and θ is 1. `thresholds.py` says what m and θ are.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from rltrainer.core import Array, Comparison
from rltrainer.rewards.thresholds import Thresholds


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
    def of(cls, comparisons: Sequence[Comparison], noise: float | Array, thresholds: Thresholds) -> Answers:
        """noise: ε, of all or of each [N]"""
        rates = torch.as_tensor(noise, dtype=torch.float64)
        target = torch.tensor([c.target for c in comparisons], dtype=torch.float32)
        low, high = torch.tensor([thresholds.bounds(c) for c in comparisons], dtype=torch.float64).T
        sure = torch.log1p(-rates) + torch.log(-torch.expm1(low - high))
        chance = torch.log(rates * torch.from_numpy(thresholds.shares(comparisons)))
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

    def expansion(self, lead: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """`log_probability`, its derivative by the lead, and how it is curved, each [...].

        The derivative is that of log P, times m = P(the answer is meant | the answer). The curvature is that of −log P times m,
        which is what EM's expectation has (Dempster, Laird & Rubin 1977): never negative and no less than that of −log P̃.
        """
        said, low, high = self._meant(lead), torch.sigmoid(self.low - lead), torch.sigmoid(lead - self.high)
        meant = torch.sigmoid(said - self.chance)
        curvature = meant * (low * (1 - low) + high * (1 - high))
        return torch.logaddexp(said, self.chance), meant * (low - high), curvature

    def _meant(self, lead: Tensor) -> Tensor:
        """The log of the probability that the answer is meant, and this one."""
        return self.sure + F.logsigmoid(lead - self.low) + F.logsigmoid(self.high - lead)


def probabilities(comparisons: Sequence[Comparison], logits: Array, thresholds: Thresholds) -> tuple[Array, Array]:
    """P(that answer) at R₁ − R₂ = logits [N] if it is meant, and if it is chance, each [N].

    NaN where nothing can be said: where the logit is NaN, and of ties that are half an answer for either side.
    """
    answers = Answers.of(comparisons, 0.0, thresholds)
    meant = torch.exp(-preference_loss(torch.from_numpy(logits), answers)).numpy()
    undecided = (answers.target.numpy() == 0.5) & (thresholds.better == 0)
    return np.where(undecided, np.nan, meant), thresholds.shares(comparisons)


def first_is_better(logits: Array, noise: float | Array, thresholds: Thresholds) -> Array:
    """P̃(the first is better) + P̃(tie) / 2, [...], at R₁ − R₂ = logits [...]."""
    ahead = (np.tanh((logits - thresholds.better) / 2) + np.tanh((logits + thresholds.better) / 2)) / 2  # P(first) − P(second)
    return np.asarray((1 - noise) * (1 + ahead) / 2 + noise / 2)


def preference_loss(logits: Tensor, answers: Answers) -> Tensor:
    """Cross-entropy of the answers (Christiano et al. 2017, eq. 1), [...], at R₁ − R₂ = logits [...]."""
    both = answers.log_probability(torch.stack((logits, -logits)))  # [2, ...]
    return -(answers.target * both[0] + (1 - answers.target) * both[1])
