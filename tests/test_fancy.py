"""Facts about fancy_gym's envs on today's Gymnasium: step-based, movement primitives, air hockey."""

from __future__ import annotations

import copy
import importlib.util
import itertools
import logging
import multiprocessing
import os
import subprocess
import sys
from typing import Any, NamedTuple

import gymnasium as gym
import numpy as np
import pytest
from stable_baselines3.common.env_checker import check_env as sb3_check_env

from rltrainer import envs, fancy
from rltrainer.core import INNER_STEPS, InnerSteps, UserError
from rltrainer.fancy import compat

HAS_FANCY = sys.version_info < (3, 12) and importlib.util.find_spec("fancy_gym") is not None
HAS_AIRHOCKEY = HAS_FANCY and all(importlib.util.find_spec(name) for name in ("mushroom_rl", "dm_control"))
needs_fancy = pytest.mark.skipif(not HAS_FANCY, reason="fancy_gym needs Python 3.11, where mujoco 2.3.3 has a wheel")
needs_airhockey = pytest.mark.skipif(not HAS_AIRHOCKEY, reason="the extra is not installed: pip install -e '.[airhockey]'")

STEP_BASED = ["fancy/Reacher5d-v0", "fancy/BoxPushingDense-v0", "fancy/TableTennis4D-v0", "fancy/HopperJump-v0"]
DRAWN = ["fancy/SimpleReacher-v0", "fancy/LongSimpleReacher-v0", "fancy/HoleReacher-v0", "fancy/ViaPointReacher-v0"]
FORGETFUL = ["fancy/BeerPong-v0", "fancy/AntJump-v0", "fancy/HopperJumpOnBox-v0", "fancy/HopperThrowInBasket-v0"]
BLACK_BOXES = [
    "fancy_ProMP/Reacher5d-v0",
    "fancy_ProDMP/BoxPushingDense-v0",
    "fancy_ProDMP/BoxPushingDenseReplan-v0",
    "fancy_ProMP/BeerPong-v0",
]

Episode = tuple[int, list[Any], list[Any]]
"""Seed, actions, observations."""


def step_based_episode(env: gym.Env[Any, Any], steps: int) -> Episode:
    observation, info = env.reset()
    actions, observations = [], [observation]
    for _ in range(steps):
        actions.append(env.action_space.sample())
        observation, _, terminated, truncated, _ = env.step(actions[-1])
        observations.append(observation)
        if terminated or truncated:
            break
    return info["episode_seed"], actions, observations


def black_box_episode(env: gym.Env[Any, Any]) -> tuple[Episode, list[InnerSteps], list[float]]:
    """The inner episode, what each outer step gave of it, and the outer rewards."""
    _, info = env.reset()
    taken, rewards, over = [], [], False
    seed = info["episode_seed"]
    while not over:
        _, reward, terminated, truncated, info = env.step(0.3 * env.action_space.sample())
        taken.append(info[INNER_STEPS])
        rewards.append(reward)
        over = terminated or truncated
    observations = taken[0].observations[:1] + [row for steps in taken for row in steps.observations[1:]]
    return (seed, [action for steps in taken for action in steps.actions], observations), taken, rewards


def replayed(env: gym.Env[Any, Any], seed: int, actions: list[Any]) -> list[Any]:
    return [env.reset(seed=seed)[0], *(env.step(action)[0] for action in actions)]


def replayed_elsewhere(name: str, seed: int, actions: list[Any]) -> list[Any]:
    return replayed(envs.make_shown_env(name, None, 64), seed, actions)


# ------------------------------------------------------------------ which ids


def test_fancy_ids_are_told_from_all_others() -> None:
    for name in (*STEP_BASED, *BLACK_BOXES, "gym_ProMP/Reacher-v2", "dm_control_DMP/reacher-easy-v0", "mine:own_DMP/Arm-v0"):
        assert fancy.is_fancy_id(name)
    for name in (
        "mine:own/Arm-v0",
        "HalfCheetah-v5",
        "ALE/Pong-v5",
        "phys2d/CartPole-v1",
        "package.fancy:factory",
        "ProMP/Thing-v0",
    ):
        assert not fancy.is_fancy_id(name)
    assert not fancy.is_black_box_id("fancy/Reacher5d-v0")
    assert fancy.is_black_box_id("fancy_DMP/Reacher5d-v0")


OWN = """
import fancy_gym
import gymnasium
from fancy_gym.envs.mujoco.reacher.mp_wrapper import MPWrapper
from fancy_gym.envs.mujoco.reacher.reacher import ReacherEnv

fancy_gym.register("mine/Arm-v0", ReacherEnv, MPWrapper, add_mp_types=["ProMP"], max_episode_steps=200, kwargs={"n_links": 5})


def step_based():
    return gymnasium.make("mine/Arm-v0", disable_env_checker=True)


def black_box():
    return gymnasium.make("mine_ProMP/Arm-v0")
"""


@needs_fancy
def test_envs_that_a_users_package_registers_with_fancy_gym_are_made_by_module_and_id(tmp_path: Any) -> None:
    """In a process that has not imported fancy_gym, as the label service is one."""
    (tmp_path / "own_arm.py").write_text(OWN)
    code = (
        "from rltrainer import core, envs\n"
        "box = envs.make_env('own_arm:mine_ProMP/Arm-v0'); box.reset(seed=1)\n"
        "steps = box.step(box.action_space.sample())[4][core.INNER_STEPS]\n"
        "for name in ('own_arm:mine/Arm-v0', 'own_arm:step_based'):\n"
        "    assert envs.make_env(name).action_space.shape == (5,)\n"
        "shown = envs.make_shown_env('own_arm:mine_ProMP/Arm-v0', {}, 32); seen = [shown.reset(seed=1)[0]]\n"
        "seen += [shown.step(action)[0] for action in steps.actions]\n"
        "assert all((a == b).all() for a, b in zip(seen, steps.observations, strict=True)) and len(seen) == 201\n"
        "try: envs.make_env('own_arm:black_box')\n"
        "except envs.UserError as error: assert 'give its id instead, in the form own_arm:name_ProMP/' in str(error), error\n"
        "else: raise AssertionError\n"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=tmp_path, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout) == (0, ""), done.stderr


def test_importing_the_room_imports_no_fancy_gym() -> None:
    code = "import sys, rltrainer.envs; assert not {'fancy_gym', 'matplotlib', 'mujoco'} & set(sys.modules)"
    assert os.spawnl(os.P_WAIT, sys.executable, sys.executable, "-c", code) == 0


def test_on_a_newer_python_a_fancy_id_says_what_to_do(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(compat.sys, "version_info", NewerPython())
    fancy.enable.cache_clear()
    with pytest.raises(UserError, match=r"this is Python 3\.13; set rltrainer up with Python 3\.11"):
        envs.make_env("fancy/Reacher5d-v0")


class NewerPython(NamedTuple):
    major: int = 3
    minor: int = 13


@pytest.mark.parametrize(
    ("missing", "words"),
    [
        (ImportError("libgthread-2.0.so.0: cannot open shared object file"), "apt-get install libglib2.0-0"),
        (
            ModuleNotFoundError("No module named 'mp_pytorch'", name="mp_pytorch"),
            r"package mp_pytorch; pip install fancy_gym==0.3.0",
        ),
    ],
)
@pytest.mark.skipif(sys.version_info >= (3, 12), reason="another sentence comes first on newer Pythons")
def test_what_fancy_gym_misses_is_named_with_the_command(
    monkeypatch: pytest.MonkeyPatch, missing: ImportError, words: str
) -> None:
    def fail(name: str) -> Any:
        raise missing

    monkeypatch.setattr(compat, "module", fail)
    fancy.enable.cache_clear()
    with pytest.raises(UserError, match=words):
        fancy.enable()


@needs_fancy
@pytest.mark.skipif(HAS_AIRHOCKEY, reason="the extra is installed")
def test_without_the_extra_air_hockey_names_it() -> None:
    with pytest.raises(UserError, match=r"pip install -e '\.\[airhockey\]'"):
        envs.make_env("fancy/AirHockey-3dof-hit-v0")


@needs_fancy
@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("fancy/Reacher6d-v0", "did you mean 'fancy/Reacher"),
        ("fancy_ProMP/Reacher6d-v0", "did you mean 'fancy_ProMP/Reacher"),
        ("dm_control_DMP/reacher-easy-v0", "made of 'dm_control/reacher-easy-v0', which no installed package has"),
    ],
)
def test_wrong_fancy_ids_are_refused_in_one_sentence(name: str, words: str) -> None:
    for make in (envs.make_env, envs.shows_pictures, lambda name: envs.make_shown_env(name, None, 64)):
        with pytest.raises(UserError) as refusal:
            make(name)
        assert words in str(refusal.value)


# ------------------------------------------------------------------ what was restored stays inside


@needs_fancy
def test_nothing_is_printed_or_logged_and_no_name_is_left_in_gymnasium(capfd: pytest.CaptureFixture[str]) -> None:
    handlers = list(logging.getLogger().handlers)
    envs.make_env("fancy_ProMP/TableTennis4D-v0").reset()
    envs.make_env("fancy_ProDMP/TableTennis4D-v0").reset()
    assert logging.getLogger().handlers == handlers
    assert capfd.readouterr() == ("", "")
    assert not hasattr(gym.wrappers, "EnvCompatibility")


@needs_fancy
def test_other_wrappers_hand_on_no_attributes() -> None:
    env = gym.wrappers.TimeLimit(gym.make("Pendulum-v1"), 10)
    envs.make_env("fancy_ProMP/Reacher5d-v0")
    assert not hasattr(env, "max_torque")
    assert env.get_wrapper_attr("max_torque") == 2.0


# ------------------------------------------------------------------ step-based


@needs_fancy
@pytest.mark.parametrize("name", STEP_BASED + DRAWN + FORGETFUL)
def test_a_fancy_episode_is_its_seed_and_its_actions(name: str) -> None:
    """Also where the env itself begins an episode with the goal of the one before."""
    recording, shown = envs.make_env(name), envs.make_shown_env(name, None, 64)
    recording.action_space.seed(0)
    for seed, actions, observations in reversed([step_based_episode(recording, 30) for _ in range(3)]):
        assert np.array_equal(replayed(shown, seed, actions), observations)


@needs_fancy
@pytest.mark.parametrize("name", [*STEP_BASED, *DRAWN])
def test_a_fancy_env_can_be_shown(name: str) -> None:
    assert envs.shows_pictures(name) is None
    env = envs.make_shown_env(name, None, 96)
    env.action_space.seed(0)
    env.reset(seed=0)
    pictures = [envs.picture(env)]
    for _ in range(2):
        for _ in range(4):
            env.step(env.action_space.sample())
        pictures.append(envs.picture(env))
    assert {picture.shape for picture in pictures} == {(96, 96, 3)}
    assert not np.array_equal(pictures[1], pictures[2])
    env.close()


@needs_fancy
@pytest.mark.parametrize("name", DRAWN)
def test_a_drawn_goal_is_that_of_this_episode(name: str) -> None:
    """They set it at step 1 only; a clip that begins later would show the goal of another episode."""
    used, new = envs.make_shown_env(name, None, 96), envs.make_shown_env(name, None, 96)
    used.reset(seed=1)
    envs.picture(used)
    still = np.zeros(used.action_space.shape, np.float32)
    for env in (used, new):
        env.reset(seed=2)
        for _ in range(3):
            env.step(still)
    assert np.array_equal(envs.picture(used), envs.picture(new))


@needs_fancy
def test_a_picture_after_the_very_first_step_is_drawn_too() -> None:
    env = envs.make_shown_env("fancy/SimpleReacher-v0", None, 64)
    env.reset(seed=0)
    env.step(np.zeros(2, np.float32))
    assert envs.picture(env).shape == (64, 64, 3)


@needs_fancy
def test_the_frame_rate_of_a_drawn_env_is_one_over_its_step() -> None:
    assert envs.frames_per_second(envs.make_env("fancy/SimpleReacher-v0")) == pytest.approx(100)


@needs_fancy
@pytest.mark.parametrize("name", [*STEP_BASED, "fancy/Reacher7d-v0", "fancy/BeerPong-v0", "fancy/HopperThrow-v0"])
def test_goals_and_balls_are_shown_larger_where_that_changes_no_motion(name: str) -> None:
    plain, shown = envs.make_env(name).unwrapped.model, envs.make_shown_env(name, None, 64).unwrapped.model
    enlarged = np.flatnonzero((shown.geom_size != plain.geom_size).any(axis=1))
    kind, touches = shown.geom_contype, shown.geom_conaffinity
    assert not (kind[enlarged, None] & touches).any()
    assert not (touches[enlarged, None] & kind).any()
    sites = np.flatnonzero((shown.site_size != plain.site_size).any(axis=1))
    of_two = ("fancy/Reacher5d-v0", "fancy/Reacher7d-v0", "fancy/TableTennis4D-v0")
    assert len(enlarged) + len(sites) == (0 if name == "fancy/BoxPushingDense-v0" else 2 if name in of_two else 1)


# ------------------------------------------------------------------ movement primitives


@needs_fancy
@pytest.mark.parametrize("name", BLACK_BOXES)
def test_one_action_is_a_trajectory_whose_steps_replay_in_the_env_inside(name: str) -> None:
    recording, shown = envs.make_env(name), envs.make_shown_env(name, None, 64)
    assert isinstance(recording, envs.SeededEpisodes)
    assert recording.recorded_observation_space == shown.observation_space
    assert recording.recorded_action_space == shown.action_space
    recording.action_space.seed(0)
    for (seed, actions, observations), _, _ in reversed([black_box_episode(recording) for _ in range(3)]):
        assert len(observations) == len(actions) + 1 == envs.episode_limit(recording) + 1
        assert np.array_equal(replayed(shown, seed, actions), observations)


@needs_fancy
def test_the_reward_of_a_trajectory_is_the_sum_over_its_steps() -> None:
    env = envs.make_env("fancy_ProMP/Reacher5d-v0")
    env.action_space.seed(0)
    _, taken, rewards = black_box_episode(env)
    assert rewards == pytest.approx([steps.env_rewards.sum() for steps in taken])
    assert [(len(steps.observations), steps.actions.shape, steps.env_rewards.shape) for steps in taken] == [
        (201, (200, 5), (200,))
    ]


@needs_fancy
def test_replanned_trajectories_join_where_the_last_one_ended() -> None:
    env = envs.make_env("fancy_ProDMP/BoxPushingDenseReplan-v0")
    env.action_space.seed(0)
    _, taken, _ = black_box_episode(env)
    assert [len(steps.actions) for steps in taken] == [25, 25, 25, 25]
    for before, after in itertools.pairwise(taken):
        assert np.array_equal(before.observations[-1], after.observations[0])


@needs_fancy
def test_a_trajectory_that_fancy_gym_refuses_has_no_steps() -> None:
    env = envs.make_env("fancy_ProMP/TableTennis4D-v0")
    env.reset(seed=0)
    _, reward, terminated, _, info = env.step(env.action_space.high)
    assert terminated
    assert reward < 0
    assert len(info[INNER_STEPS].observations) == 1
    assert info[INNER_STEPS].actions.shape == (0, 7)
    assert info[INNER_STEPS].env_rewards.shape == (0,)


@needs_fancy
@pytest.mark.parametrize("name", ["fancy_ProDMP/BoxPushingDense-v0"])
def test_a_trajectory_replays_in_a_second_process(name: str) -> None:
    env = envs.make_env(name)
    env.action_space.seed(3)
    black_box_episode(env)
    (seed, actions, observations), _, _ = black_box_episode(env)
    with multiprocessing.get_context("spawn").Pool(1) as pool:
        assert np.array_equal(pool.apply(replayed_elsewhere, (name, seed, actions)), observations)


@needs_fancy
def test_weights_are_bounded_and_times_stay_inside_their_own_bounds() -> None:
    env = envs.make_env("fancy_ProDMP/TableTennis4D-v0")
    space = env.action_space
    assert np.isfinite(space.low).all()
    assert np.isfinite(space.high).all()
    assert space.high[2:] == pytest.approx(np.pi)
    for time in (space.low[:2], space.high[:2]):  # the ends themselves are valid times
        env.reset(seed=0)
        _, _, _, _, info = env.step(np.concatenate([time, np.zeros(21)]).astype(np.float32))
        assert len(info[INNER_STEPS].actions) > 0


@needs_fancy
def test_weights_are_sampled_as_an_unbounded_box_does_and_times_evenly() -> None:
    space = copy.deepcopy(envs.make_env("fancy_ProDMP/TableTennis4D-v0").action_space)
    space.seed(0)
    rows = np.array([space.sample() for _ in range(2000)])
    assert all(space.contains(row) for row in rows)
    assert rows[:, 2:].std() == pytest.approx(1.0, abs=0.02)
    assert rows[:, 0].std() == pytest.approx((1.5 - 0.8) / np.sqrt(12), rel=0.05)
    assert space.spread == pytest.approx([0.35, 0.05, *[1.0] * 21], abs=1e-3)


@needs_fancy
def test_a_fair_share_of_sampled_trajectories_is_tried() -> None:
    env = envs.make_env("fancy_ProMP/TableTennis4D-v0")
    env.action_space.seed(0)
    tried = 0
    for _ in range(12):
        env.reset()
        tried += len(env.step(env.action_space.sample())[4][INNER_STEPS].actions) > 0
    assert tried >= 3


@needs_fancy
def test_success_is_what_it_was_after_the_last_step() -> None:
    """fancy_gym gives one value for each step, of which SB3 cannot take the mean where episodes differ in length."""
    env = envs.make_env("fancy_ProMP/HoleReacher-v0")
    env.action_space.seed(0)
    env.reset(seed=0)
    _, _, terminated, _, info = env.step(env.action_space.sample())
    assert terminated
    assert info["is_success"] is False


@needs_fancy
@pytest.mark.filterwarnings("ignore:We recommend you to use a symmetric and normalized Box action space")
@pytest.mark.parametrize("name", ["fancy/Reacher5d-v0", "fancy_ProMP/Reacher5d-v0", "fancy_ProDMP/BoxPushingDenseReplan-v0"])
def test_sb3_takes_fancy_envs_and_their_specs_make_them_again(name: str) -> None:
    env = envs.make_env(name)
    sb3_check_env(env)
    assert env.spec is not None
    assert env.spec.id == name
    again = gym.make(env.spec)
    assert np.array_equal(again.reset(seed=4)[0], env.reset(seed=4)[0])
    assert again.observation_space == env.observation_space
    assert again.action_space == env.action_space


@needs_fancy
def test_options_reach_the_env_inside_a_black_box_and_its_shown_twin() -> None:
    options = {"ctrl_cost_weight": 7.0, "mp_config_override": {"basis_generator_kwargs": {"num_basis": 3}}}
    env = envs.make_env("fancy_ProMP/Reacher5d-v0", options)
    assert env.unwrapped._ctrl_cost_weight == 7.0
    assert env.action_space.shape == (15,)
    assert envs.make_shown_env("fancy_ProMP/Reacher5d-v0", options, 64).unwrapped._ctrl_cost_weight == 7.0


# ------------------------------------------------------------------ air hockey


@needs_airhockey
def test_air_hockey_is_a_gymnasium_env_that_replays_and_leaves_the_global_generator_alone() -> None:
    recording, shown = (
        envs.make_env("fancy/AirHockey-3dof-hit-v0"),
        envs.make_shown_env("fancy/AirHockey-3dof-hit-v0", None, 96),
    )
    assert envs.episode_limit(recording) == 500
    recording.action_space.seed(0)
    before = np.random.get_state()[1].copy()  # noqa: NPY002 - it is the global one that is looked at
    for seed, actions, observations in reversed([step_based_episode(recording, 20) for _ in range(2)]):
        assert np.array_equal(replayed(shown, seed, actions), observations)
    assert np.array_equal(before, np.random.get_state()[1])  # noqa: NPY002
    assert envs.picture(shown).shape == (60, 96, 3)
    assert envs.picture(shown).std() > 20
    assert shown.spec is not None
    assert np.array_equal(gym.make(recording.spec).reset(seed=1)[0], recording.reset(seed=1)[0])


@needs_airhockey
def test_the_camera_of_air_hockey_looks_where_it_is_told() -> None:
    pictures = []
    for x in (-0.5, 0.5):
        view = {"lookat": np.array([x, 0.0, 0.0]), "distance": 2.5, "elevation": -60.0, "azimuth": 90.0}
        env = envs.make_shown_env("fancy/AirHockey-3dof-hit-v0", {"default_camera_config": view}, 96)
        env.reset(seed=0)
        pictures.append(envs.picture(env))
        env.close()
    table = [np.flatnonzero((picture > 240).all(axis=2).any(axis=0)).mean() for picture in pictures]
    assert table[0] > table[1] + 20


@needs_airhockey
def test_an_action_is_not_changed_in_place() -> None:
    env = envs.make_env("fancy/AirHockey-7dof-hit-airhockit2023-v0")
    env.reset(seed=0)
    action = np.ones(6, np.float32)
    env.step(action)
    assert action.tolist() == [1.0] * 6


@needs_airhockey
def test_the_tournament_is_refused_for_its_tuple_of_actions() -> None:
    env = envs.make_env("fancy/AirHockey-tournament-v0")
    with pytest.raises(UserError, match="actions are Tuple"):
        envs.check_spaces(env.observation_space, env.action_space)
