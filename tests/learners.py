"""Learners, and what they are taught from, as several tests want them."""

from __future__ import annotations

import math
from typing import Any

import gymnasium as gym
import numpy as np
import toys

from rltrainer.config import Reward, Ties
from rltrainer.core import Array, Comparison, Learner, Segment, rewards_along
from rltrainer.rewards import LEARNERS
from rltrainer.rewards.thresholds import Thresholds

PUSH = toys.PUSH
MARGIN = math.log(9)
THRESHOLDS: dict[Ties, Thresholds] = {
    "half": Thresholds(0.0, MARGIN),
    "rao_kupper": Thresholds(math.log(2), math.log(2) + MARGIN),
}
"""θ = 2: two of equal return are called equal by a third of the answers."""


def make(name: str, seed: int = 0, space: gym.Space[Any] = PUSH, observed: int = 2, **settings: Any) -> Learner:
    """A learner of envs with 2 observed numbers and 1 action, quick to fit."""
    wanted = {"hidden": (16,), "fit_steps": 20, **settings}
    learner: Learner = LEARNERS[name](observed, space, Reward(**wanted), np.random.SeedSequence(seed))
    return learner


def oracle_pairs(count: int, seed: int = 0, **kwargs: Any) -> list[Comparison]:
    segments = toys.random_segments(2 * count, np.random.default_rng(seed), **kwargs)
    return [toys.compare(a, b, name=f"query {n}") for n, (a, b) in enumerate(zip(segments[::2], segments[1::2], strict=True))]


def reference(seed: int = 99, count: int = 16) -> list[Segment]:
    return toys.random_segments(count, np.random.default_rng(seed))


def rows(count: int = 50, seed: int = 5, space: gym.Space[Any] = PUSH) -> tuple[Array, Array, Array]:
    """Observations, actions and next observations of `count` steps."""
    rng = np.random.default_rng(seed)
    space.seed(seed)
    actions = np.stack([np.asarray(space.sample()) for _ in range(count)])
    return rng.normal(size=(count, 2)).astype(np.float32), actions, rng.normal(size=(count, 2)).astype(np.float32)


def accuracy(learner: Learner, pairs: list[Comparison]) -> float:
    """Share of pairs whose better segment has the higher return under the learned reward."""
    reward = learner.snapshot()
    leads = [rewards_along(reward, pair.first).sum() - rewards_along(reward, pair.second).sum() for pair in pairs]
    return float(np.mean([(lead > 0) == (pair.target > 0.5) for lead, pair in zip(leads, pairs, strict=True)]))
