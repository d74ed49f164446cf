"""Labels that were taken from the store, once each."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from rltrainer.core import Comparison, Label, Segment, UserError
from rltrainer.store import Store


class Taken:
    """The cursor, and the comparisons that stand by what was taken up to there.

    count:       labels taken, all revisions
    comparisons: by what a newer revision replaces
    shown:       the segments of pairs asked, at hand, by query id
    """

    def __init__(self, store: Store) -> None:
        self._store = store
        self.cursor = self.count = 0
        self.comparisons: dict[tuple[str, str], Comparison] = {}
        self.shown: dict[str, tuple[Segment, Segment]] = {}

    def read(self) -> None:
        """Take the labels since the cursor."""
        for label in self._store.labels(since=self.cursor):
            self._take(label)

    def remember(self) -> dict[str, Any]:
        """As JSON can say it; the labels themselves are the store's."""
        return {"cursor": self.cursor, "labels": self.count}

    def recall(self, facts: Mapping[str, Any]) -> None:
        """The inverse of `remember`. Raises UserError where the store lacks labels that were taken."""
        for label in self._store.labels():
            if label.seq <= facts["cursor"]:
                self._take(label)
        if self.count != facts["labels"]:
            raise UserError(
                f"the checkpoint learned from {facts['labels']} labels, and {str(self._store.folder)!r} holds {self.count} of "
                "them; restore store.db and checkpoints from one backup of the run"
            )
        self.shown = {
            query.id: (self._store.segment(query.first), self._store.segment(query.second)) for query in self._store.waiting()
        }

    def _take(self, label: Label) -> None:
        """One revision: it replaces the one before, and may take the label back."""
        query = self._store.query(label.query_id)
        if query is None:
            raise LookupError(f"label {label.id!r} answers query {label.query_id!r}, which is not in the store")
        known = {segment.id: segment for segment in self.shown.get(query.id, ())}
        comparison = Comparison.of(label, query, lambda name: known[name] if name in known else self._store.segment(name))
        if comparison is None:
            self.comparisons.pop((label.query_id, label.labeler), None)
        else:
            self.comparisons[comparison.key] = comparison
        self.cursor, self.count = label.seq, self.count + 1
