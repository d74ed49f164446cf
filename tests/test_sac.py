"""Facts about SAC on a learned reward: what its replay buffer holds, when that is relabelled, how it explores first."""

from __future__ import annotations

import copy
import functools
import json
import math
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import gymnasium as gym
import numpy as np
import pytest
import torch
import toys
from gymnasium import spaces
from stable_baselines3 import SAC, HerReplayBuffer
from stable_baselines3.common.callbacks import BaseCallback, CallbackList
from stable_baselines3.common.monitor import Monitor
from stable_baselines3.common.vec_env import DummyVecEnv, VecEnv, VecEnvWrapper, VecNormalize

from rltrainer.cli import group
from rltrainer.config import Config
from rltrainer.core import Array, UserError
from rltrainer.horizon import FixedHorizon
from rltrainer.loop import PreferenceLoop
from rltrainer.methods import PreferenceCallback, RelabellingCallback, make_sac, relabelling, replay, sac
from rltrainer.methods.exploration import ParticleEntropy, neighbour_distances
from rltrainer.methods.relabelling import reset_critic
from rltrainer.methods.replay import Replay
from rltrainer.training import normalised
from rltrainer.wrapper import PreferenceRewardVecWrapper, PreferenceRewardWrapper


def config(**changes: Any) -> Config:
    """A short run: segments of 8, one gradient step in each round of 64 env steps."""
    small = {
        "method": "sac",
        "labeler": "oracle",
        "steps": 602,
        "labels": 24,
        "segments.steps": 8,
        "queries.batch": 2,
        "reward.hidden": [8],
        "reward.fit_steps": 4,
        "sac.replay_ratio": 0.01,
        "sac.batch_size": 16,
    }
    return Config().but(small | {name.replace("__", "."): value for name, value in changes.items()})


# ------------------------------------------------------------------ what the buffer holds


class Witness(VecEnvWrapper):
    """Writes down the actions that the envs get, [T, N, *A], and how often they end."""

    def __init__(self, venv: VecEnv) -> None:
        super().__init__(venv)
        self.actions: list[Array] = []
        self.terminated = self.truncated = 0

    def reset(self) -> Any:
        return self.venv.reset()

    def step_async(self, actions: Array) -> None:
        self.actions.append(actions.copy())
        self.venv.step_async(actions)

    def step_wait(self) -> Any:
        after, rewards, dones, infos = self.venv.step_wait()
        cut = sum(bool(info.get("TimeLimit.truncated")) for info in infos)
        self.truncated += cut
        self.terminated += int(dones.sum()) - cut
        return after, rewards, dones, infos


class Plain:
    """A reward that anyone can work out, and in which each number of (o, a, o') counts."""

    version = 1

    def __call__(self, observations: Array, actions: Array, next_observations: Array) -> Array:
        return observations @ self.of(observations) + 100 * actions.sum(axis=1) - 3 * next_observations @ self.of(observations)

    def of(self, observations: Array) -> Array:
        return np.arange(1, observations.shape[1] + 1)


LOPSIDED = spaces.Box(np.array([-2, 0], np.float32), np.array([3, 0.5], np.float32))
PARTS = spaces.Dict({"place": spaces.Box(-5, 1, (2,), np.float32), "door": spaces.Discrete(3)})
SEED = 3  # a model gives its own to its envs
SPACES = {"box": spaces.Box(-5, 1, (3,), np.float64), "dict": PARTS}


def pair_of_envs(kind: str) -> VecEnv:
    """One terminates after 8 steps, the other runs out of time after 5; a second pair shows the very same."""

    def make(limit: int) -> gym.Env[Any, Any]:
        return gym.wrappers.TimeLimit(toys.Spaced(copy.deepcopy(SPACES[kind]), LOPSIDED), limit)

    return DummyVecEnv([lambda: make(100), lambda: make(5)])


def paid_by_the_env(kind: str, actions: list[Array], reward: Any) -> Array:
    """What the wrapper pays under a reward for these actions, from the first reset on: [T, N]."""
    venv = PreferenceRewardVecWrapper(pair_of_envs(kind))
    venv.seed(SEED)
    venv.seat.reward = reward
    venv.reset()
    return np.stack([venv.step(now)[1] for now in actions])


@pytest.mark.parametrize("steps", [300, 20], ids=["growing", "wrapped"])
@pytest.mark.parametrize("kind", SPACES)
def test_a_relabelled_transition_pays_what_the_env_would_have_paid_under_the_new_reward(
    kind: str, steps: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(replay, "CHUNK", 7)
    witness = Witness(pair_of_envs(kind))
    venv = PreferenceRewardVecWrapper(witness)
    settings = config(steps=steps)
    model = make_sac(normalised(venv, settings), settings, SEED)
    model.learn(200)
    buffer = model.replay_buffer
    assert buffer is not None
    assert buffer.full == (steps == 20)
    assert min(witness.terminated, witness.truncated) > 10
    assert not buffer.rewards.any()  # of no reward yet
    venv.seat.reward = Plain()
    Replay(model, venv.seat).relabel()
    due = paid_by_the_env(kind, witness.actions, Plain())
    for step in range(len(due))[-buffer.buffer_size :]:
        np.testing.assert_allclose(buffer.rewards[step % buffer.buffer_size], due[step], rtol=1e-4, atol=1e-3)


def test_the_rest_of_a_fixed_horizon_pays_nothing_under_a_new_reward_either() -> None:
    env = functools.partial(FixedHorizon, toys.Spaced(copy.deepcopy(SPACES["box"]), LOPSIDED), 20)  # over after 8 steps
    venv = PreferenceRewardVecWrapper(DummyVecEnv([env]))
    settings = config(steps=300, n_envs=1)
    model = make_sac(normalised(venv, settings), settings, 0)
    model.learn(60)
    venv.seat.reward = toys.Even(1)
    Replay(model, venv.seat).relabel()
    assert model.replay_buffer is not None
    assert model.replay_buffer.rewards[:60, 0].tolist() == ([1.0] * 8 + [0.0] * 12) * 3


def test_a_terminal_observation_is_the_next_one_at_an_episodes_end() -> None:
    venv = PreferenceRewardVecWrapper(DummyVecEnv([lambda: toys.ledger(length=9)] * 2))
    settings = config(steps=300)
    model = make_sac(normalised(venv, settings), settings, 0)
    model.learn(100)
    buffer = model.replay_buffer
    assert buffer is not None
    ends = buffer.dones[: buffer.pos, 0] == 1
    assert ends.sum() == buffer.pos // 9 > 5
    np.testing.assert_allclose(buffer.next_observations[: buffer.pos, 0, 1][ends], 9, atol=1e-5)  # of [episode, step]
    np.testing.assert_array_equal(buffer.observations[: buffer.pos, 0, 1][1:][ends[:-1]], 0)
    assert buffer.timeouts[: buffer.pos, 0][ends].all()


def test_what_is_sampled_is_the_reward_itself() -> None:
    """Its temperature follows the size of the rewards; VecNormalize would change that size under it."""
    venv = PreferenceRewardVecWrapper(DummyVecEnv([toys.drift] * 2))
    settings = config(steps=300)
    model = make_sac(normalised(venv, settings), settings, 0)
    model.learn(40)
    venv.seat.reward = toys.Even(1)
    Replay(model, venv.seat).relabel()
    assert model.replay_buffer is not None
    sampled = model.replay_buffer.sample(50, env=model.get_vec_normalize_env())
    np.testing.assert_array_equal(sampled.rewards.numpy(), 1.0)
    assert abs(sampled.observations.numpy().std(axis=0) - 1).max() < 0.5  # these are scaled


# ------------------------------------------------------------------ a run with exploration


class Spy(BaseCallback):
    """Writes down what each round of steps left behind."""

    def __init__(self, loop: PreferenceLoop) -> None:
        super().__init__()
        self.loop = loop
        self.labels: list[tuple[int, int]] = []
        self.stale: list[float] = []
        self.versions: list[int] = []
        self.logged: set[str] = set()

    def _on_step(self) -> bool:
        return True

    def _on_rollout_end(self) -> None:
        steps, reward = self.model.num_timesteps, self.loop.env.seat.reward
        self.labels.append((steps, self.loop.store.counts()["asked"]))
        self.logged |= set(self.logger.name_to_value)
        if reward is None or reward.version == 0:
            return
        buffer: Any = self.model.replay_buffer  # type: ignore[attr-defined]
        held = slice(0, buffer.pos)
        due = reward(*(part[held].reshape(-1, part.shape[-1]) for part in _transitions(buffer)))
        self.stale.append(float(abs(due - buffer.rewards[held].reshape(-1)).max()))
        self.versions.append(reward.version)


def _transitions(buffer: Any) -> tuple[Array, Array, Array]:
    """Drift's actions are within ±1 by themselves."""
    return buffer.observations, buffer.actions, buffer.next_observations


class Run:
    """SAC on two Drifts that explores for 200 steps, in rounds of 8, with a loop and a spy."""

    def __init__(self, **changes: Any) -> None:
        self.config = config(**({"sac__exploration_steps": 200} | changes))
        inner = DummyVecEnv([lambda: Monitor(toys.drift())] * 2)
        inner.seed(1)
        self.venv = PreferenceRewardVecWrapper(inner, self.config.segments.recent_steps)
        self.loop = PreferenceLoop(self.venv, self.config, update_every=50)
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(sac, "ROUND", 8)
            self.model = make_sac(normalised(self.venv, self.config), self.config, 0)
        self.spy = Spy(self.loop)
        self.callback = RelabellingCallback(self.loop)
        self.critics_reset_at: list[int] = []
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(relabelling, "reset_critic", self._reset)
            self.model.learn(self.config.steps, callback=CallbackList([self.callback, self.spy]))

    def _reset(self, model: Any) -> None:
        self.critics_reset_at.append(model.num_timesteps)
        reset_critic(model)


@pytest.fixture(scope="module")
def run() -> Iterator[Run]:
    """One run, from beginning to end."""
    made = Run()
    yield made
    made.loop.close()


def test_random_steps_stay_in_the_buffer_and_every_env_step_is_stored_once(run: Run) -> None:
    buffer = run.model.replay_buffer
    assert buffer is not None
    assert buffer.pos * 2 == run.model.num_timesteps == run.venv.recorder.steps == 608  # whole rounds of 8
    ends = buffer.dones[: buffer.pos] == 1
    goes_on = ~ends[:-1]
    before, after = buffer.observations[1 : buffer.pos], buffer.next_observations[: buffer.pos - 1]
    np.testing.assert_allclose(before[goes_on], after[goes_on], atol=1e-6)  # also where SAC takes over


def test_the_buffer_holds_the_rewards_of_the_newest_snapshot_after_each_refit(run: Run) -> None:
    assert len(set(run.spy.versions)) > 3
    assert max(run.spy.stale) < 1e-5


def test_a_run_that_is_stopped_in_an_update_leaves_a_buffer_that_the_newest_reward_paid(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def stopped(self: PreferenceLoop) -> None:
        """A label of a paused run taught another reward, and then somebody pressed Ctrl-C."""
        self.env.seat.reward = Plain()
        raise KeyboardInterrupt

    made = Run(sac__exploration_steps=0, steps=120)
    monkeypatch.setattr(PreferenceLoop, "rest", stopped)
    with pytest.raises(KeyboardInterrupt):
        made.model.learn(100, callback=RelabellingCallback(made.loop), reset_num_timesteps=False)
    buffer: Any = made.model.replay_buffer
    held = [part[: buffer.pos].reshape(-1, part.shape[-1]) for part in _transitions(buffer)]
    np.testing.assert_allclose(buffer.rewards[: buffer.pos].reshape(-1), Plain()(*held), rtol=1e-5)
    made.loop.close()


def test_nothing_is_asked_before_the_exploration_has_ended(run: Run) -> None:
    warm_up = 2 * 8 * 6  # a quarter of 24 labels are 6 pairs of 8 steps
    asked = dict(run.spy.labels)
    assert {count for steps, count in asked.items() if steps < warm_up + 200} == {0}
    assert next(count for steps, count in asked.items() if steps >= warm_up + 200) == 6
    counts = run.loop.store.counts()
    assert counts["asked"] == counts["labels"] + counts["skipped"] == run.config.labels


def test_the_critic_begins_again_once_when_the_exploration_has_ended(run: Run) -> None:
    (at,) = run.critics_reset_at
    assert at == next(steps for steps, asked in run.spy.labels if asked)


def test_without_exploration_the_critic_is_kept_and_labels_come_first() -> None:
    made = Run(sac__exploration_steps=0, steps=400)
    assert made.critics_reset_at == []
    assert made.spy.labels[0][1] == 6
    assert max(made.spy.stale) < 1e-5
    made.loop.close()


def test_the_log_names_the_reward_and_its_quality(run: Run) -> None:
    assert {"reward/version", "reward/comparisons", "rollout/ep_learned_rew_mean"} <= run.spy.logged


@pytest.mark.long
def test_the_same_seed_gives_the_same_run_twice(run: Run) -> None:
    again = Run()
    state = again.model.policy.state_dict()
    for name, value in run.model.policy.state_dict().items():
        assert torch.equal(value, state[name]), name
    learned = again.loop.learner.state()
    for name, array in run.loop.learner.state().items():
        np.testing.assert_array_equal(array, learned[name])
    again.loop.close()


def test_a_reset_critic_is_a_new_one_and_the_actor_stays() -> None:
    model = make_sac(DummyVecEnv([toys.drift]), config(), 0)
    model.learn(80)
    assert model.critic.optimizer.state
    before, target, actor = (
        [p.detach().clone() for p in net.parameters()] for net in (model.critic, model.critic_target, model.actor)
    )
    reset_critic(model)
    assert not any(torch.equal(then, now) for then, now in zip(before, model.critic.parameters(), strict=True))
    assert not any(torch.equal(then, now) for then, now in zip(target, model.critic_target.parameters(), strict=True))
    assert all(torch.equal(then, now) for then, now in zip(actor, model.actor.parameters(), strict=True))
    for one, two in zip(model.critic.parameters(), model.critic_target.parameters(), strict=True):
        assert torch.equal(one, two)
    assert not model.critic.optimizer.state


# ------------------------------------------------------------------ what exploration pays


def test_the_fifth_nearest_of_the_others_counts() -> None:
    places = np.array([[0.0], [1.0], [2.0], [4.0], [8.0], [16.0], [32.0]])
    found = neighbour_distances(places, places)
    # the sorted distances from 0: 1 2 4 8 16 32; from 4: 2 3 4 4 12 28; from 32: 16 24 28 30 31 32
    np.testing.assert_allclose(found[[0, 3, 6]], [16, 12, 31], atol=1e-5)
    np.testing.assert_allclose(neighbour_distances(places, places, 1)[[0, 3, 6]], [1, 2, 16], atol=1e-5)


def test_distances_are_euclidean_far_from_the_origin_and_over_many_rows() -> None:
    rng = np.random.default_rng(0)
    states = 1000 + rng.normal(size=(600, 3))
    every = np.sqrt(np.square(states[:, None] - states[None]).sum(axis=-1))
    np.testing.assert_allclose(neighbour_distances(states, states), np.sort(every, axis=1)[:, 5], atol=1e-6)


def test_among_few_states_the_farthest_counts() -> None:
    places = np.array([[0.0], [3.0], [4.0]])
    np.testing.assert_allclose(neighbour_distances(places, places), [4, 3, 4], atol=1e-6)


def test_what_is_paid_is_the_distance_over_its_running_std() -> None:
    places = np.array([[0.0], [3.0], [4.0]])
    entropy = ParticleEntropy(places)
    first = entropy(places, places, places)  # distances 4 3 4
    np.testing.assert_allclose(first, np.array([4, 3, 4]) / math.sqrt(2 / 9), rtol=1e-3)
    second = entropy(places[1:2], places[:1], places[:1])  # 4 3 4 3: a variance of 1/4
    np.testing.assert_allclose(second, 3 / 0.5, rtol=1e-3)


def test_states_that_are_all_the_same_pay_nothing() -> None:
    entropy = ParticleEntropy(np.ones((4, 2)))
    np.testing.assert_array_equal(entropy(np.ones((4, 2)), np.ones((4, 1)), np.ones((4, 2))), 0)


# ------------------------------------------------------------------ in one's own code, and what is refused


def test_a_single_wrapped_env_given_straight_to_sb3_learns_too() -> None:
    """SB3 puts a Monitor and a DummyVecEnv around it by itself, and nothing is scaled."""
    settings = config(steps=500, labels=12)
    env = PreferenceRewardWrapper(toys.drift())
    env.reset(seed=1)
    loop = PreferenceLoop(env, settings, update_every=50)
    model = SAC("MlpPolicy", env, batch_size=16, train_freq=16, gradient_steps=1, device="cpu", seed=0)
    model.learn(500, callback=RelabellingCallback(loop))
    buffer = model.replay_buffer
    assert buffer is not None
    assert buffer.pos == model.num_timesteps
    assert env.seat.reward is not None
    assert env.seat.reward.version > 1
    due = env.seat.reward(*(part[: buffer.pos, 0] for part in _transitions(buffer)))
    np.testing.assert_allclose(buffer.rewards[: buffer.pos, 0], due, atol=1e-5)
    loop.close()


def wrapped(make: Any) -> PreferenceRewardVecWrapper:
    return PreferenceRewardVecWrapper(DummyVecEnv([make]))


def test_the_callback_for_rollouts_is_refused_with_a_replay_buffer() -> None:
    venv = wrapped(toys.drift)
    loop = PreferenceLoop(venv, config())
    with pytest.raises(UserError, match="SAC learns from a replay buffer; pass RelabellingCallback"):
        make_sac(normalised(venv, config()), config(), 0).learn(100, callback=PreferenceCallback(loop))
    loop.close()


def test_buffers_that_cannot_be_relabelled_are_refused() -> None:
    saving = {"optimize_memory_usage": True, "replay_buffer_kwargs": {"handle_timeout_termination": False}}
    for make, options, why in (
        (toys.image_env, {"buffer_size": 10}, "shows pictures"),
        (
            toys.goal_env,
            {"replay_buffer_class": HerReplayBuffer, "learning_starts": 50},
            "pays for goals by the env's own reward",
        ),
        (toys.drift, saving | {"buffer_size": 10}, "optimize_memory_usage is on"),
        (toys.drift, {"replay_buffer_kwargs": {"handle_timeout_termination": False}, "buffer_size": 10}, "handle_timeout_term"),
    ):
        venv = wrapped(make)
        loop = PreferenceLoop(venv, config())
        policy = "MultiInputPolicy" if isinstance(venv.observation_space, spaces.Dict) else "MlpPolicy"
        model = SAC(policy, venv, device="cpu", **options)
        with pytest.raises(UserError, match=why):
            model.learn(100, callback=RelabellingCallback(loop))
        loop.close()


@pytest.mark.parametrize(
    ("make", "why"),
    [
        (
            lambda: gym.make("CartPole-v1"),
            r"takes actions from a Box with a finite range for each, and those of .* are Discrete\(2\)",
        ),
        (lambda: toys.Spaced(toys.PUSH, spaces.Box(-np.inf, 1, (1,), np.float32)), "a finite range"),
        (lambda: toys.Spaced(toys.PUSH, spaces.Box(1, 1, (1,), np.float32)), "a finite range"),
        (toys.image_env, "shows pictures"),
        (lambda: toys.Spaced(spaces.Discrete(3), toys.PUSH), r"shows one number: Discrete\(3\)"),
    ],
    ids=["discrete", "unbounded", "no range", "image", "discrete observations"],
)
def test_envs_in_which_sac_cannot_act_are_refused(make: Any, why: str) -> None:
    with pytest.raises(UserError, match=why):
        make_sac(VecNormalize(DummyVecEnv([make]), norm_obs=False), config(), 0)


# ------------------------------------------------------------------ the command


SHORT = {
    "--segments.steps": 8,
    "--queries.batch": 2,
    "--n-envs": 2,
    "--sac.batch-size": 64,
}
FLAGS = [str(word) for flag in SHORT.items() for word in flag]


def random_return(episodes: int = 20) -> float:
    """Mean true return of random actions in Drift."""
    env = toys.drift()
    env.reset(seed=0)
    env.action_space.seed(0)
    total = 0.0
    for _ in range(episodes):
        env.reset()
        total += sum(float(env.step(env.action_space.sample())[1]) for _ in range(40))
    return total / episodes


@pytest.mark.parametrize("labeler", ["oracle", "none"])
@pytest.mark.long
def test_the_command_trains_a_policy_that_beats_random_actions(
    labeler: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = tmp_path / "run"
    arms = {"oracle": ["--labels", "24", "--sac.exploration-steps", "100"], "none": []}[labeler]
    words = ["train", "--method", "sac", "--env", "toys:drift", "--labeler", labeler, "--steps", "1000", "--run", str(folder)]
    group.main([*words, *arms, *FLAGS], standalone_mode=False)
    kinds = {file.suffix for file in folder.rglob("*") if file.is_file() and file.parent.name != "logs"}
    assert kinds <= {".yaml", ".safetensors", ".json", ".lock", ".db", ".jsonl"}, "no pickle, no zip: nothing that runs code"
    capsys.readouterr()
    group.main(["evaluate", str(folder), "--episodes", "5", "--json"], standalone_mode=False)
    assert json.loads(capsys.readouterr().out)["mean_return"] > random_return() + 40  # of about 80 that can be had
    if labeler == "oracle":
        assert len((folder / "labels.jsonl").read_text().splitlines()) == 24, "also in so few steps the whole budget is asked"


def test_an_env_of_discrete_actions_is_refused_before_a_folder_is_made(tmp_path: Path) -> None:
    folder = tmp_path / "run"
    with pytest.raises(UserError, match=r"method is 'sac'.*'CartPole-v1' are Discrete\(2\); set method to ppo"):
        group.main(["train", "--method", "sac", "--env", "CartPole-v1", "--run", str(folder)], standalone_mode=False)
    assert not folder.exists()


def test_an_exploration_that_leaves_no_steps_to_learn_in_is_refused(tmp_path: Path) -> None:
    words = ["train", "--method", "sac", "--env", "toys:drift", "--steps", "1000", "--labeler", "oracle", *FLAGS]
    with pytest.raises(UserError, match=r"steps is 1000, and the warm-up and sac.exploration_steps \(990\) leave none"):
        group.main([*words, "--sac.exploration-steps", "990", "--run", str(tmp_path / "run")], standalone_mode=False)
