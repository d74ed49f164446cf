"""Facts about methods: the contract that each of them keeps, and what the callback does to a run of SB3."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import gymnasium as gym
import numpy as np
import pytest
import torch
import toys
from stable_baselines3 import PPO
from stable_baselines3.common.callbacks import BaseCallback, CallbackList
from stable_baselines3.common.logger import Logger
from stable_baselines3.common.monitor import Monitor
from stable_baselines3.common.vec_env import DummyVecEnv, VecEnv, VecNormalize

from rltrainer.config import Config
from rltrainer.core import Array
from rltrainer.loop import PreferenceLoop
from rltrainer.methods import METHODS, PreferenceCallback
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
    }
    return Config().but(small | {name.replace("__", "."): value for name, value in changes.items()})


ENVS = {
    "box": toys.drift,
    "discrete": lambda: gym.make("CartPole-v1"),
    "dict": toys.dict_env,
    "image": toys.image_env,
    "one-hot": lambda: gym.make("FrozenLake-v1"),
}


def weights(model: Any) -> list[Array]:
    return [value.detach().numpy().copy() for value in model.policy.state_dict().values()]


@pytest.mark.parametrize("name", METHODS)
class TestMethod:
    """Registering a method in METHODS is testing it."""

    @pytest.mark.parametrize("kind", ENVS)
    def test_it_learns_in_envs_of_every_kind(self, name: str, kind: str) -> None:
        venv = DummyVecEnv([ENVS[kind], ENVS[kind]])
        model = METHODS[name](venv, config(), 0)
        before = weights(model)
        model.learn(64)
        assert any(not np.array_equal(then, now) for then, now in zip(before, weights(model), strict=True))
        assert all(np.isfinite(now).all() for now in weights(model))
        action, _ = model.predict(venv.reset(), deterministic=True)
        assert len(action) == 2
        venv.close()

    def test_the_same_seed_gives_the_same_policy(self, name: str) -> None:
        def trained(seed: int) -> list[Array]:
            venv = DummyVecEnv([toys.drift] * 2)
            venv.seed(5)
            model = METHODS[name](venv, config(), seed)
            model.learn(128)
            return weights(model)

        for one, two in zip(trained(3), trained(3), strict=True):
            np.testing.assert_array_equal(one, two)
        assert any(not np.array_equal(one, two) for one, two in zip(trained(3), trained(4), strict=True))

    def test_a_rollout_smaller_than_the_batch_is_no_mistake(self, name: str) -> None:
        venv = DummyVecEnv([toys.drift])
        METHODS[name](venv, config(ppo__n_steps=8, ppo__batch_size=4096), 0).learn(16)


# ------------------------------------------------------------------ the callback


class Spy(BaseCallback):
    """Writes down the reward's version at every step, and the rollout it belongs to."""

    def __init__(self, loop: PreferenceLoop) -> None:
        super().__init__()
        self.loop = loop
        self.rollout = 0
        self.seen: list[tuple[int, int]] = []
        self.rewards: list[Array] = []

    def _on_rollout_start(self) -> None:
        self.rollout += 1

    def _on_step(self) -> bool:
        reward = self.loop.env.seat.reward
        self.seen.append((self.rollout, 0 if reward is None else reward.version))
        self.rewards.append(self.locals["rewards"].copy())
        return True


class Run:
    """A model, a loop and a spy over two Drifts."""

    def __init__(self, tmp_path: Path | None = None, **changes: Any) -> None:
        self.config = config(**changes)
        self.inner = DummyVecEnv([lambda: Monitor(toys.drift())] * 2)
        self.inner.seed(1)
        self.venv = PreferenceRewardVecWrapper(self.inner, self.config.segments.recent_steps)
        self.loop = PreferenceLoop(self.venv, self.config, run=tmp_path)
        self.model = METHODS["ppo"](VecNormalize(self.venv), self.config, 0)
        self.callback = PreferenceCallback(self.loop)
        self.spy = Spy(self.loop)

    def learn(self) -> None:
        self.model.learn(self.config.steps, callback=CallbackList([self.callback, self.spy]))


@pytest.fixture
def run() -> Iterator[Run]:
    made = Run()
    yield made
    made.loop.close()


def test_one_rollout_sees_one_reward(run: Run) -> None:
    run.learn()
    versions: dict[int, set[int]] = {}
    for rollout, version in run.spy.seen:
        versions.setdefault(rollout, set()).add(version)
    assert all(len(seen) == 1 for seen in versions.values())
    assert [min(seen) for seen in versions.values()] == sorted(min(seen) for seen in versions.values())
    assert len(set.union(*versions.values())) > 2  # it was swapped on the way
    assert min(versions[1]) >= 1  # the warm-up's labels count from the first rollout


def test_the_policy_learns_from_the_learned_reward_and_the_monitor_tells_the_true_one(run: Run) -> None:
    true_returns: list[float] = []
    paid: list[tuple[float, float]] = []

    class Told(BaseCallback):
        def _on_step(self) -> bool:
            for info, reward in zip(self.locals["infos"], self.locals["rewards"], strict=True):
                paid.append((float(reward), info["env_reward"]))
                if "episode" in info:
                    true_returns.append(info["episode"]["r"])
            return True

    run.model.learn(run.config.steps, callback=CallbackList([run.callback, Told()]))
    told = [episode["r"] for episode in run.model.ep_info_buffer or ()]
    assert told
    assert told == true_returns[-len(told) :]
    learned, true = np.array(paid).T
    assert learned.std() > 0
    assert not np.isclose(learned, true).any()


def test_the_warm_up_counts_as_env_steps_and_the_total_is_kept(run: Run) -> None:
    stepped = 0
    original = run.inner.step_wait

    def counted() -> Any:
        nonlocal stepped
        stepped += 2
        return original()

    run.inner.step_wait = counted  # type: ignore[method-assign]
    run.learn()
    assert run.model.num_timesteps == stepped == run.venv.recorder.steps
    assert run.config.steps <= stepped < run.config.steps + 64


def test_the_first_rollout_begins_with_what_the_env_shows(run: Run) -> None:
    """SB3 resets before the warm-up, whose random steps then move the env on."""
    shown: list[tuple[Any, Any]] = []

    class First(BaseCallback):
        def _on_rollout_start(self) -> None:
            env = self.training_env
            assert isinstance(env, VecNormalize)
            if not shown:
                shown.append((self.model._last_obs, env.normalize_obs(run.venv.recorder.current)))
                assert run.venv.recorder.current[:, 1].tolist() == [0.0, 0.0]  # nobody has pushed yet
                assert self.model._last_episode_starts.all()  # type: ignore[union-attr]

        def _on_step(self) -> bool:
            return True

    run.model.learn(run.config.steps, callback=CallbackList([run.callback, First()]))
    np.testing.assert_allclose(*shown[0], atol=1e-6)


def test_labels_are_asked_and_learned_while_ppo_trains(run: Run) -> None:
    run.learn()
    counts = run.loop.store.counts()
    assert counts["asked"] == counts["labels"] + counts["skipped"] == run.config.labels
    assert run.loop.last_fit is not None
    assert run.loop.last_fit.comparisons == run.config.labels
    assert run.loop.steps <= run.model.num_timesteps


def test_the_log_names_the_reward_and_its_quality(run: Run) -> None:
    recorded: set[str] = set()

    class Keep(Logger):
        def record(self, key: str, value: Any, *args: Any, **kwargs: Any) -> None:
            recorded.add(key)
            super().record(key, value, *args, **kwargs)

    run.model.set_logger(Keep(folder=None, output_formats=[]))
    run.learn()
    assert {"reward/version", "reward/comparisons", "reward/train_loss", "reward/held_out_accuracy"} <= recorded
    assert {"rollout/ep_learned_rew_mean", "rollout/ep_rew_mean"} <= recorded


def test_the_same_seed_gives_the_same_run_twice() -> None:
    runs = []
    for _ in range(2):  # one after the other: SB3 seeds torch's one generator
        runs.append(Run())
        runs[-1].learn()
    for first, second in zip(*(weights(one.model) for one in runs), strict=True):
        np.testing.assert_array_equal(first, second)
    states = [one.loop.learner.state() for one in runs]
    for key, value in states[0].items():
        np.testing.assert_array_equal(value, states[1][key])
    labels = [[(label.answer.verdict, label.answer.preferred) for label in one.loop.store.labels()] for one in runs]
    assert labels[0] == labels[1]
    for one in runs:
        one.loop.close()


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
