"""How many may be there, and how fast they may send. No sockets here; `now` is any clock that goes forward, in seconds."""

from __future__ import annotations

import math

MOST_PAGES = 512
"""Pages let in, in total: 200 labelers with two tabs each, and room for those whose line died a moment ago."""

MOST_OF_A_LINK = 32
"""Pages let in by one link: a group that shares one, with tabs. One link never takes all the places."""

MOST_STRANGERS = 400
"""Connections that have said no valid link yet, requests for files among them. One more, and the oldest of them ends.

The oldest, not the newest: a page says its link at once, and who holds connections open only loses them, so that nobody is
locked out. With MOST_PAGES that stays below the 1,024 files that a process may have open as a rule.
"""

LINK_RATE, LINK_BURST = 20.0, 1000
"""Messages of one link, a second and at once. A person gives few answers a second; a page that was cut off sends its whole
outbox again, some hundred labels, and a group may share a link. Whoever sends more is read more slowly, and loses nothing."""

TOTAL_RATE, TOTAL_BURST = 400.0, 10_000
"""The same of all links together: more than the labels that a disk takes (some 250 a second). Beyond it only those links
wait that have used up half of their own burst, so that those who send too much wait for those who do not."""

WRONG_RATE, WRONG_BURST = 2.0, 20
"""Wrong links that are told so, a second and at once; the others are told to come later. A right link is let in all the
while: behind a proxy everybody has one address, so nobody is counted by theirs, and 256 random bits are not guessed."""


class Bucket:
    """Fills by `rate` a second up to `most`."""

    def __init__(self, rate: float, most: int) -> None:
        self.rate, self.most = rate, most
        self._level, self._at = float(most), -math.inf

    def level(self, now: float) -> float:
        """What is in it; below zero where more was taken."""
        self._level = min(float(self.most), self._level + (now - self._at) * self.rate)
        self._at = now
        return self._level

    def take(self, now: float) -> float:
        """Take one, whether or not it is there. Gives how long to wait until nothing is owed, in seconds."""
        self._level = self.level(now) - 1
        return max(0.0, -self._level / self.rate)

    def has(self, now: float) -> bool:
        """Take one if it is there."""
        if self.level(now) < 1:
            return False
        self._level -= 1
        return True


class Limits:
    """What is counted: messages by link and in total, and wrong links."""

    def __init__(self) -> None:
        self._links: dict[str, Bucket] = {}
        self._total = Bucket(TOTAL_RATE, TOTAL_BURST)
        self._wrong = Bucket(WRONG_RATE, WRONG_BURST)
        self._told: set[str] = set()

    def message(self, link: str, now: float) -> float:
        """A link sent one. Gives how long its next is not to be read, in seconds."""
        own = self._links.setdefault(link, Bucket(LINK_RATE, LINK_BURST))
        wait, others_wait = own.take(now), self._total.take(now)
        if own.level(now) < own.most / 2:
            return max(wait, others_wait)
        self._told.discard(link)
        return wait

    def to_be_told(self, link: str) -> bool:
        """Whether a link that has to wait hears why: once, until it has slowed down."""
        first = link not in self._told
        self._told.add(link)
        return first

    def tells_wrong(self, now: float) -> bool:
        """Whether somebody with a wrong link is told so."""
        return self._wrong.has(now)
