"""Pairs of what the newest policy does."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from rltrainer.core import Array, Learner, Segment


def near_on_policy(segments: Sequence[Segment], learner: Learner, count: int, rng: np.random.Generator) -> Array:
    """`count` pairs [count, 2] of the newest candidates, at random, no segment in two (QPA: Hu et al. 2024, section 5.1)."""
    shuffled = rng.permutation(len(segments))
    newest = shuffled[np.argsort([-segments[index].policy_step for index in shuffled], kind="stable")]
    return newest[: 2 * min(count, len(segments) // 2)].reshape(-1, 2)
