"""Facts about rewards of pictures: the contract of every learner holds for them, and what convolutions see is where things are."""

from __future__ import annotations

import math
from dataclasses import replace
from pathlib import Path
from typing import Any

import gymnasium as gym
import numpy as np
import pytest
import test_rewards
import torch
import toys

from rltrainer import Config, PreferenceLoop, PreferenceRewardWrapper
from rltrainer.core import Array, Comparison, Learner, Segment, UserError
from rltrainer.config import Reward
from rltrainer.envs import image_shape
from rltrainer.labels import check_heritage
from rltrainer.rewards import EnsembleLearner
from rltrainer.rewards.nets import PictureNets
from rltrainer.rewards.pictures import PictureScale, packed
from rltrainer.sizes import Sizes

SMALL = (8, 8, 1)
MAKE = test_rewards.make


def random_segments(count: int, rng: np.random.Generator, steps: int = 10) -> list[Segment]:
    """Segments of noise, whose true reward is how much brighter the left half of what a step led to is than the right half."""
    found = []
    for _ in range(count):
        pictures = rng.integers(0, 100, (steps + 1, *SMALL))
        pictures[:, :, :4] += rng.integers(0, 150, (steps + 1, 1, 1, 1))
        pictures[:, :, 4:] += rng.integers(0, 150, (steps + 1, 1, 1, 1))
        rewards = pictures[1:, :, :4].mean(axis=(1, 2, 3)) - pictures[1:, :, 4:].mean(axis=(1, 2, 3))
        actions = rng.uniform(-1, 1, size=(steps, 1)).astype(np.float32)
        found.append(toys.segment(pictures.reshape(steps + 1, -1).astype(np.uint8), actions, rewards, seed=len(found)))
    return found


def rows(count: int = 50, seed: int = 5, space: gym.Space[Any] = toys.PUSH) -> tuple[Array, Array, Array]:
    """Pictures, actions and next pictures of `count` steps."""
    _, actions, _ = ROWS(count, seed, space)
    before, after = np.random.default_rng(seed).integers(0, 256, (2, count, math.prod(SMALL)), np.uint8)
    return before, actions, after


ROWS = test_rewards.rows


def make(name: str, seed: int = 0, **options: Any) -> Learner:
    return MAKE(name, seed, **{"observed": SMALL, **options})  # type: ignore[arg-type]


class TestLearnerOfPictures(test_rewards.TestLearner):
    """Registering a learner in LEARNERS is testing it with pictures, too."""

    @pytest.fixture(autouse=True)
    def of_pictures(self, monkeypatch: pytest.MonkeyPatch) -> None:
        """All that the contract makes its learners see becomes pictures."""
        monkeypatch.setattr(test_rewards, "make", make)
        monkeypatch.setattr(test_rewards, "rows", rows)
        monkeypatch.setattr(toys, "random_segments", random_segments)

    def test_discrete_actions_and_bytes_are_taken(self, name: str) -> None:
        space = gym.spaces.Discrete(3, start=-1)
        actions = np.random.default_rng(0).integers(-1, 2, (12, 10))
        segments = [replace(s, actions=a) for s, a in zip(random_segments(12, np.random.default_rng(1)), actions, strict=True)]
        pairs = [toys.compare(a, b) for a, b in zip(segments[::2], segments[1::2], strict=True)]
        learner = make(name, space=space)
        learner.fit(pairs, segments)
        assert np.isfinite(learner.snapshot()(*rows(space=space))).all()
