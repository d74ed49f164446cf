"""Pairs that people are asked again: how far their answers agree with themselves bounds what can be learned from them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from rltrainer.core import Comparison, Query

STRATEGY = "repeat"
"""What the query of a pair asked again says of how it was chosen."""
EVERY = 20
"""Answers for each pair that is asked again. Each costs a label of the budget, and teaches as one."""
REMEMBERED = 10
"""Newest answers that nobody is asked to repeat: they would be remembered."""


class Repeats:
    """Chooses pairs to ask again, each once."""

    def __init__(self, rng: np.random.Generator) -> None:
        self._rng = rng
        self._seen: set[str] = set()  # queries asked again, and those that asked again
        self._count = 0

    def due(self, answered: Sequence[Comparison]) -> Comparison | None:
        """One of the answered pairs, oldest first, where it is time for one: of somebody's who answers still.

        Counted in answers and not in pairs shown: whoever comes back to a run that went on alone is not met by repeats.
        """
        if (self._count + 1) * EVERY > len(answered):
            return None
        here = {comparison.labeler for comparison in answered[-REMEMBERED:]}
        old = [comparison for comparison in answered[:-REMEMBERED] if comparison.labeler in here]
        fresh = [comparison for comparison in old if comparison.query_id not in self._seen]
        return fresh[self._rng.integers(len(fresh))] if fresh else None

    def asked(self, comparison: Comparison, query: Query) -> None:
        """`query` asks about the pair of `comparison` again."""
        self._count += 1
        self._seen |= {comparison.query_id, query.id}

    def remember(self) -> dict[str, Any]:
        """How many were asked again and of which queries, as JSON can say it; the generator is whose it was given by."""
        return {"count": self._count, "seen": sorted(self._seen)}

    def recall(self, facts: Mapping[str, Any]) -> None:
        """The inverse of `remember`."""
        self._count, self._seen = facts["count"], set(facts["seen"])
