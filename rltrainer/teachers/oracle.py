"""The teacher that knows the true reward, as rational as it is set (B-Pref, Lee et al. 2021, section 4)."""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Mapping

import numpy as np

from rltrainer.core import Answer, Array, Segment, UserError, Verdict

RECENT = 20
"""Segments over which the mean true reward is taken that thresholds are measured by."""


class OracleTeacher:
    """Prefers the segment with the higher true return; equal returns are a tie. As it stands it never errs and never skips.

    beta:    rationality: P(first) = σ(β (Σ γ^(H-t) r1_t − Σ γ^(H-t) r2_t)) (Lee et al. 2021, eq. 3); None is β → ∞, 0 a coin
    gamma:   myopia: the last step weighs 1, each one before it γ times the one after it
    mistake: ε, the share of preferences that are turned round. It errs by guessing at 2ε of the pairs, ties among them, so
             that ε = 0.5 is the teacher whose answers say nothing
    skip:    skips where no segment is worth `skip` times the recent mean return of H steps
    equal:   says equal where the returns differ by less than `equal` times that mean

    Of segments of unequal length the shorter one, whose episode ended, counts as going on unpaid: H is the longer one's length,
    and padding changes no answer. The recent mean is that of the last segments that the teacher was asked about, this pair
    included: a strategy chose them, and some were judged before. The paper's rewards are never negative, others are: `equal` is
    measured by the mean size of a reward, |r|, and `skip` by how far below the mean one is, (mean r − (1 − skip) · mean |r|) H.
    Both are the paper's thresholds where r ≥ 0; where r ≤ 0, skipped is what costs 2 − skip times the mean.

    Raises UserError where a return is infinite: of two such no one could say which is the better.
    """

    def __init__(
        self,
        *,
        beta: float | None = None,
        gamma: float = 1.0,
        mistake: float = 0.0,
        skip: float = 0.0,
        equal: float = 0.0,
    ) -> None:
        self.beta, self.gamma, self.mistake, self.skip, self.equal = beta, gamma, mistake, skip, equal
        self._recent: deque[tuple[float, float, int]] = deque(maxlen=RECENT)  # sum of r, sum of |r|, steps

    def __call__(self, first: Segment, second: Segment, rng: np.random.Generator) -> Answer:
        if not math.isfinite(first.env_return - second.env_return):
            raise UserError(
                "the env's own reward is infinite, which no oracle can judge by; let people answer (--labeler browser)"
            )
        steps = max(len(first), len(second))
        self._recent += [(s.env_return, float(np.abs(s.env_rewards).sum()), steps) for s in (first, second)]
        paid, size, seen = np.sum(self._recent, axis=0)
        mean, size = paid / seen * steps, size / seen * steps  # of a segment of that length
        chance, guess = rng.random(2)  # always both: the answers to two settings differ by the settings alone
        if self.skip and max(first.env_return, second.env_return) < mean - (1 - self.skip) * size:
            return Answer(Verdict.SKIP)
        if guess < 2 * self.mistake:
            return _prefer(first if chance < 0.5 else second)
        if abs(first.env_return - second.env_return) < self.equal * size:
            return Answer(Verdict.EQUAL)
        return self._compare(first, second, chance)

    def state(self) -> dict[str, Array]:
        """What thresholds are measured by, as named arrays."""
        return {"recent": np.array(self._recent, float).reshape(-1, 3)}

    def restore(self, state: Mapping[str, Array]) -> None:
        """The inverse of `state`."""
        self._recent.clear()
        self._recent += [(paid, size, int(steps)) for paid, size, steps in state["recent"].tolist()]

    def _compare(self, first: Segment, second: Segment, chance: float) -> Answer:
        """The better one by the myopic return, as surely as β says; `chance` is drawn from [0, 1)."""
        weights = self.gamma ** np.arange(max(len(first), len(second)) - 1, -1, -1)  # [H]
        advantage = _weighed(first, weights) - _weighed(second, weights)
        if self.beta is not None:
            return _prefer(first if chance < np.exp(-np.logaddexp(0, -self.beta * advantage)) else second)
        return _prefer(first if advantage > 0 else second) if advantage else Answer(Verdict.EQUAL)


def _weighed(segment: Segment, weights: Array) -> float:
    return float((weights[: len(segment.env_rewards)] * segment.env_rewards).sum())


def _prefer(segment: Segment) -> Answer:
    return Answer(Verdict.PREFER, preferred=segment.id)
