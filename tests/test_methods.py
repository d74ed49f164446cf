"""Facts about methods: the contract that each of them keeps, and what the callback does to a run of SB3."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import gymnasium as gym
import numpy as np
import pytest
import torch
import toys
from stable_baselines3 import PPO
from stable_baselines3.common.callbacks import BaseCallback, CallbackList
from stable_baselines3.common.monitor import Monitor
from stable_baselines3.common.vec_env import DummyVecEnv, VecEnv, VecNormalize
from torch.distributions import kl_divergence

from rltrainer.config import Config
from rltrainer.core import Array, EnvFault, UserError
from rltrainer.exploring import explore
from rltrainer.loop import PreferenceLoop
from rltrainer.methods import METHODS, PreferenceCallback, make_ppo
from rltrainer.methods.cpl import CPL
from rltrainer.methods.ppo import ppo_settings, reach
from rltrainer.methods.pull import STRENGTH, PulledGaussian
from rltrainer.wrapper import PreferenceRewardVecWrapper, PreferenceRewardWrapper


def config(**changes: Any) -> Config:
    """A short run: rollouts of 64 steps, segments of 8."""
    small = {
        "labeler": "oracle",
        "steps": 1500,
        "labels": 24,
        "segments.steps": 8,
        "queries.batch": 2,
        "queries.warmup_labels": 4,
        "reward.hidden": [8],
        "reward.fit_steps": 4,
        "ppo.n_steps": 32,
        "ppo.batch_size": 32,
        "ppo.n_epochs": 1,
        "sac.replay_ratio": 0.01,
        "sac.batch_size": 32,
    }
    return Config().but(small | {name.replace("__", "."): value for name, value in changes.items()})


ENVS = {
    "box": toys.drift,
    "discrete": lambda: gym.make("CartPole-v1"),
    "dict": toys.dict_env,
    "image": toys.image_env,
    "one-hot": lambda: gym.make("FrozenLake-v1"),
}


REFUSED = {"sac": {"discrete", "dict", "image", "one-hot"}}
"""Kinds of envs in which a method cannot act, and says so."""


def weights(model: Any) -> list[Array]:
    return [value.detach().numpy().copy() for value in model.policy.state_dict().values()]


def made(name: str, envs: list[Any], settings: Config, seed: int) -> Any:
    """A method's model. One that learns from labels alone is given some, of what happens at random in such an env."""
    model: Any = METHODS[name](DummyVecEnv(envs), settings, seed)
    if isinstance(model, CPL):
        env, rng = PreferenceRewardWrapper(envs[0]()), np.random.default_rng(0)
        env.reset(seed=0)
        explore(env, env.recorder, 60, rng, 60)
        cut = env.recorder.sample(8, 4, rng)
        pairs = [toys.compare(first, second, 1.0) for first, second in zip(cut[::2], cut[1::2], strict=True)]
        model.comparisons = lambda: pairs
    return model


@pytest.mark.parametrize("name", METHODS)
class TestMethod:
    """Registering a method in METHODS is testing it."""

    @pytest.mark.parametrize("kind", ENVS)
    def test_it_learns_in_envs_of_every_kind(self, name: str, kind: str) -> None:
        venv = DummyVecEnv([ENVS[kind], ENVS[kind]])
        if kind in REFUSED.get(name, ()):
            with pytest.raises(UserError, match=f"method is '{name}', which"):
                METHODS[name](venv, config(method=name), 0)
            return
        model = made(name, [ENVS[kind], ENVS[kind]], config(), 0)
        before = weights(model)
        model.learn(200)
        assert any(not np.array_equal(then, now) for then, now in zip(before, weights(model), strict=True))
        assert all(np.isfinite(now).all() for now in weights(model))
        action, _ = model.predict(venv.reset(), deterministic=True)
        assert len(action) == 2
        venv.close()

    def test_the_same_seed_gives_the_same_policy(self, name: str) -> None:
        def trained(seed: int) -> list[Array]:
            model = made(name, [toys.drift] * 2, config(), seed)
            model.get_env().seed(5)
            model.learn(200)
            return weights(model)

        first, same, other = trained(3), trained(3), trained(4)
        for one, two in zip(first, same, strict=True):
            np.testing.assert_array_equal(one, two)
        assert any(not np.array_equal(one, two) for one, two in zip(first, other, strict=True))

    def test_a_rollout_smaller_than_the_batch_is_no_mistake(self, name: str) -> None:
        settings = config(ppo__n_steps=8, ppo__batch_size=4096, sac__batch_size=4096)
        made(name, [toys.drift], settings, 0).learn(200)


# ------------------------------------------------------------------ the callback


class Spy(BaseCallback):
    """Writes down what a run does, step by step."""

    def __init__(self, loop: PreferenceLoop) -> None:
        super().__init__()
        self.loop = loop
        self.rollout = 0
        self.first: tuple[Any, Any, Any] | None = None
        self.versions: dict[int, set[int]] = {}
        self.paid: list[tuple[float, float]] = []
        self.true_returns: list[float] = []
        self.logged: set[str] = set()

    def _on_rollout_start(self) -> None:
        self.rollout += 1
        if self.first is None:
            now = self.loop.recorder.current
            self.first = (self.model._last_obs, self.training_env.normalize_obs(now), now)  # type: ignore[attr-defined]

    def _on_step(self) -> bool:
        reward = self.loop.env.seat.reward
        self.versions.setdefault(self.rollout, set()).add(0 if reward is None else reward.version)
        for info, pay in zip(self.locals["infos"], self.locals["rewards"], strict=True):
            self.paid.append((float(pay), info["env_reward"]))
            if "episode" in info:
                self.true_returns.append(info["episode"]["r"])
        return True

    def _on_rollout_end(self) -> None:
        self.logged |= set(self.logger.name_to_value)


class Run:
    """PPO on two Drifts, with a loop and a spy."""

    def __init__(self) -> None:
        self.config = config()
        self.inner = DummyVecEnv([lambda: Monitor(toys.drift())] * 2)
        self.inner.seed(1)
        self.venv = PreferenceRewardVecWrapper(self.inner, self.config.segments.recent_steps)
        self.loop = PreferenceLoop(self.venv, self.config)
        self.model = METHODS["ppo"](VecNormalize(self.venv), self.config, 0)
        self.spy = Spy(self.loop)
        self.model.learn(self.config.steps, callback=CallbackList([PreferenceCallback(self.loop), self.spy]))


@pytest.fixture(scope="module")
def run() -> Iterator[Run]:
    """One run, from beginning to end."""
    made = Run()
    yield made
    made.loop.close()


def test_one_rollout_sees_one_reward(run: Run) -> None:
    assert all(len(seen) == 1 for seen in run.spy.versions.values())
    versions = [min(seen) for seen in run.spy.versions.values()]
    assert versions == sorted(versions)
    assert len(set(versions)) > 2  # it was swapped on the way
    assert versions[0] >= 1  # the warm-up's labels count from the first rollout


def test_the_policy_learns_from_the_learned_reward_and_the_monitor_tells_the_true_one(run: Run) -> None:
    told = [episode["r"] for episode in run.model.ep_info_buffer or ()]
    assert told
    assert told == run.spy.true_returns[-len(told) :]
    learned, true = np.array(run.spy.paid).T
    assert learned.std() > 0
    assert not np.isclose(learned, true).any()


def test_the_warm_up_counts_as_env_steps_and_the_total_is_kept(run: Run) -> None:
    assert len(run.spy.paid) < run.model.num_timesteps == run.venv.recorder.steps
    assert run.config.steps <= run.model.num_timesteps < run.config.steps + 64


def test_the_first_rollout_begins_with_what_the_env_shows(run: Run) -> None:
    """SB3 resets before the warm-up, whose random steps then move the env on."""
    assert run.spy.first is not None
    last_seen, shown, raw = run.spy.first
    np.testing.assert_allclose(last_seen, shown, atol=1e-6)
    assert raw[:, 1].tolist() == [0.0, 0.0]  # nobody has pushed yet


def test_labels_are_asked_and_learned_while_ppo_trains(run: Run) -> None:
    counts = run.loop.store.counts()
    assert counts["asked"] == counts["labels"] + counts["skipped"] == run.config.labels
    assert run.loop.last_fit is not None
    assert run.loop.last_fit.comparisons == run.config.labels
    assert run.loop.steps <= run.model.num_timesteps


def test_the_log_names_the_reward_and_its_quality(run: Run) -> None:
    assert {"reward/version", "reward/comparisons", "reward/train_loss", "reward/held_out_accuracy"} <= run.spy.logged
    assert {"reward/accuracy_low", "reward/calibration_error", "reward/disagreement"} <= run.spy.logged
    assert {"reward/step_correlation", "reward/return_correlation", "reward/ranking_agreement"} <= run.spy.logged
    assert "reward/verdict" in run.spy.logged
    assert "rollout/ep_learned_rew_mean" in run.spy.logged


def test_the_same_seed_gives_the_same_run_twice(run: Run) -> None:
    again = Run()
    for first, second in zip(weights(run.model), weights(again.model), strict=True):
        np.testing.assert_array_equal(first, second)
    state = again.loop.learner.state()
    for key, value in run.loop.learner.state().items():
        np.testing.assert_array_equal(value, state[key])
    labels, labels_again = (
        [(label.answer.verdict, label.answer.preferred) for label in one.loop.store.labels()] for one in (run, again)
    )
    assert labels == labels_again
    again.loop.close()


def test_a_single_wrapped_env_given_straight_to_sb3_learns_too() -> None:
    """SB3 puts a Monitor and a DummyVecEnv around it by itself."""
    settings = config(steps=600, labels=12)
    env = PreferenceRewardWrapper(toys.drift())
    env.reset(seed=1)
    loop = PreferenceLoop(env, settings)
    model = PPO("MlpPolicy", env, n_steps=64, batch_size=64, n_epochs=1, device="cpu", seed=0)
    model.learn(600, callback=PreferenceCallback(loop))
    assert loop.store.counts()["labels"] == 12
    assert env.seat.reward is not None
    assert env.seat.reward.version > 1
    loop.close()


def test_a_second_learn_asks_on_where_the_first_ended() -> None:
    """SB3 counts the steps of each from 0."""
    settings = config(steps=1200, labels=24)
    venv = PreferenceRewardVecWrapper(DummyVecEnv([toys.drift] * 2))
    loop = PreferenceLoop(venv, settings)
    model = PPO("MlpPolicy", venv, n_steps=32, batch_size=64, n_epochs=1, device="cpu", seed=0)
    model.learn(600, callback=PreferenceCallback(loop))
    half, steps = loop.store.counts()["labels"], loop.steps
    assert half < 24
    model.learn(600, callback=PreferenceCallback(loop))
    assert loop.steps >= steps + 600
    assert loop.store.counts()["labels"] == 24
    loop.close()


def test_an_env_fault_stops_the_run_before_the_policy_is_harmed() -> None:
    settings = config(labeler="oracle", steps=2000)
    venv: VecEnv = PreferenceRewardVecWrapper(DummyVecEnv([lambda: toys.faulty("observation", at=700)] * 2))
    loop = PreferenceLoop(venv, settings)  # type: ignore[arg-type]
    model = METHODS["ppo"](VecNormalize(venv), settings, 0)
    with pytest.raises(Exception, match="NaN") as stopped:
        model.learn(2000, callback=PreferenceCallback(loop))
    assert type(stopped.value).__name__ == "EnvFault"
    assert all(np.isfinite(value).all() for value in weights(model))
    assert all(torch.isfinite(p).all() for p in model.policy.parameters())
    assert loop.store.counts()["labels"] > 0
    loop.close()


@pytest.mark.parametrize("make", [toys.drift, lambda: gym.make("CartPole-v1")], ids=["box", "discrete"])
def test_ppo_learns_what_stable_baselines3s_own_learns(make: Callable[[], gym.Env[Any, Any]]) -> None:
    """Ours differs in how fast it computes, where the reward is the env's own."""
    settings = config(labeler="none")
    ours = make_ppo(DummyVecEnv([make]), settings, 0)
    theirs = PPO("MlpPolicy", DummyVecEnv([make]), seed=0, device="cpu", **ppo_settings(settings, 1))
    theirs.policy.load_state_dict(ours.policy.state_dict())
    for model in (ours, theirs):
        model.set_random_seed(0)
        model.learn(200)
    for mine, other in zip(weights(ours), weights(theirs), strict=True):
        np.testing.assert_allclose(mine, other, rtol=1e-4, atol=1e-6)


def test_a_policy_that_gives_nan_is_stopped_with_a_reason_where_actions_are_discrete() -> None:
    model = make_ppo(DummyVecEnv([lambda: gym.make("CartPole-v1")]), config(labeler="none"), 0)
    for parameter in model.policy.parameters():
        parameter.data.fill_(np.nan)
    with pytest.raises(EnvFault, match="the policy's actions were NaN; lower its learning rate"):
        model.predict(np.zeros((1, 4), np.float32))


# ------------------------------------------------------------------ the pull of a young reward's policy


def test_the_pull_is_the_gradient_of_the_kl_from_a_policy_in_the_middle() -> None:
    """KL(N(mean, s) ‖ N(middle, s)) is (mean − middle)² / 2s², here with s half of the range."""
    middle, half = torch.tensor([0.5, -1.0]), torch.tensor([0.5, 2.0])
    means = torch.tensor([[0.7, 1.0], [-3.0, 0.0], [0.5, -1.0]], requires_grad=True)
    pulled = PulledGaussian(middle, half)
    pulled.pull = 0.3
    pulled.proba_distribution(means, torch.zeros(2)).distribution.mean.sum().backward()
    plain = means.detach().requires_grad_()
    there, back = (torch.distributions.Normal(at, half) for at in (plain, middle))
    (slope,) = torch.autograd.grad(0.3 * kl_divergence(there, back).sum(dim=1).mean(), plain)
    assert means.grad is not None
    torch.testing.assert_close(means.grad - 1, slope)


def test_the_pull_falls_to_nothing_by_the_end_of_a_run() -> None:
    model = make_ppo(DummyVecEnv([toys.drift]), config(), 0)
    pulls: list[float] = []

    class Watch(BaseCallback):
        def _on_step(self) -> bool:
            return True

        def _on_rollout_start(self) -> None:
            pulls.append(model.policy.action_dist.pull)

    model.learn(320, callback=Watch())
    assert pulls == pytest.approx([0.0, *STRENGTH * np.linspace(0.9, 0.1, 9)])


def test_how_far_an_action_goes_is_half_of_its_range_and_1_where_a_bound_is_missing_or_both_are_one() -> None:
    low, high = np.array([-2, 0, -np.inf, 0, 3], np.float32), np.array([2, 1, np.inf, np.inf, 3], np.float32)
    middle, half = reach(gym.spaces.Box(low, high))
    assert middle.tolist() == [0, 0.5, 0, 0, 3]
    assert half.tolist() == [2, 0.5, 1, 1, 1]
