"""The reward that the ensemble hands out: frozen, and quick on the few rows of one step."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import gymnasium as gym
import numpy as np

from rltrainer.core import Array
from rltrainer.rewards.features import Scale, features
from rltrainer.rewards.nets import SLOPE


class EnsembleReward:
    """The mean of M nets, each of root mean square 1 on the reference batch of its refit.

    In NumPy and with few calls: for the few rows of one step that is several times quicker than torch.
    """

    def __init__(
        self,
        version: int,
        action_space: gym.Space[Any],
        scale: Scale,
        layers: Sequence[tuple[Array, Array]],
        linear: Array,
    ) -> None:
        """
        layers: (weight [M, in, out], bias [M, 1, out]) of each layer, the last one to [M, in, 1]
        linear: weights beside the layers, [M, D]
        """
        self.version = version
        self._space = action_space
        self._low, self._high = scale.bounds
        weights, biases = [weight for weight, _ in layers], [bias for _, bias in layers]
        weights[0] = weights[0] / scale.std[:, None]
        biases[0] = biases[0] - scale.mean @ weights[0][:, None]
        weights[-1], biases[-1] = weights[-1] / len(weights[-1]), biases[-1].mean()  # the mean of the members is linear, too
        direct = linear.mean(axis=0) / scale.std
        biases[-1] = biases[-1] - scale.mean @ direct
        self._linear = np.asarray(direct, np.float32)
        self._layers = [
            (np.ascontiguousarray(w, np.float32), np.asarray(b, np.float32)) for w, b in zip(weights, biases, strict=True)
        ]

    def __call__(self, observations: Array, actions: Array, next_observations: Array) -> Array:
        rows = features(self._space, observations, actions, next_observations)
        np.maximum(rows, self._low, out=rows)
        np.minimum(rows, self._high, out=rows)
        direct: Array = rows.dot(self._linear)  # [N]; unlike @ it takes NaN without a warning: the wrapper refuses it in words
        *hidden, (weight, bias) = self._layers
        for inner, offset in hidden:
            rows = rows @ inner  # [M, N, H]
            rows += offset
            np.maximum(rows, SLOPE * rows, out=rows)
        rewards: Array = (rows @ weight).sum(axis=0)[:, 0].astype(np.float64)  # [N]
        rewards += direct
        return rewards + bias
