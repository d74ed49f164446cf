"""Facts about contrastive preference learning: what it computes, and a whole run with no reward in it."""

from __future__ import annotations

import io
import json
import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import toys
from click.testing import CliRunner
from gymnasium import spaces
from rich.console import Console
from stable_baselines3.common.distributions import CategoricalDistribution, DiagGaussianDistribution
from stable_baselines3.common.vec_env import DummyVecEnv

from rltrainer.asking import without_reward
from rltrainer.checkpoint import RunFolder
from rltrainer.cli import group
from rltrainer.config import Config
from rltrainer.core import UserError
from rltrainer.envs import flat_observations
from rltrainer.learned import load_reward
from rltrainer.loop import PreferenceLoop
from rltrainer.methods import DirectCallback, cpl, make_cpl
from rltrainer.methods.cpl import CPL, contrastive_loss, divergence
from rltrainer.methods.judged import Judged, log_probability, unflattened
from rltrainer.progress import Dashboard
from rltrainer.store import Store
from rltrainer.training import evaluate, resolved, train
from rltrainer.wrapper import PreferenceRewardVecWrapper


def config(**changes: Any) -> Config:
    """A run of a second: a Ledger, which pays what is done."""
    small = {
        "method": "cpl",
        "env": "toys:ledger",
        "labeler": "oracle",
        "steps": 3000,
        "labels": 100,
        "n_envs": 2,
        "segments.steps": 10,
        "ppo.n_steps": 64,
        "cpl.learning_rate": 0.003,
    }
    return Config().but(small | {name.replace("__", "."): value for name, value in changes.items()})


def trained(path: Path, **changes: Any) -> RunFolder:
    return train(config(**changes), path, Dashboard(1000, Console(file=io.StringIO())), announce=print)


# ------------------------------------------------------------------ the loss


def test_the_loss_is_the_cross_entropy_of_the_answers_under_the_difference_of_the_advantages() -> None:
    """σ(ln 3) is 3/4."""
    advantages = torch.tensor([[math.log(3) + 2, 2.0], [-1.0, math.log(3) - 1], [0.5, 0.5]])
    for target, costs in (
        (torch.tensor([1.0, 0.0, 1.0]), [-math.log(3 / 4), -math.log(3 / 4), math.log(2)]),
        (torch.tensor([0.0, 1.0, 0.0]), [-math.log(1 / 4), -math.log(1 / 4), math.log(2)]),
        (torch.tensor([0.5, 0.5, 0.5]), [-(math.log(3 / 4) + math.log(1 / 4)) / 2] * 2 + [math.log(2)]),
    ):
        assert contrastive_loss(advantages, target).item() == pytest.approx(sum(costs) / 3)


def test_actions_at_a_bound_are_as_likely_as_all_that_is_clipped_to_it() -> None:
    """Φ(-1) = 0.1586553, 1 - Φ(2) = 0.0227501, and a density inside. Dimensions multiply."""
    box = spaces.Box(np.array([-1, -np.inf], np.float32), np.array([2, 5], np.float32))
    gaussian = DiagGaussianDistribution(2).proba_distribution(torch.zeros(4, 2), torch.tensor([0.0, math.log(2)]))
    taken = np.array([[-1, 1], [2, 1], [0.5, 1], [0.5, -100]], np.float32)
    log_normal = math.log(math.sqrt(2 * math.pi))
    second = -0.125 - log_normal - math.log(2)  # of 1, half a standard deviation off
    inside = -0.125 - log_normal  # of 0.5 in the first dimension, likewise
    far = -1250 - log_normal - math.log(2)  # nothing is clipped where there is no bound
    expected = [math.log(0.1586553) + second, math.log(0.0227501) + second, inside + second, inside + far]
    assert log_probability(gaussian, taken, box).tolist() == pytest.approx(expected, rel=1e-5)


def test_a_far_mean_gives_an_action_at_the_other_bound_a_finite_log_probability_and_gradient() -> None:
    box = spaces.Box(-1, 1, (1,), np.float32)
    mean = torch.tensor([[40.0]], requires_grad=True)
    gaussian = DiagGaussianDistribution(1).proba_distribution(mean, torch.tensor([0.0]))
    found = log_probability(gaussian, np.array([[-1]], np.float32), box)
    found.sum().backward()  # type: ignore[no-untyped-call]
    assert -900 < found.item() < -800  # log Φ(-41), about -41²/2
    assert mean.grad is not None
    assert mean.grad.item() == pytest.approx(-41, rel=0.01)


def test_the_probability_of_a_choice_is_its_own() -> None:
    choices = CategoricalDistribution(2).proba_distribution(torch.tensor([[0.0, math.log(3)]] * 2))
    found = log_probability(choices, np.array([0, 1]), spaces.Discrete(2))
    assert found.exp().tolist() == pytest.approx([1 / 4, 3 / 4])


def test_divergence_adds_up_over_dimensions_and_not_over_observations() -> None:
    """KL between Gaussians of one width is half the square of the distance in widths."""
    before = torch.distributions.Normal(torch.zeros(2, 3), 2.0)
    after = torch.distributions.Normal(torch.tensor([[2.0, 2.0, 2.0], [0.0, 0.0, 4.0]]), 2.0)
    assert divergence(before, after) == pytest.approx((1.5 + 2) / 2)


# ------------------------------------------------------------------ the steps that were judged


def numbered(steps: int, begins: int, **about: Any) -> Any:
    """A segment whose steps are numbered from `begins` on; its episode terminated where there is time after it."""
    numbers = np.arange(begins, begins + steps + 1)
    return toys.segment(numbers[:, None], numbers[:-1, None].astype(np.float32), terminated="after" in about, **about)


def judged() -> Judged:
    """Steps 0-3 against 10-11, after which the episode was over; of 20-23 the first two against 31, 32 and what came after."""
    whole = toys.compare(numbered(4, 0), numbered(2, 10, after=2), 1.0)
    trimmed = toys.compare(numbered(4, 20), numbered(3, 30, after=2), 0.5, first_range=(0, 2), second_range=(1, 5))
    pairs = [whole, trimmed]
    references = {s.id: -s.actions[:, 0] for c in pairs for s in (c.first, c.second)}
    return Judged.of(pairs, references)


def test_sums_are_over_the_steps_that_were_judged_and_time_after_an_end_counts_nothing() -> None:
    found = judged()
    steps = [0, 1, 2, 3, 10, 11, 20, 21, 31, 32]
    assert found.actions[:, 0].tolist() == found.observations[:, 0].tolist() == steps
    assert found.reference.tolist() == [-step for step in steps]
    assert found.sums(torch.tensor(steps, dtype=torch.float32)).tolist() == [[6, 21], [41, 63]]
    assert found.target.tolist() == [1.0, 0.5]


def test_a_range_with_no_step_in_it_sums_to_nothing() -> None:
    pair = toys.compare(numbered(2, 0, after=3), numbered(2, 10, after=3), 1.0, first_range=(2, 5))
    found = Judged.of([pair], {s.id: np.zeros(2) for s in (pair.first, pair.second)})
    assert found.sums(torch.ones(2)).tolist() == [[0, 2]]


def test_what_is_cloned_are_the_better_segments_and_ties_by_half() -> None:
    """Of the ten steps the first four count 1, the next two 0, and the last four, of a tie, one half."""
    log_probabilities = torch.tensor([-1.0, -2, -3, -4, -100, -100, -10, -10, -20, -20])
    assert judged().cloned(log_probabilities).item() == pytest.approx((10 + 30) / 6)


def test_agreement_is_the_share_of_answers_foretold_and_half_of_a_tie() -> None:
    assert judged().agreement(torch.tensor([[2.0, 1.0], [0.0, 5.0]])) == 0.75
    assert judged().agreement(torch.tensor([[1.0, 2.0], [5.0, 0.0]])) == 0.25


@pytest.mark.parametrize(
    "space",
    [
        spaces.Box(-5, 5, (2, 3), np.float64),
        spaces.Box(0, 255, (4, 4, 3), np.uint8),
        spaces.Discrete(4, start=2),
        spaces.MultiDiscrete([2, 3]),
        spaces.MultiBinary(3),
        spaces.Dict({"place": spaces.Box(-5, 5, (2,), np.float32), "door": spaces.Discrete(3), "keys": spaces.MultiBinary(2)}),
    ],
    ids=str,
)
def test_flattened_observations_become_what_the_env_showed(space: spaces.Space[Any]) -> None:
    space.seed(0)
    shown = [space.sample() for _ in range(5)]
    batch: Any = {name: np.stack([one[name] for one in shown]) for name in space} if isinstance(space, spaces.Dict) else shown
    again = unflattened(space, flat_observations(space, batch))
    for index, one in enumerate(shown):
        if isinstance(space, spaces.Dict):
            assert all(np.allclose(again[name][index], part) for name, part in one.items())
        else:
            np.testing.assert_allclose(again[index], one, rtol=1e-6)


# ------------------------------------------------------------------ an update


def taught(pairs: int = 40, **changes: Any) -> CPL:
    """A model with a rollout behind it, and labels on noise that like large actions."""
    model = make_cpl(DummyVecEnv([toys.drift] * 2), config(**changes), 0)
    model.learn(128)
    cut = toys.random_segments(2 * pairs, np.random.default_rng(1), weights=(0, 0, 1))
    comparisons = [toys.compare(first, second) for first, second in zip(cut[::2], cut[1::2], strict=True)]
    model.comparisons = lambda: comparisons
    return model


def test_without_labels_nothing_is_learned() -> None:
    model = make_cpl(DummyVecEnv([toys.drift] * 2), config(), 0)
    before = [value.clone() for value in model.policy.state_dict().values()]
    model.learn(256)
    assert all(torch.equal(then, now) for then, now in zip(before, model.policy.state_dict().values(), strict=True))


def test_an_update_makes_what_was_preferred_likelier() -> None:
    model = taught()
    place = np.zeros((1, 2), np.float32)
    before, _ = model.predict(place, deterministic=True)
    model.train()
    model.train()
    after, _ = model.predict(place, deterministic=True)
    assert after.item() > before.item()
    assert model.logger.name_to_value["cpl/comparisons"] == 40
    assert model.logger.name_to_value["cpl/agreement"] > 0.5


def test_an_update_goes_on_to_its_end_or_until_the_policy_has_moved_far_enough(monkeypatch: pytest.MonkeyPatch) -> None:
    """Two passes over 40 comparisons are four gradient steps of 20."""
    slow, quick = taught(cpl__learning_rate=1e-5), taught(cpl__learning_rate=0.05)
    for model in (slow, quick):
        model.train()
    assert slow.logger.name_to_value["cpl/steps"] == 4
    assert 0 < slow.logger.name_to_value["cpl/kl"] < 0.05
    assert quick.logger.name_to_value["cpl/steps"] < 4
    assert quick.logger.name_to_value["cpl/kl"] > 0.05
    monkeypatch.setattr(cpl, "EPOCHS", 1)
    slow.train()
    assert slow.logger.name_to_value["cpl/steps"] == 2


def test_a_segment_is_measured_by_the_policy_that_first_saw_it_judged() -> None:
    model = taught()
    model.train()
    first = {name: values.copy() for name, values in model._references.items()}
    model.train()
    assert len(first) == 80
    assert all(np.array_equal(values, first[name]) for name, values in model._references.items())
    segment = model.comparisons()[0].first
    assert not np.allclose(model._log_probability(segment.observations[:-1], segment.actions).detach(), first[segment.id])


# ------------------------------------------------------------------ a whole run


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> RunFolder:
    """One run that has ended."""
    return trained(tmp_path_factory.mktemp("finished") / "run")


def test_a_run_learns_what_the_labels_say_and_no_reward(finished: RunFolder) -> None:
    """Actions lie in ±1: an episode of 20 steps pays 20 at most, and 0 at random."""
    found = {file.name for file in finished.path.iterdir()}
    assert found == {
        "config.yaml",
        "policy.safetensors",
        "store.db",
        "segments",
        "labels.jsonl",
        "logs",
        "checkpoints",
        "trainer.lock",
    }
    assert np.mean(evaluate(finished, 5, seed=7)) > 10


def test_pairs_are_asked_at_random_and_evenly(finished: RunFolder) -> None:
    rows = [json.loads(line) for line in (finished.path / "labels.jsonl").read_text().splitlines()]
    assert len(rows) == 100
    assert {row["strategy"] for row in rows} == {"uniform"}
    asked = np.array([row["asked_at_step"] for row in rows])
    assert (asked < 300).sum() == 10, "a tenth before training"
    first, second = ((asked > low) & (asked <= low + 1000) for low in (500, 1500))
    assert 30 <= first.sum() <= 40, "90 in the 2,700 steps in which anything is asked"
    assert 30 <= second.sum() <= 40


@pytest.mark.long
def test_the_same_config_gives_the_same_run(finished: RunFolder, tmp_path: Path) -> None:
    again = trained(tmp_path / "run")
    assert (again.path / "policy.safetensors").read_bytes() == (finished.path / "policy.safetensors").read_bytes()


def test_how_pairs_are_asked_may_be_set_but_for_what_needs_a_reward(finished: RunFolder, tmp_path: Path) -> None:
    assert finished.config.queries.strategy == "uniform", "the run's folder says what was done"
    assert without_reward(config().but({"queries.decay": 0.1})).queries.decay == 0.1
    with pytest.raises(UserError, match=r"queries\.strategy is 'information_gain', which asks by a learned reward"):
        resolved(config().but({"queries.strategy": "information_gain"}), tmp_path / "run")


def test_every_step_pays_nothing() -> None:
    settings = config(steps=600, labels=12)
    venv = PreferenceRewardVecWrapper(DummyVecEnv([toys.drift] * 2))
    loop = PreferenceLoop(venv, settings, learn_reward=False)
    model = make_cpl(venv, settings, 0)
    model.learn(600, callback=DirectCallback(loop))
    assert not model.rollout_buffer.rewards.any()
    assert loop.last_fit is None
    assert len(model.comparisons()) == len(loop.comparisons) == 12
    assert venv.recorder.steps == model.num_timesteps >= 600
    model.learn(64, callback=DirectCallback(loop))
    assert loop.steps == venv.recorder.steps >= 664
    loop.close()


def test_who_asks_for_the_reward_of_such_a_run_is_told_where_to_get_one(finished: RunFolder) -> None:
    with pytest.raises(UserError, match=r"there is no .*; learn a reward from its labels, .*: rltrainer fit"):
        load_reward(finished.path)
    told = CliRunner().invoke(group, ["fit", str(finished.path), "--reward.fit-steps", "1", "--reward.hidden", "8"])
    assert told.exit_code == 0, told.output
    load_reward(finished.path, finished.path / "reward-fit-1.safetensors")


@pytest.mark.long
def test_a_run_starts_from_the_labels_of_another_and_need_not_ask_for_more(finished: RunFolder, tmp_path: Path) -> None:
    again = trained(tmp_path / "run", labels_from=str(finished.path), labeler="none", seed=4)
    store = Store.open(again.path)
    labels = store.labels()
    store.close()
    assert len(labels) == 100
    assert all(label.inherited for label in labels)
    assert np.mean(evaluate(again, 5, seed=7)) > 10


def test_what_it_cannot_do_is_refused_in_a_sentence(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"method is 'cpl', which learns from labels alone, and labeler is 'none'; set labeler"):
        resolved(config(labeler="none"), tmp_path / "run")
    with pytest.raises(UserError, match=r"'fancy_ProMP/Reacher5d-v0' is a whole trajectory of them; set method to ppo"):
        make_cpl(DummyVecEnv([toys.drift]), config(env="fancy_ProMP/Reacher5d-v0"), 0)
    assert not list(tmp_path.iterdir())
