"""The perfectly rational teacher."""

from __future__ import annotations

import numpy as np

from rltrainer.core import Answer, Segment, Verdict


class OracleTeacher:
    """Prefers the segment with the higher true return; equal returns are a tie.

    B-Pref's oracle: beta → ∞, gamma = 1, no mistakes, no skips (Lee et al. 2021, section 4).
    """

    def __call__(self, first: Segment, second: Segment, rng: np.random.Generator) -> Answer:
        if first.env_return == second.env_return:
            return Answer(Verdict.EQUAL)
        better = first if first.env_return > second.env_return else second
        return Answer(Verdict.PREFER, preferred=better.id)
