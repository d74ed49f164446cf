"""The reward learns from pairs that nobody judged, too, where it is sure of them (SURF: Park et al. 2022)."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from rltrainer.core import Array, Comparison, FitReport, Range, Segment
from rltrainer.rewards.ensemble import Batch, EnsembleLearner

SURE = math.log(0.99 / 0.01)
"""R₁ − R₂ from which on a pair counts as judged by the reward itself: P > τ = 0.99."""
UNLABELLED = 4
"""Unlabelled pairs for each labelled one in a gradient step (μ); their loss weighs as much as that of the labelled (λ = 1)."""
PAIRS = 256
"""New unlabelled pairs of each refit."""
CROPS = 0.75, 0.92
"""Least and largest share of a segment that is kept: 45 to 55 of 60 steps in the paper."""


class SurfLearner(EnsembleLearner):
    """An ensemble whose members also learn from what they are sure of, on pairs of segments that are known anyway.

    They are made anew at each refit, of the segments that were judged and of the reference. Segments are cropped at random
    in each gradient step, judged or not: which part of them is shown hardly changes which is better.
    """

    _reference: Sequence[Segment] = ()
    _turned: Array = np.zeros(0, bool)

    def fit(self, comparisons: Sequence[Comparison], reference: Sequence[Segment]) -> FitReport:
        """As the ensemble, on new unlabelled pairs as well."""
        self._reference = reference
        return super().fit(comparisons, reference)

    def _batch(self, comparisons: Sequence[Comparison], reference: Sequence[Array]) -> Batch:
        """The comparisons, and behind them pairs without an answer."""
        pairs = self._unlabelled(comparisons)
        self._turned = np.array([c.target < 0.5 for c in [*comparisons, *pairs]])
        return self._answered(comparisons, *self._sight.stack([*comparisons, *pairs], reference))

    def _unlabelled(self, comparisons: Sequence[Comparison]) -> list[Comparison]:
        """New pairs of known segments, in the ranges that were judged; each of two that last equally long."""
        known: list[tuple[Segment, Range]] = [(segment, segment.whole) for segment in self._reference]
        for c in comparisons:
            sides = [(c.first, c.first_range), (c.second, c.second_range)]
            known += sides if c.target >= 0.5 else sides[::-1]  # so that it doesn't matter which one stood first
        lengths = np.array([end - start for _, (start, end) in known])
        pairs = []
        for length in np.unique(lengths):
            alike = np.flatnonzero(lengths == length)
            chosen = self._rng.choice(alike, (round(PAIRS * len(alike) / len(known)), 2))
            pairs += [(known[i], known[j]) for i, j in chosen if i != j]
        return [Comparison(one, two, 0.5, its_range, other_range) for (one, its_range), (two, other_range) in pairs]

    def _backward(self, batch: Batch, indices: Array) -> None:
        cropped = replace(batch, mask=self._cropped(batch.mask, self._turned))
        super()._backward(cropped, indices)
        if len(batch) == len(batch.mask):
            return
        members, size = indices.shape[0], UNLABELLED * indices.shape[1]
        chosen = torch.from_numpy(self._rng.integers(len(batch), len(batch.mask), (members, size)))
        for picked in torch.split(chosen, batch.at_once(batch.mask.shape[-1]), dim=1):
            with torch.no_grad():
                believed = self._lead(batch.rows[picked], batch.mask[picked])  # [M, b]
            sure = believed.abs() > SURE
            if sure.any():
                lead = self._lead(*cropped.thinned(picked, self._rng)) * believed.sign()
                ((F.softplus(-lead) * sure).sum() / size).backward()

    def _lead(self, rows: Tensor, mask: Tensor) -> Tensor:
        """R₁ − R₂, [M, b]."""
        returns = self._nets.returns(rows, mask)
        return returns[..., 0] - returns[..., 1]

    def _cropped(self, mask: Tensor, turned: Array) -> Tensor:
        """The mask [P, 2, T] of a part of each side, equally long and begun anywhere; of sides of unequal length all of it.

        turned: whether the better one stands second, [P]: so that it doesn't matter where it stood
        """
        lengths = mask.sum(dim=-1).numpy()  # [P, 2]
        kept = np.maximum(1, np.round(lengths * self._rng.uniform(*CROPS, (len(mask), 1))))
        chance = self._rng.random(lengths.shape)
        chance[turned] = chance[turned, ::-1]
        start = np.floor(chance * (lengths - kept + 1))
        steps = np.arange(mask.shape[-1])
        part = (steps >= start[..., None]) & (steps < (start + kept)[..., None])  # [P, 2, T]
        part |= (lengths[:, 0] != lengths[:, 1])[:, None, None]
        return mask * torch.from_numpy(part)
