"""Facts about the reward that looks back: what a step can see, and that what is learned is what is paid."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import gymnasium as gym
import numpy as np
import pytest
import torch
import toys
from stable_baselines3 import SAC
from stable_baselines3.common.vec_env import DummyVecEnv
from torch import Tensor

from rltrainer import Config, PreferenceLoop, PreferenceRewardVecWrapper, PreferenceRewardWrapper, RelabellingCallback
from rltrainer.config import Reward
from rltrainer.core import Comparison, Learner, Segment, UserError, looks_back, rewards_along
from rltrainer.diagnostics import Steps
from rltrainer.envs import SeededEpisodes, make_env
from rltrainer.foretelling import rewards_of
from rltrainer.recording import Recorder
from rltrainer.refit import fit_through
from rltrainer.rewards import LEARNERS, TransformerLearner
from rltrainer.rewards.attention import AGES, Transformers, ages
from rltrainer.rewards.transformer import TransformerReward
from rltrainer.training import resolved

PUSH = toys.PUSH


def transformers() -> Transformers:
    """Two of rows of three numbers, whose rewards differ a good deal."""
    made = Transformers(2, 3, torch.Generator().manual_seed(0))
    with torch.no_grad():
        made.head *= 10
        made.ages += torch.randn(made.ages.shape, generator=torch.Generator().manual_seed(1))
    return made.requires_grad_(requires_grad=False)


def rows(steps: int = 12, count: int = 4, seed: int = 0) -> Tensor:
    """Of two members, [2, count, steps, 3]."""
    drawn = torch.randn((1, count, steps, 3), generator=torch.Generator().manual_seed(seed))
    return drawn.expand(2, -1, -1, -1).clone()


def learner(pairs: list[Comparison] | None = None, **settings: Any) -> TransformerLearner:
    """One that learned from comparisons of 10 steps, or from these."""
    made = TransformerLearner(2, PUSH, Reward(**{"fit_steps": 20, **settings}), np.random.SeedSequence(0))
    segments = toys.random_segments(40, np.random.default_rng(0))
    pairs = pairs or [toys.compare(a, b) for a, b in zip(segments[::2], segments[1::2], strict=True)]
    made.fit(pairs, segments)
    return made


# ------------------------------------------------------------------ what a step can see


def test_what_a_step_pays_depends_on_those_before_it_and_on_none_after() -> None:
    nets, seen = transformers(), rows()
    paid = nets(seen, 12)
    seen[:, :, 5] += 1.0
    other = nets(seen, 12)
    torch.testing.assert_close(paid[:, :, :5], other[:, :, :5])
    assert ((paid - other)[:, :, 5:].abs() > 1e-5).all()


def test_the_newest_steps_pay_as_in_the_whole_stretch() -> None:
    nets, seen = transformers(), rows()
    for newest in (1, 5):
        torch.testing.assert_close(nets(seen, newest), nets(seen, 12)[:, :, -newest:])


def test_steps_that_never_happened_make_no_difference() -> None:
    nets, seen = transformers(), rows()
    paid = nets(seen[:, :, 3:], 9)
    padded = nets(seen, 9, torch.full((4,), 3))
    torch.testing.assert_close(padded, paid)
    assert torch.isfinite(nets(seen, 12, torch.full((4,), 12))).all()


def test_a_step_sees_no_farther_than_its_context() -> None:
    nets, seen = transformers(), rows()
    torch.testing.assert_close(nets(seen, 1, None, 4), nets(seen[:, :, -4:], 1))
    torch.testing.assert_close(nets(seen, 6, None, 4)[:, :, 2:3], nets(seen[:, :, 5:9], 1))


def test_where_a_stretch_begins_is_told_by_nothing_but_what_is_missing() -> None:
    """The same steps later in an episode pay the same, as far as they are all that is seen."""
    nets, seen = transformers(), rows()
    later = torch.cat((rows(seed=1), seen), dim=2)
    torch.testing.assert_close(nets(later, 1, None, 12), nets(seen, 1))


def test_near_steps_are_told_apart_one_by_one_and_far_ones_together() -> None:
    back = ages(1, 400)[0].flip(0).tolist()
    assert len(set(back[:3])) == 3
    assert back == sorted(back)
    assert back[-1] == AGES - 1
    assert back[100] == back[120]


# ------------------------------------------------------------------ the newest steps of each env


def recorder() -> Recorder:
    """Two envs, after 5 and 2 steps of their episodes: what env e sees after t steps of its second episode is 10 e + t."""
    made = Recorder(2, np.zeros(1, np.float32), PUSH, 100, 20)
    for env in (0, 1):
        made.begin(env, 0, np.array([-1.0]))
    for _ in range(4):
        made.add(np.full((2, 1), -1.0), np.zeros(2), np.full((2, 1), -1.0))
    for t in range(6):
        for env, begun in ((0, 1), (1, 4)):
            if t + 1 == begun:
                made.end(env, terminated=True, truncated=False)
                made.begin(env, 0, np.array([10.0 * env]))
        done = np.array([[t], [t]], np.float32)
        made.add(done, np.zeros(2), np.array([[t + 1.0], [10 + t - 2.0]]))
    return made


def test_a_history_ends_with_the_newest_step_and_goes_back_to_the_reset_at_most() -> None:
    found = recorder().history(4)
    np.testing.assert_array_equal(found.observations[0, :, 0], [2, 3, 4, 5, 6])
    np.testing.assert_array_equal(found.actions[0, :, 0], [2, 3, 4, 5])
    np.testing.assert_array_equal(found.blank, [0, 1])
    np.testing.assert_array_equal(found.observations[1, 1:, 0], [10, 11, 12, 13])
    np.testing.assert_array_equal(found.actions[1, 1:, 0], [3, 4, 5])


def test_a_history_of_some_envs_is_theirs_alone() -> None:
    made = recorder()
    one, all_of_them = made.history(4, [1]), made.history(4)
    for part in ("observations", "actions", "blank"):
        np.testing.assert_array_equal(getattr(one, part)[0], getattr(all_of_them, part)[1])


def cued(rng: np.random.Generator) -> Segment:
    """Only what is seen first says whether actions are good to the right or to the left, from then on."""
    observations = np.zeros((11, 2))
    observations[0, 0] = rng.choice([-1, 1])
    actions = (rng.uniform(-0.5, 0.5) + rng.uniform(-0.5, 0.5, (10, 1))).astype(np.float32)
    return toys.segment(observations, actions, observations[0, 0] * actions[:, 0], seed=int(rng.integers(2**31)))


def test_what_was_seen_once_counts_for_the_steps_after_it() -> None:
    """A reward of single steps knows it in the first alone, of which the others are no more than a hint."""
    rng = np.random.default_rng(0)
    pairs = [toys.compare(cued(rng), cued(rng), name=str(n)) for n in range(400)]
    learned, others = pairs[:100], pairs[100:]
    shares = {}
    for name in ("bayes", "transformer"):
        made: Learner = LEARNERS[name](2, PUSH, Reward(), np.random.SeedSequence(0))
        fit_through(made, learned, [c.first for c in learned], Reward())
        first, second = (made.member_returns([getattr(c, side) for c in others]).mean(axis=0) for side in ("first", "second"))
        shares[name] = float(((first > second) == np.array([c.target > 0.5 for c in others])).mean())
    assert shares["bayes"] < 0.75
    assert shares["transformer"] > 0.8


# ------------------------------------------------------------------ what is paid is what was learned


def test_a_segments_return_is_the_sum_of_what_its_steps_pay() -> None:
    made = learner()
    segments = toys.random_segments(20, np.random.default_rng(3))
    reward = made.snapshot()
    assert looks_back(reward)
    paid = np.array([rewards_along(reward, segment).sum() for segment in segments])
    returns = made.member_returns(segments)
    zero, scale = made._output
    expected = ((returns - 10 * zero[:, None]) / scale[:, None]).mean(axis=0) / made._overall
    np.testing.assert_allclose(paid, expected, rtol=1e-4, atol=1e-4)


def test_a_step_sees_as_many_as_the_longest_judged_stretch_had() -> None:
    long, short = (toys.random_segments(2, np.random.default_rng(0), steps=steps) for steps in (25, 8))
    pairs = [toys.compare(*short), toys.compare(*long, first_range=(0, 20), second_range=(2, 9))]
    assert learner(pairs).snapshot().context == 20


def test_a_reward_comes_back_from_disk_as_far_sighted_as_it_was() -> None:
    made, other = learner(), TransformerLearner(2, PUSH, Reward(), np.random.SeedSequence(9))
    other.restore(made.state())
    segment = toys.random_segments(1, np.random.default_rng(5), steps=30)[0]
    assert other.snapshot().context == 10
    np.testing.assert_array_equal(rewards_along(other.snapshot(), segment), rewards_along(made.snapshot(), segment))


def test_steps_alone_pay_as_the_first_of_an_episode() -> None:
    reward, segment = learner().snapshot(), toys.random_segments(1, np.random.default_rng(5))[0]
    alone = reward(segment.observations[:-1], segment.actions, segment.observations[1:])
    together = rewards_along(reward, segment)
    np.testing.assert_allclose(alone[0], together[0], rtol=1e-5)
    assert (np.abs(alone - together)[1:] > 1e-6).all()


def looking_back(env: gym.Env[Any, Any], steps: int = 15) -> TransformerReward:
    """A reward of so many steps for an env's recorded observations and actions, whose nets are as they began."""
    observed = gym.spaces.flatdim(env.get_wrapper_attr("recorded_observation_space"))
    made = TransformerLearner(observed, env.get_wrapper_attr("recorded_action_space"), Reward(), np.random.SeedSequence(0))
    made._context = steps
    return made.snapshot()


def test_an_agent_is_paid_what_its_recorded_steps_are_worth() -> None:
    """Over the whole of an episode that is longer than what a step sees, and the next episode begins with nothing to see."""
    env = PreferenceRewardWrapper(make_env("Pendulum-v1"))
    reward = env.seat.reward = looking_back(env)
    env.action_space.seed(0)
    for _ in range(2):
        env.reset(seed=0)
        paid, over = [], False
        while not over:
            _, learned, terminated, truncated, _ = env.step(env.action_space.sample())
            paid.append(learned)
            over = terminated or truncated
        np.testing.assert_allclose(paid, rewards_along(reward, env.recorder.last_episode(0)), rtol=1e-5, atol=1e-6)


def test_each_env_of_a_vector_is_paid_by_its_own_past() -> None:
    venv = PreferenceRewardVecWrapper(DummyVecEnv([lambda: toys.drift(20), lambda: toys.drift(33)]))
    reward = venv.seat.reward = looking_back(SeededEpisodes(toys.drift()))
    venv.seed(0)
    venv.reset()
    paid: list[list[float]] = [[], []]
    rng, checked = np.random.default_rng(0), 0
    for _ in range(120):
        _, learned, dones, _ = venv.step(rng.uniform(-1, 1, (2, 1)).astype(np.float32))
        for env in (0, 1):
            paid[env].append(learned[env])
            if dones[env]:
                expected = rewards_along(reward, venv.recorder.last_episode(env))
                np.testing.assert_allclose(paid[env], expected, rtol=1e-4, atol=1e-5)
                paid[env], checked = [], checked + 1
    assert checked == 6 + 3


def test_a_black_box_pays_for_its_inner_steps_by_those_before_them() -> None:
    pytest.importorskip("mp_pytorch")
    env = PreferenceRewardWrapper(make_env("fancy_ProMP/Reacher5d-v0"))
    reward = env.seat.reward = looking_back(env)
    env.action_space.seed(1)
    env.reset(seed=3)
    _, paid, *_ = env.step(env.action_space.sample())
    assert paid == pytest.approx(rewards_along(reward, env.recorder.last_episode(0)).sum(), rel=1e-4)
    env.close()


# ------------------------------------------------------------------ who else reads it


def test_pages_and_diagnoses_are_told_what_is_paid() -> None:
    reward = learner().snapshot()
    segments = [replace(s, after=2) for s in toys.random_segments(3, np.random.default_rng(1))]
    along = [rewards_along(reward, segment) for segment in segments]
    np.testing.assert_allclose(rewards_of(reward, segments[0]), [*along[0].round(3), 0.0, 0.0])
    steps = Steps.of(segments)
    assert steps is not None
    np.testing.assert_array_equal(steps.rewards(reward), np.concatenate(along))


def test_methods_with_a_replay_buffer_refuse_it(tmp_path: Path) -> None:
    """Before a folder is made; and in one's own code before the first step."""
    config = Config().but({"env": "Pendulum-v1", "method": "sac", "reward.learner": "transformer"})
    with pytest.raises(UserError, match=r"look back at the steps before.*set method to ppo"):
        resolved(config, tmp_path / "run")
    assert not (tmp_path / "run").exists()
    env = PreferenceRewardWrapper(toys.drift())
    loop = PreferenceLoop(env, config)
    with pytest.raises(UserError, match="look back at the steps before"):
        SAC("MlpPolicy", env, device="cpu").learn(100, callback=RelabellingCallback(loop))
    assert loop.steps == 0
    loop.close()
