"""How a run went, as curves small enough to send whole."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

from rltrainer.labeling.messages import MOST_POINTS, CurvePoint, Curves


class Course:
    """What the trainer's progress events said, in order of steps; where there is too much, every second point goes."""

    def __init__(self) -> None:
        self._points: list[CurvePoint] = []

    def note(self, progress: Mapping[str, Any]) -> None:
        """A progress event; one that tells nothing new is no point. A run that went back to a checkpoint goes on from there."""
        point = (
            int(progress.get("step") or 0),
            finite(progress.get("held_out_accuracy")),
            finite(progress.get("true_return")),
            int(progress.get("reward_version") or 0),
        )
        if self._points and point[1:] == self._points[-1][1:]:
            return
        self._points = [earlier for earlier in self._points if earlier[0] < point[0]] + [point]
        if len(self._points) > MOST_POINTS:
            self._points = self._points[::2]

    @property
    def begun(self) -> bool:
        """Whether there is anything to tell."""
        return bool(self._points)

    def curves(self) -> Curves:
        """The message that tells of it."""
        return Curves(points=list(self._points))


def finite(number: float | None) -> float | None:
    """What JSON can say."""
    return float(number) if number is not None and math.isfinite(number) else None
