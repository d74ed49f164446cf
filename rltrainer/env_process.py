"""One env in a process of its own, which may fail as it likes: what failed, and how, is known here."""

from __future__ import annotations

import contextlib
import math
import multiprocessing
import os
import select
import signal
import sys
import threading
import time
import traceback
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from multiprocessing.connection import Connection, wait
from pathlib import Path
from typing import Any

import gymnasium as gym
import numpy as np
from gymnasium.utils import RecordConstructorArgs
from stable_baselines3.common.vec_env.base_vec_env import CloudpickleWrapper
from stable_baselines3.common.vec_env.subproc_vec_env import _worker

from rltrainer.core import INNER_STEPS, EnvFault, InnerSteps

MakeEnv = Callable[[], gym.Env[Any, Any]]

SLICE_SECONDS = 1.0
"""Between two looks at envs that have not answered. A trainer that is stopped itself (Ctrl-Z) waits for one slice at most."""
HANG_SECONDS = 60.0
START_SECONDS = 300.0
"""Until a fresh env has taken its first step: it imports, loads and compiles before that."""
SLOWER = 10.0
"""How much longer than its slowest answer so far an env may take: a reset may be many steps' work."""
END_SECONDS = 5.0
"""For an env that is told to end."""


class Lost(EnvFault):
    """An env's process that answers no more. The sentence says which, and why."""


@dataclass(frozen=True)
class Raised:
    """An exception in an env's process, in words: the object itself might be known there only."""

    words: str


# ------------------------------------------------------------------ the trainer's side


class Watch:
    """How long envs are waited for, and what is looked at meanwhile."""

    def __init__(self, hang_seconds: float = HANG_SECONDS, meanwhile: Callable[[], None] = lambda: None) -> None:
        """meanwhile: called each second while an env does not answer; what it raises ends the waiting"""
        self.hang_seconds, self.meanwhile = hang_seconds, meanwhile

    def answers(self, processes: Sequence[EnvProcess]) -> list[Any]:
        """What each of them answers; a `Lost` where one died, raised, or took too long."""
        found: dict[EnvProcess, Any] = {}
        left, waited = list(processes), 0.0
        while left:
            answered = _answered(left)
            for process in answered:
                found[process] = process.take(waited)
            if not answered:
                waited += SLICE_SECONDS
                self.meanwhile()
                found |= {process: process.lost(why) for process in left if (why := process.failing(waited)) is not None}
            left = [process for process in left if process not in found]
        return [found[process] for process in processes]


class EnvProcess:
    """An env elsewhere. `send` and `recv` are what SB3's SubprocVecEnv does with a pipe to one."""

    def __init__(self, make: MakeEnv, place: str, watch: Watch, start_method: str) -> None:
        """place: which of the envs it is, in words"""
        context: Any = multiprocessing.get_context(start_method)
        theirs: Connection
        self._pipe: Connection
        self._pipe, theirs = context.Pipe()
        self._process = context.Process(target=_serve, args=(theirs, self._pipe, CloudpickleWrapper(make)), daemon=True)
        self._process.start()
        theirs.close()
        self._name = f"{place} (process {self._process.pid})"
        self._watch = watch
        self._asked, self._steps, self._slowest = "", 0, 0.0

    def fileno(self) -> int:
        """Of the pipe to it."""
        return self._pipe.fileno()

    def send(self, command: tuple[str, Any]) -> None:
        """Ask for something; that nobody is there is found out by whoever waits for the answer."""
        self._asked = command[0]
        self._steps += self._asked == "step"
        with contextlib.suppress(OSError):
            self._pipe.send(command)

    def recv(self) -> Any:
        """The answer. Raises Lost."""
        (answer,) = self._watch.answers([self])
        if isinstance(answer, Lost):
            raise answer
        return answer

    def take(self, waited: float) -> Any:
        """What has come, or the Lost that says why nothing will; waited: seconds that this took, in whole slices."""
        if self._asked in ("step", "reset"):  # and not what comes first, with all that is to be imported
            self._slowest = max(self._slowest, waited)
        try:
            answer = self._pipe.recv()
        except (EOFError, OSError):
            return self.lost(self._last_words())
        return self.lost(answer.words) if isinstance(answer, Raised) else answer

    def failing(self, waited: float) -> str | None:
        """Why it will not answer any more, after so many seconds of silence; None while it may."""
        if not self._process.is_alive():
            return None if self._pipe.poll() else self._last_words()
        least = self._watch.hang_seconds if self._steps > 1 else START_SECONDS
        limit = max(least, SLOWER * self._slowest)
        return f"has not answered for {limit:g} s" if waited >= limit else None

    def lost(self, why: str) -> Lost:
        """Nothing is left of it but the reason."""
        self.kill()
        return Lost(f"{self._name} {why} {f'at its step {self._steps:,}' if self._steps else 'before its first step'}")

    def end(self, deadline: float) -> None:
        """Wait until then (monotonic seconds) for it to finish what it was asked, and no longer."""
        with contextlib.suppress(EOFError, OSError):
            while self._pipe.poll(max(0.0, deadline - time.monotonic())):
                self._pipe.recv_bytes()  # until there is an end to read
        self._process.join(max(0.0, deadline - time.monotonic()))
        self.kill()

    def kill(self) -> None:
        """At once, and leave no zombie. A process that ended already stays as it is."""
        self._process.kill()
        self._process.join()
        self._pipe.close()

    def _last_words(self) -> str:
        """How a process ended that has closed its pipe."""
        self._process.join(END_SECONDS)
        code = self._process.exitcode
        if code is None:
            return "closed its pipe"
        names = {-one: one.name for one in signal.Signals}
        return f"died of signal {names.get(code, -code)}" if code < 0 else f"ended with exit code {code}"


def _answered(processes: Sequence[EnvProcess]) -> Sequence[EnvProcess]:
    """Those from which something can be read, be it the end; none after a slice of silence."""
    if sys.platform == "win32":
        return wait(processes, SLICE_SECONDS)
    by_file = {process.fileno(): process for process in processes}
    poll = select.poll()  # half of what `wait` costs, several times in each step
    for file in by_file:
        poll.register(file, select.POLLIN)
    return [by_file[file] for file, _ in poll.poll(1000 * SLICE_SECONDS)]


# ------------------------------------------------------------------ the env's side


class NotFinite(Exception):
    """What an env gave would poison whoever learns from it."""


class Finite(gym.Wrapper[Any, Any, Any, Any], RecordConstructorArgs):
    """Raises NotFinite in place of NaN, and of infinite observations. An infinite reward is the env's own affair."""

    def __init__(self, env: gym.Env[Any, Any]) -> None:
        RecordConstructorArgs.__init__(self)
        gym.Wrapper.__init__(self, env)

    def reset(self, **options: Any) -> tuple[Any, dict[str, Any]]:
        observation, info = self.env.reset(**options)
        if not is_finite(observation):
            raise NotFinite("began an episode with NaN or infinity")
        return observation, info

    def step(self, action: Any) -> tuple[Any, Any, bool, bool, dict[str, Any]]:
        observation, reward, terminated, truncated, info = self.env.step(action)
        inner: InnerSteps | None = info.get(INNER_STEPS)
        if not is_finite(observation) or (inner is not None and not all(map(is_finite, inner.observations))):
            raise NotFinite("gave an observation with NaN or infinity")
        if math.isnan(reward) or (inner is not None and np.isnan(inner.env_rewards).any()):
            raise NotFinite("gave a reward that is NaN")
        return observation, reward, terminated, truncated, info


def is_finite(observation: Any) -> bool:
    """Whether an observation, in all its parts, is made of numbers."""
    if isinstance(observation, np.ndarray):
        return observation.dtype.kind != "f" or bool(np.isfinite(observation).all())
    if isinstance(observation, dict):
        return all(map(is_finite, observation.values()))
    if isinstance(observation, tuple):
        return all(map(is_finite, observation))
    return bool(np.isfinite(observation))


def _serve(pipe: Connection, theirs: Connection, make: CloudpickleWrapper) -> None:
    """Answers until it is told to end, or its env fails, or whoever asks is gone."""
    threading.Thread(target=_end_with_parent, daemon=True).start()
    try:
        _worker(pipe, theirs, CloudpickleWrapper(partial(_made, make.var)))
    except ConnectionError:
        return
    except Exception as error:  # noqa: BLE001 - an env is foreign code and may raise anything
        with contextlib.suppress(OSError):
            pipe.send(Raised(_words(error)))


def _made(make: MakeEnv) -> gym.Env[Any, Any]:
    return Finite(make())


def _end_with_parent() -> None:
    """An env that hangs would outlive a trainer that is killed."""
    parent = multiprocessing.parent_process()
    if parent is not None:
        parent.join()
        os._exit(1)


def _words(error: Exception) -> str:
    """What was raised, and in which line."""
    if isinstance(error, NotFinite):
        return str(error)
    *_, place = traceback.extract_tb(error.__traceback__)
    said = " ".join(str(error).split()).rstrip(".")
    where = f"{Path(place.filename).name}:{place.lineno}"
    return f"raised {type(error).__name__}{f': {said}' if said else ''} ({where})"
