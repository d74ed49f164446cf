"""How large observations and actions of a run are, kept in its store: a reward model can be made with no env at hand."""

from __future__ import annotations

from dataclasses import asdict, dataclass, replace
from typing import Any

import gymnasium as gym
import numpy as np

from rltrainer.core import Segment
from rltrainer.store import Store


@dataclass(frozen=True)
class Sizes:
    """observation: O of a flattened one; action: shape; choices: of Discrete actions, from `start` on, 0 for Box.

    image: shape of an observation that is a picture, () of all others
    """

    observation: int
    action: tuple[int, ...]
    choices: int = 0
    start: int = 0
    image: tuple[int, ...] = ()

    @classmethod
    def of(cls, observation: int, space: gym.Space[Any], image: tuple[int, ...] = ()) -> Sizes:
        """Of O observed numbers, or pixels, and a Box or Discrete action space."""
        if isinstance(space, gym.spaces.Discrete):
            return cls(observation, (), int(space.n), int(space.start), image)
        return cls(observation, tuple(space.shape or ()), image=image)

    @classmethod
    def stored(cls, store: Store) -> Sizes:
        """Of the run whose store it is."""
        try:
            fact = store.fact("sizes")
        except KeyError:  # runs from before sizes were stored
            return cls._seen([store.segment(name) for name in store.labelled()])
        return cls(**fact | {"action": tuple(fact["action"]), "image": tuple(fact.get("image", ()))})

    @classmethod
    def _seen(cls, segments: list[Segment]) -> Sizes:
        """Read off segments: of Discrete actions up to the largest one taken."""
        observation, shape = segments[0].observations.shape[1], segments[0].actions.shape[1:]
        if shape or not np.issubdtype(segments[0].actions.dtype, np.integer):
            return cls(observation, shape)
        taken = np.concatenate([segment.actions for segment in segments])
        start = min(0, int(taken.min()))
        return cls(observation, (), int(taken.max()) + 1 - start, start)

    @property
    def fact(self) -> dict[str, Any]:
        """For `Store.create`."""
        return asdict(self)

    def teach(self, env: Sizes) -> bool:
        """Whether labels on such segments can be learned from in that env. Older stores do not say what is a picture."""
        return self in (env, replace(env, image=()))

    @property
    def observed(self) -> int | tuple[int, ...]:
        """What a learner is told of observations: O, or the shape of a picture."""
        return self.image or self.observation

    @property
    def action_space(self) -> gym.Space[Any]:
        """A space whose actions look like these to a reward net."""
        if self.choices:
            return gym.spaces.Discrete(self.choices, start=self.start)
        return gym.spaces.Box(-np.inf, np.inf, self.action, np.float32)

    def __str__(self) -> str:
        actions = f"{self.choices} choices" if self.choices else f"actions of shape {self.action}"
        observed = f"pictures of {' x '.join(map(str, self.image))}" if self.image else f"{self.observation} observed numbers"
        return f"{observed} and {actions}"
