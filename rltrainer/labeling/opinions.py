"""Second opinions: answered pairs that another labeler judges, too, so that it shows how far they agree."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable
from collections.abc import Set as AbstractSet

from rltrainer.core import Label, Verdict


class Opinions:
    """Who answered what in this run, and which pairs only one labeler has judged.

    answered: pairs with an answer that stands
    doubled:  those of them that two labelers answered
    labels:   answers that stand, skipped pairs left out
    """

    def __init__(self) -> None:
        self.answered = self.doubled = self.labels = 0
        self._of: Counter[str] = Counter()
        self._said: dict[str, dict[str, Verdict]] = {}  # by query, by labeler
        self._single: dict[str, dict[str, None]] = {}  # by labeler: the queries that nobody else answered, oldest first

    def note(self, label: Label) -> None:
        """One revision, in the store's order. What another run's labelers said counts for nothing here."""
        if label.inherited:
            return
        self._count(label.query_id, -1)
        self._said.setdefault(label.query_id, {})[label.labeler] = label.answer.verdict
        self._count(label.query_id, 1)

    def labelers(self, query_id: str) -> set[str]:
        """Whose answer to it stands."""
        return {labeler for labeler, verdict in self._said.get(query_id, {}).items() if verdict is not Verdict.UNDO}

    def of(self, labeler: str) -> int:
        """How many answers of theirs stand, skipped pairs included."""
        return self._of[labeler]

    def due(self, share: float, budget: int, waiting: int) -> int:
        """How many second opinions there may be yet: of `share` of the answered pairs, within what the budget leaves.

        budget: labels of the run, 0 for no limit; waiting: pairs without an answer
        """
        due = math.floor(share * self.answered) - self.doubled
        return min(due, budget - self.labels - waiting) if budget else due

    def give(self, due: int, taken: AbstractSet[str], unshown: Callable[[str], bool]) -> Callable[[str], str | None]:
        """What gives a labeler a pair for a second opinion, up to `due` in all; none that is `taken` or `unshown`."""
        given: set[str] = set()

        def second(labeler: str) -> str | None:
            if len(given) >= due:
                return None
            chosen = self.newest(labeler, lambda name: name not in taken and name not in given and not unshown(name))
            given.update([] if chosen is None else [chosen])
            return chosen

        return second

    def lacks_second(self, query_id: str, labeler: str) -> bool:
        """Whether that labeler's opinion would be the second on a pair."""
        return any(query_id in queries for name, queries in self._single.items() if name != labeler)

    def newest(self, labeler: str, fits: Callable[[str], bool]) -> str | None:
        """The newest pair for a second opinion by that labeler, of whoever has most answers that nobody else judged."""
        others = [queries for name, queries in self._single.items() if name != labeler]
        offers = (next(filter(fits, reversed(queries)), None) for queries in sorted(others, key=len, reverse=True))
        return next((query_id for query_id in offers if query_id is not None), None)

    def _count(self, query_id: str, sign: int) -> None:
        labelers = self.labelers(query_id)
        said = [self._said[query_id][labeler] for labeler in labelers]
        self.answered += sign * bool(labelers)
        self._of.update(dict.fromkeys(labelers, sign))
        self.doubled += sign * (len(labelers) > 1)
        self.labels += sign * sum(verdict is not Verdict.SKIP for verdict in said)
        if len(labelers) != 1 or Verdict.SKIP in said:
            return
        single = self._single.setdefault(labelers.pop(), {})
        if sign > 0:
            single[query_id] = None
        else:
            single.pop(query_id, None)
