"""Unsupervised exploration: a reward for states unlike those seen before (PEBBLE, Lee et al. 2021, §4.1)."""

from __future__ import annotations

import numpy as np
import torch
from stable_baselines3.common.running_mean_std import RunningMeanStd

from rltrainer.core import Array

NEIGHBOUR = 5
ROWS = 256
"""States whose distances are in memory at once: with 10,000 particles these are 20 MB."""


class ParticleEntropy:
    """Pays ‖s − s_5NN‖ / its running std: how far the fifth nearest of the states seen is, a particle estimate of entropy.

    A RewardFunction, so that the buffer is relabelled with it as with a learned one.
    """

    version = 0

    def __init__(self, particles: Array) -> None:
        """particles: raw flattened observations, [P, O]"""
        self.particles = particles
        self._spread = RunningMeanStd(epsilon=1e-8, shape=())

    def __call__(self, observations: Array, actions: Array, next_observations: Array) -> Array:
        distances = neighbour_distances(observations, self.particles)
        self._spread.update(distances)
        return np.asarray(distances / max(float(np.sqrt(self._spread.var)), 1e-6))


def neighbour_distances(states: Array, particles: Array, neighbour: int = NEIGHBOUR) -> Array:
    """Distance [N] of each state [N, O] to its k-th nearest particle [P, O], itself not counted, which is the nearest of all.

    With fewer than k + 1 particles the farthest counts.
    """
    centre = particles.mean(axis=0, dtype=np.float64)  # near the origin the squares lose fewer digits
    seen = torch.from_numpy(particles - centre)  # [P, O]
    count = min(neighbour + 1, len(particles))
    found = []
    for begin in range(0, len(states), ROWS):
        distances = torch.cdist(torch.from_numpy(states[begin : begin + ROWS] - centre), seen)  # [n, P]
        nearest = torch.topk(distances, count, largest=False).values  # NumPy's partition takes seven times as long
        found.append(nearest[:, -1].numpy())
    return np.concatenate(found)
