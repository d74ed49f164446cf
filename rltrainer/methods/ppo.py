"""PPO (Schulman et al. 2017) from Stable-Baselines3 as the way from reward to policy."""

from __future__ import annotations

from typing import Any

import gymnasium as gym
from stable_baselines3 import PPO
from stable_baselines3.common.vec_env import VecEnv

from rltrainer.config import Config


def make_ppo(env: VecEnv, config: Config, seed: int) -> PPO:
    """An untrained PPO on the env, with the settings of the config's `ppo` section."""
    settings = config.ppo.model_dump(exclude={"log_std_init"})
    rollout = settings["n_steps"] * env.num_envs
    settings["batch_size"] = min(settings["batch_size"], rollout)
    options: dict[str, Any] = {}
    if isinstance(env.action_space, gym.spaces.Box):
        options["log_std_init"] = config.ppo.log_std_init
    policy = "MultiInputPolicy" if isinstance(env.observation_space, gym.spaces.Dict) else "MlpPolicy"
    return PPO(policy, env, seed=seed, policy_kwargs=options, device="cpu", **settings)
