"""Small envs whose every number is known, and segments made by hand."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Mapping, Sequence
from typing import Any

import gymnasium as gym
import numpy as np
from gymnasium import spaces

from rltrainer.core import Array, Comparison, FitReport, Segment
from rltrainer.queries.uniform import random_pairs

Step = tuple[Any, float, bool, bool, dict[str, Any]]
Start = tuple[Any, dict[str, Any]]

SMALL_RUN: dict[str, Any] = {
    "env": "toys:drift",
    "labeler": "oracle",
    "steps": 1000,
    "labels": 16,
    "n_envs": 2,
    "segments.steps": 8,
    "queries.batch": 2,
    "reward.hidden": [8],
    "reward.fit_steps": 3,
    "ppo.n_steps": 32,
    "ppo.batch_size": 64,
    "ppo.n_epochs": 1,
}
"""Settings of a run of a second: two Drifts, 16 labels of an oracle."""


class Ledger(gym.Env[Any, Any]):
    """Observations are [episode, step]; what is paid is `pays` times the action, or noise."""

    metadata = {"render_modes": []}  # noqa: RUF012 - as Gymnasium declares it
    observation_space = spaces.Box(-np.inf, np.inf, (2,), np.float32)
    action_space = spaces.Box(-1, 1, (1,), np.float32)

    def __init__(self, falls_at: int = 0, runs_out_at: int = 0, pays: float = 1.0, noise: int | None = None) -> None:
        """falls_at: terminated after so many steps; runs_out_at: truncated then; 0 is never. noise: a seed."""
        self.falls_at, self.runs_out_at, self.pays = falls_at, runs_out_at, pays
        self.noise = None if noise is None else np.random.default_rng(noise)
        self.episode, self.step_number = -1, 0

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> Start:
        super().reset(seed=seed)
        self.episode += 1
        self.step_number = 0
        return self.seen(), {}

    def step(self, action: Any) -> Step:
        self.step_number += 1
        pay = self.pays * float(action[0]) if self.noise is None else float(self.noise.normal())
        return self.seen(), pay, self.step_number == self.falls_at, self.step_number == self.runs_out_at, {}

    def seen(self) -> Array:
        return np.array([self.episode, self.step_number], np.float32)


def ledger(length: int = 20, **options: Any) -> gym.Env[Any, Any]:
    """A Ledger with a time limit that an env's spec would know."""
    return gym.wrappers.TimeLimit(Ledger(**options), length)


class Drift(gym.Env[Any, Any]):
    """A point on a line that goes where it is pushed; the further right, the more is paid."""

    metadata = {"render_modes": []}  # noqa: RUF012 - as Gymnasium declares it
    observation_space = spaces.Box(-10, 10, (2,), np.float32)
    action_space = spaces.Box(-1, 1, (1,), np.float32)

    def __init__(self, noise: int | None = None, pace: float = 0.1) -> None:
        """noise: a seed; what is paid is chance then. pace: how far a push of 1 goes"""
        self.pace = pace
        self.noise = None if noise is None else np.random.default_rng(noise)

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> Start:
        super().reset(seed=seed)
        self.place, self.push = self.np_random.uniform(-1, 1), 0.0
        return self.seen(), {}

    def step(self, action: Any) -> Step:
        self.push = float(np.clip(action, -1, 1)[0])
        self.place = float(np.clip(self.place + self.pace * self.push, -10, 10))
        pay = self.place if self.noise is None else float(self.noise.normal())
        return self.seen(), pay, False, False, {}

    def seen(self) -> Array:
        return np.array([self.place, self.push], np.float32)


def drift(length: int = 40, **options: Any) -> gym.Env[Any, Any]:
    """A Drift of `length` steps an episode."""
    return gym.wrappers.TimeLimit(Drift(**options), length)


class Seen(Drift):
    """A Drift that can be shown: as grey as the point is far to the right."""

    metadata = {"render_modes": ["rgb_array"]}  # noqa: RUF012 - as Gymnasium declares it

    def __init__(self, render_mode: str | None = None, **options: Any) -> None:
        super().__init__(**options)
        self.render_mode = render_mode

    def render(self) -> Array:
        return np.full((16, 16, 3), 12 * (self.place + 10), np.uint8)


class Faulty(Ledger):
    """A Ledger whose `fault` comes at step `at`: a bad "observation", "reward", "reset", or it does "raise", "die", "hang"."""

    def __init__(self, fault: str, at: int = 5, **options: Any) -> None:
        super().__init__(**options)
        self.fault, self.at, self.taken = fault, at, 0

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> Start:
        observation, info = super().reset(seed=seed)
        if self.fault == "reset" and self.taken >= self.at:
            observation[0] = np.nan
        return observation, info

    def step(self, action: Any) -> Step:
        observation, reward, terminated, truncated, info = super().step(action)
        self.taken += 1
        if self.taken >= self.at:
            if self.fault == "die":
                os.kill(os.getpid(), signal.SIGSEGV)
            if self.fault == "exit":
                os._exit(3)
            if self.fault == "hang":
                time.sleep(3600)
            if self.fault == "raise":
                raise RuntimeError("the simulator exploded")
            if self.fault == "observation":
                observation[1] = np.nan
            if self.fault == "reward":
                reward = float("nan")
        return observation, reward, terminated, truncated, info


def faulty(fault: str, at: int = 5, length: int = 20) -> gym.Env[Any, Any]:
    """A Faulty with a time limit."""
    return gym.wrappers.TimeLimit(Faulty(fault, at), length)


class Spaced(gym.Env[Any, Any]):
    """An env of any spaces: what it shows is drawn from them; episodes fall after 8 steps."""

    metadata = {"render_modes": []}  # noqa: RUF012 - as Gymnasium declares it

    def __init__(self, observation_space: spaces.Space[Any], action_space: spaces.Space[Any]) -> None:
        self.observation_space, self.action_space = observation_space, action_space

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> Start:
        super().reset(seed=seed)
        if seed is not None:
            self.observation_space.seed(seed)
        self.taken = 0
        return self.observation_space.sample(), {}

    def step(self, action: Any) -> Step:
        self.taken += 1
        return self.observation_space.sample(), 1.0, self.taken == 8, False, {}


PUSH = spaces.Box(-1, 1, (1,), np.float32)


def dict_env() -> gym.Env[Any, Any]:
    """Observations of several parts."""
    parts = {
        "place": spaces.Box(-1, 1, (2,), np.float32),
        "door": spaces.Discrete(3),
        "eye": spaces.Box(0, 255, (36, 36, 3), np.uint8),
    }
    return Spaced(spaces.Dict(parts), spaces.Discrete(2))


def goal_env() -> gym.Env[Any, Any]:
    """Somewhere to go."""
    place = spaces.Box(-1, 1, (2,), np.float32)
    return Spaced(spaces.Dict(dict.fromkeys(("observation", "achieved_goal", "desired_goal"), place)), PUSH)


def image_env() -> gym.Env[Any, Any]:
    """Observations that are pictures."""
    return Spaced(spaces.Box(0, 255, (36, 36, 3), np.uint8), PUSH)


class Spot(gym.Env[Any, Any]):
    """Pictures of a bright spot on a noisy ground that goes where it is pushed; the further right, the more is paid."""

    metadata = {"render_modes": []}  # noqa: RUF012 - as Gymnasium declares it
    action_space = spaces.Discrete(5)
    moves = np.array([(0, 0), (0, 2), (0, -2), (2, 0), (-2, 0)])

    def __init__(self, side: int = 24, *, channels_first: bool = False) -> None:
        self.side, self.channels_first = side, channels_first
        self.observation_space = spaces.Box(0, 255, (1, side, side) if channels_first else (side, side, 1), np.uint8)

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> Start:
        super().reset(seed=seed)
        self.place = self.np_random.integers(0, self.side - 3, 2)
        return self.seen(), {}

    def step(self, action: Any) -> Step:
        self.place = np.clip(self.place + self.moves[int(action)], 0, self.side - 4)
        return self.seen(), 2 * float(self.place[1]) / (self.side - 4) - 1, False, False, {}

    def seen(self) -> Array:
        """The spot is 4 x 4 pixels of 255, its corner at `place` (row, column); the ground is below 60."""
        picture = self.np_random.integers(0, 60, (self.side, self.side), np.uint8)
        row, column = self.place
        picture[row : row + 4, column : column + 4] = 255
        return picture[None] if self.channels_first else picture[..., None]


def spot(length: int = 30, **options: Any) -> gym.Env[Any, Any]:
    """A Spot of `length` steps an episode."""
    return gym.wrappers.TimeLimit(Spot(**options), length)


def tuple_action_env() -> gym.Env[Any, Any]:
    """Actions that we cannot take."""
    return Spaced(PUSH, spaces.Tuple((PUSH, PUSH)))


def text_env() -> gym.Env[Any, Any]:
    """Observations that we cannot take."""
    return Spaced(spaces.Text(8), PUSH)


def segment(observations: Any, actions: Any, env_rewards: Any = None, *, seed: int = 0, **about: Any) -> Segment:
    """A segment of these observations [T + 1, O] and actions [T, *A] that began with its episode."""
    actions = np.asarray(actions)
    rewards = np.zeros(len(actions)) if env_rewards is None else np.asarray(env_rewards, float)
    return Segment(np.asarray(observations, np.float32), actions, rewards, seed, actions[:0], **about)


def random_segments(
    count: int, rng: np.random.Generator, steps: int = 10, weights: Sequence[float] = (1.0, -2.0, 0.5)
) -> list[Segment]:
    """Segments of noise with 2 observed numbers and 1 action, whose true reward is linear: weights · (o, a)."""
    found = []
    for _ in range(count):
        observations = rng.normal(size=(steps + 1, 2)).astype(np.float32)
        actions = rng.uniform(-1, 1, size=(steps, 1)).astype(np.float32)
        rewards = np.concatenate((observations[:-1], actions), axis=1) @ np.asarray(weights)
        found.append(segment(observations, actions, rewards, seed=len(found)))
    return found


def compare(first: Segment, second: Segment, target: float | None = None, name: str = "", **ranges: Any) -> Comparison:
    """A comparison of whole segments, as the true return says where no target is given."""
    wanted = float(first.env_return > second.env_return) if target is None else target
    return Comparison(
        first,
        second,
        wanted,
        ranges.get("first_range", first.whole),
        ranges.get("second_range", second.whole),
        query_id=name or f"{first.id}-{second.id}",
        labeler="hand",
    )


def global_draws() -> Array:
    """The state of NumPy's one global generator, which nobody here may move."""
    state: Any = np.random.get_state()  # noqa: NPY002
    return np.array(state[1])


APART: list[list[set[str]]] = []
"""What `apart` was told of, at each call."""


def apart(segments: Any, learner: Any, count: int, rng: np.random.Generator, *, beside: Any = ()) -> Array:
    """A strategy that notes the pairs beside which it chooses."""
    APART.append([{first.id, second.id} for first, second in beside])
    return random_pairs(len(segments), rng)[:count]


class Even:
    """A reward that pays the same for every step."""

    def __init__(self, version: int, paid: float = 1.0) -> None:
        self.version, self._paid = version, paid

    def __call__(self, observations: Array, actions: Array, next_observations: Array) -> Array:
        return np.full(len(observations), self._paid)


class Remembering:
    """A learner that learns nothing and remembers what it was given, by fit. For `reward.learner: toys:Remembering`."""

    def __init__(self, observation_size: int, action_space: spaces.Space[Any], settings: Any, seed: Any) -> None:
        self.fits: list[list[Comparison]] = []
        self.references: list[list[Segment]] = []

    def fit(self, comparisons: Sequence[Comparison], reference: Sequence[Segment]) -> FitReport:
        self.fits.append(list(comparisons))
        self.references.append(list(reference))
        return FitReport(len(self.fits), len(comparisons), 0.5, None, None)

    def member_returns(self, segments: Sequence[Segment]) -> Array:
        return np.array([[segment.observations.sum() for segment in segments], [0.0] * len(segments)])

    def snapshot(self) -> Even:
        return Even(len(self.fits))

    def state(self) -> dict[str, Array]:
        return {}

    def restore(self, state: Mapping[str, Array]) -> None:
        pass
