"""SAC (Haarnoja et al. 2018) from Stable-Baselines3 as the way from reward to policy."""

from __future__ import annotations

import gymnasium as gym
import numpy as np
from stable_baselines3 import SAC
from stable_baselines3.common.preprocessing import is_image_space
from stable_baselines3.common.vec_env import VecEnv

from rltrainer.config import Config
from rltrainer.core import UserError
from rltrainer.fancy import is_black_box_id
from rltrainer.methods.replay import LOOKS_BACK

TAU = 0.02
"""How fast the target critic follows. Pendulum-v1, mean true return while training for 8,000 steps: -509, SB3's 0.005: -739."""
ROUND = 64
"""Env steps between two rounds of gradient steps, those of all envs counted."""
RANDOM_STEPS = 1000
"""Env steps before the first gradient step, and at most a tenth of the run."""
ENTROPY_WEIGHT = "auto_0.1"
"""Adapted from 0.1 on, as in PEBBLE's code. The same from SB3's 1.0 on, with 50 labels: -471 against -343."""
MOST_TRANSITIONS = 1_000_000


def make_sac(env: VecEnv, config: Config, seed: int | None) -> SAC:
    """An untrained SAC with the settings of the config's `sac` section. Raises UserError as `check_sac` does."""
    check_sac(config, env.observation_space, env.action_space)
    round_steps = max(1, ROUND // env.num_envs)  # in each env
    collected = round_steps * env.num_envs
    return SAC(
        "MultiInputPolicy" if isinstance(env.observation_space, gym.spaces.Dict) else "MlpPolicy",
        env,
        seed=seed,
        device="cpu",
        learning_rate=config.sac.learning_rate,
        gamma=config.sac.gamma,
        batch_size=config.sac.batch_size,
        train_freq=round_steps,
        gradient_steps=max(1, round(config.sac.replay_ratio * collected)),
        learning_starts=min(RANDOM_STEPS, config.steps // 10),
        tau=TAU,
        ent_coef=ENTROPY_WEIGHT,
        buffer_size=min(config.steps + collected, MOST_TRANSITIONS),
        policy_kwargs={"optimizer_kwargs": {"fused": True}},
    )


def check_sac(config: Config, observation_space: gym.Space[object], action_space: gym.Space[object]) -> None:
    """Raises UserError for envs in which SAC can't act, and for transitions and rewards that can't be relabelled."""
    if config.reward.learner == "transformer":
        raise UserError(LOOKS_BACK)
    bounded = isinstance(action_space, gym.spaces.Box) and np.isfinite([action_space.low, action_space.high]).all()
    if not bounded or not (action_space.low < action_space.high).all():  # type: ignore[attr-defined]
        _refuse(
            config, f"takes actions from a Box with a finite range for each, and those of {config.env!r} are {action_space}"
        )
    if isinstance(observation_space, gym.spaces.Discrete):
        _refuse(config, f"learns from rows of numbers, and {config.env!r} shows one number: {observation_space}")
    parts = observation_space.values() if isinstance(observation_space, gym.spaces.Dict) else [observation_space]
    if any(is_image_space(part) for part in parts):
        _refuse(config, f"learns from numbers, and {config.env!r} shows pictures")
    if is_black_box_id(config.env):
        _refuse(config, f"pays for single steps, and an action of {config.env!r} is a whole trajectory of them")


def _refuse(config: Config, why: str) -> None:
    raise UserError(f"method is {config.method!r}, which {why}; set method to ppo, or choose another env")
