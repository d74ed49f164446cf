"""Acting at random, for something to ask about before anything was learned."""

from __future__ import annotations

import copy
from collections.abc import Callable
from typing import Any

import gymnasium as gym
import numpy as np

from rltrainer.core import UserError
from rltrainer.recording import Recorder


def explore(
    env: Any, recorder: Recorder, wanted: int, rng: np.random.Generator, most: int, watch: Callable[[], None] = lambda: None
) -> int:
    """Act at random until `wanted` more steps are recorded. Gives the env steps taken (of a black box: outer ones).

    watch: called between two steps
    Raises UserError where `most` env steps don't do.
    """
    space: gym.Space[Any] = _seeded_space(env.action_space, rng)
    vector = hasattr(env, "num_envs")
    env.reset()
    until = recorder.steps + wanted
    taken = 0
    while recorder.steps < until:
        if taken >= most:
            raise UserError(f"the warm-up needs {wanted} recorded steps, and steps is {most}; set more steps, or fewer labels")
        watch()
        if vector:
            env.step(np.stack([space.sample() for _ in range(env.num_envs)]))
            taken += env.num_envs
        else:
            *_, terminated, truncated, _ = env.step(space.sample())
            taken += 1
            if terminated or truncated:
                env.reset()
    return taken


def _seeded_space(space: gym.Space[Any], rng: np.random.Generator) -> gym.Space[Any]:
    """A copy of the space with a generator of its own."""
    mine = copy.deepcopy(space)
    mine.seed(int(rng.integers(2**31)))
    return mine
