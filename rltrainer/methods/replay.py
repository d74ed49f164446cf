"""The replay buffer of an off-policy method: random steps are kept in it too, and a new reward pays all of it anew."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, cast

import gymnasium as gym
import numpy as np
from stable_baselines3 import HerReplayBuffer
from stable_baselines3.common.buffers import ReplayBuffer
from stable_baselines3.common.off_policy_algorithm import OffPolicyAlgorithm
from stable_baselines3.common.preprocessing import is_image_space
from stable_baselines3.common.vec_env import VecEnvWrapper
from stable_baselines3.common.vec_env.base_vec_env import VecEnvObs, VecEnvStepReturn

from rltrainer.core import Array, RewardFunction, UserError
from rltrainer.envs import flat_observations
from rltrainer.wrapper import RewardSeat

CHUNK = 4096
"""Transitions relabelled at once: what the nets make of them still fits a processor's cache."""
LOOKS_BACK = (
    "reward.learner is one whose rewards look back at the steps before, and a replay buffer is paid anew step by step; "
    "set method to ppo, or choose another reward.learner"
)


class Replay:
    """What a model has stored, as the reward net sees it: raw flattened observations, actions as the env got them.

    SB3 stores raw observations and rewards, which VecNormalize scales when they are sampled, terminal observations at
    episodes' ends, and actions scaled to ±1.
    """

    def __init__(self, model: OffPolicyAlgorithm, seat: RewardSeat) -> None:
        """Raises UserError for a model or env whose transitions can't be relabelled."""
        assert model.replay_buffer is not None  # every model that was set up has one
        self._model, self._seat = model, seat
        self._buffer: ReplayBuffer = model.replay_buffer
        if isinstance(self._buffer, HerReplayBuffer):
            raise UserError(
                "HerReplayBuffer pays for goals by the env's own reward; use SB3's ReplayBuffer or DictReplayBuffer"
            )
        if seat.black_box:
            raise UserError("a step of this env is a whole trajectory, whose inner steps no replay buffer holds; use PPO")
        space = seat.observation_space
        if any(is_image_space(part) for part in (space.values() if isinstance(space, gym.spaces.Dict) else [space])):
            raise UserError("this env shows pictures, which SB3's replay buffer stores transposed; use PPO")
        if self._buffer.optimize_memory_usage:
            raise UserError("optimize_memory_usage is on, so terminal observations are not stored; leave it off")
        if not self._buffer.handle_timeout_termination:
            raise UserError("handle_timeout_termination is off, so time limits would pay as terminations do; leave it on")

    def __len__(self) -> int:
        """Transitions stored, those of all envs counted."""
        return (self._buffer.buffer_size if self._buffer.full else self._buffer.pos) * self._buffer.n_envs

    @property
    def observations(self) -> Array:
        """All of them, [len, O]."""
        return self._flat(self._buffer.observations, slice(None, len(self)))

    def relabel(self) -> None:
        """Every stored transition pays what the reward in use says of it (PEBBLE, Lee et al. 2021, §4.3)."""
        rewards = self._buffer.rewards.reshape(-1)  # a view
        for begin in range(0, len(self), CHUNK):
            rows = slice(begin, min(begin + CHUNK, len(self)))
            rewards[rows] = 0.0 if self._seat.reward is None else self._due(self._seat.reward, rows)

    def _due(self, reward: RewardFunction, rows: slice) -> Array:
        """What the wrapper would pay today for these transitions, [n]."""
        before, after = (self._flat(seen, rows) for seen in (self._buffer.observations, self._buffer.next_observations))
        rewards = reward(before, self._actions(rows), after)
        if self._seat.rests:  # infos are not stored, but what moves no more is seen; terminal observations were scaled and back
            rewards[np.isclose(before, after, rtol=1e-5, atol=1e-6).all(axis=1)] = 0.0
        return rewards

    def _flat(self, stored: Any, rows: slice) -> Array:
        """Rows [n, O] of observations stored as [B, N, ...], each part of a Dict by itself."""
        space = self._seat.observation_space
        if isinstance(stored, dict):
            batch: Any = {name: _rows(values, rows, cast(Any, space)[name].shape) for name, values in stored.items()}
        else:
            batch = _rows(stored, rows, space.shape or ())
        return flat_observations(space, batch)

    def _actions(self, rows: slice) -> Array:
        space = self._model.action_space
        actions = _rows(self._buffer.actions, rows, space.shape or ())
        return self._model.policy.unscale_action(actions) if isinstance(space, gym.spaces.Box) else actions


def _rows(stored: Array, rows: slice, shape: tuple[int, ...]) -> Array:
    """Rows [n, *shape] of an array [B, N, ...]."""
    return stored.reshape(-1, *shape)[rows]


class Kept(VecEnvWrapper):
    """A model's env for others to act in: what happens goes into the model's replay buffer; the model goes on from there."""

    def __init__(self, model: OffPolicyAlgorithm) -> None:
        env = model.get_env()
        assert env is not None  # it is being trained
        super().__init__(env)
        self._model = model
        self._done = np.zeros(0)

    def reset(self) -> VecEnvObs:
        observations = self.venv.reset()
        self._model._last_obs = cast(Any, observations)
        scaled = self._model.get_vec_normalize_env()
        if scaled is not None:
            self._model._last_original_obs = cast(Any, scaled.get_original_obs())
        return observations

    def step_async(self, actions: Array) -> None:
        self._done = actions
        self.venv.step_async(actions)

    def step_wait(self) -> VecEnvStepReturn:
        observations, rewards, dones, infos = self.venv.step_wait()
        model = self._model
        assert model.replay_buffer is not None
        scaled = model.policy.scale_action(self._done) if isinstance(self.action_space, gym.spaces.Box) else self._done
        model._store_transition(model.replay_buffer, scaled, cast(Any, observations), rewards, dones, infos)
        return observations, rewards, dones, infos


def transitions(buffer: ReplayBuffer) -> dict[str, Array]:
    """What a buffer holds, and where it writes next, as named arrays."""
    filled = buffer.buffer_size if buffer.full else buffer.pos
    return {name: rows[:filled] for name, rows in _stored(buffer)} | {"place": np.array([buffer.pos, buffer.full])}


def restore_transitions(buffer: ReplayBuffer, arrays: Mapping[str, Array]) -> None:
    """The inverse of `transitions`."""
    for name, rows in _stored(buffer):
        rows[: len(arrays[name])] = arrays[name]
    buffer.pos, buffer.full = int(arrays["place"][0]), bool(arrays["place"][1])


def _stored(buffer: ReplayBuffer) -> Iterator[tuple[str, Array]]:
    """The buffer's arrays [B, N, ...] by name; of a Dict observation each part by itself."""
    for name in ("observations", "next_observations", "actions", "rewards", "dones", "timeouts"):
        stored = getattr(buffer, name)
        yield from ((f"{name}.{part}", rows) for part, rows in stored.items()) if isinstance(stored, dict) else [(name, stored)]
