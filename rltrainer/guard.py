"""An env that raises or gives NaN stops the run before the policy is harmed."""

from __future__ import annotations

import contextlib
import math
from typing import Any

import numpy as np
from stable_baselines3.common.vec_env import VecEnv, VecEnvWrapper
from stable_baselines3.common.vec_env.base_vec_env import VecEnvObs, VecEnvStepReturn

from rltrainer.core import Array, EnvFault, UserError


def check_finite(observations: Array, env_rewards: Array, steps: int) -> None:
    """Raises EnvFault on observations [N, O] that are not finite and on rewards [N] that are NaN."""
    if not math.isfinite(observations.sum()) and not np.isfinite(observations).all():
        raise EnvFault(f"the env gave an observation with NaN or infinity after {steps} steps; mend the env")
    if math.isnan(env_rewards.sum()) and np.isnan(env_rewards).any():
        raise EnvFault(f"the env gave a reward that is NaN after {steps} steps; mend the env")


class GuardedVecEnv(VecEnvWrapper):
    """Turns what goes wrong inside the envs into an EnvFault that says so."""

    def __init__(self, venv: VecEnv, *, checked: bool = True) -> None:
        """checked: raise where what the envs give is not finite; a PreferenceRewardVecWrapper around them does that itself"""
        super().__init__(venv)
        self._checked = checked
        self._steps = 0

    def reset(self) -> VecEnvObs:
        with self._explained():
            return self.venv.reset()

    def step_async(self, actions: Array) -> None:
        if not math.isfinite(actions.sum()):
            raise EnvFault(f"the policy's actions were NaN or infinite after {self._steps} steps; lower its learning rate")
        self.venv.step_async(actions)

    def step_wait(self) -> VecEnvStepReturn:
        with self._explained():
            observations, env_rewards, dones, infos = self.venv.step_wait()
        self._steps += self.num_envs
        if not self._checked:
            return observations, env_rewards, dones, infos
        for part in observations.values() if isinstance(observations, dict) else [observations]:
            check_finite(np.asarray(part), np.asarray(env_rewards), self._steps)
        if not np.isfinite(env_rewards).all():
            raise EnvFault(f"the env gave an infinite reward after {self._steps} steps; mend the env, or let people judge it")
        return observations, env_rewards, dones, infos

    @contextlib.contextmanager
    def _explained(self) -> Any:
        try:
            yield
        except UserError:
            raise
        except Exception as error:  # an env is foreign code and may raise anything
            raise EnvFault(f"the env raised {type(error).__name__} after {self._steps} steps: {error}; mend the env") from error
