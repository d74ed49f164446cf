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
    ) -> None:
        """layers: (weight [M, in, out], bias [M, 1, out]) of each layer, the last one to [M, in, 1]"""
        self.version = version
        self._space = action_space
        self._low, self._high = scale.bounds
        first, *others = (weight for weight, _ in layers)
        weights = [np.concatenate(list(first / scale.std[:, None]), axis=1), *map(_block_diagonal, others)]
        biases = [bias.reshape(-1) for _, bias in layers]
        shift = scale.mean @ weights[0]
        weights[-1], biases[-1] = weights[-1].mean(axis=1), biases[-1].mean()  # the mean of the members is linear, too
        if not others:
            shift = shift.mean()
        self._first = np.ascontiguousarray(weights[0], np.float32)  # [D, M · H]
        self._bias = np.asarray(biases[0] - shift, np.float32)
        self._rest = list(zip(weights[1:], biases[1:], strict=True))

    def __call__(self, observations: Array, actions: Array, next_observations: Array) -> Array:
        rows = features(self._space, observations, actions, next_observations)
        np.maximum(rows, self._low, out=rows)
        np.minimum(rows, self._high, out=rows)
        hidden = rows @ self._first  # [N, M · H]
        hidden += self._bias
        for weight, bias in self._rest:
            np.maximum(hidden, SLOPE * hidden, out=hidden)
            hidden = hidden @ weight
            hidden += bias
        return hidden.astype(np.float64)  # [N]


def _block_diagonal(weight: Array) -> Array:
    """One matrix [M · H, M · H'] in place of M of them: more products, one call."""
    members, fan_in, fan_out = weight.shape
    whole = np.zeros((members, fan_in, members, fan_out), np.float32)
    whole[np.arange(members), :, np.arange(members)] = weight
    return whole.reshape(members * fan_in, members * fan_out)
