"""Env reward out, learned reward in: for one env, and for Stable-Baselines3's vectors of envs."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any, NamedTuple

import gymnasium as gym
import numpy as np
from gymnasium.utils import RecordConstructorArgs
from stable_baselines3.common.vec_env import DummyVecEnv, VecEnv, VecEnvWrapper, VecNormalize
from stable_baselines3.common.vec_env.base_vec_env import VecEnvObs, VecEnvStepReturn

from rltrainer.core import FRAME, INNER_STEPS, Array, EnvFault, InnerSteps, RewardFunction, UserError, looks_back
from rltrainer.envs import (
    SeededEpisodes,
    check_spaces,
    episode_limit,
    flat_observation,
    flat_observations,
    frames_per_second,
    layers,
)
from rltrainer.fancy import BlackBox, is_black_box
from rltrainer.guard import check_finite
from rltrainer.horizon import AT_REST, FixedHorizon
from rltrainer.recording import Recorder
from rltrainer.watchdog import LOST

RECENT_STEPS = 16_000
_RECORDED = ("recorded_observation_space", "recorded_action_space", "recorded_episode_limit")


WAYS = (
    "and what can be wrapped is one gymnasium.Env, by PreferenceRewardWrapper, or a VecEnv of Stable-Baselines3, such as "
    "make_vec_env gives, by PreferenceRewardVecWrapper"
)


class Inside(NamedTuple):
    """What is recorded of an env: its spaces, its longest episode in steps, and whether that lies inside a black box."""

    observation_space: gym.Space[Any]
    action_space: gym.Space[Any]
    episode_limit: int | None
    black_box: bool


class RewardSeat:
    """What both wrappers share: the recorder, the reward function in use, and the sums that it pays out.

    Until the first reward is learned every step pays 0; the env's own reward is never paid.
    """

    def __init__(self, n_envs: int, inside: Inside, recent_steps: int, steps_per_second: float) -> None:
        self.observation_space, self.action_space, limit, self.black_box = inside
        check_spaces(self.observation_space, self.action_space)
        sample = flat_observation(self.observation_space, self.observation_space.sample())
        self.recorder = Recorder(n_envs, np.zeros_like(sample), self.action_space, recent_steps, limit)
        self.reward: RewardFunction | None = None
        self.learned_returns = np.zeros(n_envs)
        self.episode_limit = limit
        self.steps_per_second = steps_per_second
        self.rests = False  # whether episodes may be over before they end: with `FixedHorizon`

    def begin(self, env: int, observation: Any, info: dict[str, Any]) -> None:
        """An env was reset. A black box gives its policy's observation here, so the recorder waits for the inner one."""
        blank = np.zeros_like(self.recorder.current[env])
        seen = blank if self.black_box else flat_observation(self.observation_space, observation)
        if not np.isfinite(observation if self.black_box else seen).all():
            raise EnvFault(f"the env began an episode with NaN or infinity after {self.recorder.steps} steps; mend the env")
        self.recorder.begin(env, info["episode_seed"], seen, info.pop(FRAME, None))
        self.learned_returns[env] = 0.0

    def pay(self, actions: Array, env_rewards: Array, next_observations: Array, resting: Sequence[int] = ()) -> Array:
        """Learned rewards [N] of one step of every env: actions [N, *A], next_observations [N, O].

        resting: the envs that were over already, which pay 0
        """
        observations = self.recorder.current  # [N, O]
        self.recorder.add(actions, env_rewards, next_observations)
        rewards = self._rewards(observations, actions, next_observations)
        for env in resting:
            self.recorder.rest(env)
            rewards[env] = 0.0
        self._check(rewards, env_rewards, next_observations)
        self.learned_returns += rewards
        return rewards

    def pay_one(self, env: int, action: Array, env_reward: float, next_observation: Array, info: dict[str, Any]) -> float:
        """The learned reward of one step of one env, whose info may hold a picture."""
        observation = self.recorder.current[env]
        self.recorder.add_to(env, action, env_reward, next_observation, info.pop(FRAME, None))
        if AT_REST in info:
            self.recorder.rest(env)
            return 0.0
        rewards = self._rewards(observation[None], np.asarray(action)[None], next_observation[None], env)
        self._check(rewards, np.array([env_reward]), next_observation)
        self.learned_returns[env] += rewards[0]
        return float(rewards[0])

    def pay_inner(self, env: int, inner: InnerSteps) -> float:
        """The learned reward of one step of a black box: the sum over its K inner steps.

        A trajectory that the box refused to try (K = 0) pays as a whole episode one standard deviation below the mean.
        """
        if not len(inner.actions):
            refused = float(self.episode_limit or 1)
            self.learned_returns[env] -= refused
            return -refused
        seen = np.stack([flat_observation(self.observation_space, o) for o in inner.observations])  # [K + 1, O]
        self.recorder.see(env, seen[0])
        for action, env_reward, after in zip(inner.actions, inner.env_rewards, seen[1:], strict=True):
            self.recorder.add_to(env, action, env_reward, after)
        rewards = self._rewards(seen[:-1], inner.actions, seen[1:], env)
        self._check(rewards, inner.env_rewards, seen)
        self.learned_returns[env] += rewards.sum()
        return float(rewards.sum())

    def _rewards(self, observations: Array, actions: Array, next_observations: Array, env: int | None = None) -> Array:
        """Of the newest step of every env, or of the newest ones of one env, which are recorded already."""
        if self.reward is None:
            return np.zeros(len(observations))
        if looks_back(self.reward):
            envs, newest = (None, 1) if env is None else ([env], len(observations))
            history = self.recorder.history(self.reward.context + newest - 1, envs)
            return self.reward.after(history, newest).reshape(-1)
        return self.reward(observations, actions, next_observations)

    def _check(self, rewards: Array, env_rewards: Array, observations: Array) -> None:
        """Raises EnvFault before anything that is not a number reaches the policy."""
        check_finite(observations, env_rewards, self.recorder.steps)
        if not math.isfinite(rewards.sum()):
            learned = f"the learned reward is not finite after {self.recorder.steps} steps"
            raise EnvFault(f"{learned}; if nets learn it, lower reward.learning_rate")


class PreferenceRewardWrapper(gym.Wrapper[Any, Any, Any, Any], RecordConstructorArgs):
    """Replaces an env's reward by one that is learned from preferences (Christiano et al. 2017).

    `step` gives the learned reward as a float, 0.0 before anything was learned, and the env's own one as
    `info["env_reward"]`. A `PreferenceLoop` sets `reward` and reads `recorder`.
    """

    def __init__(self, env: gym.Env[Any, Any], recent_steps: int = RECENT_STEPS) -> None:
        """recent_steps: how many of the newest steps segments are cut from. Raises UserError for spaces we can't take."""
        RecordConstructorArgs.__init__(self, recent_steps=recent_steps)
        _refuse_layers(env)
        inner = env if _seeded(env) else SeededEpisodes(env)
        super().__init__(inner)
        inside = Inside(inner.observation_space, inner.action_space, episode_limit(inner), black_box=False)
        if any(isinstance(layer, BlackBox) for layer in layers(inner)):
            observation_space, action_space, limit = (inner.get_wrapper_attr(name) for name in _RECORDED)
            inside = Inside(observation_space, action_space, limit, black_box=True)
        self.seat = RewardSeat(1, inside, recent_steps, frames_per_second(inner))
        self.seat.rests = any(isinstance(layer, FixedHorizon) for layer in layers(inner))
        self._over = False

    @property
    def recorder(self) -> Recorder:
        """The newest steps."""
        return self.seat.recorder

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> tuple[Any, dict[str, Any]]:
        observation, info = self.env.reset(seed=seed, options=options)
        self.seat.begin(0, observation, info)
        self._over = False
        return observation, info

    def step(self, action: Any) -> tuple[Any, float, bool, bool, dict[str, Any]]:
        if self._over:
            raise UserError("the episode is over, and a step was asked for; call reset() first")
        action = _acted(self.env.action_space, action)
        observation, env_reward, terminated, truncated, info = self.env.step(action)
        inner: InnerSteps | None = info.pop(INNER_STEPS, None)
        if inner is not None:
            reward = self.seat.pay_inner(0, inner)
        else:
            after = flat_observation(self.seat.observation_space, observation)
            reward = self.seat.pay_one(0, np.asarray(action), float(env_reward), after, info)
        info["env_reward"] = float(env_reward)
        self._over = bool(terminated or truncated)
        if self._over:
            self.recorder.end(0, terminated=terminated, truncated=truncated)
            info["learned_return"] = float(self.seat.learned_returns[0])
        return observation, reward, terminated, truncated, info


class PreferenceRewardVecWrapper(VecEnvWrapper):
    """The same for a Stable-Baselines3 VecEnv: one batched reward for all envs.

    Put `VecNormalize` outside of it and `Monitor` inside, in each env.
    """

    def __init__(self, venv: VecEnv, recent_steps: int = RECENT_STEPS) -> None:
        """Raises UserError for spaces we can't take, and for envs that can't be told their episodes' seeds."""
        if not isinstance(venv, VecEnv):
            raise UserError(f"the env is a {type(venv).__name__}, {WAYS}")
        super().__init__(venv)
        _refuse_scales(venv)
        _seed_episodes(venv)
        observation_space, action_space, limit = (venv.get_attr(name, 0)[0] for name in _RECORDED)
        inside = Inside(venv.observation_space, venv.action_space, limit, black_box=False)
        if all(venv.env_is_wrapped(BlackBox)):
            inside = Inside(observation_space, action_space, limit, black_box=True)
        self.seat = RewardSeat(venv.num_envs, inside, recent_steps, venv.get_attr("recorded_steps_per_second", 0)[0])
        self._actions = np.zeros(0)
        self._films = False
        self.seat.rests = any(venv.env_is_wrapped(FixedHorizon))

    @property
    def recorder(self) -> Recorder:
        """The newest steps of each env."""
        return self.seat.recorder

    def reset(self) -> VecEnvObs:
        observations = self.venv.reset()
        self._films = any(FRAME in info for info in self.venv.unwrapped.reset_infos)
        for env, info in enumerate(self.venv.unwrapped.reset_infos):
            self.seat.begin(env, _row(observations, env), info)
        return observations

    def step_async(self, actions: Array) -> None:
        acted = _acted(self.venv.action_space, actions)
        self._actions = np.array(acted)  # the recorder keeps them
        self.venv.step_async(acted)

    def step_wait(self) -> VecEnvStepReturn:
        observations, env_rewards, dones, infos = self.venv.step_wait()
        ended: list[int] = dones.nonzero()[0].tolist() if any(dones) else []  # quicker than dones.any() on a few
        env_rewards = np.array(env_rewards, np.float32)  # as DummyVecEnv rounds them, and SubprocVecEnv does not
        if self.seat.black_box:
            rewards = np.array([self._pay_inner(env, info) for env, info in enumerate(infos)])
        else:
            rewards = self._pay(observations, env_rewards, ended, infos)
        for info, env_reward in zip(infos, env_rewards.tolist(), strict=True):
            info["env_reward"] = env_reward
        for env in ended:
            self._turn(env, observations, infos[env])
        return observations, rewards.astype(np.float32), dones, infos

    def _pay(self, observations: VecEnvObs, env_rewards: Array, ended: list[int], infos: list[dict[str, Any]]) -> Array:
        space = self.seat.observation_space
        after = flat_observations(space, observations)  # [N, O]
        if ended:
            after = after.copy()
            for env in ended:
                after[env] = flat_observation(space, infos[env]["terminal_observation"])
        if not self._films:
            resting = [env for env, info in enumerate(infos) if AT_REST in info] if self.seat.rests else ()
            return self.seat.pay(self._actions, env_rewards, after, resting)
        steps = zip(self._actions, env_rewards, after, infos, strict=True)
        return np.array([self.seat.pay_one(env, np.asarray(a), float(r), o, i) for env, (a, r, o, i) in enumerate(steps)])

    def _pay_inner(self, env: int, info: dict[str, Any]) -> float:
        return 0.0 if LOST in info else self.seat.pay_inner(env, info.pop(INNER_STEPS))

    def _turn(self, env: int, observations: VecEnvObs, info: dict[str, Any]) -> None:
        """The env's episode ended, or it was lost in the middle of one, and it has been reset already."""
        if LOST in info:
            self.recorder.drop(env)
        else:
            truncated = bool(info.get("TimeLimit.truncated", False))
            self.recorder.end(env, terminated=not truncated, truncated=truncated)
            info["learned_return"] = float(self.seat.learned_returns[env])
        self.seat.begin(env, _row(observations, env), self.venv.unwrapped.reset_infos[env])


def _acted(space: gym.Space[Any], actions: Any) -> Any:
    """What the env gets, which is what is recorded: a caller's float64 would lead where its record in float32 does not."""
    return np.asarray(actions, space.dtype) if isinstance(space, gym.spaces.Box) else actions


def _row(observations: VecEnvObs, env: int) -> Any:
    """One env's observation out of what a VecEnv gives."""
    if isinstance(observations, dict):
        return {name: values[env] for name, values in observations.items()}
    if isinstance(observations, tuple):
        return tuple(values[env] for values in observations)
    return observations[env]


def _seeded(env: gym.Env[Any, Any]) -> bool:
    return any(isinstance(layer, SeededEpisodes) for layer in layers(env))


def _refuse_scales(venv: VecEnv) -> None:
    """Segments of scaled observations go stale with every change of the scale, and so do scaled true rewards."""
    inner: VecEnv | None = venv
    while isinstance(inner, VecEnvWrapper):
        if isinstance(inner, VecNormalize):
            raise UserError(
                "a VecNormalize is inside PreferenceRewardVecWrapper, whose segments hold raw observations; "
                "put it outside: VecNormalize(PreferenceRewardVecWrapper(venv))"
            )
        if isinstance(inner, PreferenceRewardVecWrapper):
            raise UserError("PreferenceRewardVecWrapper is inside PreferenceRewardVecWrapper; wrap once")
        inner = inner.venv
    for layer, why in MISPLACED.items():
        if any(venv.env_is_wrapped(layer)):
            raise UserError(f"{layer.__name__} is inside PreferenceRewardVecWrapper: {why}")


def _refuse_layers(env: Any) -> None:
    """The same for one env."""
    if not isinstance(env, gym.Env):
        raise UserError(f"the env is a {type(env).__name__}, {WAYS}")
    for layer, why in MISPLACED.items():
        if any(isinstance(inner, layer) for inner in layers(env)):
            raise UserError(f"{layer.__name__} is inside PreferenceRewardWrapper: {why}")
    if is_black_box(env) and not any(isinstance(layer, BlackBox) for layer in layers(env)):
        raise UserError("the env is fancy_gym's movement primitives as they are; make it with rltrainer.make_env(id)")


MISPLACED: dict[type[Any], str] = {
    PreferenceRewardWrapper: "wrap once; of a VecEnv wrap the whole",
    gym.wrappers.NormalizeObservation: "segments hold raw observations; put it outside",
    gym.wrappers.NormalizeReward: "oracles judge by the raw reward; put it outside",
    gym.wrappers.Autoreset: "the end of an episode cannot be seen through it; leave it out, or put it outside",
}
"""Layers that may not lie inside, and why."""


def _seed_episodes(venv: VecEnv) -> None:
    """Every env gets SeededEpisodes; in this process that is done in place."""
    if all(venv.env_is_wrapped(SeededEpisodes)):
        return
    base = venv.unwrapped
    if not isinstance(base, DummyVecEnv):
        raise UserError(
            f"the VecEnv is a {type(base).__name__}, whose envs cannot be wrapped from here, and clips need their episodes' "
            "seeds; make each env with rltrainer.make_env(id), or pass wrapper_class=SeededEpisodes to make_vec_env"
        )
    base.envs = [env if _seeded(env) else SeededEpisodes(env) for env in base.envs]
