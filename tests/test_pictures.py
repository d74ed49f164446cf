"""Facts about rewards of pictures: the contract of every learner holds, and where something is can be learned from labels."""

from __future__ import annotations

import json
import math
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import gymnasium as gym
import learners
import numpy as np
import pytest
import test_learners
import torch
import toys
from stable_baselines3.common.vec_env import DummyVecEnv

from rltrainer.config import Config, Reward
from rltrainer.core import Array, Learner, Segment, UserError
from rltrainer.envs import image_shape
from rltrainer.labels import check_heritage
from rltrainer.loop import PreferenceLoop
from rltrainer.refit import refit
from rltrainer.rewards import LEARNERS, EnsembleLearner, make_learner
from rltrainer.rewards.nets import PictureNets
from rltrainer.rewards.pictures import PictureScale, packed
from rltrainer.sizes import Sizes
from rltrainer.store import Store
from rltrainer.wrapper import PreferenceRewardVecWrapper

SMALL = (6, 6, 1)
MAKE = learners.make


def random_segments(count: int, rng: np.random.Generator, steps: int = 10) -> list[Segment]:
    """Segments of noise, whose true reward is how much brighter the left half of what a step led to is than the right half."""
    found = []
    for _ in range(count):
        pictures = rng.integers(0, 100, (steps + 1, *SMALL))
        pictures[:, :, :3] += rng.integers(0, 150, (steps + 1, 1, 1, 1))
        pictures[:, :, 3:] += rng.integers(0, 150, (steps + 1, 1, 1, 1))
        rewards = pictures[1:, :, :3].mean(axis=(1, 2, 3)) - pictures[1:, :, 3:].mean(axis=(1, 2, 3))
        actions = rng.uniform(-1, 1, size=(steps, 1)).astype(np.float32)
        found.append(toys.segment(pictures.reshape(steps + 1, -1).astype(np.uint8), actions, rewards, seed=len(found)))
    return found


def rows(count: int = 50, seed: int = 5, space: gym.Space[Any] = toys.PUSH) -> tuple[Array, Array, Array]:
    """Pictures, actions and next pictures of `count` steps."""
    _, actions, _ = ROWS(count, seed, space)
    before, after = np.random.default_rng(seed).integers(0, 256, (2, count, math.prod(SMALL)), np.uint8)
    return before, actions, after


ROWS = learners.rows


def make(name: str, seed: int = 0, **options: Any) -> Learner:
    return MAKE(name, seed, **{"observed": SMALL, "fit_steps": 5, **options})  # type: ignore[arg-type]


SEEING = [name for name in LEARNERS if name not in ("bayes", "transformer")]


@pytest.mark.parametrize("name", SEEING)
class TestLearnerOfPictures(test_learners.LearnerContract):
    """Registering a learner in LEARNERS is testing it with pictures, too."""

    @pytest.fixture(autouse=True)
    def of_pictures(self, monkeypatch: pytest.MonkeyPatch) -> None:
        """All that the contract makes its learners see becomes pictures."""
        monkeypatch.setattr(test_learners, "make", make)
        monkeypatch.setattr(test_learners, "rows", rows)
        monkeypatch.setattr(toys, "random_segments", random_segments)

    def test_discrete_actions_and_bytes_are_taken(self, name: str) -> None:
        space = gym.spaces.Discrete(3, start=-1)
        actions = np.random.default_rng(0).integers(-1, 2, (12, 10))
        segments = [replace(s, actions=a) for s, a in zip(random_segments(12, np.random.default_rng(1)), actions, strict=True)]
        pairs = [toys.compare(a, b) for a, b in zip(segments[::2], segments[1::2], strict=True)]
        learner = make(name, space=space)
        learner.fit(pairs, segments)
        assert np.isfinite(learner.snapshot()(*rows(space=space))).all()

    @pytest.mark.long
    def test_a_linear_reward_is_found_from_sixty_oracle_labels(self, name: str) -> None:
        """As of vectors, in several times the seconds."""
        super().test_a_linear_reward_is_found_from_sixty_oracle_labels(name)


def test_pictures_get_nets_unless_told_otherwise_and_a_learner_that_cannot_see_says_so() -> None:
    sizes, seed = Sizes(math.prod(SMALL), (1,), image=SMALL), np.random.SeedSequence(0)
    assert type(make_learner(sizes, Reward(), seed)) is EnsembleLearner
    for name in ("bayes", "transformer"):
        with pytest.raises(UserError, match=rf"reward\.learner is '{name}', which cannot see pictures; leave it unset"):
            make_learner(sizes, Reward(learner=name), seed)


def test_thousands_of_observed_numbers_get_nets_too() -> None:
    assert type(make_learner(Sizes(84 * 84, (1,)), Reward(), np.random.SeedSequence(0))) is EnsembleLearner


# ------------------------------------------------------------------ what the nets see


def nets(shape: tuple[int, ...], actions: int = 2) -> PictureNets:
    return PictureNets(2, shape, actions, (8,), torch.Generator().manual_seed(0))


@pytest.mark.parametrize(
    ("shape", "windows", "width"),
    [
        ((84, 84, 4), [7, 5, 3, 3], 16 * 7 * 7),  # 84 → 26 → 11 → 9 → 7
        ((4, 84, 84), [7, 5, 3, 3], 16 * 7 * 7),
        ((210, 160, 3), [7, 5, 3, 3], 16 * 28 * 20),  # 160 → 52 → 24 → 22 → 20: less than twice 84
        ((24, 24, 1), [4, 3], 16 * 5 * 5),  # 24 → 11 → 5
        ((7, 7, 3), [3], 16 * 3 * 3),
        ((2, 2, 3), [], 12),
    ],
)
def test_convolutions_fit_the_picture(shape: tuple[int, ...], windows: list[int], width: int) -> None:
    made = nets(shape)
    assert [filters.shape[-1] for filters in made.filters] == windows
    assert made.weights[0].shape == (2, width + 2, 8)
    pictures = np.random.default_rng(0).integers(0, 256, (3, math.prod(shape)), np.uint8)
    rewards = made.rewards(packed(pictures, np.zeros((3, 2), np.float32)))
    assert rewards.shape == (2, 3)
    assert len(np.unique(rewards)) == 6


def test_one_row_of_one_net_is_seen_though_its_pixels_are_no_multiple_of_four_bytes() -> None:
    made = PictureNets(1, (9, 9, 3), 2, (8,), torch.Generator().manual_seed(0))
    pictures = np.random.default_rng(0).integers(0, 256, (2, 9 * 9 * 3), np.uint8)
    both = made.rewards(packed(pictures, np.ones((2, 2), np.float32)))
    np.testing.assert_allclose(made.rewards(packed(pictures[:1], np.ones((1, 2), np.float32))), both[:, :1], rtol=1e-5)


def test_channels_first_and_last_are_one_picture() -> None:
    last, first = nets((10, 12, 3)), nets((3, 10, 12))
    first.load_state_dict(last.state_dict())
    pictures = np.random.default_rng(0).integers(0, 256, (5, 10, 12, 3), np.uint8)
    turned = pictures.transpose(0, 3, 1, 2)
    actions = np.ones((5, 2), np.float32)
    seen = [made.rewards(packed(p.reshape(5, -1), actions)) for made, p in ((last, pictures), (first, turned))]
    np.testing.assert_allclose(*seen, rtol=1e-5)


def test_pixels_go_from_0_to_1_and_large_pictures_are_made_smaller() -> None:
    """Of 170 x 168 pixels each two by two become one, 85 x 84."""
    made = PictureNets(1, (170, 168, 1), 0, (), torch.Generator().manual_seed(0))
    assert made._shrink == 2
    made.filters, made.shifts, made._strides = torch.nn.ParameterList(), torch.nn.ParameterList(), []
    seen = made._see(0, torch.tensor([[255, 51] * (85 * 168)], dtype=torch.uint8))
    assert seen.shape == (1, 85 * 84)
    torch.testing.assert_close(seen, torch.full_like(seen, 0.6))  # the mean of 1 and 0.2


def test_a_row_is_a_byte_for_each_pixel_and_four_for_each_number_of_an_action() -> None:
    pictures, actions = np.arange(6, dtype=np.uint8).reshape(2, 3), np.array([[0.5, -2.0], [4.5, -6.0]])
    rows = packed(pictures, actions)
    assert rows.dtype == np.uint8
    assert rows.shape == (2, 3 + 2 * 4)
    np.testing.assert_array_equal(rows[:, :3], pictures)
    scaled = PictureScale.of([actions.astype(np.float32)])(rows)  # means 2.5 and -4, std 2 and 2
    np.testing.assert_array_equal(scaled[:, :3], pictures)
    np.testing.assert_array_equal(np.ascontiguousarray(scaled[:, 3:]).view(np.float32), [[-1, 1], [1, -1]])


def test_no_copy_of_the_labelled_pictures_is_kept_for_a_fit() -> None:
    """A segment that is in many comparisons is in memory once, as bytes: only what is picked is put together."""
    first, second = random_segments(2, np.random.default_rng(0))
    learner = make("ensemble")
    assert isinstance(learner, EnsembleLearner)
    batch = learner._batch([toys.compare(first, second)] * 50, [])
    for pair in batch.rows._sides:  # type: ignore[union-attr]
        for (pictures, _), segment in zip(pair, (first, second), strict=True):
            assert np.shares_memory(pictures, segment.observations)
    assert batch.rows[torch.tensor([[3, 7]])].dtype == torch.uint8
    assert batch.rows[torch.tensor([[3, 7]])].shape == (1, 2, 2, 10, 36 + 4)


# ------------------------------------------------------------------ which observations are pictures


@pytest.mark.parametrize(
    ("space", "shape"),
    [
        (gym.spaces.Box(0, 255, (84, 84, 3), np.uint8), (84, 84, 3)),
        (gym.spaces.Box(0, 255, (1, 9, 9), np.uint8), (1, 9, 9)),
        (gym.spaces.Box(0, 10, (84, 84, 3), np.uint8), ()),
        (gym.spaces.Box(0, 255, (84, 84), np.uint8), (84, 84, 1)),
        (gym.spaces.Box(0, 255, (84, 84, 3), np.float32), ()),
        (gym.spaces.Discrete(3), ()),
        (gym.spaces.Dict({"eye": gym.spaces.Box(0, 255, (84, 84, 3), np.uint8)}), ()),
    ],
)
def test_a_picture_is_a_box_of_rank_2_or_3_that_holds_every_byte(space: gym.Space[Any], shape: tuple[int, ...]) -> None:
    assert image_shape(space) == shape


# ------------------------------------------------------------------ from an env to a reward


def settings(**changes: Any) -> Config:
    """80 oracle labels on clips of 6 steps, asked over 3000 steps."""
    small: dict[str, Any] = {
        "labeler": "oracle",
        "steps": 3000,
        "labels": 80,
        "segments.steps": 6,
        "queries.warmup_labels": 20,
        "queries.strategy": "uniform",
        "queries.batch": 5,
    }
    return Config().but(small | changes)


def loop_of(run: Path, maker: Callable[[], gym.Env[Any, Any]] = toys.spot, **changes: Any) -> PreferenceLoop:
    venv = PreferenceRewardVecWrapper(DummyVecEnv([maker] * 2))
    venv.seed(1)
    return PreferenceLoop(venv, settings(**changes), run=run)


def correlation(learner: Learner) -> float:
    """Of the learned and the true reward of 300 random steps of a Spot that nobody has seen."""
    env, rng = toys.spot(), np.random.default_rng(9)
    seen: list[tuple[Array, int, Array]] = []
    paid = []
    for episode in range(10):
        before, _ = env.reset(seed=1000 + episode)
        for _ in range(30):
            action = int(rng.integers(5))
            after, reward, *_ = env.step(action)
            seen.append((before.ravel(), action, after.ravel()))
            paid.append(reward)
            before = after
    learned = learner.snapshot()(*map(np.array, zip(*seen, strict=True)))
    return float(np.corrcoef(learned, paid)[0, 1])


@pytest.fixture(scope="module")
def watched(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, float]:
    """The run of a Spot that moves at random, labelled by the oracle, and the correlation of its reward."""
    folder = tmp_path_factory.mktemp("spot") / "run"
    loop, rng = loop_of(folder), np.random.default_rng(0)
    loop.warm_up()
    while loop.steps < 3000:
        for _ in range(250):
            loop.env.step(rng.integers(0, 5, 2))
        loop.step(500)
    loop.update()
    found = correlation(loop.learner)
    loop.close()
    return folder, found


@pytest.mark.long
def test_where_a_bright_patch_is_becomes_a_reward(watched: tuple[Path, float]) -> None:
    """The further right it is the better; it is 16 of 576 pixels."""
    assert watched[1] > 0.7


@pytest.mark.long
def test_a_reward_of_pictures_is_fitted_from_the_store_alone(watched: tuple[Path, float]) -> None:
    store = Store.open(watched[0])
    assert Sizes.stored(store) == Sizes(576, (), 5, 0, (24, 24, 1))
    learner = refit(store, Reward(members=2), 0, lambda done, fits, report: None).learner
    store.close()
    assert isinstance(learner, EnsembleLearner)
    assert isinstance(learner._nets, PictureNets)
    assert correlation(learner) > 0.7


@pytest.mark.long
def test_labels_on_pictures_are_learned_from_in_another_run(watched: tuple[Path, float], tmp_path: Path) -> None:
    loop = loop_of(tmp_path / "heir", labels_from=str(watched[0]), **{"reward.members": 1})
    assert loop.inherited == 80
    loop.update()
    assert loop.last_fit is not None
    assert loop.last_fit.comparisons == 80
    loop.close()
    turned = "have pictures of 24 x 24 x 1 and 5 choices, and this env has pictures of 1 x 24 x 24 and"
    with pytest.raises(UserError, match=turned):
        loop_of(tmp_path / "turned", lambda: toys.spot(channels_first=True), labels_from=str(watched[0]))


@pytest.mark.long
def test_a_run_whose_store_does_not_say_that_it_saw_pictures_still_opens(watched: tuple[Path, float], tmp_path: Path) -> None:
    """It is fitted as it was then, from a row of pixels, and its labels teach about pictures."""
    folder = tmp_path / "old"
    shutil.copytree(watched[0], folder)
    store = Store.open(folder)
    fact = store.fact("sizes")
    del fact["image"]
    with store._writer.begin() as connection:
        connection.exec_driver_sql("UPDATE meta SET value = ? WHERE key = 'sizes'", (json.dumps(fact),))
    assert Sizes.stored(store) == Sizes(576, (), 5, 0)
    learner = refit(store, Reward(hidden=(4,)), 0, lambda done, fits, report: None).learner
    assert learner.snapshot().version > 0
    store.close()
    check_heritage(folder, Sizes(576, (), 5, 0, (24, 24, 1)))
