"""The nouns of preference learning and the protocols of the seams. Imports nothing of ours.

What an answer means is written here and nowhere else.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from enum import StrEnum
from functools import cached_property
from typing import Any, Protocol, TypeGuard

import numpy as np
from numpy.typing import NDArray

Array = NDArray[Any]
Range = tuple[int, int]


INHERITED = "run:"
"""How the source of a label begins that another run's labeler gave; the run's name follows."""


FRAME, INNER_STEPS = "rltrainer.frame", "rltrainer.inner_steps"
"""Where a wrapper of ours puts a step's picture, and a black box its steps, into `info`: names that no env's own info has."""
REASON_LENGTH = 200
"""Most characters of a reason."""


class UserError(Exception):
    """A mistake that the user can mend: one sentence with the setting, the value found and the way out."""


class EnvFault(UserError):
    """An env failed, or gave something that would poison the policy; the run stops before it learns from it."""


class Verdict(StrEnum):
    """What a labeler said of a query. BOTH_BAD orders the two no more than EQUAL does, and teaches the same."""

    PREFER = "prefer"
    EQUAL = "equal"
    BOTH_BAD = "both_bad"
    SKIP = "skip"
    UNDO = "undo"


class Strength(StrEnum):
    """How much better the preferred segment is. PLAIN leaves it open: an answer without it is either of the other two."""

    SLIGHTLY = "slightly"
    PLAIN = "plain"
    MUCH = "much"


@dataclass(frozen=True, eq=False)
class Segment:
    """Consecutive steps of one episode, with what is needed to show them again.

    observations: raw and flattened, [T + 1, O]; row t + 1 is what step t led to (the terminal one at an end)
    actions:      as the env got them, [T, *action shape]
    env_rewards:  the env's own reward, [T]: for oracles and evaluation only
    episode_seed: `reset(seed=...)` that began the episode
    lead_in:      actions from that reset to this segment's first step, [S, *action shape]
    after:        steps after the episode's end in which nothing happens any more: K of them, so that T counts none of these
    frames:       encoded pictures, T + 1 of them, only where the env had to be captured as it stepped
    """

    observations: Array
    actions: Array
    env_rewards: Array
    episode_seed: int
    lead_in: Array
    terminated: bool = False
    truncated: bool = False
    after: int = 0
    policy_step: int = 0
    frames: tuple[bytes, ...] = ()

    def __len__(self) -> int:
        """T + K: two segments of one length are judged over the same time, also where an episode ended in one."""
        return len(self.actions) + self.after

    @cached_property
    def id(self) -> str:
        """Name of the content: a hash of what was seen and done."""
        digest = hashlib.sha256(f"{self.episode_seed}:{len(self.lead_in)}:{self.after}:".encode())
        for part in (self.observations, self.actions, self.env_rewards, self.lead_in):
            digest.update(np.ascontiguousarray(part).tobytes())
        return digest.hexdigest()[:32]

    @property
    def env_return(self) -> float:
        """Undiscounted sum of the env's own reward."""
        return float(self.env_rewards.sum())

    @property
    def whole(self) -> Range:
        """The range that speaks of every step."""
        return (0, len(self))


@dataclass(frozen=True, eq=False)
class InnerSteps:
    """What happened inside one step of a black-box env (movement primitives): K steps of the env within.

    observations: raw, K + 1 of them, as the inner env gave them
    actions:      [K, *inner action shape]
    env_rewards:  [K]
    """

    observations: list[Any]
    actions: Array
    env_rewards: Array


@dataclass(frozen=True)
class Query:
    """Two segments put side by side for someone to judge. `labeler`: who is asked, if they are there; "" for anybody."""

    id: str
    first: str
    second: str
    asked_at: int = 0
    strategy: str = "uniform"
    labeler: str = ""


@dataclass(frozen=True)
class Answer:
    """A judgement of one query. `preferred` names a segment, never a side; `strength` says how much better it is.

    reason: the labeler's own words for whoever reads the labels; nothing is learned from it
    """

    verdict: Verdict
    preferred: str | None = None
    trims: Mapping[str, Range] = field(default_factory=dict)
    strength: Strength = Strength.PLAIN
    reason: str = ""

    def __post_init__(self) -> None:
        if (self.verdict is Verdict.PREFER) != (self.preferred is not None):
            raise ValueError(
                f"an answer {self.verdict.value!r} with preferred={self.preferred!r}: only 'prefer' names a segment"
            )
        if self.verdict is not Verdict.PREFER and self.strength is not Strength.PLAIN:
            raise ValueError(f"an answer {self.verdict.value!r} with strength={self.strength.value!r}: only 'prefer' has one")
        if len(self.reason) > REASON_LENGTH:
            raise ValueError(f"a reason of {len(self.reason)} characters: at most {REASON_LENGTH}")

    def target(self, query: Query) -> float | None:
        """P(the first segment is better): 1, 0, or 0.5 for a tie; None where there is nothing to learn."""
        if self.verdict is Verdict.PREFER:
            return 1.0 if self.preferred == query.first else 0.0
        return 0.5 if self.verdict in (Verdict.EQUAL, Verdict.BOTH_BAD) else None


@dataclass(frozen=True)
class Label:
    """An answer as stored. The newest revision of (query, labeler) counts; older ones stay on record.

    seq: place in the store's order, what the learner's cursor counts
    """

    id: str
    query_id: str
    labeler: str
    answer: Answer
    revision: int = 0
    seq: int = 0
    created_at: float = 0.0
    source: str = "browser"

    @property
    def inherited(self) -> bool:
        """Whether it was given in another run: learned from, and no part of this run's budget."""
        return self.source.startswith(INHERITED)


@dataclass(frozen=True)
class Forecast:
    """What a version of the reward pays for each step of segments that wait to be judged, [T + K] by segment id.

    seq: its place among the run's forecasts
    """

    version: int
    rewards: Mapping[str, Sequence[float]]
    seq: int = 0


@dataclass(frozen=True)
class Link:
    """Whom a link lets in. An admin may change settings, and sees what everybody does."""

    labeler: str
    admin: bool = False


@dataclass(frozen=True)
class Comparison:
    """One training example: two segments, the range of each that was judged, P(first is better), how much better one is."""

    first: Segment
    second: Segment
    target: float
    first_range: Range
    second_range: Range
    query_id: str = ""
    labeler: str = ""
    strength: Strength = Strength.PLAIN

    @classmethod
    def of(cls, label: Label, query: Query, find: Callable[[str], Segment]) -> Comparison | None:
        """What a label teaches of the segments that `find` gives by their ids; None where that is nothing.

        Nothing is learned where no step was judged, on neither side: the time after an episode's end is worth 0 in any case.
        """
        target = label.answer.target(query)
        if target is None:
            return None
        first, second = find(query.first), find(query.second)
        ranges = [label.answer.trims.get(segment.id, segment.whole) for segment in (first, second)]
        if all(start >= len(segment.actions) for segment, (start, _) in zip((first, second), ranges, strict=True)):
            return None
        return cls(first, second, target, ranges[0], ranges[1], query.id, label.labeler, label.answer.strength)

    def swapped(self) -> Comparison:
        """The same answer about the same two, which stand the other way round."""
        return replace(
            self,
            first=self.second,
            second=self.first,
            target=1 - self.target,
            first_range=self.second_range,
            second_range=self.first_range,
        )

    @property
    def sees_end(self) -> bool:
        """Whether the time after an episode's end was judged, too."""
        return self.first_range[1] > len(self.first.actions) or self.second_range[1] > len(self.second.actions)

    @property
    def key(self) -> tuple[str, str]:
        """What a newer revision replaces."""
        return (self.query_id, self.labeler)


@dataclass(frozen=True)
class FitReport:
    """What a refit found. `held_out_accuracy` is None while too few labels are held out.

    held_out: P(first is better) of each comparison, [N], as foretold by what did not learn from it; NaN where all did
    settled:  whether another fit of the same comparisons would find the same
    """

    version: int
    comparisons: int
    train_loss: float
    held_out_loss: float | None
    held_out_accuracy: float | None
    held_out: Array | None = field(default=None, compare=False, repr=False)
    settled: bool = False


class RewardFunction(Protocol):
    """A frozen reward: the snapshot that the wrapper hands out. Its version names it in logs and checkpoints.

    Time after the end of an episode pays 0.
    """

    version: int

    def __call__(self, observations: Array, actions: Array, next_observations: Array) -> Array:
        """Rewards [N] of flattened observations [N, O], actions [N, *action shape] and next observations [N, O]."""
        ...


@dataclass(frozen=True)
class History:
    """The newest L steps of each of N envs, the newest of all last.

    observations: raw and flattened, [N, L + 1, O]
    actions:      as the envs got them, [N, L, *A]
    blank:        how many of the first of these steps came before the reset of the episode, [N]: they say nothing
    """

    observations: Array
    actions: Array
    blank: Array

    @classmethod
    def of(cls, segment: Segment) -> History:
        """A segment's steps, as if there had been none before them."""
        return cls(segment.observations[None], segment.actions[None], np.zeros(1, np.int64))


class HistoryReward(RewardFunction, Protocol):
    """A reward function that looks back. Called as one that doesn't, it takes each step for the first of its episode.

    context: how many steps it sees, the one that it pays among them
    """

    context: int

    def after(self, history: History, newest: int = 1) -> Array:
        """Rewards [N, newest] of the newest steps of each env."""
        ...


def looks_back(reward: RewardFunction) -> TypeGuard[HistoryReward]:
    """Whether what it pays depends on the steps before. Asked at every env step, so quick."""
    return hasattr(reward, "after")


def rewards_along(reward: RewardFunction, segment: Segment) -> Array:
    """What a reward pays for each step of a segment before its end, [T]."""
    if looks_back(reward):
        paid: Array = reward.after(History.of(segment), len(segment.actions))[0]
        return paid
    return reward(segment.observations[:-1], segment.actions, segment.observations[1:])


class Learner(Protocol):
    """Preference data → reward function (`rewards/`)."""

    def fit(self, comparisons: Sequence[Comparison], reference: Sequence[Segment]) -> FitReport:
        """Fit all comparisons so far; `reference` is the batch on which the output is normalised."""
        ...

    def member_returns(self, segments: Sequence[Segment]) -> Array:
        """Predicted return of each segment by each member, [M, N]."""
        ...

    def snapshot(self) -> RewardFunction: ...

    def state(self) -> dict[str, Array]:
        """Everything needed to go on, as named arrays."""
        ...

    def restore(self, state: Mapping[str, Array]) -> None: ...


class Strategy(Protocol):
    """Which pairs to ask (`queries/`): indices [count, 2] into the candidate segments.

    One with a keyword argument `beside` is told of the pairs that people have been asked about and not answered yet.
    """

    def __call__(self, segments: Sequence[Segment], learner: Learner, count: int, rng: np.random.Generator) -> Array: ...


class Teacher(Protocol):
    """A synthetic labeler (`teachers/`)."""

    def __call__(self, first: Segment, second: Segment, rng: np.random.Generator) -> Answer: ...
