"""A batch of pairs that are worth asking each beside the others: ten queries aren't ten times the same one."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from rltrainer.core import Array, Segment

LEAST = 1e-6
"""Distance of pairs that are the same: where nothing else is left, their scores decide."""
Pairs = Sequence[tuple[Segment, Segment]]
ROUNDING = 1e-9
"""Of a sum: what differs by less does not."""


def best_apart(pairs: Array, scores: Array, segments: Sequence[Segment], count: int, beside: Pairs = ()) -> Array:
    """`count` of the pairs [B, 2], the highest score first, then each time the highest score · distance to the chosen ones.

    A greedy k-center (Sener & Savarese 2018; with uncertainty: Lee et al. 2021, section 5.1) in which a high score makes up for
    nearness, though never for being the same.

    scores: what each pair is worth by itself, [B], ≥ 0
    beside: pairs that wait for an answer: a distance to them counts as one to a chosen pair
    """
    waiting = len(segments) + np.arange(2 * len(beside)).reshape(-1, 2)
    everything = [*segments, *(side for pair in beside for side in pair)]
    differences = pair_differences(np.concatenate((pairs, waiting)), everything)
    differences, others = differences[: len(pairs)], differences[len(pairs) :]  # [B, D], [W, D]
    nearest = np.min([distances(differences, other) for other in others], axis=0, initial=np.inf)
    chosen: list[int] = []
    while len(chosen) < min(count, len(pairs)):
        worth = scores * (nearest + LEAST) if chosen or beside else scores.copy()
        worth[chosen] = -1.0
        chosen.append(int(np.argmax(worth)))
        nearest = np.minimum(nearest, distances(differences, differences[chosen[-1]]))
    return pairs[chosen]


def pair_differences(pairs: Array, segments: Sequence[Segment]) -> Array:
    """How the two segments of each pair differ in the sums over their steps, [B, D], on the scale of the candidates.

    A label of a reward that is linear in observations and actions speaks of this difference, and of nothing else. What is
    summed is how a step differs from the candidates' average one, and how many there are: so a longer life is one difference
    beside others, and not in all of them.
    """
    lengths = [len(segment.actions) for segment in segments]
    seen, done = _sums([segment.observations for segment in segments]), _sums([segment.actions for segment in segments])
    sums = np.column_stack((lengths, seen, done))  # [N, D]
    scale = sums.std(axis=0)
    sums /= np.where(scale > 0, scale, 1.0)
    return np.asarray(sums[pairs[:, 0]] - sums[pairs[:, 1]])


def distances(differences: Array, chosen: Array) -> Array:
    """Of each pair [B, D] to one [D]; which segment stands first makes no difference."""
    there, turned = (np.linalg.norm(differences + side, axis=1) for side in (-chosen, chosen))
    return np.asarray(np.minimum(there, turned))


def _sums(segments: Sequence[Array]) -> Array:
    """How far the rows of each, [T, *shape], lie from the average one, summed, [N, prod(shape)]."""
    counts = np.array([[len(rows)] for rows in segments])
    sums = np.array([np.ravel(rows.sum(axis=0, dtype=np.float64)) for rows in segments])
    apart = sums - counts * (sums.sum(axis=0) / counts.sum())
    return np.where(np.abs(apart) > ROUNDING * np.abs(sums), apart, 0.0)
