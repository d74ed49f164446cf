"""Acting at random ends with enough steps, or with enough episodes that terminated."""

from __future__ import annotations

from functools import partial
from typing import Any

import numpy as np
import pytest
import toys
from stable_baselines3.common.vec_env import DummyVecEnv

from rltrainer.exploring import explore
from rltrainer.wrapper import PreferenceRewardVecWrapper, PreferenceRewardWrapper


def single(**options: Any) -> PreferenceRewardWrapper:
    return PreferenceRewardWrapper(toys.ledger(**options))


def vector(**options: Any) -> PreferenceRewardVecWrapper:
    return PreferenceRewardVecWrapper(DummyVecEnv([partial(toys.ledger, **options)] * 2))


def taken(env: Any, ends: float) -> int:
    """Steps at random, of 60 at most, until so many episodes have terminated."""
    return explore(env, env.recorder, 60, np.random.default_rng(0), 60, ends=ends)


@pytest.mark.parametrize("make", [single, vector])
def test_episodes_that_terminated_are_counted(make: Any) -> None:
    assert taken(make(falls_at=4), ends=6) == 24
    assert taken(make(falls_at=4), ends=100) == 60


@pytest.mark.parametrize("make", [single, vector])
def test_episodes_follow_from_the_seed_where_nothing_else_seeded_them(make: Any) -> None:
    def seeds(prepare: Any = lambda env: None) -> list[int]:
        env = make(runs_out_at=4)
        prepare(env)
        taken(env, ends=6)
        return [s.episode_seed for s in env.recorder.sample(9, 3, np.random.default_rng(0))]

    assert seeds() == seeds()
    assert seeds(seeded) == seeds(seeded) != seeds()


def seeded(env: Any) -> None:
    env.seed(5) if hasattr(env, "num_envs") else env.reset(seed=5)


@pytest.mark.parametrize("make", [single, vector])
def test_episodes_that_were_cut_off_are_not(make: Any) -> None:
    assert taken(make(runs_out_at=4), ends=6) == 60
