"""What the reward pays for pairs that wait to be judged, for whoever wants to see it beside their clips."""

from __future__ import annotations

import math
from collections.abc import Iterable
from itertools import chain

from rltrainer.core import Forecast, RewardFunction, Segment, rewards_along
from rltrainer.store import Store

DIGITS = 3
"""After the point: a reward's root mean square is about 1."""


class Foretelling:
    """Keeps the run's forecast of its waiting pairs up to date. A segment is looked at once by each version of the reward."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._forecast = Forecast(0, {})

    def update(self, reward: RewardFunction, segments: Iterable[Segment]) -> None:
        """These segments wait: note what this reward pays for their steps, where that is not known yet.

        Nothing is noted where it pays what is no number: that stops the run, in words, where it is paid. Raises OSError where
        the disk takes no more: the next update tries again.
        """
        waiting = {segment.id: segment for segment in segments}
        known = self._forecast.rewards if self._forecast.version == reward.version else {}
        if waiting.keys() <= known.keys():
            return
        rewards = {name: known[name] if name in known else rewards_of(reward, segment) for name, segment in waiting.items()}
        if all(map(math.isfinite, chain(*rewards.values()))):
            forecast = Forecast(reward.version, rewards)
            self._store.foretell(forecast)
            self._forecast = forecast


def rewards_of(reward: RewardFunction, segment: Segment) -> list[float]:
    """What a reward pays for each of a segment's T + K steps; the time after the end of an episode pays 0."""
    return [*rewards_along(reward, segment).round(DIGITS).tolist(), *[0.0] * segment.after]
