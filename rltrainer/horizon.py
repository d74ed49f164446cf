"""Episodes that last until their time limit, whatever happens in them."""

from __future__ import annotations

import contextlib
import warnings
from typing import Any

import gymnasium as gym
from gymnasium.utils import RecordConstructorArgs


class FixedHorizon(gym.Wrapper[Any, Any, Any, Any], RecordConstructorArgs):
    """The env goes on after it has terminated: `terminated` is never told on, so that only its time limit ends an episode.

    An episode's length then says nothing of how good it was (seals, Freire et al. 2020): preferences leave open by how much a
    reward is to be raised at each step, and with early ends that much alone decides whether ending pays.
    """

    def __init__(self, env: gym.Env[Any, Any]) -> None:
        RecordConstructorArgs.__init__(self)
        gym.Wrapper.__init__(self, env)
        self._terminated = False

    def reset(self, **options: Any) -> tuple[Any, dict[str, Any]]:
        self._terminated = False
        return self.env.reset(**options)

    def step(self, action: Any) -> tuple[Any, Any, bool, bool, dict[str, Any]]:
        with self._without_complaint() if self._terminated else contextlib.nullcontext():
            observation, reward, terminated, truncated, info = self.env.step(action)
        self._terminated = self._terminated or terminated
        return observation, reward, False, truncated, info

    @contextlib.contextmanager
    def _without_complaint(self) -> Any:
        """CartPole warns of steps after its end, which are what is wanted here."""
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", ".*even though this environment has already returned terminated")
            yield
