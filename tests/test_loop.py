"""Facts about the loop: what it asks and when, what it learns from, what it never does."""

from __future__ import annotations

import errno
import math
import shutil
import time
import uuid
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import gymnasium as gym
import numpy as np
import pytest
import toys
from stable_baselines3.common.vec_env import DummyVecEnv, VecFrameStack

from rltrainer.config import Config, Queries
from rltrainer.core import Answer, Array, Comparison, Query, Segment, Teacher, UserError, Verdict
from rltrainer.envs import SeededEpisodes
from rltrainer.foretelling import Foretelling, rewards_of
from rltrainer.loop import PreferenceLoop, Progress
from rltrainer.queries import STRATEGIES
from rltrainer.schedule import Schedule
from rltrainer.store import NoRoom, Store
from rltrainer.teachers import OracleTeacher
from rltrainer.wrapper import PreferenceRewardVecWrapper, PreferenceRewardWrapper

SKIP, UNDO, EQUAL = Answer(Verdict.SKIP), Answer(Verdict.UNDO), Answer(Verdict.EQUAL)


def config(**changes: Any) -> Config:
    """A run of 4,000 steps and 24 labels over two Drifts of 40 steps an episode."""
    small = {
        "env": "toys:Seen",
        "labeler": "oracle",
        "steps": 4000,
        "labels": 24,
        "segments.steps": 8,
        "queries.batch": 2,
        "queries.warmup_labels": 3,
        "queries.strategy": "uniform",
        "reward.learner": "toys:Remembering",
        "labeling.queue_size": 4,
    }
    return Config().but(small | {name.replace("__", "."): value for name, value in changes.items()})


class Rig:
    """A loop over a vector of envs that are stepped at random."""

    def __init__(self, settings: Config, maker: Callable[[], Any] = toys.drift, **options: Any) -> None:
        self.venv = PreferenceRewardVecWrapper(DummyVecEnv([maker] * 2), settings.segments.recent_steps)
        self.venv.seed(1)
        self.loop = PreferenceLoop(self.venv, settings, **options)
        self.rng = np.random.default_rng(4)

    def play(self, steps: int = 128) -> None:
        """Rollouts: `steps` env steps with both envs together."""
        for _ in range(steps // 2):
            self.venv.step(self.rng.uniform(-1, 1, (2, 1)).astype(np.float32))
        self.loop.steps += steps

    def rollout(self, steps: int = 128) -> None:
        """Play, then a boundary."""
        self.play(steps)
        self.loop.update()

    def finish(self) -> None:
        while self.loop.steps < self.loop.config.steps:
            self.rollout()

    @property
    def learner(self) -> toys.Remembering:
        assert isinstance(self.loop.learner, toys.Remembering)
        return self.loop.learner


@pytest.fixture
def rigs() -> Iterator[Callable[..., Rig]]:
    made: list[Rig] = []

    def make(*args: Any, **kwargs: Any) -> Rig:
        made.append(Rig(*args, **kwargs))
        return made[-1]

    yield make
    for rig in made:
        rig.loop.close()


class Person:
    """Somebody who answers through a store of their own, as the label service does."""

    def __init__(self, folder: Path, name: str = "ada") -> None:
        self.store = Store.open(folder)
        self.name = name

    def say(self, query: Query, answer: Answer | None = None) -> None:
        """Prefers the first where nothing else is said."""
        self.store.save_label(uuid.uuid4().hex, query.id, self.name, answer or Answer(Verdict.PREFER, query.first))

    def answer_all(self, answer: Answer | None = None) -> int:
        waiting = self.store.waiting()
        for query in waiting:
            self.say(query, answer)
        return len(waiting)


@pytest.fixture
def people(tmp_path: Path, rigs: Callable[..., Rig]) -> Iterator[Callable[..., tuple[Rig, Person]]]:
    """A rig whose run is labelled by a person, and the person."""
    persons: list[Person] = []

    def make(settings: Config | None = None, **options: Any) -> tuple[Rig, Person]:
        rig = rigs(settings or config(labeler="browser"), run=tmp_path / "run", **options)
        persons.append(Person(tmp_path / "run"))
        rig.venv.reset()
        return rig, persons[-1]

    yield make
    for person in persons:
        person.store.close()


def names(comparisons: Sequence[Comparison]) -> list[tuple[str, float]]:
    return sorted((comparison.query_id, comparison.target) for comparison in comparisons)


# ------------------------------------------------------------------ the schedule


@pytest.mark.parametrize("labels", [1, 7, 100, 1000])
def test_a_share_is_asked_up_front_and_all_of_it_by_nine_tenths_of_the_run(labels: int) -> None:
    schedule = Schedule(labels, 10_000, Queries(warmup_share=0.25))
    assert schedule.asked_by(0) == math.ceil(0.25 * labels) == schedule.warmup_labels
    assert schedule.asked_by(9_000) == pytest.approx(labels)
    assert schedule.asked_by(10_000) == pytest.approx(labels)


def test_the_schedule_only_ever_rises_and_ever_more_slowly() -> None:
    schedule = Schedule(200, 10_000, Queries())
    asked = [schedule.asked_by(step) for step in range(0, 9_001, 100)]
    rates = np.diff(asked)
    assert (rates > 0).all()
    assert (np.diff(rates) < 1e-9).all()
    assert schedule.asked_by(4_500) > 0.25 * 200 + 0.75 * 200 * 0.6  # more than evenly spread


def late_share(decay: float) -> float:
    """What a decay has asked, of all that is not asked up front, half-way through the asking."""
    return Schedule(1000, 1000, Queries(warmup_share=0.0, decay=decay)).asked_by(450) / 1000


def test_one_number_makes_the_schedule_even_falling_or_nearly_all_early() -> None:
    """log(1 + 0.5 / C) / log(1 + 1 / C): half for a C without bounds; log 3.5 / log 6; log 51 / log 101."""
    assert late_share(decay=1e6) == pytest.approx(0.5, abs=1e-4)
    assert late_share(decay=0.2) == pytest.approx(0.6992, abs=1e-4)
    assert late_share(decay=0.01) == pytest.approx(0.8519, abs=1e-4)


@pytest.mark.parametrize("labels", [10, 300])
def test_the_schedule_says_when_the_next_pair_is_due(labels: int) -> None:
    schedule = Schedule(labels, 10_000, Queries(warmup_share=0.25))
    for count in range(schedule.warmup_labels + 1, labels + 1):
        step = schedule.step_of(count)
        assert step is not None
        assert schedule.asked_by(step - 1) < count <= schedule.asked_by(step) + 1e-6
    assert schedule.step_of(schedule.warmup_labels) == 0
    assert schedule.step_of(labels + 1) is None
    assert Schedule(0, 10_000, Queries()).step_of(10**6) == 0


def test_no_budget_is_no_limit() -> None:
    schedule = Schedule(0, 10_000, Queries(warmup_labels=7))
    assert schedule.asked_by(0) == float("inf")
    assert schedule.warmup_labels == 7


@pytest.mark.parametrize("labels", range(1, 30))
def test_a_warm_up_is_within_the_budget_and_never_nothing(labels: int) -> None:
    assert 1 <= Schedule(labels, 10_000, Queries()).warmup_labels <= labels


# ------------------------------------------------------------------ the clock


def test_a_bare_loop_learns_online(rigs: Callable[..., Rig]) -> None:
    """As in a CleanRL-style script: no Stable-Baselines3 in sight, one env, one step at a time."""
    settings = config(reward__learner="ensemble", reward__hidden=[32], reward__fit_steps=40, labels=60, steps=6000)
    env = PreferenceRewardWrapper(toys.drift())
    env.reset(seed=3)
    loop = PreferenceLoop(env, settings, update_every=250)
    warmed = loop.warm_up()
    rng = np.random.default_rng(0)
    versions, learned, true = [], [], []
    env.reset()
    for step in range(settings.steps - warmed):
        _, reward, terminated, truncated, info = env.step(rng.uniform(-1, 1, 1).astype(np.float32))
        boundary = loop.step()
        assert boundary == ((step + 1) % 250 == 0)
        versions.append(env.seat.reward.version if env.seat.reward else 0)
        if step > 4000:
            learned.append(reward)
            true.append(info["env_reward"])
        if terminated or truncated:
            env.reset()
    assert loop.store.counts() == {"asked": 60, "waiting": 0, "labels": 60, "skipped": 0}
    assert versions[0] == 8  # a quarter of 60 labels are the first ones, asked two at a time: each answer chooses the next
    assert versions[-1] > 8
    assert versions == sorted(versions)
    assert np.corrcoef(learned, true)[0, 1] > 0.8
    loop.close()


def test_the_reward_changes_at_boundaries_only(rigs: Callable[..., Rig]) -> None:
    rig = rigs(config())
    rig.loop.warm_up()
    for _ in range(12):
        before = rig.venv.seat.reward
        rig.play()
        assert rig.venv.seat.reward is before
        rig.loop.update()
    assert rig.venv.seat.reward is not None
    assert rig.venv.seat.reward.version == len(rig.learner.fits) > 3


def test_many_steps_may_be_told_at_once(rigs: Callable[..., Rig]) -> None:
    rig = rigs(config(), update_every=100)
    rig.loop.warm_up()
    assert [rig.loop.step(count) for count in (60, 39, 1, 99, 500, 99, 1)] == [
        False,
        False,
        True,
        False,
        True,
        False,
        True,
    ]


def test_the_watcher_is_told_where_the_run_stands(rigs: Callable[..., Rig]) -> None:
    told: list[Progress] = []
    rig = rigs(config(), watch=told.append)
    rig.loop.warm_up()
    rig.finish()
    last = told[-1]
    assert last.phase == "training"
    assert (last.wanted, last.asked, last.labels, last.waiting) == (24, 24, 24, 0)
    assert last.step == rig.loop.steps
    assert last.steps == 4000
    assert last.reward_version == len(rig.learner.fits)
    assert [one.step for one in told] == sorted(one.step for one in told)


# ------------------------------------------------------------------ what is asked, and when


@pytest.mark.parametrize("strategy", ["uniform", "disagreement"])
def test_the_whole_budget_is_asked_and_never_more(rigs: Callable[..., Rig], strategy: str) -> None:
    rig = rigs(config(queries__strategy=strategy))
    rig.loop.warm_up()
    asked = []
    while rig.loop.steps < rig.loop.config.steps:
        rig.rollout()
        asked.append(rig.loop.store.counts()["asked"])
        assert asked[-1] <= 24
    assert asked[-1] == 24
    assert asked == sorted(asked)


def test_most_is_asked_early_and_nothing_at_the_end(rigs: Callable[..., Rig]) -> None:
    rig = rigs(config(steps=20_000, labels=40, queries__batch=1))
    rig.loop.warm_up()
    assert 10 <= rig.loop.store.counts()["asked"] <= 20  # a quarter, and what its own steps allow
    at: dict[float, int] = {}
    for share in (0.5, 0.9, 1.0):
        while rig.loop.steps < share * 20_000:
            rig.rollout(500)
        at[share] = rig.loop.store.counts()["asked"]
    assert at[0.5] >= 28
    assert at[0.9] >= 38
    assert at[1.0] == 40
    last = max(
        query.asked_at for query in map(rig.loop.store.query, {label.query_id for label in rig.loop.store.labels()}) if query
    )
    assert last <= 0.9 * 20_000 + 500


@pytest.mark.parametrize("labels", [1, 2, 3, 5, 10, 13])
def test_a_small_budget_gets_through_its_warm_up(rigs: Callable[..., Rig], labels: int) -> None:
    rig = rigs(config(labels=labels, steps=100_000, queries__batch=5))
    rig.loop.warm_up()
    assert 1 <= rig.loop.store.counts()["labels"] <= labels


def test_many_first_pairs_share_the_steps_of_64_segments(rigs: Callable[..., Rig]) -> None:
    rig = rigs(config(labels=1000, steps=100_000, queries__strategy="disagreement"))
    assert rig.loop.warm_up() == 64 * 8  # segments of 8 steps, where 250 pairs have 500 sides
    assert rig.loop.store.counts()["labels"] == 250


def test_an_episode_that_ends_sooner_is_one_of_the_64_segments(rigs: Callable[..., Rig]) -> None:
    settings = config(labels=1000, steps=100_000, queries__strategy="disagreement")
    assert rigs(settings, partial(toys.ledger, falls_at=3)).loop.warm_up() == 64 * 3
    single = PreferenceLoop(PreferenceRewardWrapper(toys.ledger(falls_at=3)), settings, teacher=OracleTeacher())
    assert single.warm_up() == 64 * 3
    single.close()


@pytest.mark.parametrize("labels", [1, 2, 5, 10])
def test_a_small_budget_does_not_make_a_person_wait_for_pairs_that_never_come(people: Any, labels: int) -> None:
    stuck = 0

    def watch(_: Progress) -> None:
        nonlocal stuck
        stuck = 0 if person.answer_all() else stuck + 1
        assert stuck < 2, "the warm-up waits for answers and nothing is asked"

    rig, person = people(config(labeler="browser", labels=labels, steps=100_000), watch=watch)
    rig.loop.warm_up()
    assert 1 <= person.store.counts()["labels"] <= labels


def test_an_oracle_without_a_budget_is_asked_a_batch_at_each_boundary(rigs: Callable[..., Rig]) -> None:
    rig = rigs(config(labels=0))
    rig.loop.warm_up()
    before = rig.loop.store.counts()["labels"]
    for _ in range(5):
        rig.rollout()
    assert rig.loop.store.counts()["labels"] > before


def test_the_segments_of_a_pair_are_two(rigs: Callable[..., Rig]) -> None:
    rig = rigs(config(labels=60, steps=1200, segments__steps=30))
    rig.loop.warm_up()
    rig.finish()
    for label in rig.loop.store.labels():
        query = rig.loop.store.query(label.query_id)
        assert query is not None
        assert query.first != query.second


def test_a_segment_longer_than_the_episodes_is_refused_before_anything_is_made(tmp_path: Path) -> None:
    venv = PreferenceRewardVecWrapper(DummyVecEnv([toys.drift]))
    with pytest.raises(UserError, match=r"segments\.steps is 41, and an episode of this env has at most 40 steps"):
        PreferenceLoop(venv, config(segments__steps=41), run=tmp_path / "run")
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(("setting", "name"), [("queries__strategy", "unifrom"), ("reward__learner", "ensembel")])
def test_a_misspelt_part_is_refused_before_anything_is_made(tmp_path: Path, setting: str, name: str) -> None:
    venv = PreferenceRewardVecWrapper(DummyVecEnv([toys.drift]))
    with pytest.raises(UserError, match="did you mean"):
        PreferenceLoop(venv, config(**{setting: name}), run=tmp_path / "run")
    assert not list(tmp_path.iterdir())


# ------------------------------------------------------------------ people


def test_training_never_waits_for_a_person(people: Any) -> None:
    rig, person = people()
    began = time.monotonic()
    for _ in range(5):
        rig.rollout()
    assert time.monotonic() - began < 5
    assert rig.venv.seat.reward is None
    assert len(person.store.waiting()) > 0


def test_pairs_that_wait_for_a_person_are_capped(people: Any) -> None:
    rig, person = people(config(labeler="browser", labels=0))
    for _ in range(8):
        rig.rollout()
        assert len(person.store.waiting()) == 4
    person.say(person.store.waiting()[0])
    rig.rollout()
    assert len(person.store.waiting()) == 4
    assert person.store.counts()["asked"] == 5


def test_the_cap_may_be_changed_from_the_page_while_it_runs(people: Any) -> None:
    rig, person = people(config(labeler="browser", labels=0))
    rig.rollout()
    person.store.change_settings({"labeling.queue_size": 7}, "ada")
    rig.rollout()
    assert len(person.store.waiting()) == 7


def test_a_persons_labels_arrive_at_the_next_boundary(people: Any) -> None:
    rig, person = people()
    rig.rollout()
    query = person.store.waiting()[0]
    person.say(query, Answer(Verdict.PREFER, query.second))
    assert rig.learner.fits == []
    rig.rollout()
    assert names(rig.learner.fits[-1]) == [(query.id, 0.0)]
    assert rig.learner.fits[-1][0].labeler == "ada"
    assert rig.venv.seat.reward is not None


def test_a_label_is_applied_once(people: Any) -> None:
    rig, person = people()
    rig.rollout()
    person.answer_all()
    rig.rollout()
    assert len(rig.learner.fits) == 1
    assert rig.loop.cursor == max(label.seq for label in person.store.labels())
    for _ in range(4):
        rig.rollout()  # nobody answers: nothing to learn, nothing learned again
    assert len(rig.learner.fits) == 1


def test_labels_of_many_revisions_stand_for_their_newest(people: Any) -> None:
    rig, person = people()
    rig.rollout()
    first, second = person.store.waiting()[:2]
    person.say(first, Answer(Verdict.PREFER, first.first))
    person.say(second, EQUAL)
    rig.rollout()
    assert names(rig.learner.fits[-1]) == sorted([(first.id, 1.0), (second.id, 0.5)])
    person.say(first, Answer(Verdict.PREFER, first.second))
    rig.rollout()
    assert names(rig.learner.fits[-1]) == sorted([(first.id, 0.0), (second.id, 0.5)])


def test_an_undo_takes_a_label_back(people: Any) -> None:
    rig, person = people()
    rig.rollout()
    first, second = person.store.waiting()[:2]
    person.say(first)
    person.say(second)
    rig.rollout()
    person.say(first, UNDO)
    rig.rollout()
    assert names(rig.learner.fits[-1]) == [(second.id, 1.0)]
    assert first in person.store.waiting()
    person.say(second, UNDO)
    rig.rollout()  # nothing stands: no fit on nothing
    person.say(first, EQUAL)
    rig.rollout()
    assert names(rig.learner.fits[-1]) == [(first.id, 0.5)]


def test_a_skip_is_never_trained_on_and_is_asked_again_as_another_pair(people: Any) -> None:
    rig, person = people(config(labeler="browser", labels=6, queries__warmup_share=1.0))
    rig.rollout()
    person.answer_all(SKIP)
    rig.rollout()
    assert rig.learner.fits == []
    assert len(person.store.waiting()) == 4  # the budget is of answers to learn from
    kept = person.store.waiting()[0]
    person.say(kept)
    person.say(kept, SKIP)  # changed their mind
    rig.rollout()
    assert all(kept.id != comparison.query_id for fit in rig.learner.fits for comparison in fit)


def test_a_trim_is_the_range_that_is_learned_from(people: Any) -> None:
    rig, person = people()
    rig.rollout()
    query = person.store.waiting()[0]
    person.say(query, Answer(Verdict.PREFER, query.second, {query.second: (2, 5)}))
    rig.rollout()
    (comparison,) = rig.learner.fits[-1]
    assert (comparison.first.id, comparison.second.id) == (query.first, query.second)
    assert (comparison.first_range, comparison.second_range) == ((0, 8), (2, 5))


def test_two_people_who_judged_the_same_pair_are_both_learned_from(people: Any, tmp_path: Path) -> None:
    rig, person = people()
    rig.rollout()
    query = person.store.waiting()[0]
    other = Person(tmp_path / "run", "bob")
    person.say(query, Answer(Verdict.PREFER, query.first))
    other.say(query, Answer(Verdict.PREFER, query.second))
    other.store.close()
    rig.rollout()
    assert {(c.labeler, c.target) for c in rig.learner.fits[-1]} == {("ada", 1.0), ("bob", 0.0)}


def test_people_are_never_asked_for_more_than_the_budget(people: Any) -> None:
    rig, person = people(config(labeler="browser", labels=10))
    while rig.loop.steps < rig.loop.config.steps:
        rig.rollout()
        assert person.store.counts()["asked"] <= 10
        person.answer_all()
    rig.rollout()
    assert person.store.counts()["labels"] == 10
    assert len(rig.learner.fits[-1]) == 10


def test_a_pair_about_a_policy_long_gone_makes_room_for_a_fresh_one(people: Any) -> None:
    rig, person = people(config(labeler="browser", labels=0, segments__recent_steps=400))
    rig.rollout()
    old = person.store.waiting()
    person.store.lease([old[0].id], "ada", expires_at=time.time() + 100)
    for _ in range(5):
        rig.rollout()
    now = person.store.waiting()
    assert old[0] in now  # somebody is looking at it
    assert not set(old[1:]) & set(now)
    assert len(now) == 4
    assert all(query.asked_at >= rig.loop.steps - 400 for query in now[1:])


def test_an_answer_to_a_pair_that_was_withdrawn_still_counts(people: Any) -> None:
    rig, person = people(config(labeler="browser", labels=0, segments__recent_steps=400))
    rig.rollout()
    query = person.store.waiting()[0]
    for _ in range(5):
        rig.rollout()
    assert query not in person.store.waiting()
    person.say(query)
    rig.rollout()
    (comparison,) = rig.learner.fits[-1]
    assert comparison.query_id == query.id
    assert comparison.first.id == query.first  # read back from disk: memory has let go of it


# ------------------------------------------------------------------ foretelling


def test_what_the_reward_pays_for_each_step_of_waiting_pairs_is_in_the_store_and_nothing_else_is(people: Any) -> None:
    rig, person = people(config(labeler="browser", reward__learner="ensemble", reward__hidden=[8], reward__fit_steps=5))
    rig.play(400)
    rig.loop.update()
    assert person.store.forecast() is None, "no reward is learned yet"
    for _ in range(2):
        person.answer_all()
        rig.rollout()
        waiting = {name for query in person.store.waiting() for name in (query.first, query.second)}
        forecast = person.store.forecast()
        reward = rig.venv.seat.reward
        assert reward is not None
        assert forecast.version == reward.version
        assert forecast.rewards.keys() == waiting
        assert len(waiting) == 8
        for name, paid in forecast.rewards.items():
            segment = person.store.segment(name)
            seen = reward(segment.observations[:-1], segment.actions, segment.observations[1:])
            assert paid == pytest.approx(seen, abs=5e-4)
    rig.loop.update()
    assert person.store.forecast(forecast.seq) is None, "nothing new waits, and the reward is the same"


def test_a_pair_asked_since_the_last_refit_is_foretold_by_the_reward_of_now(people: Any) -> None:
    rig, person = people(config(labeler="browser", labels=1000, queries__decay=1e6))
    rig.play(400)
    rig.loop.update()
    person.answer_all()
    rig.rollout()
    before = person.store.forecast()
    fits = len(rig.learner.fits)
    person.store.withdraw([person.store.waiting()[0].id])
    rig.rollout()
    after = person.store.forecast(before.seq)
    assert len(rig.learner.fits) == fits
    assert len(after.rewards.keys() - before.rewards.keys()) == 2


def test_the_time_after_the_end_of_an_episode_is_foretold_to_pay_nothing() -> None:
    ended = toys.segment([[0.0], [1.0], [2.0]], [[1.0], [1.0]], terminated=True, after=3)
    assert rewards_of(toys.Even(1, 0.25), ended) == [0.25, 0.25, 0.0, 0.0, 0.0]


@pytest.mark.parametrize("study", [{"labeling__config_restricted": True}, {"labeler": "oracle"}])
def test_nothing_is_foretold_in_a_study_and_where_an_oracle_answers(people: Any, study: dict[str, Any]) -> None:
    rig, person = people(config(**{"labeler": "browser", **study}))
    rig.play(400)
    rig.loop.update()
    person.answer_all()
    rig.rollout()
    assert rig.learner.fits
    assert person.store.forecast() is None


def test_a_reward_that_is_not_finite_is_foretold_nowhere(people: Any) -> None:
    rig, person = people()
    rig.play(400)
    rig.loop.update()
    (first, second), *_ = rig.loop._taken.shown.values()
    foretelling = Foretelling(rig.loop.store)
    foretelling.update(toys.Even(3, math.nan), [first, second])
    assert person.store.forecast() is None
    foretelling.update(toys.Even(4, 0.5), [first, second])
    assert person.store.forecast().rewards == {first.id: [0.5] * 8, second.id: [0.5] * 8}


def test_on_a_full_disk_nothing_is_foretold_training_goes_on_and_it_is_made_up_for_when_there_is_room(
    people: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: Any) -> None:
        raise NoRoom(errno.ENOSPC, "No space left on device")

    rig, person = people()
    rig.play(400)
    rig.loop.update()
    person.answer_all()
    with monkeypatch.context() as patch:
        patch.setattr(rig.loop.store, "foretell", full)
        rig.rollout()
    assert rig.learner.fits
    assert person.store.forecast() is None
    rig.loop.update()
    assert person.store.forecast().version == len(rig.learner.fits)


# ------------------------------------------------------------------ paused


def test_a_paused_run_rests_at_a_boundary_and_learns_from_the_labels_that_come_meanwhile(
    people: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    told: list[Progress] = []
    rig, person = people(watch=told.append)
    monkeypatch.setattr("rltrainer.loop.time.sleep", lambda _: person.store.pause("ada", paused=person.answer_all() > 0))
    rig.play()
    person.store.pause("ada", paused=True)
    rig.loop.update()
    assert (rig.loop.steps, rig.venv.recorder.steps) == (128, 128), "nothing was stepped meanwhile"
    (paused,) = [progress for progress in told if progress.phase == "paused"]
    assert (paused.message, paused.labels, paused.waiting) == ("Paused from the page.", 0, 4)
    assert [len(fit) for fit in rig.learner.fits] == [4, int(rig.loop.schedule.asked_by(128))], "the queue holds four"
    assert rig.loop.phase == "training"


# ------------------------------------------------------------------ the warm-up


def test_the_warm_up_waits_for_a_person(people: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    waited: list[int] = []

    def watch(progress: Progress) -> None:
        assert progress.phase == "warmup"
        if "acts at random" in progress.message:
            return
        assert "Waiting for the first labels" in progress.message
        waited.append(progress.labels)
        for query in person.store.waiting()[:2]:
            person.say(query)

    rig, person = people(watch=watch)
    taken = rig.loop.warm_up()
    assert waited == [0, 2]  # three are asked for, and come in two rounds
    assert person.store.counts()["labels"] == 4
    assert len(rig.learner.fits[-1]) == 4
    assert rig.loop.steps == taken == rig.venv.recorder.steps > 0


def test_skipping_in_the_warm_up_brings_other_pairs(people: Any) -> None:
    rounds = 0

    def watch(progress: Progress) -> None:
        nonlocal rounds
        if "acts at random" in progress.message:
            return
        rounds += 1
        assert rounds < 4
        person.answer_all(SKIP if rounds == 1 else None)

    rig, person = people(watch=watch)
    rig.loop.warm_up()
    assert person.store.counts()["skipped"] == 4
    assert person.store.counts()["labels"] >= 3


def test_a_person_who_cannot_come_is_not_waited_for() -> None:
    """Without a folder no label service finds the pairs."""
    env = PreferenceRewardWrapper(toys.drift())
    loop = PreferenceLoop(env, config(labeler="browser", labeling__page="off"))
    with pytest.raises(UserError, match="pass run='runs/mine' to PreferenceLoop, or teacher=OracleTeacher"):
        loop.warm_up()
    loop.close()


def test_what_the_loop_drives_is_the_wrapper_itself() -> None:
    single: Any = gym.wrappers.RecordEpisodeStatistics(PreferenceRewardWrapper(toys.drift()))
    inside: Any = DummyVecEnv([lambda: PreferenceRewardWrapper(toys.drift())])
    for env, name in ((single, "RecordEpisodeStatistics"), (inside, "DummyVecEnv")):
        with pytest.raises(UserError, match=f"the loop's env is a {name}; give it the PreferenceRewardWrapper"):
            PreferenceLoop(env, config())


def test_a_strategy_that_keeps_apart_is_told_of_the_pairs_that_wait_for_people(people: Any) -> None:
    toys.APART.clear()
    rig, person = people(config(labeler="browser", queries__strategy="toys:apart"))
    rig.rollout()
    waiting = rig.loop.store.waiting()
    person.say(waiting[0])
    rig.rollout()
    told_at_first, told_then = toys.APART
    assert told_at_first == []
    assert told_then == [{query.first, query.second} for query in waiting[1:]]


def test_the_warm_up_does_not_wait_for_an_oracle(rigs: Callable[..., Rig], monkeypatch: pytest.MonkeyPatch) -> None:
    def no_sleep(_: float) -> None:
        raise AssertionError("an oracle answers at once")

    monkeypatch.setattr("rltrainer.loop.time.sleep", no_sleep)
    rig = rigs(config())
    rig.loop.warm_up()
    assert rig.venv.seat.reward is not None


class Skipping:
    """A teacher that cannot tell one pair in three."""

    def __init__(self) -> None:
        self.asked = 0

    def __call__(self, first: Segment, second: Segment, rng: np.random.Generator) -> Answer:
        self.asked += 1
        return SKIP if self.asked % 3 == 0 else Answer(Verdict.PREFER, first.id)


def test_a_teacher_that_skips_now_and_then_does_not_stop_the_warm_up(rigs: Callable[..., Rig]) -> None:
    rig = rigs(config(), teacher=Skipping())
    rig.loop.warm_up()
    rig.finish()
    counts = rig.loop.store.counts()
    assert counts["labels"] <= 24
    assert counts["skipped"] > 0
    assert len(rig.learner.fits[-1]) == counts["labels"]


# ------------------------------------------------------------------ what must never happen


class ByPlace:
    """Prefers the segment that ends further right: an answer that the true reward has no part in."""

    def __call__(self, first: Segment, second: Segment, rng: np.random.Generator) -> Answer:
        return Answer(
            Verdict.PREFER,
            max((first, second), key=lambda segment: (segment.observations[-1, 0], segment.episode_seed)).id,
        )


@pytest.mark.parametrize("strategy", STRATEGIES)
def test_the_true_reward_never_leaks_into_what_is_learned(rigs: Callable[..., Rig], strategy: str) -> None:
    """The same labels, and noise in place of the true reward: the learned weights are the same to the bit."""
    settings = config(
        steps=2000, queries__strategy=strategy, reward__learner="ensemble", reward__hidden=[8], reward__fit_steps=5
    )
    learned, paid = [], []
    for maker in (toys.drift, lambda: toys.drift(noise=5)):
        rig = rigs(settings, maker, teacher=ByPlace())
        rig.loop.warm_up()
        rig.finish()
        state = rig.loop.learner.state()
        del state["bags.pairs"]  # segments' names
        learned.append(state)
        paid.append([label.answer.preferred for label in rig.loop.store.labels()])
    assert paid[0] != paid[1]  # the segments' names do hold the true reward
    assert learned[0].keys() == learned[1].keys()
    for key, value in learned[0].items():
        np.testing.assert_array_equal(value, learned[1][key])


def test_the_same_seed_gives_the_same_labels_and_weights(rigs: Callable[..., Rig]) -> None:
    def run(seed: int) -> tuple[list[Any], dict[str, Array]]:
        rig = rigs(
            config(
                steps=2000,
                seed=seed,
                queries__strategy="disagreement",
                reward__learner="ensemble",
                reward__hidden=[8],
                reward__fit_steps=5,
            )
        )
        rig.loop.warm_up()
        rig.finish()
        said = [(label.answer.verdict, label.answer.preferred) for label in rig.loop.store.labels()]
        return said, rig.loop.learner.state()

    (said, state), (said_again, state_again), (said_else, _) = run(1), run(1), run(2)
    assert said == said_again
    assert said != said_else
    for key, value in state.items():
        np.testing.assert_array_equal(value, state_again[key])


def test_an_endless_env_goes_on_when_there_is_nothing_left_to_cut_from(people: Any) -> None:
    """An episode that never ends outgrows the recorder: no more pairs, and that is said; labels that come are learned from."""
    settings = config(
        labeler="browser",
        labels=0,
        segments__recent_steps=64,
        reward__learner="ensemble",
        reward__fit_steps=2,
        reward__hidden=[4],
    )
    rig, person = people(settings, maker=toys.Drift)
    for _ in range(6):
        rig.rollout()
        person.answer_all()
    asked = rig.loop.store.counts()["asked"]
    rig.rollout()
    assert rig.loop.last_fit is not None
    assert rig.loop.store.counts()["asked"] == asked, "nor is anything asked about what was judged long ago alone"
    assert rig.loop.progress().message.startswith("Nothing can be asked: no recent episode")


def test_a_teacher_that_was_passed_wins_over_the_config(rigs: Callable[..., Rig]) -> None:
    class Tying:
        def __call__(self, first: Segment, second: Segment, rng: np.random.Generator) -> Answer:
            return EQUAL

    teacher: Teacher = Tying()
    rig = rigs(config(), teacher=teacher)
    rig.loop.warm_up()
    assert {label.answer.verdict for label in rig.loop.store.labels()} == {Verdict.EQUAL}
    assert all(comparison.target == 0.5 for comparison in rig.learner.fits[-1])


def test_the_oracle_errs_as_the_config_says(rigs: Callable[..., Rig]) -> None:
    settings = {"beta": 2.0, "gamma": 0.9, "mistake": 0.1, "skip": 0.2, "equal": 0.3}
    rig = rigs(config(**{f"teacher__{name}": value for name, value in settings.items()}))
    assert {name: getattr(rig.loop.teacher, name) for name in settings} == settings


# ------------------------------------------------------------------ the store that it keeps


def test_a_store_in_no_folder_of_the_users_is_gone_afterwards() -> None:
    rig = Rig(config())
    folder = rig.loop.store.folder
    rig.loop.warm_up()
    assert folder.is_dir()
    rig.loop.close()
    assert not folder.exists()


def test_the_store_says_what_the_run_is(people: Any) -> None:
    rig, person = people()
    assert person.store.fact("config")["segments"]["steps"] == 8
    assert person.store.fact("env") == {"id": rig.loop.config.env, "options": {}}


def test_a_loop_in_the_folder_of_an_earlier_one_learns_from_its_labels(
    people: Any, rigs: Callable[..., Rig], tmp_path: Path
) -> None:
    first, person = people()
    first.rollout()
    answered = person.answer_all()
    first.loop.close()
    second = rigs(config(labeler="browser"), run=tmp_path / "run")
    second.venv.reset()
    second.rollout()
    assert len(second.learner.fits[-1]) == answered


def test_a_loop_that_goes_on_in_a_folder_asks_no_more_than_its_budget_which_the_store_is_told(
    rigs: Callable[..., Rig], tmp_path: Path
) -> None:
    for budget, asked in ((24, 6), (24, 6), (40, 10)):
        rig = rigs(config(labels=budget), run=tmp_path / "run")
        rig.loop.warm_up()
        assert (rig.loop.store.counts()["labels"], len(rig.learner.fits[-1])) == (asked, asked)
        assert rig.loop.store.fact("config")["labels"] == budget
        rig.loop.close()


@pytest.mark.parametrize(
    ("options", "maker"),
    [({"env": "CartPole-v1"}, toys.drift), ({"env_options": {"noise": 1}}, toys.drift), ({}, toys.spot)],
)
def test_a_folder_with_a_run_on_another_env_is_refused(
    options: dict[str, Any], maker: Callable[[], Any], tmp_path: Path
) -> None:
    rig = Rig(config(), run=tmp_path / "run")
    rig.loop.warm_up()
    rig.loop.close()
    with pytest.raises(UserError, match=r"holds a run on .*; pass another folder"):
        Rig(config(**options), maker=maker, run=tmp_path / "run")
    assert Store.open(tmp_path / "run").fact("config")["env_options"] == {}


def test_a_folder_in_which_nothing_was_asked_yet_takes_another_env(tmp_path: Path) -> None:
    Rig(config(), run=tmp_path / "run").loop.close()
    rig = Rig(config(env="CartPole-v1"), run=tmp_path / "run")
    assert rig.loop.store.fact("env")["id"] == "CartPole-v1"
    rig.loop.close()


def test_options_of_an_env_are_the_same_in_another_order_and_by_other_kinds_of_numbers(tmp_path: Path) -> None:
    for options in ({"noise": 1, "where": (1, 2)}, {"where": [1, 2], "noise": 1.0}):
        rig = Rig(config(env_options=options), run=tmp_path / "run")
        rig.loop.warm_up()
        rig.loop.close()


def test_nothing_is_left_open_behind_a_closed_loop(tmp_path: Path) -> None:
    rig = Rig(config(), run=tmp_path / "run")
    rig.loop.warm_up()
    rig.loop.close()
    handles = list(Path("/proc/self/fd").iterdir())
    files = [str(handle.readlink()) for handle in handles if handle.is_symlink()]
    assert not [file for file in files if str(tmp_path) in file]


# ------------------------------------------------------------------ labels of an earlier run


@pytest.fixture
def labelled(tmp_path: Path) -> Path:
    """The folder of a run with 24 labels."""
    rig = Rig(config(), run=tmp_path / "old")
    rig.loop.warm_up()
    rig.finish()
    rig.loop.close()
    return tmp_path / "old"


def test_old_labels_are_learned_from_before_anything_is_asked_and_cost_no_budget(
    rigs: Callable[..., Rig], labelled: Path, tmp_path: Path
) -> None:
    rig = rigs(config(labels_from=str(labelled), seed=5), run=tmp_path / "new")
    rig.loop.warm_up()
    assert {len(fit) for fit in rig.learner.fits} == {24}
    assert len(rig.learner.fits) == 12  # as often as `rltrainer fit` does, not the one fit of a boundary
    assert rig.venv.seat.reward is not None
    assert rig.loop.store.counts()["labels"] == 0  # the warm-up's six are old ones
    rig.finish()
    assert rig.loop.store.counts() == {"asked": 24, "waiting": 0, "labels": 24, "skipped": 0}
    assert len(rig.learner.fits[-1]) >= 47  # one label among so many is no refit
    assert rig.loop.progress().labels == 24


def test_few_old_labels_leave_the_rest_of_the_warm_up_to_be_asked(
    rigs: Callable[..., Rig], labelled: Path, tmp_path: Path
) -> None:
    rig = rigs(config(labels_from=str(labelled), labels=200, steps=8000), run=tmp_path / "new")
    rig.loop.warm_up()
    assert rig.loop.store.counts()["labels"] == 50 - 24


@pytest.mark.parametrize("budget", [24, 200])  # the old 24 are more than its warm-up's 6, and fewer than its 50
def test_nobody_is_waited_for_where_old_labels_are_enough(
    people: Any, labelled: Path, monkeypatch: pytest.MonkeyPatch, budget: int
) -> None:
    def no_sleep(_: float) -> None:
        raise AssertionError("the old labels are enough to begin with")

    monkeypatch.setattr("rltrainer.loop.time.sleep", no_sleep)
    rig, person = people(config(labeler="browser", labels_from=str(labelled), labels=budget))
    rig.loop.warm_up()
    assert rig.venv.seat.reward is not None
    rig.rollout(1024)
    assert person.store.waiting()  # what is asked later is asked as ever


@pytest.mark.parametrize("labeler", ["browser", "oracle"])
def test_segments_of_another_length_are_learned_from_and_never_put_beside_those_of_this_run(
    people: Any, labelled: Path, labeler: str
) -> None:
    rig, person = people(config(labeler=labeler, labels_from=str(labelled), labels=100, segments__steps=12))
    rig.loop.warm_up()
    rig.rollout(1024)
    store = person.store
    new = [query for query in [*store.judged().values(), *store.waiting()] if query.id not in rig.loop._inherited]
    assert new
    assert {len(store.segment(side)) for query in new for side in (query.first, query.second)} == {12}
    assert len(rig.learner.fits[-1]) >= 24


def test_old_policies_are_asked_about_again_also_where_segments_are_whole_episodes(rigs: Callable[..., Rig]) -> None:
    rig = rigs(config(), maker=partial(toys.ledger, runs_out_at=6))
    rig.loop.warm_up()
    rig.finish()
    fresh, candidates = rig.loop._asker._candidates(40)
    assert {len(segment) for segment in candidates} == {6}
    judged = {side.id for c in rig.loop.comparisons for side in (c.first, c.second)}
    again = {segment.id for segment in candidates} - {segment.id for segment in fresh}
    assert again
    assert again <= judged


def test_pairs_with_one_side_of_an_earlier_run_make_room_for_newer_ones_too(people: Any, labelled: Path) -> None:
    settings = config(labeler="browser", labels_from=str(labelled), labels=400, segments__recent_steps=500)
    rig, person = people(settings)
    rig.loop.warm_up()
    for _ in range(8):
        rig.rollout(250)
    assert rig.loop.steps < 3_000, "the earlier run was longer"
    assert min(query.asked_at for query in person.store.waiting()) >= rig.loop.steps - 500 - 250


def test_the_last_answers_of_people_are_learned_from(people: Any) -> None:
    rig, person = people(config(labeler="browser", labels=61, queries__decay=0.01, labeling__queue_size=100))
    rig.venv.seat.recorder  # noqa: B018 - made
    rig.play(256)
    for _ in range(40):
        rig.rollout(128)
        person.answer_all()
    rig.loop.update()
    assert rig.loop.store.counts()["labels"] == 61
    assert len(rig.learner.fits[-1]) == 61


@pytest.mark.parametrize(("pace", "again"), [(0.1, True), (0.2, False)])
def test_people_are_asked_again_about_what_an_earlier_run_saw_only_where_this_env_can_show_it(
    people: Any, labelled: Path, pace: float, *, again: bool
) -> None:
    settings = config(labeler="browser", labels_from=str(labelled), labels=200, env_options={"pace": pace})
    rig, person = people(settings, maker=partial(toys.drift, pace=pace))
    old = {side for query in person.store.judged().values() for side in (query.first, query.second)}
    rig.loop.warm_up()
    for _ in range(8):
        rig.rollout(256)
        asked = {side for query in person.store.waiting() for side in (query.first, query.second)}
        assert asked
        if not asked.isdisjoint(old):
            assert again
            return
        person.answer_all()
    assert not again


def test_what_an_env_without_pictures_saw_is_not_asked_about_again_and_stops_nothing(people: Any, labelled: Path) -> None:
    settings = config(env="toys:drift", labeler="browser", labels_from=str(labelled), labels=200, labeling__page="off")
    rig, person = people(settings)
    rig.loop.warm_up()
    rig.rollout(1024)
    old = {side for query in person.store.judged().values() for side in (query.first, query.second)}
    assert old.isdisjoint(side for query in person.store.waiting() for side in (query.first, query.second))


def test_with_old_labels_and_no_labeler_nothing_is_asked_and_the_reward_is_theirs(
    rigs: Callable[..., Rig], labelled: Path, tmp_path: Path
) -> None:
    rig = rigs(config(labels_from=str(labelled), labeler="none"), run=tmp_path / "new")
    rig.loop.warm_up()
    rig.finish()
    assert rig.loop.store.counts() == {"asked": 0, "waiting": 0, "labels": 0, "skipped": 0}
    assert {len(fit) for fit in rig.learner.fits} == {24}
    assert rig.venv.seat.reward is not None


def test_old_labels_of_an_env_of_other_sizes_are_refused_before_a_store_is_made(labelled: Path, tmp_path: Path) -> None:
    with pytest.raises(UserError, match="pass a run of an env of the same sizes"):
        Rig(config(labels_from=str(labelled)), maker=lambda: toys.Spaced(toys.PUSH, toys.PUSH), run=tmp_path / "new")
    assert not (tmp_path / "new").exists()


def test_a_run_that_goes_on_has_its_old_labels_though_the_run_they_came_from_is_gone(labelled: Path, tmp_path: Path) -> None:
    inherited = []
    for _ in range(2):
        rig = Rig(config(labels_from=str(labelled)), run=tmp_path / "new")
        inherited.append(rig.loop.inherited)
        rig.loop.close()
        shutil.rmtree(labelled, ignore_errors=True)
    assert inherited == [24, 24]


@pytest.mark.parametrize("known", [0, 3, 10, 1000])
def test_old_labels_stand_for_those_of_the_warm_up_and_all_of_the_budget_is_asked_still(known: int) -> None:
    schedule = Schedule(40, 10_000, Queries(warmup_share=0.25, warmup_labels=7), known)
    assert schedule.warmup_labels == max(0, 10 - known) == schedule.asked_by(0)
    assert schedule.asked_by(9_000) == pytest.approx(40)
    assert Schedule(0, 10_000, Queries(warmup_labels=7), known).warmup_labels == max(0, 7 - known)


# ------------------------------------------------------------------ is it helping


def test_a_twentieth_of_what_people_are_shown_is_a_pair_of_before_with_its_sides_swapped(people: Any) -> None:
    rig, person = people(config(labeler="browser", labels=0))
    shown: dict[str, Query] = {}
    for _ in range(25):
        rig.rollout(64)
        shown |= {query.id: query for query in person.store.waiting()}
        person.answer_all()
    repeats = [query for query in shown.values() if query.strategy == "repeat"]
    answers = person.store.counts()["labels"]
    assert answers >= 60
    assert len(repeats) in (answers // 20, answers // 20 - 1)  # one for each twenty; the last may come at the next boundary
    sides = {(query.first, query.second): query.asked_at for query in shown.values() if query.strategy != "repeat"}
    for query in repeats:
        assert sides[query.second, query.first] < query.asked_at
    assert rig.loop.diagnosis is not None
    assert (rig.loop.diagnosis.consistency, rig.loop.diagnosis.repeats) == (0, len(repeats))  # always the first one


def test_a_repeat_waits_until_it_is_answered_however_old_its_clips_are(people: Any) -> None:
    rig, person = people(config(labeler="browser", labels=0, segments__recent_steps=400))
    for _ in range(5):
        rig.rollout(64)
        person.answer_all()
    rig.rollout(64)
    (repeat,) = [query for query in person.store.waiting() if query.strategy == "repeat"]
    for _ in range(10):
        rig.rollout(64)
    assert repeat in person.store.waiting()


def test_an_oracle_is_never_asked_again(rigs: Callable[..., Rig]) -> None:
    rig = rigs(config(labels=60))
    rig.loop.warm_up()
    rig.finish()
    queries = [rig.loop.store.query(label.query_id) for label in rig.loop.store.labels()]
    assert {query.strategy for query in queries if query is not None} == {"uniform"}
    assert len(queries) == 60


def test_every_refit_is_diagnosed_on_fresh_segments_and_the_progress_says_so(rigs: Callable[..., Rig]) -> None:
    rig = rigs(config(labels=60, reward__learner="ensemble", reward__hidden=[16], reward__fit_steps=20))
    rig.loop.warm_up()
    rig.finish()
    found = rig.loop.progress().diagnosis
    assert found is not None
    assert found.labels == rig.loop.last_fit.comparisons  # type: ignore[union-attr]
    assert found.step_correlation is not None
    assert found.step_correlation > 0.5
    assert found.ranking_agreement is not None
    assert found.verdict


# ------------------------------------------------------------------ whose clips are they

PENDULUM = partial(gym.make, "Pendulum-v1")


def both_wrapped(maker: Callable[[], Any]) -> list[Any]:
    """In each wrapper."""
    return [PreferenceRewardWrapper(maker()), PreferenceRewardVecWrapper(DummyVecEnv([lambda: SeededEpisodes(maker())]))]


def test_an_env_of_another_name_is_refused_before_anything_is_made(tmp_path: Path) -> None:
    for wrapped in both_wrapped(partial(gym.make, "CartPole-v1")):
        with pytest.raises(UserError, match=r"config\.env is 'Pendulum-v1', and the wrapped env is 'CartPole-v1'; pass Config"):
            PreferenceLoop(wrapped, Config(env="Pendulum-v1"), run=tmp_path / "run")
        wrapped.close()
    assert not list(tmp_path.iterdir())


def test_an_id_that_a_package_of_ones_own_registered_is_to_be_named_with_its_module(tmp_path: Path) -> None:
    """The label service is a process that has not imported it."""
    gym.register("Own-v0", "toys:Drift", max_episode_steps=40)
    with pytest.raises(UserError, match=r"pass Config\(env='module:Own-v0'\)"):
        PreferenceLoop(PreferenceRewardWrapper(gym.make("Own-v0")), Config(env="Pendulum-v1"), run=tmp_path / "run")
    del gym.registry["Own-v0"]


def test_an_env_without_an_id_is_not_taken_for_the_default_one(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"the wrapped env has no id.*pass Config\(env='package.module:function'\)"):
        PreferenceLoop(PreferenceRewardWrapper(toys.drift()), Config(labeler="oracle", labels=8), run=tmp_path / "run")


class Twice(gym.Wrapper[Any, Any, Any, Any]):
    """Takes each action twice."""

    def step(self, action: Any) -> tuple[Any, Any, bool, bool, dict[str, Any]]:
        self.env.step(action)
        return self.env.step(action)


SHOWN = Config(env="Pendulum-v1", labels=8, steps=800)


@pytest.mark.parametrize(
    "maker",
    [
        partial(PENDULUM, g=5.0),
        lambda: gym.wrappers.RescaleAction(PENDULUM(), -1, 1),
        lambda: gym.wrappers.FrameStackObservation(PENDULUM(), 3),
        lambda: Twice(PENDULUM()),
    ],
    ids=["arguments", "actions", "observations", "own"],
)
def test_an_env_that_does_other_things_than_its_clips_would_show_is_refused_where_people_answer(
    maker: Callable[[], Any], tmp_path: Path
) -> None:
    for wrapped in both_wrapped(maker):
        loop = PreferenceLoop(wrapped, SHOWN, run=tmp_path / type(wrapped).__name__)
        with pytest.raises(
            UserError, match=r"recorded cannot be shown again there: observation \d.*Config\(env_options=\.\.\.\)"
        ):
            loop.act_at_random()
        loop.close()
        wrapped.close()


def test_a_vector_that_stacks_what_its_envs_give_is_refused_inside_where_people_answer(tmp_path: Path) -> None:
    stacked = VecFrameStack(DummyVecEnv([lambda: SeededEpisodes(PENDULUM())]), 4)
    loop = PreferenceLoop(PreferenceRewardVecWrapper(stacked), SHOWN, run=tmp_path / "run")
    with pytest.raises(UserError, match="stacks or scales observations goes outside"):
        loop.act_at_random()
    loop.close()
    stacked.close()


@pytest.mark.parametrize(
    "around",
    [lambda env: env, gym.wrappers.FlattenObservation, gym.wrappers.ClipAction, gym.wrappers.RecordEpisodeStatistics],
    ids=["nothing", "flat", "clipped", "statistics"],
)
def test_what_does_the_same_as_its_clips_show_may_be_around_an_env(around: Callable[[Any], Any], tmp_path: Path) -> None:
    settings = SHOWN.but({"env_options": {"g": 5}})
    for wrapped in both_wrapped(lambda: around(PENDULUM(g=5.0, render_mode="rgb_array"))):
        loop = PreferenceLoop(wrapped, settings, run=tmp_path / type(wrapped).__name__)
        assert loop.act_at_random() > 0
        loop.close()
        wrapped.close()


def test_what_nobody_is_shown_may_be_wrapped_at_will(tmp_path: Path) -> None:
    env = PreferenceRewardWrapper(gym.wrappers.RescaleAction(PENDULUM(g=5.0), -1, 1))
    loop = PreferenceLoop(env, SHOWN.but({"labeler": "oracle"}), run=tmp_path / "run")
    assert loop.act_at_random() > 0
    loop.close()
    env.close()
