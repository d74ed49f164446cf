"""Env steps → per-env episodes → segments that can be shown again."""

from __future__ import annotations

import math
import os
from collections import deque
from collections.abc import Mapping, Sequence
from dataclasses import astuple, dataclass
from typing import Any

import gymnasium as gym
import numpy as np

from rltrainer.core import Array, History, Segment, UserError

PENDING = 64
"""Steps that wait for their rows at most: one array operation for all of them costs little more than for one."""


@dataclass
class Episode:
    """A run of rows of one env, from its reset on. Row `start + t` holds what was seen before step t.

    rest: steps at the end in which the env was over already, though its episode went on
    """

    start: int
    seed: int
    steps: int = 0
    terminated: bool = False
    truncated: bool = False
    rest: int = 0

    @property
    def acted(self) -> int:
        """Steps before the rest."""
        return self.steps - self.rest

    @property
    def over(self) -> bool:
        """Whether what comes after its steps is time in which nothing happens."""
        return self.terminated or self.rest > 0


Source = tuple[int, Episode, int, int, int]
"""Env, episode, first and last possible start, and length of what a segment can be cut from."""


class Recorder:
    """The newest steps of each env, as raw flattened observations, and the segments cut from them.

    Every env has a ring of rows. An episode of n steps takes n + 1 rows, the last one for its terminal observation, so no
    segment can cross a reset.
    """

    def __init__(
        self,
        n_envs: int,
        observation: Array,
        action_space: gym.Space[Any],
        recent_steps: int,
        episode_limit: int | None,
    ) -> None:
        """observation: one flattened observation, for its size and dtype; episode_limit: the longest episode, in steps."""
        self.recent_steps = recent_steps
        self._rows = recent_steps // n_envs + 2 * (episode_limit or recent_steps) + 2
        shape = action_space.shape
        if shape is None:
            raise UserError(f"the action space {action_space} has no shape; rltrainer takes Box and Discrete actions")
        _check_room(n_envs * self._rows * observation.nbytes, n_envs, episode_limit)
        self._observations = np.zeros((n_envs, self._rows, *observation.shape), observation.dtype)
        self._actions = np.zeros((n_envs, self._rows, *shape), action_space.dtype)
        self._env_rewards = np.zeros((n_envs, self._rows))
        self._frames: list[dict[int, bytes]] = [{} for _ in range(n_envs)]
        self._flat_observations = self._observations.reshape(n_envs * self._rows, *observation.shape)  # views: one index
        self._flat_actions = self._actions.reshape(n_envs * self._rows, *shape)  # array is quicker than two
        self._flat_env_rewards = self._env_rewards.reshape(-1)
        self._first_rows = np.arange(n_envs) * self._rows
        self._heads = np.zeros(n_envs, np.int64)  # each env's newest row, counted from the first
        self._episodes: list[deque[Episode]] = [deque() for _ in range(n_envs)]
        self._current = np.zeros((n_envs, *observation.shape), observation.dtype)
        self._pending: list[tuple[Array, Array, Array]] = []  # steps of every env that have no row yet
        self._captures = False
        self.steps = 0

    @property
    def n_envs(self) -> int:
        return len(self._heads)

    @property
    def began(self) -> bool:
        """Whether any episode did."""
        return any(self._episodes)

    @property
    def current(self) -> Array:
        """What each env shows now, [N, O]."""
        return self._current

    def begin(self, env: int, seed: int, observation: Array, frame: bytes | None = None) -> None:
        """An env was reset to `observation` [O] by `reset(seed=seed)`."""
        self._write()
        self._heads[env] += bool(self._episodes[env])
        self._put(env, observation, frame)
        self._episodes[env].append(Episode(int(self._heads[env]), seed))
        self._forget(env)

    def see(self, env: int, observation: Array) -> None:
        """Replace what an env shows now: a black box tells its inner observation only with the steps that follow."""
        self._write()
        self._put(env, observation, None)

    def add(self, actions: Array, env_rewards: Array, next_observations: Array) -> None:
        """One step of every env: actions [N, *A], env_rewards [N], next_observations [N, O] (the terminal ones at an end).

        Many steps get their rows in one go, at the latest when somebody wants to read them. None of the arrays may change.
        """
        self._pending.append((actions, env_rewards, next_observations))
        self._current = next_observations
        self.steps += self.n_envs
        if len(self._pending) >= PENDING:
            self._write()

    def _write(self) -> None:
        """Give the K pending steps their rows."""
        if not self._pending:
            return
        actions, env_rewards, next_observations = (np.stack(part) for part in zip(*self._pending, strict=True))  # [K, N, ...]
        rows = self._heads + np.arange(len(self._pending) + 1)[:, None]  # [K + 1, N]
        rows = self._first_rows + rows % self._rows
        self._flat_actions[rows[:-1]] = actions
        self._flat_env_rewards[rows[:-1]] = env_rewards
        self._flat_observations[rows[1:]] = next_observations
        self._heads += len(self._pending)
        for episodes in self._episodes:
            episodes[-1].steps += len(self._pending)
            episodes[-1].rest += len(self._pending) if episodes[-1].rest else 0
        self._pending.clear()

    def add_to(self, env: int, action: Array, env_reward: float, next_observation: Array, frame: bytes | None = None) -> None:
        """One step of one env."""
        self._write()
        row = self._heads[env] % self._rows
        self._actions[env, row] = action
        self._env_rewards[env, row] = env_reward
        self._heads[env] += 1
        self._put(env, next_observation, frame)
        self._episodes[env][-1].steps += 1
        self._episodes[env][-1].rest += bool(self._episodes[env][-1].rest)
        self.steps += 1

    def rest(self, env: int) -> None:
        """In the env's newest step it was over already: no segment has this step, or those after it in the episode."""
        if not self._episodes[env][-1].rest:
            self._write()
            self._episodes[env][-1].rest = 1

    def end(self, env: int, *, terminated: bool, truncated: bool) -> None:
        """The env's newest step ended its episode."""
        self._write()
        self._episodes[env][-1].terminated = terminated
        self._episodes[env][-1].truncated = truncated

    def drop(self, env: int) -> None:
        """Forget the env's unfinished episode: nothing more is cut from it. `begin` is next."""
        self._write()
        dropped = self._episodes[env].pop()
        self._frames[env] = {row: frame for row, frame in self._frames[env].items() if row < dropped.start}

    def history(self, steps: int, envs: Sequence[int] | None = None) -> History:
        """The newest `steps` steps of these envs, or of all, as far as they are of the running episode."""
        self._write()
        which = np.arange(self.n_envs) if envs is None else np.asarray(envs)
        begun = np.array([self._episodes[env][-1].start for env in which])
        rows = self._heads[which, None] + np.arange(-steps, 1)  # [N, L + 1]
        blank = np.clip(begun - rows[:, 0], 0, steps)
        rows = which[:, None] * self._rows + np.maximum(rows, begun[:, None]) % self._rows
        return History(self._flat_observations[rows], self._flat_actions[rows[:, :-1]], blank)

    def sample(self, count: int, steps: int, rng: np.random.Generator) -> list[Segment]:
        """`count` segments of `steps` steps, each window of the newest `recent_steps` as likely as any other.

        A window may reach over the step that terminated an episode: what comes after it is time in which nothing happens.
        Where the env cuts all episodes off sooner, in a way that its spec does not tell, segments are whole episodes.
        Pairs of these alone would be near-on-policy queries (QPA: Hu et al. 2024, section 5.1); `asking` mixes older ones in.
        Empty while there is nothing to cut from.
        """
        self._write()
        sources = self._sources(steps)
        if not sources:
            return []
        weights = np.array([last - first + 1 for _, _, first, last, _ in sources], float)
        chosen = rng.choice(len(sources), size=count, p=weights / weights.sum())
        return [self._cut(sources[index], rng) for index in chosen]

    def last_episode(self, env: int) -> Segment:
        """The newest ended episode of an env, as one segment. Raises LookupError where none has ended."""
        self._write()
        ended = [episode for episode in self._episodes[env] if episode.terminated or episode.truncated]
        if not ended:
            raise LookupError(f"no episode of env {env} has ended in {self.steps} steps")
        return self._cut((env, ended[-1], 0, 0, ended[-1].acted), np.random.default_rng(0))

    # ------------------------------------------------------------------ to disk and back

    def state(self) -> dict[str, Array]:
        """The rows that segments can be cut from, and which episodes they are of, as named arrays.

        Of what the envs show now there is nothing: whoever restores it resets them.
        """
        self._write()
        rows = self._live_rows()
        pictures = [(env, row, frame) for env, frames in enumerate(self._frames) for row, frame in frames.items()]
        episodes = [(env, *astuple(episode)) for env, kept in enumerate(self._episodes) for episode in kept]
        return {
            "rows": rows,
            "observations": self._flat_observations[rows],
            "actions": self._flat_actions[rows],
            "env_rewards": self._flat_env_rewards[rows],
            "heads": self._heads.copy(),
            "episodes": np.array(episodes, np.int64).reshape(-1, 7),  # env, start, seed, steps, terminated, truncated, rest
            "steps": np.array([self.steps]),
            "pictures": np.frombuffer(b"".join(frame for *_, frame in pictures), np.uint8),
            "picture_places": np.array([(env, row, len(frame)) for env, row, frame in pictures], np.int64).reshape(-1, 3),
        }

    def restore(self, state: Mapping[str, Array]) -> None:
        """The inverse of `state`, into a recorder of the same envs."""
        rows = state["rows"]
        self._flat_observations[rows] = state["observations"]
        self._flat_actions[rows] = state["actions"]
        self._flat_env_rewards[rows] = state["env_rewards"]
        self._heads[:] = state["heads"]
        self.steps = int(state["steps"][0])
        self._pending.clear()
        for env in range(self.n_envs):
            self._episodes[env].clear()
            self._frames[env].clear()
        for env, start, seed, steps, terminated, truncated, rest in state["episodes"].tolist():
            self._episodes[env].append(Episode(start, seed, steps, bool(terminated), bool(truncated), rest))
        pictures = state["pictures"].tobytes()
        self._captures, begin = bool(pictures), 0
        for env, row, length in state["picture_places"].tolist():
            self._frames[env][row] = pictures[begin : begin + length]
            begin += length

    def _live_rows(self) -> Array:
        """Of the flat arrays, in order: all from each env's oldest episode on, up to a whole ring of them."""
        spans = [
            (env, max(episodes[0].start, int(head) - self._rows + 1), int(head) + 1)
            for env, (episodes, head) in enumerate(zip(self._episodes, self._heads, strict=True))
            if episodes
        ]
        rows = [env * self._rows + np.arange(begin, end) % self._rows for env, begin, end in spans]
        return np.concatenate([np.zeros(0, np.int64), *rows])

    def _sources(self, steps: int) -> list[Source]:
        """What segments of so many steps can be cut from; where nothing can, whole episodes that were truncated sooner."""
        episodes = [(env, episode) for env in range(self.n_envs) for episode in self._episodes[env]]
        found = [self._source(env, episode, steps) for env, episode in episodes]
        if not any(found):
            sooner = [(env, e) for env, e in episodes if e.truncated and not e.over and 0 < e.acted < steps]
            found = [self._source(env, episode, episode.acted) for env, episode in sooner]
        return [source for source in found if source is not None]

    def _source(self, env: int, episode: Episode, steps: int) -> Source | None:
        oldest = int(self._heads[env]) - self.recent_steps // self.n_envs
        if episode.start <= self._heads[env] - self._rows:  # its reset is overwritten: it can't be shown again
            return None
        if self._captures and not self._frames[env]:
            return None
        last = episode.acted - (1 if episode.over else steps)
        first = min(max(0, oldest - episode.start), last)
        if last < 0 or episode.start + min(last + steps, episode.acted) < oldest:
            return None
        return env, episode, first, last, steps

    def _cut(self, source: Source, rng: np.random.Generator) -> Segment:
        """A copy of the slice: later steps overwrite the ring, never the segment."""
        env, episode, first, last, steps = source
        start = int(rng.integers(first, last + 1))
        length = min(steps, episode.acted - start)
        reset, begin, end = episode.start, episode.start + start, episode.start + start + length
        whole = start + length == episode.acted
        return Segment(
            observations=self._slice(self._observations[env], begin, end + 1),
            actions=self._slice(self._actions[env], begin, end),
            env_rewards=self._slice(self._env_rewards[env], begin, end),
            episode_seed=episode.seed,
            lead_in=self._slice(self._actions[env], reset, begin),
            terminated=whole and episode.over,
            truncated=whole and episode.truncated and not episode.over,
            after=steps - length,
            policy_step=self.steps,
            frames=tuple(self._frames[env][row] for row in range(begin, end + 1)) if self._frames[env] else (),
        )

    def _slice(self, ring: Array, begin: int, end: int) -> Array:
        return ring.take(np.arange(begin, end) % self._rows, axis=0)

    def _put(self, env: int, observation: Array, frame: bytes | None) -> None:
        head = int(self._heads[env])
        self._observations[env, head % self._rows] = observation
        self._current = self._current.copy()  # whoever was handed the one before may keep it
        self._current[env] = observation
        if frame is not None:
            self._captures = True
            self._frames[env][head] = frame

    def _forget(self, env: int) -> None:
        """Drop episodes whose first row will be overwritten before the next one can end, and pictures nobody can ask for."""
        episodes, head = self._episodes[env], int(self._heads[env])
        while len(episodes) > 1 and episodes[1].start <= head - self.recent_steps // self.n_envs:
            episodes.popleft()
        for row in [row for row in self._frames[env] if row < episodes[0].start]:
            del self._frames[env][row]


def _check_room(size: int, n_envs: int, episode_limit: int | None) -> None:
    """Raises UserError where the newest steps would take more than half of the machine's memory: they fill it bit by bit."""
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") if hasattr(os, "sysconf") else math.inf
    if size > memory / 2:
        lasts = f"up to {episode_limit:,} steps" if episode_limit else "without end"
        raise UserError(
            f"the newest steps of {n_envs} envs with episodes {lasts} take {size / 1e9:.1f} GB, and this machine has "
            f"{memory / 1e9:.1f}; set fewer n_envs or segments.recent_steps, or a lower env_options.max_episode_steps"
        )
