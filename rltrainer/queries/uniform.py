"""Pairs drawn at random."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from rltrainer.core import Array, Learner, Segment


def uniform(segments: Sequence[Segment], learner: Learner, count: int, rng: np.random.Generator) -> Array:
    """`count` pairs [count, 2] of the candidates, no segment in two pairs."""
    return random_pairs(len(segments), rng)[:count]


def random_pairs(segments: int, rng: np.random.Generator) -> Array:
    """All of the candidates paired at random, [segments // 2, 2]; no segment is in two pairs."""
    return rng.permutation(segments)[: segments // 2 * 2].reshape(-1, 2)
