"""What stands in for the env inside a black box, so that its steps are known."""

from __future__ import annotations

from typing import Any

import gymnasium as gym
import numpy as np

from rltrainer.core import Array, InnerSteps


def forward(self: gym.Wrapper[Any, Any, Any, Any], name: str) -> Any:
    """`__getattr__` of a wrapper that hands on the attributes of the env inside, as Gymnasium's did before 1.0."""
    if name.startswith("_") or "env" not in self.__dict__:
        raise AttributeError(f"{type(self).__name__} has no attribute {name!r}")
    layer = self.env
    while isinstance(layer, gym.Wrapper):  # `get_wrapper_attr` asks each layer for all below it, a fifth of the time
        if name in layer.__dict__ or hasattr(type(layer), name):
            break
        layer = layer.env
    return getattr(layer, name)


class InnerRecorder(gym.Wrapper[Any, Any, Any, Any]):
    """Stands in for the env inside a black box: keeps its steps, and hands its attributes on as fancy_gym expects."""

    def __init__(self, env: gym.Env[Any, Any]) -> None:
        super().__init__(env)
        self._observations: list[Any] = []
        self._actions: list[Array] = []
        self._env_rewards: list[float] = []

    __getattr__ = forward

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> tuple[Any, dict[str, Any]]:
        observation, info = self.env.reset(seed=seed, options=options)
        self._observations, self._actions, self._env_rewards = [observation], [], []
        return observation, info

    def step(self, action: Array) -> tuple[Any, Any, bool, bool, dict[str, Any]]:
        action = np.array(action, dtype=self.action_space.dtype)  # what is recorded is what the env got
        observation, reward, terminated, truncated, info = self.env.step(action)
        self._observations.append(observation)
        self._actions.append(action)
        self._env_rewards.append(float(reward))
        return observation, reward, terminated, truncated, info

    def take(self) -> InnerSteps:
        """The steps since the last call or reset; none where fancy_gym refused a trajectory unseen."""
        actions = np.array(self._actions, dtype=self.action_space.dtype).reshape(-1, *(self.action_space.shape or ()))
        taken = InnerSteps(self._observations, actions, np.array(self._env_rewards, dtype=np.float64))
        self._observations, self._actions, self._env_rewards = self._observations[-1:], [], []
        return taken
