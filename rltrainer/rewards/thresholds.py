"""From how far apart on two segments are no longer called equal, and one of them much better.

People draw these lines where they like, and one who calls every third pair equal says less by it than one who rarely does. So
ties reach as far out as they are frequent, and much better begins as far out as it is rare: of two segments of equal return,
whose latent difference is logistic noise, as many are called equal, or much better, as are of all pairs. Pairs lie farther
apart than that, so that both lines are drawn nearer to equal than they may be meant.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from rltrainer.config import Ties
from rltrainer.core import Array, Comparison, Strength


@dataclass(frozen=True)
class Thresholds:
    """How far ahead a segment has to be.

    better: to be preferred, log θ of Rao & Kupper 1967; 0 where a tie is half an answer for either side
    much:   to be much better, at which slightly better ends
    """

    better: float
    much: float

    @classmethod
    def of(cls, comparisons: Sequence[Comparison], ties: Ties) -> Thresholds:
        """By how often ties, and of the preferences "much better", are among the answers.

        (θ − 1) / (θ + 1) = tanh(better / 2) of the answers about equals are ties, and (1 + e^better) / (1 + e^much) of the
        preferences much better. The shares are kept from 1 and 0: by one answer that is no tie, and by one of each strength.
        """
        tied = sum(c.target == 0.5 for c in comparisons)
        preferred = [c.strength for c in comparisons if c.target != 0.5]
        better = 0.0 if ties == "half" else 2 * math.atanh(tied / (len(comparisons) + 1))
        share = (preferred.count(Strength.MUCH) + 1) / (len(preferred) + 2)
        return cls(better, math.log((1 + math.exp(better)) / share - 1))

    def bounds(self, comparison: Comparison) -> tuple[float, float]:
        """Between which the latent difference lies, seen from the winner; a tie of half an answer is read from either side."""
        if comparison.target == 0.5 and self.better:
            return -self.better, self.better
        low = self.much if comparison.strength is Strength.MUCH else self.better
        return low, self.much if comparison.strength is Strength.SLIGHTLY else math.inf

    def shares(self, comparisons: Sequence[Comparison]) -> Array:
        """Of chance answers, [N]: they are what answers about equals are."""
        tied = math.tanh(self.better / 2)
        side = (1 - tied) / 2
        much = (1 + math.exp(self.better)) / (1 + math.exp(self.much))
        shares = {Strength.PLAIN: side, Strength.SLIGHTLY: side * (1 - much), Strength.MUCH: side * much}
        return np.array([tied if tied and c.target == 0.5 else shares[c.strength] for c in comparisons])
