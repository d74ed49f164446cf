"""Pairs whose answer tells most of which member is right."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from rltrainer.core import Array, Learner, Segment
from rltrainer.queries.diversity import Pairs, best_apart
from rltrainer.queries.uniform import random_pairs


def information_gain(
    segments: Sequence[Segment], learner: Learner, count: int, rng: np.random.Generator, *, beside: Pairs = ()
) -> Array:
    """`count` pairs [count, 2] of the highest mutual information of answer and member, no two alike, nor like those `beside`.

    H(mean P) − mean H(P) over the members, P = P(first is better) (BALD: Houlsby et al. 2011, eq. 2). A pair that every
    member is unsure of, such as two clips of one worth, gains nothing.
    """
    pairs = random_pairs(len(segments), rng)
    returns = learner.member_returns(segments)  # [M, N]
    gain = mutual_information(returns[:, pairs[:, 0]] - returns[:, pairs[:, 1]])
    return best_apart(pairs, gain, segments, count, beside)


def mutual_information(logits: Array) -> Array:
    """H(mean P) − mean H(P) in nats, [N], of members' logits [M, N]."""
    probability = (1 + np.tanh(logits / 2)) / 2  # σ, without overflow
    return np.asarray(entropy(probability.mean(axis=0)) - entropy(probability).mean(axis=0))


def entropy(probability: Array) -> Array:
    """Of a yes or no of that probability, in nats; 0 log 0 is 0."""
    both = np.stack((probability, 1 - probability))
    return np.asarray(-(both * np.log(np.maximum(both, np.finfo(float).tiny))).sum(axis=0))
