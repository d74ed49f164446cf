"""The clock: collect, ask, learn, swap the reward snapshot. Knows no RL library."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any, Protocol

import numpy as np

from rltrainer.asking import Asker, without_reward
from rltrainer.config import Config
from rltrainer.core import Array, Comparison, FitReport, RewardFunction, Segment, Strategy, Teacher, UserError
from rltrainer.diagnostics import Diagnosis, RankingHistory, diagnose
from rltrainer.envs import image_shape
from rltrainer.exploring import explore
from rltrainer.foretelling import Foretelling
from rltrainer.home import open_home
from rltrainer.identity import check_name, check_shown
from rltrainer.lengths import segment_steps
from rltrainer.memory import Memory, within
from rltrainer.queries import STRATEGIES
from rltrainer.refit import RECENT_SEGMENTS, fit_through
from rltrainer.repeats import Repeats
from rltrainer.rewards import make_learner
from rltrainer.schedule import Schedule
from rltrainer.seams import named
from rltrainer.seeds import Seeds, generator_state, restore_generator
from rltrainer.sizes import Sizes
from rltrainer.taken import Taken
from rltrainer.teachers import OracleTeacher
from rltrainer.wrapper import RewardSeat

REFERENCE_SEGMENTS = 64
"""Segments of the warm-up on which every refit is normalised. Preferences leave a reward's offset and scale open; pinned to
the same steps each time, rewards of two refits mean the same, and the value function stays true over the swap. A reference
that moves with the policy takes the reward of getting better away again: Pendulum-v1, 100 labels, -532 against -208."""
WARMUP_SEGMENTS = 64
"""The warm-up lasts for as many segments as its pairs have sides, but for no more than these: pairs come to share their steps
then, and the agent has the rest of the run to learn in. 88 pairs of 125 steps on Hopper-v5 took 22,000 of 200,000 steps. An
episode that terminates sooner is a segment as well: there these take 1,400 steps, where 64 times 125 are 8,000."""
NOTHING_FITS = (
    "Nothing can be asked: no recent episode lasted for segments.steps and began within segments.recent_steps. Set fewer of "
    "the first or more of the second, or give the env a time limit."
)
REFIT_SHARE = 1 / 30
"""A refit waits until this share of the labels is new: late in a run one label more moves little and costs as much."""
POLL_SECONDS = 0.2
GENERATORS = ("queries", "teacher", "exploration", "diagnosis")
REFERENCE_ARRAYS = ("observations", "actions", "env_rewards")


class Rewarded(Protocol):
    """A `PreferenceRewardWrapper` or `PreferenceRewardVecWrapper`."""

    seat: RewardSeat


@dataclass(frozen=True)
class Progress:
    """Where a run stands, for whoever watches.

    next_pair_at: env step from which on another pair may be asked; None where that is known to nobody, or none will be
    """

    phase: str
    message: str
    step: int
    steps: int
    asked: int
    labels: int
    waiting: int
    wanted: int
    reward_version: int
    held_out_accuracy: float | None
    diagnosis: Diagnosis | None = None
    next_pair_at: int | None = None


class PreferenceLoop:
    """Drives queries and learning for one wrapped env, whatever trains the policy.

    Call `warm_up` once, then `step(n)` after every n env steps; it asks and learns each `update_every` steps. Code with
    rollouts of its own calls `update` at their boundaries instead: the reward never changes in between.
    """

    def __init__(
        self,
        env: Rewarded,
        config: Config | None = None,
        *,
        teacher: Teacher | None = None,
        run: Path | str | None = None,
        watch: Callable[[Progress], None] | None = None,
        update_every: int = 2048,
        learn_reward: bool = True,
    ) -> None:
        """
        teacher: who answers; without one, people do, through `rltrainer label RUN`
        run:     folder for the store; without one, it is temporary
        watch:   told of the progress at each boundary, and once a second while the warm-up acts and waits for a person
        learn_reward: off for a method that learns from `comparisons` itself: every step pays 0, and pairs are random
        """
        if not isinstance(getattr(env, "seat", None), RewardSeat):
            raise UserError(
                f"the loop's env is a {type(env).__name__}; give it the PreferenceRewardWrapper or PreferenceRewardVecWrapper "
                "itself, and what lies outside of that to warm_up"
            )
        self.env = env
        self.config = config or Config()
        if not learn_reward:
            self.config = without_reward(self.config)
        self.segment_steps = segment_steps(self.config, env.seat.episode_limit, env.seat.steps_per_second)
        self.recorder = env.seat.recorder
        oracle = OracleTeacher(**self.config.teacher.model_dump()) if self.config.labeler == "oracle" else None
        self.teacher = teacher or oracle
        asks_people = self.teacher is None and self.config.labeler == "browser" and self.config.labeling.page != "off"
        self._shown = run is not None and asks_people
        if run is not None:
            check_name(env, self.config)
        self.steps = 0
        self.last_fit: FitReport | None = None
        self.diagnosis: Diagnosis | None = None
        self.phase = "starting"
        self._message = ""
        self._told_at = 0.0
        self._watch = watch or (lambda progress: None)
        self._update_every = update_every
        self._updated_at = 0
        self.learns_reward = learn_reward
        strategy: Strategy = named(STRATEGIES, self.config.queries.strategy, "queries.strategy")
        seeds = Seeds.of(self.config.seed)
        self._rngs = {name: np.random.default_rng(getattr(seeds, name)) for name in GENERATORS}
        self._query_rng, teacher_rng, self._explore_rng, self._diagnosis_rng = self._rngs.values()
        image = image_shape(env.seat.observation_space)
        sizes = Sizes.of(self.recorder.current.shape[1], env.seat.action_space, image)
        self.learner = make_learner(sizes, self.config.reward, seeds.learner)
        self.store, self._temporary = open_home(run, self.config, sizes)
        self._inherited = {label.query_id for label in self.store.labels() if label.inherited}
        self._asks = self.teacher is not None or self.config.labeler != "none" or self.config.labels_from is None
        self.schedule = Schedule(self.config.labels, self.config.steps, self.config.queries, self.inherited)
        self._taken = Taken(self.store)
        self._foretelling = Foretelling(self.store)
        self._reward: RewardFunction | None = None
        self._learned = 0  # labels taken when the last refit began
        self._reference: list[Segment] = []
        self._ranking = RankingHistory()
        self._repeats = Repeats(self._diagnosis_rng)
        self._asker = Asker(
            self.config,
            strategy,
            self.schedule,
            self.store,
            self._taken,
            self.recorder,
            self.learner,
            self.teacher,
            self._repeats,
            self.segment_steps,
            self._inherited,
            self._query_rng,
            teacher_rng,
        )

    # ------------------------------------------------------------------ the clock

    def step(self, count: int = 1) -> bool:
        """`count` env steps were done. True where that was a boundary, at which the reward may have changed."""
        self.steps += count
        if self.steps - self._updated_at < self._update_every:
            return False
        self.update()
        return True

    def update(self) -> FitReport | None:
        """A rollout boundary: ask, take the answers that came, learn, publish. Waits for a person only who paused the run."""
        fitted = self.learn()
        self.rest()
        return fitted

    def learn(self) -> FitReport | None:
        """The first half of `update`, which never waits."""
        self._updated_at = self.steps
        self.phase, self._message = "training", "The agent is learning."
        self._read()
        if self._ask():
            self._read()  # what a teacher has answered already
        fitted = self._fit()
        self._foretell()
        self._watch(self.progress())
        return fitted

    def rest(self) -> None:
        """The second half of `update`: while a page has the training paused, labels are still read and learned from."""
        while self.store.paused():
            if self.phase != "paused":
                self.phase, self._message, self._told_at = "paused", "Paused from the page.", 0.0
            self._read()
            if self.teacher is None:
                self._ask()
            self._fit()
            self._foretell()
            self._watch_now_and_then()
            time.sleep(POLL_SECONDS)
        if self.phase == "paused":
            self.phase, self._message = "training", "The agent is learning."

    def warm_up(self, env: Any = None, *, fit: bool = True) -> int:
        """Act at random, ask about it, and learn from the first answers, which a person is waited for. Gives the steps taken.

        Labels of an earlier run are learned from before that, and as many answers fewer are asked for and waited for.

        env: the outermost env, where wrappers such as VecNormalize are around the rewarded one
        fit: learn from the answers now, rather than at the first boundary
        """
        taken = self.act_at_random(env)
        self.first_answers(fit=fit)
        return taken

    def act_at_random(self, env: Any = None) -> int:
        """The first half of `warm_up`: enough random steps to ask about. Gives the steps taken."""
        count = max(min(2 * self._first_pairs, WARMUP_SEGMENTS), 4 * self.recorder.n_envs)
        wanted, ends = self.segment_steps * count, math.inf  # a black box may refuse what it is told: an end without a step
        if not self.env.seat.black_box:
            ends = count
            wanted = min(wanted, max(self.config.steps // 4, 2 * self.segment_steps * self.recorder.n_envs))
        purpose = "for something to ask about" if self._asks else "for the scale of its reward"
        self.phase, self._message = "warmup", f"The agent acts at random, {purpose}."
        everything = env if env is not None else self.env
        taken = explore(
            everything,
            self.recorder,
            wanted,
            self._explore_rng,
            self.config.steps,
            watch=self._watch_now_and_then,
            ends=ends,
        )
        self.steps += taken
        segments = self.recorder.sample(1, self.segment_steps, np.random.default_rng(0))
        if not segments:
            raise UserError(f"segments.steps is {self.segment_steps}, and no episode of the warm-up lasted as long; set fewer")
        if self._shown:
            check_shown(segments[0], self.config)
        return taken

    def first_answers(self, *, fit: bool = True) -> None:
        """The second half of `warm_up`: ask about the steps so far, wait for a person's answers, learn from them."""
        self._updated_at = self.steps
        pairs = max(0, self._first_pairs - self.store.counts()["labels"])  # an earlier loop may have left some here
        self._read()
        if self._inherited:
            self._fit(at_once=True)
        if self.teacher is not None:
            self._ask_in_batches(pairs)
        else:
            self._ask()
            self._wait_for(min(self._first_pairs, self.schedule.awaited))
        self._read()
        if fit:
            self._fit(at_once=True)

    def progress(self) -> Progress:
        """Where the run stands."""
        counts = self.store.counts()
        fit = self.last_fit
        return Progress(
            phase=self.phase,
            message=self._message,
            step=self.steps,
            steps=self.config.steps,
            asked=counts["asked"],
            labels=counts["labels"],
            waiting=counts["waiting"],
            wanted=self.config.labels if self._asks else 0,
            reward_version=fit.version if fit else 0,
            held_out_accuracy=fit.held_out_accuracy if fit else None,
            diagnosis=self.diagnosis,
            next_pair_at=self.schedule.step_of(counts["labels"] + counts["waiting"] + 1) if self._asks else None,
        )

    @property
    def inherited(self) -> int:
        """Pairs that an earlier run's labels are about."""
        return len(self._inherited)

    @property
    def comparisons(self) -> list[Comparison]:
        """What the standing labels teach, those of an earlier run included."""
        return list(self._taken.comparisons.values())

    @property
    def cursor(self) -> int:
        """The place in the store's order of the last label that was taken."""
        return self._taken.cursor

    @property
    def _has_last_answers(self) -> bool:
        """Whether people have given all that they are asked for: no more come that these could wait for."""
        return self.teacher is None and 0 < self.config.labels <= self._asker.given

    @property
    def _first_pairs(self) -> int:
        return self.schedule.warmup_labels if self._asks else 0

    def close(self) -> None:
        """Close the store, and remove it if it was temporary."""
        self.store.close()
        if self._temporary is not None:
            self._temporary.cleanup()

    # ------------------------------------------------------------------ to disk and back

    def remember(self) -> Memory:
        """All that is needed to go on after an update, but for what is in the store: steps, labels taken, what they taught."""
        reference = {str(n): {name: getattr(s, name) for name in REFERENCE_ARRAYS} for n, s in enumerate(self._reference)}
        parts: dict[str, Mapping[str, Array]] = {
            "learner": self.learner.state(),
            "recorder": self.recorder.state(),
            "teacher": self.teacher.state() if isinstance(self.teacher, OracleTeacher) else {},
            "rng": {name: generator_state(rng) for name, rng in self._rngs.items()},
            **{f"reference.{n}": arrays for n, arrays in reference.items()},
        }
        facts = {
            "steps": self.steps,
            "updated_at": self._updated_at,
            "learned": self._learned,
            "asked": self.store.last_place(),
            "taken": self._taken.remember(),
            "repeats": self._repeats.remember(),
            "last_fit": asdict(replace(self.last_fit, held_out=None)) if self.last_fit is not None else None,
            "reference": [segment.after for segment in self._reference],
        }
        return Memory({f"{part}.{name}": array for part, arrays in parts.items() for name, array in arrays.items()}, facts)

    def recall(self, memory: Memory | None) -> None:
        """Go on from there, or from the start: what the store holds beyond that is dealt with as `Store.rewind` says.

        The envs are to be reset then. Only what `RankingHistory` compares with is not remembered.
        """
        nothing: Mapping[str, Any] = {"taken": {"cursor": 0}, "asked": 0}
        facts = nothing if memory is None else memory.facts
        self.store.rewind(facts["taken"]["cursor"], facts["asked"])
        if memory is None:
            return
        self.steps, self._updated_at, self._learned = facts["steps"], facts["updated_at"], facts["learned"]
        self._taken.recall(facts["taken"])
        self._repeats.recall(facts["repeats"])
        self.last_fit = FitReport(**facts["last_fit"]) if facts["last_fit"] is not None else None
        self.learner.restore(within(memory.arrays, "learner"))
        self.recorder.restore(within(memory.arrays, "recorder"))
        if isinstance(self.teacher, OracleTeacher):
            self.teacher.restore(within(memory.arrays, "teacher"))
        for name, rng in self._rngs.items():
            restore_generator(rng, memory.arrays[f"rng.{name}"])
        self._reference = [_steps(within(memory.arrays, f"reference.{n}"), after) for n, after in enumerate(facts["reference"])]
        if self._learned:
            self._reward = self.env.seat.reward = self.learner.snapshot()

    # ------------------------------------------------------------------ asking

    def _ask_in_batches(self, pairs: int) -> None:
        """A teacher's first answers, a batch at a time: what was learned from the ones before chooses the next."""
        for left in range(pairs, 0, -self.config.queries.batch):
            self._read()
            self._fit()
            with self._if_there_is_room():
                self._asker.ask(min(left, self.config.queries.batch), self.steps)

    def _ask(self) -> bool:
        """Top the queue up to what the schedule allows and the queue holds. An oracle is asked in batches.

        Gives whether anything was asked.
        """
        asked = False
        if self._asks:
            with self._if_there_is_room():
                asked = self._asker.top_up(self.steps)
            if self._asker.starved:
                self._message = NOTHING_FITS
        return asked

    @contextmanager
    def _if_there_is_room(self) -> Iterator[None]:
        """On a full disk nothing is asked or foretold, and training goes on: it is tried again at the next boundary."""
        try:
            yield
        except OSError as error:
            self._message = f"Nothing can be asked: the disk takes no more ({error.strerror})."

    # ------------------------------------------------------------------ learning

    def _read(self) -> None:
        """Take the labels since the cursor."""
        self._taken.read()

    def _fit(self, *, at_once: bool = False) -> FitReport | None:
        """Refit and publish when enough of the labels are new."""
        fresh = self._taken.count - self._learned
        comparisons = self.comparisons
        if not self.learns_reward or not comparisons or not fresh:
            return None
        if not at_once and fresh < len(comparisons) * REFIT_SHARE and not self._has_last_answers:
            return None
        if not self._reference:
            self._reference = self.recorder.sample(REFERENCE_SEGMENTS, self.segment_steps, self._query_rng)
        if self._inherited and not self._learned:
            self.last_fit = fit_through(self.learner, comparisons, self._reference, self.config.reward)
        else:
            self.last_fit = self.learner.fit(comparisons, self._reference)
        self._reward = self.env.seat.reward = self.learner.snapshot()
        self._learned = self._taken.count
        recent = self.recorder.sample(RECENT_SEGMENTS, self.segment_steps, self._diagnosis_rng)
        self.diagnosis = diagnose(comparisons, self.last_fit, self.learner, recent, self._ranking)
        return self.last_fit

    def _foretell(self) -> None:
        """Where people may see it, note what the reward pays for the pairs that wait for them. Studies show it to nobody."""
        if self._reward is None or self.teacher is not None or self.config.labeling.config_restricted:
            return
        pairs = [self._taken.shown.get(query.id, ()) for query in self.store.waiting()]
        with self._if_there_is_room():
            self._foretelling.update(self._reward, (segment for pair in pairs for segment in pair))

    def _wait_for(self, answers: int) -> None:
        """The configured warm-up: the one time that training waits for a person. Raises UserError where none can come."""
        if answers and self._temporary is not None and not self.store.counts()["labels"]:
            raise UserError(
                "a person is to answer, and without run= no page can find the pairs; "
                "pass run='runs/mine' to PreferenceLoop, or teacher=OracleTeacher()"
            )
        self.phase, self._told_at = "warmup", 0.0
        while True:
            counts = self.store.counts()
            if counts["labels"] >= answers:
                return
            self._message = f"Waiting for the first labels: {counts['labels']} of {answers}."
            self._read()
            self._fit()
            self._ask()
            self._foretell()
            self._watch_now_and_then()
            time.sleep(POLL_SECONDS)

    def _watch_now_and_then(self) -> None:
        """Tell of the progress, once a second."""
        if time.monotonic() - self._told_at > 1.0:
            self._watch(self.progress())
            self._told_at = time.monotonic()


def _steps(arrays: Mapping[str, Array], after: int) -> Segment:
    """A segment of the reference, which is never shown: without what that would take."""
    actions = arrays["actions"]
    return Segment(arrays["observations"], actions, arrays["env_rewards"], 0, actions[:0], after=after)
