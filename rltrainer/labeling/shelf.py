"""Which pairs have clips, which one is being made, and which cannot be."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Mapping

from rltrainer.core import Range
from rltrainer.labeling.effects import Pair

ATTEMPTS = 2
TROUBLE_AFTER = 3


class Shelf:
    """Rendered pairs in memory, so that a reconnecting page costs no rendering.

    making: the query whose clips are being made; there is one at a time
    """

    def __init__(self) -> None:
        self.making: str | None = None
        self._pairs: dict[str, Pair] = {}
        self._lengths: dict[str, dict[str, Range]] = {}  # (frames, steps) by query, then segment
        self._failures: Counter[str] = Counter()
        self._reasons: list[str] = []  # of the failures since the last success

    def __contains__(self, query_id: str) -> bool:
        return query_id in self._pairs

    def get(self, query_id: str) -> Pair | None:
        return self._pairs.get(query_id)

    def put(self, query_id: str, pair: Pair) -> None:
        """What was being made is there."""
        self.making = None
        self._reasons.clear()
        self._pairs[query_id] = pair
        self._lengths[query_id] = pair.lengths()

    def failed(self, query_id: str, reason: str, *, final: bool, wanted: bool) -> None:
        """What was being made is not to be had (`final`), or was not this time. wanted: whether it was to be shown."""
        self.making = None
        self._reasons += [reason] if wanted else []
        self._failures[query_id] += ATTEMPTS if final else 1

    def hopeless(self, query_id: str) -> bool:
        """Whether these clips are not tried again."""
        return self._failures.get(query_id, 0) >= ATTEMPTS

    @property
    def trouble(self) -> str | None:
        """Why nothing can be shown, once several pairs in a row could not be."""
        return self._reasons[-1] if len(self._reasons) >= TROUBLE_AFTER else None

    def forget(self, most: int, wanted: Callable[[], Iterable[str]]) -> None:
        """Forget the oldest pairs until `most` are left, the `wanted` ones last."""
        surplus = len(self._pairs) - most
        if surplus <= 0:
            return
        kept = set(wanted())
        for query_id in sorted(self._pairs, key=kept.__contains__)[:surplus]:
            del self._pairs[query_id]

    def ready(self, places: Mapping[str, int]) -> list[str]:
        """Those of the placed pairs that have clips, in the order of their places."""
        return sorted(places.keys() & self._pairs.keys(), key=places.__getitem__)

    def forget_but(self, query_ids: Iterable[str]) -> None:
        """Forget every pair that is none of these."""
        kept = set(query_ids)
        self._pairs = {query_id: pair for query_id, pair in self._pairs.items() if query_id in kept}

    def knows_length(self, query_id: str) -> bool:
        """Whether trims of this pair can be turned into steps."""
        return query_id in self._lengths

    def steps_of(self, query_id: str, segment_id: str, trim: Range) -> Range:
        """The steps [first, end) that these frames [first, end) of a clip show. Raises ValueError, as a sentence."""
        if segment_id not in self._lengths[query_id]:
            raise ValueError(f"segment {segment_id!r} is not in this pair")
        frames, steps = self._lengths[query_id][segment_id]
        if not 0 <= trim[0] < trim[1] <= frames:
            raise ValueError(f"trim [{trim[0]}, {trim[1]}) of segment {segment_id!r} is outside its {frames} frames")
        return steps_shown(trim, frames, steps)


def steps_at(frames: int, steps: int) -> list[int]:
    """The step that each of a clip's frames shows, where there are `frames` of them for `steps` steps."""
    return [min(steps - 1, (2 * frame + 1) * steps // (2 * frames)) for frame in range(frames)]


def steps_shown(trim: Range, frames: int, steps: int) -> Range:
    """The steps [first, end) that frames [first, end) show, in a clip of `frames` frames for `steps` steps."""
    first, end = trim
    return first * steps // frames, -(-end * steps // frames)
