"""Steps whose observations are numbers: rows (o, a, o'), in which each number has a scale of its own."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import gymnasium as gym
import numpy as np
import torch
from torch import Tensor

from rltrainer.config import Reward
from rltrainer.core import Array, Comparison, Segment
from rltrainer.rewards.features import Scale, features, segment_features
from rltrainer.rewards.nets import Nets
from rltrainer.rewards.snapshot import EnsembleReward


class Vectors:
    """Rows for nets, and the reward of nets, where O numbers are observed."""

    def __init__(self, observed: int, space: gym.Space[Any]) -> None:
        self._space = space
        self.width = 2 * observed + gym.spaces.flatdim(space)  # D
        self.scale = Scale(np.zeros(self.width, np.float32), np.ones(self.width, np.float32))

    def nets(self, settings: Reward, generator: torch.Generator) -> Nets:
        """Of these rows, with random weights."""
        return Nets(settings.members, (self.width, *settings.hidden, 1), generator)

    def rows(self, segment: Segment) -> Array:
        """Rows [T, D] of a segment's steps, raw."""
        return segment_features(self._space, segment)

    def step_rows(self, observations: Array, actions: Array, next_observations: Array) -> Array:
        """The same of any steps: observations [N, O], actions [N, *A], next_observations [N, O]."""
        return features(self._space, observations, actions, next_observations)

    def stack(self, comparisons: Sequence[Comparison], reference: Sequence[Array]) -> tuple[Tensor, Tensor]:
        """Scaled rows [N, 2, T, D] and their mask [N, 2, T]; the scale becomes that of these and the reference's rows."""
        sides = [[self.rows(c.first)[slice(*c.first_range)], self.rows(c.second)[slice(*c.second_range)]] for c in comparisons]
        shown = np.concatenate([rows for pair in sides for rows in pair])
        self.scale = Scale.of([*reference, shown])
        lengths = np.array([[len(rows) for rows in pair] for pair in sides])
        mask = np.arange(lengths.max()) < lengths[..., None]  # [N, 2, T]
        data = np.zeros((*mask.shape, shown.shape[1]), np.float32)
        data[mask] = self.scale(shown)
        return torch.from_numpy(data), torch.from_numpy(mask).float()

    def reward(self, version: int, nets: Nets, zero: Array, gain: Array) -> EnsembleReward:
        """The mean of the members' rewards, each less its zero [M] and times its gain [M]: folded into the last layer."""
        weights = [np.asarray(weight.detach().clone()) for weight in nets.weights]
        biases = [np.asarray(bias.detach().clone()) for bias in nets.biases]
        weights[-1] = (weights[-1] * gain[:, None, None]).astype(np.float32)
        biases[-1] = ((biases[-1] - zero[:, None, None]) * gain[:, None, None]).astype(np.float32)
        linear = np.asarray(nets.linear.detach())[..., 0] * gain[:, None]
        return EnsembleReward(version, self._space, self.scale, list(zip(weights, biases, strict=True)), linear)
