"""Envs in processes of their own: one that dies, raises, hangs or gives NaN is named, and replaced."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from stable_baselines3.common.vec_env import SubprocVecEnv, VecEnv
from stable_baselines3.common.vec_env.base_vec_env import VecEnvObs, VecEnvStepReturn
from stable_baselines3.common.vec_env.subproc_vec_env import _stack_obs

from rltrainer.core import EnvFault
from rltrainer.env_process import END_SECONDS, HANG_SECONDS, EnvProcess, Lost, MakeEnv, Watch
from rltrainer.seeds import number

RESTARTS = 3
"""How often each env of a run is replaced; what fails once more is no accident."""
LOST = "rltrainer.lost"
"""In a step's info: it never happened, and the episode before it was dropped."""


class WatchedVecEnv(SubprocVecEnv):
    """SB3's SubprocVecEnv, whose envs may fail.

    The step in which an env is lost looks as if the env had stood still in it, with the reward of the step before, and the
    episode had then been cut off, as by a time limit: γV(s) is paid for what is missing, so that PPO's advantage of it is about
    0, and SAC learns one transition from s to s. Its info says `LOST`. The fresh env begins an episode with a seed that
    follows from the env's own seed and from how often it was replaced.
    """

    def __init__(
        self,
        makers: Sequence[MakeEnv],
        say: Callable[[str], None],
        meanwhile: Callable[[], None] = lambda: None,
        *,
        hang_seconds: float = HANG_SECONDS,
        start_method: str = "spawn",
    ) -> None:
        """
        say:       told of each env that is replaced
        meanwhile: called each second while an env does not answer; what it raises ends the waiting
        """
        self.waiting = self.closed = False
        self._makers, self._say, self._start_method = makers, say, start_method
        self._watch = Watch(hang_seconds, meanwhile)
        self.restarts = np.zeros(len(makers), np.int64)
        self.remotes: list[EnvProcess] = [self._started(env) for env in range(len(makers))]
        self._given: Sequence[int | None] = [None] * len(makers)
        self._last: list[tuple[Any, float]] = []  # of each env: what it shows, and what it paid in this episode at last
        try:
            self.remotes[0].send(("get_spaces", None))
            VecEnv.__init__(self, len(makers), *self.remotes[0].recv())
        except BaseException:
            self.close()
            raise

    def seed(self, seed: int | None = None) -> Sequence[int | None]:
        self._given = super().seed(seed)
        return self._given

    def reset(self) -> VecEnvObs:
        for process, seed, options in zip(self.remotes, self._seeds, self._options, strict=True):
            process.send(("reset", (seed, options)))
        begun = [self._begun(env, answer) for env, answer in enumerate(self._watch.answers(self.remotes))]
        observations, self.reset_infos = map(list, zip(*begun, strict=True))
        self._last = [(observation, 0.0) for observation in observations]
        self._reset_seeds()
        self._reset_options()
        return _stack_obs(observations, self.observation_space)

    def step_wait(self) -> VecEnvStepReturn:
        answers = self._watch.answers(self.remotes)
        self.waiting = False
        steps = [self._stood_still(env, found) if isinstance(found, Lost) else found for env, found in enumerate(answers)]
        observations, rewards, dones, infos, self.reset_infos = map(list, zip(*steps, strict=True))
        self._last = [(seen, 0.0 if done else paid) for seen, paid, done in zip(observations, rewards, dones, strict=True)]
        return _stack_obs(observations, self.observation_space), np.array(rewards), np.array(dones), infos

    def close(self) -> None:
        """Envs have `END_SECONDS` together to finish their step and close; who hangs is killed."""
        if self.closed:
            return
        deadline = time.monotonic() + END_SECONDS
        for process in self.remotes:
            process.send(("close", None))
        for process in self.remotes:
            process.end(deadline)
        self.closed = True

    def _started(self, env: int) -> EnvProcess:
        return EnvProcess(self._makers[env], f"env {env + 1} of {len(self._makers)}", self._watch, self._start_method)

    def _stood_still(self, env: int, lost: Lost) -> tuple[Any, float, bool, dict[str, Any], dict[str, Any]]:
        """The step that an env did not live to answer, and how the next episode begins."""
        seen, paid = self._last[env]
        observation, reset_info = self._begun(env, lost)
        return observation, paid, True, {"TimeLimit.truncated": True, "terminal_observation": seen, LOST: True}, reset_info

    def _begun(self, env: int, answer: Any) -> tuple[Any, dict[str, Any]]:
        """An env's answer to a reset; that of a fresh one where it was lost. Raises EnvFault where that was done too often."""
        while isinstance(answer, Lost):
            self._watch.meanwhile()
            if self.restarts[env] == RESTARTS:
                raise EnvFault(f"{answer}, and has been replaced {RESTARTS} times; mend the env") from answer
            self.restarts[env] += 1
            self._say(f"{answer}. A fresh one takes its place ({self.restarts[env]} of {RESTARTS}); its episode is dropped")
            self.remotes[env] = self._started(env)
            self.remotes[env].send(("reset", (self._fresh_seed(env), {})))
            (answer,) = self._watch.answers([self.remotes[env]])
        return answer  # type: ignore[no-any-return]

    def _fresh_seed(self, env: int) -> int | None:
        given = self._given[env]
        return None if given is None else number(np.random.SeedSequence([given, int(self.restarts[env])]))
