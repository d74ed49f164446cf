"""The control of what an env gives away by when it ends: a reward that says nothing. Where it scores, surviving is the task."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from rltrainer.core import Array, Comparison, FitReport, Segment


class ConstantReward:
    """1 a step."""

    version = 1

    def __call__(self, observations: Array, actions: Array, next_observations: Array) -> Array:
        return np.ones(len(observations))


class ConstantLearner:
    """Learns nothing: `reward.learner: benchmarks.constant:ConstantLearner`."""

    def __init__(self, *sizes_and_settings: Any) -> None:
        pass

    def fit(self, comparisons: Sequence[Comparison], reference: Sequence[Segment]) -> FitReport:
        return FitReport(1, len(comparisons), 0.0, None, None)

    def member_returns(self, segments: Sequence[Segment]) -> Array:
        return np.array([[float(len(segment.actions)) for segment in segments]])

    def snapshot(self) -> ConstantReward:
        return ConstantReward()

    def state(self) -> dict[str, Array]:
        return {"constant": np.ones(1)}

    def restore(self, state: Mapping[str, Array]) -> None:
        pass
