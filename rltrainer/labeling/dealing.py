"""Who holds which pair. A pair is dealt to one page at a time, and no page waits while another hoards."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field

from rltrainer.labeling.effects import Effect, Lease, Pair, Release, Send, SendPair
from rltrainer.labeling.messages import Withdrawn

AHEAD = 3
"""Pairs that a page holds: the one on screen, and the next ones already there."""


@dataclass
class Seat:
    """A page that was let in. Two tabs of one labeler have two seats.

    link:   hash of the token that let it in
    admin:  whether it may do what only an admin may
    seen:   when somebody last did something there
    held:   the pairs leased to it, in the order in which they are to be judged, and when each lease ends
    again:  those of them that another labeler has answered
    pushed: every pair whose clips went to it: it has them still; and which forecast about it was the last to go
    """

    labeler: str
    link: str
    admin: bool
    seen: float
    held: dict[str, float] = field(default_factory=dict)
    again: set[str] = field(default_factory=set)
    pushed: dict[str, int] = field(default_factory=dict)


class Dealer:
    """Deals pairs to the seats. Pages are numbers, pairs are query ids."""

    def __init__(self) -> None:
        self.seats: dict[int, Seat] = {}

    def leave(self, page: int) -> list[Effect]:
        """A page is gone: what it held is free."""
        seat = self.seats.pop(page, None)
        return [Release(tuple(seat.held))] if seat and seat.held else []

    def answered(self, page: int, query_id: str) -> None:
        """A page holds what it has answered no more."""
        self.seats[page].held.pop(query_id, None)
        self.seats[page].again.discard(query_id)

    def holder(self, query_id: str) -> int | None:
        return next((page for page, seat in self.seats.items() if query_id in seat.held), None)

    def unseen(self) -> list[str]:
        """Held pairs that were not pushed yet, those that pages need first at the front."""
        ranked = [
            (rank, query_id)
            for seat in self.seats.values()
            for rank, query_id in enumerate(seat.held)
            if query_id not in seat.pushed
        ]
        return [query_id for _, query_id in sorted(ranked, key=lambda place: place[0])]

    def give(self, page: int, query_ids: Sequence[str], now: float, lease_seconds: float) -> list[Effect]:
        """Lease pairs to a page."""
        if not query_ids:
            return []
        seat = self.seats[page]
        seat.held |= dict.fromkeys(query_ids, now + lease_seconds)
        return [Lease(tuple(query_ids), seat.labeler, lease_seconds)]

    def renew(self, page: int, now: float, lease_seconds: float) -> list[Effect]:
        """Somebody is at a page: what it holds stays there, though not every answer costs a write."""
        old = [query_id for query_id, end in self.seats[page].held.items() if end - now < lease_seconds / 2]
        return self.give(page, old, now, lease_seconds)

    def withdraw(self, page: int, query_ids: Iterable[str]) -> list[Effect]:
        """Take pairs from a page, and free them. It is told of those that it has on hand."""
        seat = self.seats[page]
        taken = [query_id for query_id in query_ids if seat.held.pop(query_id, None) is not None]
        shown = [query_id for query_id in taken if query_id in seat.pushed]
        seat.again.difference_update(taken)
        for query_id in taken:  # dealt to it once more, they are sent once more
            seat.pushed.pop(query_id, None)
        told: list[Effect] = [Send(page, Withdrawn(query_ids=shown))] if shown else []
        return [*told, Release(tuple(taken))] if taken else []

    def withdraw_everywhere(self, query_id: str, *, again: bool = True) -> list[Effect]:
        """again: also from pages that hold it for a second opinion"""
        pages = [page for page, seat in self.seats.items() if query_id in seat.held and (again or query_id not in seat.again)]
        return [effect for page in pages for effect in self.withdraw(page, [query_id])]

    def keep(self, query_ids: Iterable[str]) -> list[Effect]:
        """Take every pair from the pages that is none of these, and is there for no second opinion."""
        kept = set(query_ids)
        return [
            effect
            for page, seat in self.seats.items()
            for effect in self.withdraw(page, [name for name in seat.held if name not in kept and name not in seat.again])
        ]

    def deal(
        self,
        pairs: Callable[[], Iterable[str]],
        kept_for: Callable[[str], str | None],
        second: Callable[[str], str | None] | None,
        now: float,
        lease_seconds: float,
    ) -> list[Effect]:
        """Give pages pairs until each holds AHEAD of them; those that hold least come first.

        pairs:    what may be dealt, the best first; nothing is asked of it where no page lacks pairs
        kept_for: the one labeler who may have a pair, or None
        second:   an answered pair for a labeler's second opinion, or None; a page where somebody is holds one at a time
        A pair that lay longer than its lease goes to another page, if somebody is there and nothing else is left.
        """
        effects = self._end_second_opinions(now)
        hungry = {page for page, seat in self.seats.items() if len(seat.held) < AHEAD}
        if not hungry:
            return effects
        ends = {query_id: end for seat in self.seats.values() for query_id, end in seat.held.items()}
        free = Offer(query_id for query_id in pairs() if query_id not in ends)
        lapsed = Offer(query_id for query_id in pairs() if ends.get(query_id, math.inf) <= now)
        dealt: dict[int, list[str]] = {}
        while hungry:
            page = min(hungry, key=lambda page: (len(self.seats[page].held), page))
            seat = self.seats[page]
            present = now - seat.seen < lease_seconds
            query_id = second(seat.labeler) if second and present and not seat.again else None
            if query_id is not None:
                seat.again.add(query_id)
            else:
                query_id = free.take(lambda query_id: kept_for(query_id) in (None, seat.labeler))  # noqa: B023 - called at once
            if query_id is None and present:
                query_id = lapsed.take(lambda query_id: query_id not in seat.held)  # noqa: B023 - called at once
                holder = None if query_id is None else self.holder(query_id)
                effects += self.withdraw(holder, [query_id]) if holder is not None and query_id is not None else []
            if query_id is None:
                hungry.discard(page)
                continue
            seat.held[query_id] = now + lease_seconds
            dealt.setdefault(page, []).append(query_id)
            if len(seat.held) >= AHEAD:
                hungry.discard(page)
        for page, query_ids in dealt.items():
            effects += self.give(page, query_ids, now, lease_seconds)
        return effects

    def _end_second_opinions(self, now: float) -> list[Effect]:
        """An answered pair that nobody has looked at for a lease is wanted no more."""
        return [
            effect
            for page, seat in self.seats.items()
            if seat.again
            for effect in self.withdraw(page, [name for name in seat.again if seat.held[name] <= now])
        ]

    def push(self, pair_of: Callable[[str], Pair | None]) -> list[Effect]:
        """Each held pair goes to its page once, as soon as its clips are there."""
        effects: list[Effect] = []
        for page, seat in self.seats.items():
            for query_id in seat.held:
                if query_id not in seat.pushed and (pair := pair_of(query_id)) is not None:
                    seat.pushed[query_id] = 0
                    effects.append(SendPair(page, pair.header, pair.videos))
        return effects


class Offer:
    """Pairs to choose from, looked at no further than the first that fits: most of a long queue never is."""

    def __init__(self, query_ids: Iterable[str]) -> None:
        self._rest = iter(query_ids)
        self._passed: list[str] = []  # they did not fit somebody

    def take(self, fits: Callable[[str], bool]) -> str | None:
        """The first that fits, which is offered no more."""
        place = next((place for place, query_id in enumerate(self._passed) if fits(query_id)), None)
        if place is not None:
            return self._passed.pop(place)
        for query_id in self._rest:
            if fits(query_id):
                return query_id
            self._passed.append(query_id)
        return None
