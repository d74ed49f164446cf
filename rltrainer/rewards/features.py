"""What a reward net sees of a step: (o, a, o'), on a scale that is frozen between refits."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, Self

import gymnasium as gym
import numpy as np

from rltrainer.core import Array, Segment

CLIP = 10.0
ROUNDING = 1e-6
"""Share of a feature's own size: one that varies by no more is a constant."""
NOISE = 1e-9
"""What varies by no more is a solver's residue, whatever its size."""
SOME = 1000
"""Rows by which a feature's middle is found."""


def encode_actions(space: gym.Space[Any], actions: Array) -> Array:
    """Actions [N, *A] as rows [N, A]: one-hot for Discrete, flattened for Box."""
    if isinstance(space, gym.spaces.Discrete):
        chosen = np.asarray(actions).reshape(-1)
        if space.start:
            chosen = chosen - space.start
        return _one_hot(int(space.n)).take(chosen, 0)  # as the table[chosen], in a fifth of the time
    return np.asarray(actions, np.float32).reshape(len(actions), -1)


@lru_cache
def _one_hot(n: int) -> Array:
    """[n, n]: a row for each action."""
    return np.eye(n, dtype=np.float32)


def features(space: gym.Space[Any], observations: Array, actions: Array, next_observations: Array) -> Array:
    """Rows [N, D] of (o, a, o'), raw."""
    return np.concatenate((observations, encode_actions(space, actions), next_observations), axis=1, dtype=np.float32)


def segment_features(space: gym.Space[Any], segment: Segment) -> Array:
    """Rows [T, D] of a segment's steps; what comes after the end of its episode has none."""
    return features(space, segment.observations[:-1], segment.actions, segment.observations[1:])


@dataclass(frozen=True)
class Scale:
    """Maps each feature to mean 0 and std 1 on the rows it was made from, clipped at ±10."""

    mean: Array
    std: Array

    @classmethod
    def of(cls, rows: Sequence[Array]) -> Self:
        """From arrays of rows [N, D]; a feature that never changes, but for rounding, is left unscaled."""
        stacked = np.concatenate(rows)
        some = stacked[:: max(1, len(stacked) // SOME)]
        middle = some.mean(axis=0, dtype=np.float64).astype(np.float32)  # long sums in float32 lose digits of an offset
        stacked -= middle
        offset = stacked.mean(axis=0)
        with np.errstate(over="ignore", invalid="ignore"):
            squares = np.einsum("nd,nd->d", stacked, stacked) / len(stacked)  # stacked.std() takes twice as long
            std = np.sqrt(np.maximum(squares - offset * offset, 0.0))
        huge = ~np.isfinite(std)
        std[huge] = stacked[:, huge].std(axis=0, dtype=np.float64)
        constant = std <= np.maximum(ROUNDING * np.abs(middle), NOISE)
        return cls(middle + offset, np.where(constant, 1.0, std).astype(np.float32))

    @property
    def bounds(self) -> tuple[Array, Array]:
        """The raw values beyond which features are clipped, each [D]."""
        return self.mean - CLIP * self.std, self.mean + CLIP * self.std

    def __call__(self, rows: Array) -> Array:
        scaled = rows - self.mean
        scaled /= self.std
        np.minimum(scaled, CLIP, out=scaled)  # np.clip takes five times as long on a few rows
        return np.asarray(np.maximum(scaled, -CLIP, out=scaled))
