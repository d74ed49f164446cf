"""Which pairs to ask about now, and how many: what the schedule allows, chosen among what the agent just did and did before."""

from __future__ import annotations

import inspect
import time
import uuid
from collections.abc import Set as AbstractSet
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from rltrainer.config import Config, Queries
from rltrainer.core import Comparison, Learner, Query, Segment, Strategy, Teacher, UserError
from rltrainer.identity import why_not_shown
from rltrainer.queries import STRATEGIES
from rltrainer.recording import Recorder
from rltrainer.repeats import STRATEGY as REPEAT
from rltrainer.repeats import Repeats
from rltrainer.schedule import Schedule
from rltrainer.store import ORACLE, Store
from rltrainer.taken import Taken

AT_RANDOM = {"strategy": "uniform", "decay": 100.0, "warmup_share": 0.1}
"""How pairs are asked where no reward is learned and nothing else is set: nothing knows of a better pair, and a label teaches
most of the policy that it is about, so most are asked while it learns, at an even rate."""


BLIND = ("uniform", "near_on_policy")
"""Strategies that need no reward."""


def without_reward(config: Config) -> Config:
    """The config of a run that learns none: `AT_RANDOM`, but for what is set. Raises UserError where nothing can choose so."""
    given, usual = config.queries, Queries()
    if given.strategy in STRATEGIES and given.strategy not in (usual.strategy, *BLIND):
        raise UserError(
            f"queries.strategy is {given.strategy!r}, which asks by a learned reward; here is none, so leave it unset"
        )
    unset = [name for name in AT_RANDOM if getattr(given, name) == getattr(usual, name)]
    return config.but({f"queries.{name}": AT_RANDOM[name] for name in unset})


@dataclass(eq=False)
class Asker:
    """Puts pairs of segments into the store: a queue that people find filled, or a batch that a teacher answers at once.

    strategy:  the one that the config names
    inherited: queries of an earlier run, whose labels came with it
    rng, teacher_rng: for what is asked, and for the answers
    starved:   whether there was nothing new to ask about: nothing is cut from an episode shorter than a segment, or longer
               than is kept of it
    """

    config: Config
    strategy: Strategy
    schedule: Schedule
    store: Store
    taken: Taken
    recorder: Recorder
    learner: Learner
    teacher: Teacher | None
    repeats: Repeats
    segment_steps: int
    inherited: AbstractSet[str]
    rng: np.random.Generator
    teacher_rng: np.random.Generator
    starved: bool = False

    def top_up(self, step: int) -> bool:
        """Ask what is due at that env step: people as far as their queue has room, a teacher once there is a batch of it.

        Gives whether anything was. Raises OSError where the disk takes no more.
        """
        self.starved = False
        count = int(self._due_to_people(step) if self.teacher is None else self._due_to_teacher(step))
        if count < 1:
            return False
        self.ask(count, step)
        return True

    def _due_to_people(self, step: int) -> float:
        waiting = self._make_room(self.store.waiting(), step)
        free = min(self._due(step), self._queue_size()) - len(waiting)
        return free - self._ask_again(step) if free >= 1 else 0

    def _due_to_teacher(self, step: int) -> float:
        batch, labels = self.config.queries.batch, self.config.labels
        due = self._due(step) if labels else batch
        least = min(batch, labels - self.given) if labels else batch
        if due < max(1, least):
            return 0
        waiting = self.store.waiting()
        if waiting:  # a full disk came between the question and its answer
            self.store.withdraw([query.id for query in waiting])
        return due

    def _due(self, step: int) -> float:
        """Pairs that should have been asked by then, without those that were answered."""
        return self.schedule.asked_by(step) - self.given

    @property
    def given(self) -> int:
        """Answers of this run that something is learned from."""
        return sum(query_id not in self.inherited for query_id, _ in self.taken.comparisons)

    def ask(self, count: int, step: int) -> None:
        """Choose `count` pairs among candidates, store them, and have a teacher answer at once. Raises OSError, as `top_up`."""
        fresh, candidates = self._candidates(2 * count * self.config.queries.candidates)
        self.starved = not fresh
        if self.starved or len(candidates) < 2:
            return
        most = min(2 * count, len(candidates) // 2)
        chosen = self.strategy(candidates, self.learner, most, self.rng, **self._beside())
        before = {frozenset((c.first.id, c.second.id)) for c in self.taken.comparisons.values()}
        pairs = [(candidates[i], candidates[j]) for i, j in chosen]
        pairs = [(a, b) for a, b in pairs if frozenset((a.id, b.id)) not in before][:count]
        queries = self.store.ask(pairs, step, self.config.queries.strategy)
        self.taken.shown |= {query.id: pair for query, pair in zip(queries, pairs, strict=True)}
        if self.teacher is not None:
            answers = [
                (uuid.uuid4().hex, q.id, self.teacher(a, b, self.teacher_rng)) for q, (a, b) in zip(queries, pairs, strict=True)
            ]
            self.store.save_labels("oracle", answers, source=ORACLE)

    def _beside(self) -> dict[str, list[tuple[Segment, Segment]]]:
        """The pairs that people are to answer yet, for a strategy that keeps apart from them: they are asked one by one."""
        if self.teacher is not None or "beside" not in inspect.signature(self.strategy).parameters:
            return {}
        shown = self.taken.shown
        return {"beside": [shown[query.id] for query in self.store.waiting() if query.id in shown]}

    def _candidates(self, count: int) -> tuple[list[Segment], list[Segment]]:
        """Segments of the newest policy; and these with as many, up to half of all, that were judged before.

        Within what one policy does there is nothing to tell that it is no better than an earlier one. An agent that is paid for
        a posture it keeps up shows no other, and only a pair with what came before says what that is worth.
        """
        compared = self._showable()
        known = {segment.id: segment for c in compared for segment in (c.first, c.second)}
        own = [side for c in compared if c.query_id not in self.inherited for side in (c.first, c.second)]
        lengths = {self.segment_steps, *map(len, own)}  # an earlier run may have had others
        judged = [segment for segment in known.values() if len(segment) in lengths]
        again = [judged[index] for index in self.rng.permutation(len(judged))[: count // 2]]
        fresh = self.recorder.sample(count - len(again), self.segment_steps, self.rng)
        return fresh, list({segment.id: segment for segment in [*fresh, *again]}.values())

    def _showable(self) -> list[Comparison]:
        """All comparisons; where people are asked and an earlier run's env was another one, those of this run alone."""
        compared = list(self.taken.comparisons.values())
        if self.teacher is not None or all(c.query_id not in self.inherited for c in compared) or self._shows_earlier:
            return compared
        return [c for c in compared if c.query_id not in self.inherited]

    @cached_property
    def _shows_earlier(self) -> bool:
        """Whether this env goes through what the earlier run's labels are about as that one's did: by its longest way."""
        earlier = [c for c in self.taken.comparisons.values() if c.query_id in self.inherited]
        sides = [side for c in earlier for side in (c.first, c.second)]
        return why_not_shown(max(sides, key=lambda side: len(side.lead_in) + len(side.actions)), self.config) is None

    def _ask_again(self, step: int) -> int:
        """Where it is time, show somebody a pair that they answered, sides swapped. Gives how many: 1 or 0."""
        chosen = self.repeats.due([c for c in self.taken.comparisons.values() if c.query_id not in self.inherited])
        if chosen is None:
            return 0
        pair = (chosen.second, chosen.first)
        (query,) = self.store.ask([pair], step, REPEAT, chosen.labeler)
        self.taken.shown[query.id] = pair
        self.repeats.asked(chosen, query)
        return 1

    def _make_room(self, waiting: list[Query], step: int) -> list[Query]:
        """Withdraw pairs about a policy long gone that nobody is looking at; fresh ones take their place."""
        oldest = step - self.config.segments.recent_steps
        shown = self.taken.shown
        stale = [q.id for q in waiting if q.strategy != REPEAT and (q.id not in shown or q.asked_at < oldest)]
        if not stale:
            return waiting
        looked_at = self.store.leased(time.time())
        gone = {query_id for query_id in stale if query_id not in looked_at}
        self.store.withdraw(sorted(gone))
        for query_id in gone:
            shown.pop(query_id, None)
        return [query for query in waiting if query.id not in gone]

    def _queue_size(self) -> int:
        return int(self.store.settings().get("labeling.queue_size", self.config.labeling.queue_size))
