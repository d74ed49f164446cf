"""Pairs on which the ensemble disagrees most."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from rltrainer.core import Array, Learner, Segment
from rltrainer.queries.diversity import Pairs, best_apart
from rltrainer.queries.uniform import random_pairs


def disagreement(
    segments: Sequence[Segment], learner: Learner, count: int, rng: np.random.Generator, *, beside: Pairs = ()
) -> Array:
    """`count` pairs [count, 2], no two alike, nor like those `beside` them, whose P(first is better) varies most.

    Over the members: the standard deviation of P (Christiano et al. 2017, section 2.2.4).
    """
    pairs = random_pairs(len(segments), rng)
    returns = learner.member_returns(segments)  # [M, N]
    spread = np.tanh((returns[:, pairs[:, 0]] - returns[:, pairs[:, 1]]) / 2).std(axis=0)  # σ(x) = (1 + tanh(x / 2)) / 2
    return best_apart(pairs, spread, segments, count, beside)
