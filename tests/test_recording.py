"""Facts about the recorder: which steps become segments, and that they are the steps that were taken.

Observations here are [env, episode, step], and the action of a step is a number that no other step has: every segment
can be told from every other one.
"""

from __future__ import annotations

from collections import Counter
from typing import Any

import gymnasium as gym
import numpy as np
import pytest

from rltrainer.core import Array, Segment, UserError
from rltrainer.recording import Recorder

ACTIONS = gym.spaces.Box(-np.inf, np.inf, (1,), np.float64)


class Play:
    """Plays episodes of given lengths into a recorder and remembers what happened."""

    def __init__(self, n_envs: int = 1, recent_steps: int = 1000, limit: int | None = 20) -> None:
        self.recorder = Recorder(n_envs, np.zeros(3, np.float32), ACTIONS, recent_steps, limit)
        self.episodes = [-1] * n_envs
        self.steps = [0] * n_envs
        self.taken = 0
        self.action_of: dict[tuple[int, int, int], float] = {}
        self.ended: dict[tuple[int, int], tuple[int, str]] = {}
        for env in range(n_envs):
            self.reset(env)

    def seen(self, env: int) -> Array:
        return np.array([env, self.episodes[env], self.steps[env]], np.float32)

    def reset(self, env: int) -> None:
        self.episodes[env] += 1
        self.steps[env] = 0
        self.recorder.begin(env, seed=1000 * env + self.episodes[env], observation=self.seen(env))

    def act(self, env: int) -> tuple[Array, float]:
        self.taken += 1
        self.action_of[env, self.episodes[env], self.steps[env]] = float(self.taken)
        self.steps[env] += 1
        return np.array([float(self.taken)]), -float(self.taken)

    def step(self, env: int = 0) -> None:
        action, reward = self.act(env)
        self.recorder.add_to(env, action, reward, self.seen(env))

    def step_all(self) -> None:
        acts = [self.act(env) for env in range(self.recorder.n_envs)]
        actions, rewards = np.stack([a for a, _ in acts]), np.array([r for _, r in acts])
        self.recorder.add(actions, rewards, np.stack([self.seen(env) for env in range(self.recorder.n_envs)]))

    def end(self, env: int = 0, *, how: str = "truncated") -> None:
        self.ended[env, self.episodes[env]] = self.steps[env], how
        self.recorder.end(env, terminated=how == "terminated", truncated=how == "truncated")
        self.reset(env)

    def episode(self, steps: int, *, how: str = "truncated") -> None:
        for _ in range(steps):
            self.step()
        self.end(how=how)

    def check(self, segment: Segment) -> None:
        """The segment is what was played: consecutive steps of one episode, and what led to them."""
        env, episode, start = (int(x) for x in segment.observations[0])
        steps = len(segment.actions)
        expected = [[env, episode, start + t] for t in range(steps + 1)]
        np.testing.assert_array_equal(segment.observations, np.array(expected, np.float32))
        actions = [self.action_of[env, episode, t] for t in range(start + steps)]
        np.testing.assert_array_equal(segment.lead_in[:, 0], actions[:start])
        np.testing.assert_array_equal(segment.actions[:, 0], actions[start:])
        np.testing.assert_array_equal(segment.env_rewards, [-a for a in actions[start:]])
        assert segment.episode_seed == 1000 * env + episode
        length, how = self.ended.get((env, episode), (-1, ""))
        at_end = start + steps == length
        assert segment.terminated == (at_end and how == "terminated")
        assert not segment.after or segment.terminated
        assert segment.truncated == (at_end and how == "truncated")


def sample(recorder: Recorder, count: int = 400, steps: int = 5, seed: int = 0) -> list[Segment]:
    return recorder.sample(count, steps, np.random.default_rng(seed))


def starts(segments: list[Segment]) -> set[tuple[int, int]]:
    """(episode, first step) of each segment."""
    return {(int(s.observations[0, 1]), int(s.observations[0, 2])) for s in segments}


def test_a_fresh_recorder_has_nothing_to_cut_from() -> None:
    play = Play()
    assert sample(play.recorder) == []
    for _ in range(4):
        play.step()
    assert sample(play.recorder, steps=5) == []  # one step short
    play.step()
    assert starts(sample(play.recorder, steps=5)) == {(0, 0)}


def test_segments_never_cross_a_reset() -> None:
    play = Play()
    for steps in (7, 5, 9):
        play.episode(steps)
    segments = sample(play.recorder, steps=5)
    for segment in segments:
        play.check(segment)
    assert starts(segments) == {(0, 0), (0, 1), (0, 2), (1, 0), (2, 0), (2, 1), (2, 2), (2, 3), (2, 4)}


def test_the_last_row_of_an_episode_is_its_terminal_observation() -> None:
    play = Play()
    play.episode(5)
    play.step()
    (segment, *_) = sample(play.recorder, steps=5)
    assert segment.observations[-1].tolist() == [0, 0, 5]


def test_terminated_and_truncated_stay_apart_and_belong_to_the_last_step() -> None:
    play = Play()
    play.episode(6, how="terminated")
    play.episode(6, how="truncated")
    seen = {
        (int(s.observations[0, 1]), int(s.observations[0, 2])): (s.terminated, s.truncated)
        for s in sample(play.recorder, steps=5)
        if not s.after
    }
    assert seen == {(0, 0): (False, False), (0, 1): (True, False), (1, 0): (False, False), (1, 1): (False, True)}


def test_a_window_reaches_over_the_step_that_terminated_an_episode() -> None:
    """All windows are of one length; one that was cut off by a time limit ends there, since it would have gone on."""
    play = Play()
    play.episode(3, how="terminated")
    play.episode(8)
    segments = sample(play.recorder, steps=5)
    assert {len(s) for s in segments} == {5}
    after = {(int(s.observations[0, 1]), int(s.observations[0, 2])): s.after for s in segments}
    assert after == {(0, 0): 2, (0, 1): 3, (0, 2): 4, (1, 0): 0, (1, 1): 0, (1, 2): 0, (1, 3): 0}


def test_an_episode_that_was_cut_off_or_left_early_is_no_segment() -> None:
    """Nothing happened at its end that a labeler could see."""
    play = Play()
    play.episode(3, how="truncated")
    for _ in range(3):
        play.step()
    play.reset(0)  # left in the middle
    play.episode(5)
    assert {episode for episode, _ in starts(sample(play.recorder, steps=5))} == {2}


def test_where_all_episodes_are_cut_off_sooner_segments_are_whole_ones() -> None:
    """An env may truncate its episodes in a way that its spec does not tell."""
    play = Play()
    for _ in range(3):
        play.episode(4, how="truncated")
    segments = sample(play.recorder, steps=5)
    assert {(len(s.actions), s.after, s.terminated, s.truncated) for s in segments} == {(4, 0, False, True)}
    assert starts(segments) == {(0, 0), (1, 0), (2, 0)}


def test_an_episode_without_steps_is_no_segment() -> None:
    play = Play()
    play.reset(0)
    play.reset(0)
    play.episode(5)
    assert starts(sample(play.recorder, steps=5)) == {(2, 0)}


def test_the_running_episode_is_cut_from_too() -> None:
    play = Play()
    for _ in range(9):
        play.step()
    assert starts(sample(play.recorder, steps=5)) == {(0, t) for t in range(5)}


def test_every_window_is_as_likely_as_any_other() -> None:
    """Episodes of 5 and 14 steps have 1 and 10 windows of 5: each of the 11 comes up about 1,000 times of 11,000."""
    play = Play()
    play.episode(5)
    play.episode(14)
    counts = Counter((int(s.observations[0, 1]), int(s.observations[0, 2])) for s in sample(play.recorder, 11_000))
    assert len(counts) == 11
    assert all(abs(count - 1000) < 6 * np.sqrt(1000 * 10 / 11) for count in counts.values())


def test_later_steps_do_not_change_a_segment() -> None:
    play = Play(recent_steps=30)
    play.episode(20)
    (segment, *_) = sample(play.recorder, steps=5)
    before = [array.copy() for array in (segment.observations, segment.actions, segment.env_rewards, segment.lead_in)]
    for _ in range(20):
        play.episode(20)
    for then, now in zip(before, (segment.observations, segment.actions, segment.env_rewards, segment.lead_in), strict=True):
        np.testing.assert_array_equal(then, now)


def test_a_segment_pins_nothing_but_its_own_steps() -> None:
    """A view would keep the whole ring in memory for as long as the label lives."""
    play = Play()
    play.episode(20)
    (segment, *_) = sample(play.recorder, steps=5)
    for array in (segment.observations, segment.actions, segment.env_rewards, segment.lead_in):
        assert array.base is None or array.base.nbytes == array.nbytes


def test_what_the_caller_does_to_its_arrays_later_does_not_matter() -> None:
    recorder = Recorder(1, np.zeros(3, np.float32), ACTIONS, 100, 20)
    observation, action = np.zeros(3, np.float32), np.zeros(1)
    recorder.begin(0, 7, observation)
    for step in range(5):
        action[:] = step
        observation[:] = step + 1
        recorder.add_to(0, action, 0.0, observation)
    action[:] = observation[:] = 99
    (segment,) = recorder.sample(1, 5, np.random.default_rng(0))
    assert segment.actions[:, 0].tolist() == [0, 1, 2, 3, 4]
    assert segment.observations[:, 0].tolist() == [0, 1, 2, 3, 4, 5]


@pytest.mark.parametrize("seed", range(6))
@pytest.mark.parametrize("n_envs", [1, 3])
def test_whatever_is_played_every_segment_is_what_was_played(seed: int, n_envs: int) -> None:
    """Random episodes through a ring that wraps many times; every sample is checked number by number."""
    rng = np.random.default_rng(seed)
    limit = int(rng.integers(6, 25))
    play = Play(n_envs, recent_steps=int(rng.integers(20, 80)), limit=limit)
    for _ in range(400):
        play.step_all()
        for env in range(n_envs):
            if play.steps[env] == limit or rng.random() < 0.05:
                play.end(env, how="truncated" if play.steps[env] == limit else "terminated")
            elif rng.random() < 0.01:
                play.reset(env)
        if rng.random() < 0.2:
            for segment in sample(play.recorder, 20, 5, seed=int(rng.integers(1000))):
                play.check(segment)
    assert play.recorder.steps == 400 * n_envs


def test_only_the_newest_steps_are_cut_from() -> None:
    """Of the newest 50 steps; a window may begin at most its own length earlier."""
    play = Play(recent_steps=50, limit=20)
    for _ in range(30):
        play.episode(20)
    for _ in range(10):
        play.step()
    newest = play.taken
    segments = sample(play.recorder, steps=5)
    assert max(s.actions[-1, 0] for s in segments) == newest
    assert min(s.actions[0, 0] for s in segments) > newest - 50 - 5
    assert min(s.actions[0, 0] for s in segments) < newest - 30


def test_recent_steps_are_those_of_all_envs_together() -> None:
    play = Play(n_envs=5, recent_steps=100, limit=20)
    for t in range(300):
        play.step_all()
        if t % 20 == 19:
            for env in range(5):
                play.end(env)
    oldest = min(s.actions[0, 0] for s in sample(play.recorder, steps=5))
    assert play.taken - 100 - 5 * 5 - 5 * 2 <= oldest < play.taken - 50
    assert {int(s.observations[0, 0]) for s in sample(play.recorder)} == set(range(5))


def test_an_episode_as_long_as_the_limit_stays_whole_in_the_smallest_ring() -> None:
    """Its lead-in goes back to the reset, which must not be overwritten while its end is new."""
    play = Play(recent_steps=10, limit=100)
    for _ in range(5):
        play.episode(100)
        segments = sample(play.recorder, steps=5)
        assert segments
        for segment in segments:
            play.check(segment)
            assert len(segment.lead_in) == segment.observations[0, 2]


def test_an_episode_whose_reset_is_overwritten_is_not_cut_from() -> None:
    """With no limit known and an episode that never ends, it cannot be shown again from its reset on."""
    play = Play(recent_steps=10, limit=None)
    for _ in range(200):
        play.step()
    for segment in sample(play.recorder, steps=5):
        play.check(segment)


def test_the_newest_ended_episode_is_given_whole() -> None:
    play = Play(recent_steps=10, limit=30)
    with pytest.raises(LookupError, match="no episode of env 0 has ended"):
        play.recorder.last_episode(0)
    for steps in (12, 30, 7):
        play.episode(steps)
        play.step()
        whole = play.recorder.last_episode(0)
        assert (len(whole), len(whole.lead_in)) == (steps, 0)
        play.check(whole)
        play.reset(0)


def test_memory_does_not_grow_with_the_episodes() -> None:
    play = Play(recent_steps=20, limit=5)
    for _ in range(300):
        play.episode(5)
    assert len(play.recorder._episodes[0]) <= 20 // 5 + 3


def test_what_each_env_shows_now_is_a_copy() -> None:
    play = Play(n_envs=2)
    play.step_all()
    shown = play.recorder.current
    assert shown.tolist() == [[0, 0, 1], [1, 0, 1]]
    play.step_all()
    assert shown.tolist() == [[0, 0, 1], [1, 0, 1]]


def test_discrete_actions_and_pictures_keep_their_types() -> None:
    recorder = Recorder(1, np.zeros(4, np.uint8), gym.spaces.Discrete(3), 50, 10)
    recorder.begin(0, 5, np.full(4, 200, np.uint8))
    for _ in range(3):
        recorder.add_to(0, np.asarray(2), 1.0, np.full(4, 255, np.uint8))
    (segment,) = recorder.sample(1, 3, np.random.default_rng(0))
    assert segment.observations.dtype == np.uint8
    assert segment.observations.max() == 255
    assert segment.actions.tolist() == [2, 2, 2]
    assert segment.actions.dtype == np.int64


@pytest.mark.parametrize("together", [False, True])
def test_nothing_is_cut_from_an_episode_that_was_dropped(together: bool) -> None:
    play = Play(recent_steps=30, limit=8)
    step = play.step_all if together else play.step
    for steps, dropped in [(8, False), (5, True), (0, True), (6, False), (8, False), (7, True), (8, False)] * 2:
        for _ in range(steps):
            step()
        if dropped:
            play.recorder.drop(0)
            play.reset(0)
        else:
            play.end()
        segments = sample(play.recorder, count=80, steps=5)
        assert {episode for episode, _ in starts(segments)} <= {episode for _, episode in play.ended}
        for segment in segments:
            play.check(segment)
    again = Recorder(1, np.zeros(3, np.float32), ACTIONS, recent_steps=30, episode_limit=8)
    again.restore(play.recorder.state())
    assert [s.id for s in sample(again)] == [s.id for s in sample(play.recorder)]
    assert {episode for episode, _ in starts(sample(again))} == {10, 11, 13}  # of the newest 30 rows, 12's are 8


def test_pictures_of_an_episode_that_was_dropped_are_gone() -> None:
    recorder = Recorder(1, np.zeros(1, np.float32), ACTIONS, recent_steps=100, episode_limit=10)
    for episode in range(2):
        recorder.begin(0, episode, np.zeros(1, np.float32), frame=b"first")
        for t in range(3):
            recorder.add_to(0, np.zeros(1), 0.0, np.array([t + 1], np.float32), frame=b"next")
        if episode == 0:
            recorder.end(0, terminated=False, truncated=True)
    recorder.drop(0)
    assert sorted(recorder._frames[0]) == [0, 1, 2, 3]


def test_captured_frames_come_with_their_steps() -> None:
    recorder = Recorder(1, np.zeros(1, np.float32), ACTIONS, 20, 10)
    taken = 0
    for episode in range(8):
        recorder.begin(0, episode, np.zeros(1, np.float32), frame=f"{episode}:0".encode())
        for t in range(10):
            taken += 1
            recorder.add_to(0, np.array([taken]), 0.0, np.array([t + 1], np.float32), frame=f"{episode}:{t + 1}".encode())
        recorder.end(0, terminated=False, truncated=True)
    for segment in recorder.sample(50, 4, np.random.default_rng(0)):
        first = len(segment.lead_in)
        assert segment.frames == tuple(f"{segment.episode_seed}:{first + t}".encode() for t in range(5))
    kept: dict[int, Any] = recorder._frames[0]
    assert len(kept) <= 60  # pictures nobody can ask for are dropped


def test_the_same_generator_gives_the_same_segments() -> None:
    play = Play()
    for _ in range(5):
        play.episode(20)
    one, two = ([s.id for s in sample(play.recorder, 20, seed=seed)] for seed in (3, 3))
    assert one == two
    assert one != [s.id for s in sample(play.recorder, 20, seed=4)]


def test_what_would_fill_the_machines_memory_is_refused_before_it_does() -> None:
    for limit, words in ((None, "without end"), (27_000, "up to 27,000 steps")):
        with pytest.raises(UserError, match=rf"of 8 envs with episodes {words} take \d+\.\d GB, and this machine has"):
            Recorder(8, np.zeros(1_000_000_000, np.uint8), gym.spaces.Discrete(2), 16_000, limit)
