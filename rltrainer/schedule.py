"""When the labels of a budget are asked for."""

from __future__ import annotations

import math
from dataclasses import dataclass

from rltrainer.config import Queries

LAST_QUERY = 0.9
"""Share of the run after which nothing is asked any more: an answer must have time to matter."""


@dataclass(frozen=True)
class Schedule:
    """Most early: a share of the budget before training, then at a rate ∝ C / (T + C) (Christiano et al. 2017, appendix A).

    One number, `queries.decay`, is the C of every schedule: a small one asks nearly all early, a large one at a constant rate.

    labels: the budget, 0 for no limit; steps: env steps of the run
    known:  labels of an earlier run. They stand for as many of the warm-up's, which are kept for later then
    """

    labels: int
    steps: int
    queries: Queries
    known: int = 0

    def asked_by(self, step: int) -> float:
        """How many pairs should have been asked by this env step."""
        if not self.labels:
            return math.inf
        early = self._early
        passed = min(1.0, step / (LAST_QUERY * self.steps))
        late = math.log1p(passed / self.queries.decay) / math.log1p(1 / self.queries.decay)
        return max(self.warmup_labels, self.labels * (early + (1 - early) * late))

    def step_of(self, count: int) -> int | None:
        """The env step by which so many pairs should have been asked; None where they never are."""
        if not self.labels or count <= self.warmup_labels:
            return 0
        if count > self.labels:
            return None
        early = self._early
        late = (count / self.labels - early) / (1 - early)
        passed = self.queries.decay * math.expm1(late * math.log1p(1 / self.queries.decay))
        return math.ceil(passed * LAST_QUERY * self.steps)

    @property
    def _early(self) -> float:
        """Share of the budget that is asked before training."""
        return min(self.queries.warmup_share, self.warmup_labels / self.labels)

    @property
    def warmup_labels(self) -> int:
        """Pairs asked before training starts."""
        wanted = max(1, math.ceil(self.labels * self.queries.warmup_share)) if self.labels else self.queries.warmup_labels
        return max(0, wanted - self.known)

    @property
    def awaited(self) -> int:
        """How many of their answers training waits for, where people give them."""
        return min(self.warmup_labels, max(0, self.queries.warmup_labels - self.known))
