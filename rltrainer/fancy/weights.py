"""The actions of movement-primitive envs: the weights of a trajectory, and where it has them its times."""

from __future__ import annotations

from typing import Any

import numpy as np
from gymnasium import spaces

from rltrainer.core import Array

BOUND = np.pi
"""Of weights, which fancy_gym leaves unbounded and SB3 refuses so. A ProMP's weight is the place of a joint in radians,
and a whole turn covers every joint; it also keeps 99.8% of the standard normal that an unbounded Box samples."""


class Weights(spaces.Box):
    """Weights within finite bounds, sampled as fancy_gym's own are: from a standard normal.

    Evenly out of the whole box nearly every trajectory would break a joint limit: table tennis refuses all of them, and
    half of those that the normal gives.

    spread: how far from the middle trajectories are still reasonable, [A]; half the range where fancy_gym has bounds
    """

    def __init__(self, space: spaces.Box) -> None:
        """space: fancy_gym's own. Finite bounds shrink by a bit: as float32, 0.15 is more than 0.15, and refused."""
        self._free = ~(np.isfinite(space.low) & np.isfinite(space.high))
        low = np.where(np.isfinite(space.low), np.nextafter(space.low, space.high), -BOUND)
        high = np.where(np.isfinite(space.high), np.nextafter(space.high, space.low), BOUND)
        super().__init__(low.astype(space.dtype), high.astype(space.dtype), dtype=space.dtype)
        self.spread: Array = np.where(self._free, 1.0, (self.high - self.low) / 2)

    def sample(self, mask: Any = None, probability: Any = None) -> Array:
        evenly = super().sample(mask, probability)
        normal = self.np_random.standard_normal(self.low.shape).clip(self.low, self.high)
        return np.where(self._free, normal, evenly).astype(evenly.dtype)
