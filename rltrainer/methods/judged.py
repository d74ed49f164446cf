"""Labelled segments as a policy sees them: the steps that were judged, on its own scale, and how likely it finds them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import gymnasium as gym
import numpy as np
import torch
from stable_baselines3.common.distributions import Distribution
from torch import Tensor

from rltrainer.core import Array, Comparison, Range, Segment


@dataclass(frozen=True)
class Judged:
    """The R steps that B comparisons speak of. Time after an episode's end has no actions, and so no steps here.

    observations: raw and flattened, [R, O]
    actions:      as the env got them, [R, *A]
    reference:    log-probabilities to measure by, [R]
    side:         2b for a step of comparison b's first segment, 2b + 1 for one of its second, [R]
    target:       P(first is better), [B]
    """

    observations: Array
    actions: Array
    reference: Array
    side: Tensor
    target: Tensor

    @classmethod
    def of(cls, comparisons: Sequence[Comparison], references: Mapping[str, Array]) -> Judged:
        """references: log-probabilities [T] of each segment's steps, by its id"""
        sides = [side for c in comparisons for side in (_steps(c.first, c.first_range), _steps(c.second, c.second_range))]
        lengths = torch.tensor([steps.stop - steps.start for _, steps in sides])
        return cls(
            np.concatenate([segment.observations[steps] for segment, steps in sides]),
            np.concatenate([segment.actions[steps] for segment, steps in sides]),
            np.concatenate([references[segment.id][steps] for segment, steps in sides]),
            torch.repeat_interleave(torch.arange(len(sides)), lengths),
            torch.tensor([c.target for c in comparisons], dtype=torch.float32),
        )

    def sums(self, values: Tensor) -> Tensor:
        """Of values [R] over the steps of each segment, [B, 2]."""
        found: Tensor = torch.zeros(2 * len(self.target)).index_add(0, self.side, values)
        return found.reshape(-1, 2)

    def cloned(self, found: Tensor) -> Tensor:
        """−log π of a step of the better segments, in the mean: a tie's steps count half. found: log π, [R]"""
        weights = torch.stack((self.target, 1 - self.target), dim=1).flatten()[self.side]  # [R]
        return -(weights * found).sum() / weights.sum().clamp(min=1)

    def agreement(self, scores: Tensor) -> float:
        """Share of the B answers that the scores [B, 2] foretell; one half of a tie, whatever they say."""
        said = (scores[:, 0] > scores[:, 1]).float()
        return float((1 - (said - self.target).abs()).mean())


def _steps(segment: Segment, judged: Range) -> tuple[Segment, slice]:
    """A range without the time after the episode's end."""
    taken = len(segment.actions)
    return segment, slice(min(judged[0], taken), min(judged[1], taken))


def log_probability(distribution: Distribution, actions: Array, space: gym.Space[Any]) -> Tensor:
    """How likely actions [R, *A] are, as the env got them: log π(a|s), [R].

    A Gaussian's actions reach the env clipped to the Box. So π there is the Gaussian with all that lies beyond a bound put on
    it: an action at a bound has that probability, one inside has its density.
    """
    taken = torch.as_tensor(actions)
    if not isinstance(space, gym.spaces.Box):
        return distribution.log_prob(taken)
    taken = taken.float().flatten(1)  # [R, A]
    normal: Any = distribution.distribution
    found: Tensor = normal.log_prob(taken)
    for bound, sign in ((space.low, 1.0), (space.high, -1.0)):
        edge = torch.as_tensor(bound, dtype=torch.float32).flatten()
        at_edge = sign * (taken - edge) <= 0
        beyond = torch.special.log_ndtr(sign * (torch.where(edge.isfinite(), edge, 0.0) - normal.mean) / normal.stddev)
        found = torch.where(at_edge, beyond, found)
    return found.sum(dim=1)


def unflattened(space: gym.Space[Any], rows: Array) -> Any:
    """The inverse of `flat_observations`: raw observations as SB3's VecEnv gives them, of rows [N, O]."""
    if isinstance(space, gym.spaces.Dict):
        widths = [gym.spaces.flatdim(part) for part in space.spaces.values()]
        parts = np.split(rows, np.cumsum(widths)[:-1], axis=1)
        return {name: unflattened(part, values) for (name, part), values in zip(space.spaces.items(), parts, strict=True)}
    if isinstance(space, gym.spaces.Discrete):
        return rows.argmax(axis=1) + int(space.start)
    if isinstance(space, gym.spaces.MultiDiscrete):
        parts = np.split(rows, np.cumsum(space.nvec.reshape(-1))[:-1], axis=1)
        values = np.stack([part.argmax(axis=1) for part in parts], axis=1)
        return values.reshape(len(rows), *space.shape) + space.start
    return rows.reshape(len(rows), *(space.shape or ())).astype(space.dtype)
