"""Pairs that wait for an answer, and who may have them."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Mapping
from itertools import chain

from rltrainer.core import Query
from rltrainer.labeling.effects import Snapshot
from rltrainer.labeling.shelf import Shelf


class Queue:
    """The pairs without an answer, as the store had them when it was last looked at.

    The trainer replaces pairs that nobody looks at by newer ones, many at once. One of the old stays on offer until a new one
    has clips: whoever comes meanwhile sees a pair at once, and the store takes an answer to it as to any other.

    kept: that one, or None
    """

    def __init__(self) -> None:
        self.kept: str | None = None
        self._waiting: dict[str, Query] = {}
        self._places: Mapping[str, int] = {}
        self._leased: Mapping[str, str] = {}

    def __len__(self) -> int:
        return len(self._waiting)

    def __contains__(self, query_id: str) -> bool:
        return query_id in self._waiting

    def __iter__(self) -> Iterator[str]:
        return iter(self._waiting)

    def get(self, query_id: str) -> Query | None:
        return self._waiting.get(query_id)

    def look(self, snapshot: Snapshot, shelf: Shelf, held: Callable[[str], bool], answered: Callable[[str], bool]) -> None:
        """The store was looked at.

        held: whether a page holds a pair; answered: whether an answer to it stands
        """
        new = {query.id: query for query in snapshot.waiting}
        replaced = [name for name in self._waiting if name not in new and name in shelf and not answered(name)]
        if not new or self.kept not in replaced or not held(self.kept):
            bare = new and not any(name in shelf for name in new)
            self.kept = next(iter(replaced), None) if bare else None
        old = {} if self.kept is None else {self.kept: self._waiting[self.kept]}
        self._waiting = old | new
        self._places = {name: place for place, name in enumerate(self._waiting)}
        self._leased = snapshot.leased

    def answered(self, query_id: str) -> None:
        """A pair waits no more."""
        self._waiting.pop(query_id, None)

    def open(self, shelf: Shelf, but: Collection[str]) -> Iterator[str]:
        """Pairs that may be dealt, the oldest first, those with clips before those without; `but` these."""
        ready = shelf.ready(self._places)
        for query_id in chain(ready, (name for name in self._waiting if name not in shelf)):
            if query_id in self._waiting and query_id not in but and not shelf.hopeless(query_id):
                yield query_id

    def kept_for(self, query_id: str, here: Callable[[str], bool]) -> str | None:
        """The one labeler who may have a pair: who is asked, while they are `here`, or has a lease."""
        query = self._waiting.get(query_id)
        if query and query.labeler and here(query.labeler):
            return query.labeler
        return self._leased.get(query_id)
