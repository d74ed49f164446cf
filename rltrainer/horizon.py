"""Episodes that last until their time limit, whatever happens in them."""

from __future__ import annotations

from typing import Any

import gymnasium as gym
from gymnasium.utils import RecordConstructorArgs

AT_REST = "rltrainer.at_rest"
"""In a step's info: the episode's end has come before it."""


class FixedHorizon(gym.Wrapper[Any, Any, Any, Any], RecordConstructorArgs):
    """Where the env terminates, the rest of the episode is spent there: nothing moves, no action matters, and nothing is paid.

    An episode's length then says nothing of how good it was (absorbing states, as in seals, Freire et al. 2020): preferences
    leave open by how much a reward is to be raised at each step, and with early ends that much alone decides whether ending
    pays. The env itself is not stepped on: what it does after its end is undefined, and CartPole's numbers grow without bound.

    The infos of this rest say `at_rest`. Whoever learns a reward takes it for time after the end, as in envs that end early: it
    pays 0 and is no step to ask about. It would be most of what there is to see otherwise, a still picture beside another.
    """

    def __init__(self, env: gym.Env[Any, Any], steps: int) -> None:
        """steps: of an episode"""
        RecordConstructorArgs.__init__(self, steps=steps)
        gym.Wrapper.__init__(self, env)
        self._limit = steps
        self._steps = 0
        self._last: Any = None

    def reset(self, **options: Any) -> tuple[Any, dict[str, Any]]:
        self._steps, self._last = 0, None
        return self.env.reset(**options)

    def step(self, action: Any) -> tuple[Any, Any, bool, bool, dict[str, Any]]:
        self._steps += 1
        if self._last is not None:
            return self._last, 0.0, False, self._steps >= self._limit, {AT_REST: True}
        observation, reward, terminated, truncated, info = self.env.step(action)
        if terminated:
            self._last = observation
        return observation, reward, False, truncated, info
