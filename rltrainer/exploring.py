"""Acting at random, for something to ask about before anything was learned."""

from __future__ import annotations

import copy
import math
from collections.abc import Callable
from typing import Any

import gymnasium as gym
import numpy as np

from rltrainer.core import UserError
from rltrainer.recording import Recorder


def explore(
    env: Any,
    recorder: Recorder,
    wanted: int,
    rng: np.random.Generator,
    most: int,
    *,
    watch: Callable[[], None] = lambda: None,
    ends: float = math.inf,
) -> int:
    """Act at random until `wanted` more steps are recorded. Gives the env steps taken (of a black box: outer ones).

    watch: called between two steps
    ends:  terminated episodes that will do as well, however short they are
    Raises UserError where `most` env steps don't do.
    """
    space: gym.Space[Any] = _seeded_space(env.action_space, rng)
    vector = hasattr(env, "num_envs")
    _begin(env, rng, seeded=recorder.began)
    until = recorder.steps + wanted
    taken = ended = 0
    while recorder.steps < until and ended < ends:
        if taken >= most:
            raise UserError(f"the warm-up needs {wanted} recorded steps, and steps is {most}; set more steps, or fewer labels")
        watch()
        if vector:
            *_, dones, infos = env.step(np.stack([space.sample() for _ in range(env.num_envs)]))
            taken += env.num_envs
            ended += sum(not infos[index].get("TimeLimit.truncated", False) for index in dones.nonzero()[0])
        else:
            *_, terminated, truncated, _ = env.step(space.sample())
            taken += 1
            ended += terminated
            if terminated or truncated:
                env.reset()
    return taken


def _begin(env: Any, rng: np.random.Generator, *, seeded: bool) -> None:
    """Reset. The first episodes follow from the run's seed where nothing has seeded them; make_vec_env always has."""
    vector = hasattr(env, "num_envs")
    if seeded or (vector and any(seed is not None for seed in env.unwrapped._seeds)):
        env.reset()
    elif vector:
        env.seed(int(rng.integers(2**31)))
        env.reset()
    else:
        env.reset(seed=int(rng.integers(2**31)))


def _seeded_space(space: gym.Space[Any], rng: np.random.Generator) -> gym.Space[Any]:
    """A copy of the space with a generator of its own."""
    mine = copy.deepcopy(space)
    mine.seed(int(rng.integers(2**31)))
    return mine
