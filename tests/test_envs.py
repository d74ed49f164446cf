"""Facts about making envs, their episodes, their spaces and their pictures."""

from __future__ import annotations

import sys
import warnings
from typing import Any

import gymnasium as gym
import numpy as np
import pytest
from gymnasium import spaces
from gymnasium.utils.env_checker import check_env
from stable_baselines3.common.env_checker import check_env as sb3_check_env

with warnings.catch_warnings():  # Box2D's SWIG code crashes where a warning is an error
    warnings.simplefilter("ignore")
    import Box2D  # noqa: F401

from rltrainer import envs
from rltrainer.core import UserError


class Counter(gym.Env[Any, Any]):
    """Counts its steps; cannot be rendered."""

    observation_space = spaces.Box(0, 100, (1,), np.float32)
    action_space = spaces.Discrete(2)

    def __init__(self, start: int = 0) -> None:
        self.start = start

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> tuple[Any, dict[str, Any]]:
        super().reset(seed=seed)
        self.count = self.start
        return np.array([self.count], np.float32), {"started": self.start}

    def step(self, action: Any) -> tuple[Any, float, bool, bool, dict[str, Any]]:
        self.count += 1
        return np.array([self.count], np.float32), 0.0, False, False, {}


class Painted(Counter):
    """Gives a picture of 4 x 6 pixels, with an alpha channel."""

    metadata = {"render_modes": ["rgb_array"]}  # noqa: RUF012

    def __init__(self, render_mode: str | None = None) -> None:
        super().__init__()
        self.render_mode = render_mode

    def render(self) -> Any:
        return np.full((4, 6, 4), self.count, np.uint8)


class Ticking(Counter):
    """Says how long a step is, and not how many frames a second has."""

    dt = 0.02


def no_env() -> int:
    return 3


def unlicensed() -> gym.Env[Any, Any]:
    raise ValueError("no licence")


def needy(size: int) -> gym.Env[Any, Any]:
    raise AssertionError(f"was made at {size}")


def limited() -> gym.Env[Any, Any]:
    return gym.wrappers.TimeLimit(Counter(), 7)


HERE = __name__


def rolled(env: gym.Env[Any, Any], seed: int | None, steps: int) -> tuple[int, list[Any], np.ndarray]:
    """Episode seed, actions and flattened observations of an episode of random actions, `steps` long at most."""
    observation, info = env.reset(seed=seed)
    actions, observations = [], [envs.flat_observation(env.observation_space, observation)]
    for _ in range(steps):
        actions.append(env.action_space.sample())
        observation, _, terminated, truncated, _ = env.step(actions[-1])
        observations.append(envs.flat_observation(env.observation_space, observation))
        if terminated or truncated:
            break
    return info["episode_seed"], actions, np.array(observations)


def replayed(env: gym.Env[Any, Any], seed: int, actions: list[Any]) -> np.ndarray:
    observations = [env.reset(seed=seed)[0], *(env.step(action)[0] for action in actions)]
    return np.array([envs.flat_observation(env.observation_space, observation) for observation in observations])


# ------------------------------------------------------------------ episodes


def test_every_reset_names_its_seed_and_seeds_differ() -> None:
    env = envs.make_env("CartPole-v1")
    seeds = [env.reset()[1]["episode_seed"] for _ in range(20)]
    assert all(isinstance(seed, int) for seed in seeds)
    assert len(set(seeds)) == 20


def test_a_seeded_reset_uses_that_seed_and_decides_those_that_follow() -> None:
    first, second = envs.make_env("CartPole-v1"), envs.make_env("CartPole-v1")
    seeds = [
        [env.reset(seed=5)[1]["episode_seed"], env.reset()[1]["episode_seed"], env.reset()[1]["episode_seed"]]
        for env in (first, second)
    ]
    assert seeds[0] == seeds[1]
    assert seeds[0][0] == 5
    assert np.array_equal(first.reset(seed=5)[0], gym.make("CartPole-v1").reset(seed=5)[0])


def test_two_envs_seeded_differently_go_through_different_episodes() -> None:
    first, second = envs.make_env("CartPole-v1"), envs.make_env("CartPole-v1")
    first.reset(seed=1)
    second.reset(seed=2)
    assert first.reset()[1]["episode_seed"] != second.reset()[1]["episode_seed"]


def test_seeds_come_from_no_global_generator() -> None:
    env = envs.make_env("CartPole-v1")
    env.reset(seed=3)
    before = np.random.get_state()[1].copy()  # noqa: NPY002 - it is the global one that is looked at
    env.reset()
    assert np.array_equal(before, np.random.get_state()[1])  # noqa: NPY002


@pytest.mark.parametrize(
    "name", ["CartPole-v1", "Pendulum-v1", "HalfCheetah-v5", "Hopper-v5", "LunarLander-v3", "BipedalWalker-v3"]
)
def test_an_episode_is_its_seed_and_its_actions(name: str) -> None:
    """Also after other episodes in the same env, which BipedalWalker on its own does not do."""
    recording, shown = envs.make_env(name), envs.make_shown_env(name, None, 64)
    recording.action_space.seed(0)
    episodes = [rolled(recording, seed, 120) for seed in (1, None, None, None, None, None)]
    for seed, actions, observations in reversed(episodes):
        assert np.array_equal(replayed(shown, seed, actions), observations)


@pytest.mark.filterwarnings("ignore:.*different from the unwrapped version", "ignore:.*observation space m.*imum value is")
@pytest.mark.parametrize("name", ["CartPole-v1", "HalfCheetah-v5"])
def test_wrapped_envs_pass_gymnasiums_checks_and_sb3s(name: str) -> None:
    check_env(envs.make_env(name), skip_render_check=True)
    sb3_check_env(envs.make_env(name))


def test_the_spec_makes_the_same_env_again() -> None:
    env = envs.make_env("HalfCheetah-v5", {"ctrl_cost_weight": 0.5})
    assert env.spec is not None
    again = gym.make(env.spec)
    assert isinstance(again, envs.SeededEpisodes)
    assert again.spec == env.spec
    assert again.spec.kwargs["ctrl_cost_weight"] == 0.5


# ------------------------------------------------------------------ making


def test_options_reach_the_env() -> None:
    assert envs.make_env("Pendulum-v1", {"g": 1.5}).unwrapped.g == 1.5
    assert envs.make_env(f"{HERE}:Counter", {"start": 4}).reset(seed=0)[0] == 4


def test_a_factory_of_the_users_own_is_an_env_like_any_other() -> None:
    _, info = envs.make_env(f"{HERE}:Counter").reset(seed=9)
    assert info == {"started": 0, "episode_seed": 9}


@pytest.mark.parametrize(
    ("written", "env", "made"),
    [
        ("def make():\n    return gymnasium.make('CartPole-v1')", "make", "CartPole-v1"),
        ("gymnasium.register('mine/Pole-v0', 'gymnasium.envs.classic_control:CartPoleEnv')", "mine/Pole-v0", "mine/Pole-v0"),
    ],
)
def test_what_a_file_in_the_working_directory_makes_or_registers_is_found(
    written: str, env: str, made: str, tmp_path: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    module = f"my_envs_of_this_folder_{made[0]}"
    (tmp_path / f"{module}.py").write_text(f"import gymnasium\n\n{written}\n")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", [path for path in sys.path if path])
    assert envs.make_env(f"{module}:{env}").spec.id == made


@pytest.mark.parametrize(
    ("env", "options", "words"),
    [
        ("HalfCheeta-v5", {}, "did you mean 'HalfCheetah-v5'"),
        ("Cartpole-v1", {}, "did you mean 'CartPole-v1'"),
        ("ALE/Pong-v5", {}, "Namespace ALE not found"),
        ("no id at all", {}, "an env is a Gymnasium or fancy_gym id, package.module:id, or package.module:factory"),
        ("nowhere_to_be_found:Env-v0", {}, "No module named 'nowhere_to_be_found'"),
        ("nowhere_to_be_found:make", {}, "No module named 'nowhere_to_be_found'"),
        (f"{HERE}:Contour", {}, "has no factory 'Contour'; did you mean 'Counter'"),
        (f"{HERE}:no_env", {}, "made a int; it must return a gymnasium.Env"),
        (f"{HERE}:Counter", {"begin": 4}, "env_options is {'begin': 4}, which do not fit"),
        ("Pendulum-v1", {"gravity": 4}, "env_options is {'gravity': 4}"),
        (f"{HERE}:unlicensed", {}, "making it raised ValueError: no licence; mend it"),
        (f"{HERE}:needy", {}, "making it raised TypeError: needy() missing 1 required positional argument: 'size'"),
    ],
)
def test_a_wrong_env_is_refused_in_one_sentence(env: str, options: dict[str, Any], words: str) -> None:
    for make in (envs.make_env, envs.shows_pictures, lambda env, options: envs.make_shown_env(env, options, 64)):
        with pytest.raises(UserError) as refusal:
            make(env, options)
        assert words in str(refusal.value)
        assert repr(env) in str(refusal.value)
        assert "\n" not in str(refusal.value)


def test_gymnasiums_own_module_form_is_no_factory() -> None:
    assert not envs.is_factory("gymnasium:CartPole-v1")
    assert not envs.is_factory("CartPole-v1")
    assert envs.is_factory("package.module:factory")
    assert envs.make_env("gymnasium:CartPole-v1").spec.id == "CartPole-v1"


# ------------------------------------------------------------------ about an env


def test_the_episode_limit_is_the_time_limit_wherever_it_sits() -> None:
    assert envs.episode_limit(envs.make_env("HalfCheetah-v5")) == 1000
    assert envs.episode_limit(envs.make_env("HalfCheetah-v5", {"max_episode_steps": 60})) == 60
    assert envs.episode_limit(envs.make_env(f"{HERE}:limited")) == 7
    assert envs.episode_limit(envs.make_env(f"{HERE}:Counter")) is None


def test_the_frame_rate_is_the_envs_own_or_one_over_dt_or_30() -> None:
    assert envs.frames_per_second(envs.make_env("HalfCheetah-v5")) == 20
    assert envs.frames_per_second(envs.make_env(f"{HERE}:Ticking")) == 50
    assert envs.frames_per_second(envs.make_env(f"{HERE}:Counter")) == 30


# ------------------------------------------------------------------ pictures


@pytest.mark.parametrize(
    ("name", "size", "shape"),
    [
        ("HalfCheetah-v5", 96, (96, 96, 3)),
        ("Hopper-v5", 129, (128, 128, 3)),  # even sides, as H.264 wants them
        ("CartPole-v1", 96, (400, 600, 3)),
        (f"{HERE}:Painted", 96, (4, 6, 3)),
    ],
)
def test_a_shown_env_gives_pictures(name: str, size: int, shape: tuple[int, ...]) -> None:
    env = envs.make_shown_env(name, None, size)
    env.action_space.seed(0)
    env.reset(seed=0)
    before = envs.picture(env)
    for _ in range(10):
        env.step(env.action_space.sample())
    assert before.shape == shape
    assert before.dtype == np.uint8
    assert not np.array_equal(before, envs.picture(env))
    env.close()


def test_a_wide_picture_stays_wide() -> None:
    env = envs.make_shown_env("HalfCheetah-v5", {"width": 640, "height": 320}, 128)
    env.reset(seed=0)
    assert envs.picture(env).shape == (64, 128, 3)


def test_a_runner_does_not_run_out_of_the_picture() -> None:
    """Gymnasium 1.4's own camera stands still: ten metres on there is only floor."""
    env = envs.make_shown_env("HalfCheetah-v5", None, 96)
    env.reset(seed=0)
    body = env.unwrapped.data.qpos
    pictures = []
    for place in (0.0, 8.0):  # a whole number of floor tiles apart
        body[0] = place
        env.unwrapped.set_state(body.copy(), env.unwrapped.data.qvel.copy())
        pictures.append(envs.picture(env).astype(int))
    skin = [(picture[..., 0] - picture[..., 2] > 40).sum() for picture in pictures]
    assert skin[0] > 100
    assert skin[1] > 0.8 * skin[0]


def test_shadows_are_off_because_they_cost_more_than_all_else() -> None:
    quality = envs.make_shown_env("HalfCheetah-v5", None, 96).unwrapped.model.vis.quality
    assert (quality.shadowsize, quality.offsamples) == (0, 0)


def test_a_camera_of_the_users_own_is_left_alone() -> None:
    mine = {"distance": 9.0}
    renderer = envs.make_shown_env("HalfCheetah-v5", {"default_camera_config": mine}, 96).unwrapped.mujoco_renderer
    assert renderer.default_cam_config == mine
    assert renderer.camera_id == -1


def test_an_env_without_pictures_is_found_out_before_anything_starts() -> None:
    reason = envs.shows_pictures(f"{HERE}:Counter")
    assert reason is not None
    assert f"env is '{HERE}:Counter', which cannot be shown" in reason
    with pytest.raises(UserError, match="cannot be shown"):
        envs.make_shown_env(f"{HERE}:Counter", None, 64)
    for name in ("HalfCheetah-v5", "CartPole-v1", f"{HERE}:Painted"):
        assert envs.shows_pictures(name) is None


def test_a_picture_that_is_none_is_an_error_with_a_way_out() -> None:
    env = envs.make_env(f"{HERE}:Painted")
    env.unwrapped.render = lambda: None
    with pytest.raises(UserError, match="renders NoneType and no picture"):
        envs.picture(env)


# ------------------------------------------------------------------ spaces

DICT = spaces.Dict(
    {
        "camera": spaces.Box(0, 255, (2, 2), np.uint8),
        "gear": spaces.Discrete(3, start=-1),
        "joints": spaces.Box(-1, 1, (2,), np.float64),
        "pair": spaces.Tuple((spaces.MultiBinary(2), spaces.MultiDiscrete([2, 3]))),
    }
)
SAMPLE = {
    "camera": np.array([[1, 2], [3, 255]], np.uint8),
    "gear": np.int64(1),
    "joints": np.array([0.5, -0.25]),
    "pair": (np.array([1, 0], np.int8), np.array([1, 0])),
}
FLAT = [1, 2, 3, 255, 0, 0, 1, 0.5, -0.25, 1, 0, 0, 1, 1, 0, 0]


def test_a_box_is_flattened_to_float32_and_images_stay_bytes() -> None:
    row = envs.flat_observation(spaces.Box(-1, 1, (2, 2), np.float64), np.array([[0.1, 0.2], [0.3, 0.4]]))
    assert row.dtype == np.float32
    assert row.tolist() == pytest.approx([0.1, 0.2, 0.3, 0.4])
    image = envs.flat_observation(spaces.Box(0, 255, (2, 1, 3), np.uint8), np.arange(6, dtype=np.uint8).reshape(2, 1, 3))
    assert image.dtype == np.uint8
    assert image.tolist() == [0, 1, 2, 3, 4, 5]


def test_a_flat_observation_is_a_copy() -> None:
    observation = np.zeros(3, np.float32)
    row = envs.flat_observation(spaces.Box(-1, 1, (3,)), observation)
    observation[:] = 1
    assert row.tolist() == [0, 0, 0]


def test_whatever_is_counted_becomes_one_hot_in_the_order_of_the_space() -> None:
    row = envs.flat_observation(DICT, SAMPLE)
    assert row.dtype == np.float32
    assert row.tolist() == FLAT
    assert envs.flat_observation(spaces.Discrete(4), 2).tolist() == [0, 0, 1, 0]


def test_batches_flatten_row_by_row_as_single_observations_do() -> None:
    DICT.seed(0)
    samples = [SAMPLE, DICT.sample(), DICT.sample()]
    batch = {name: np.stack([sample[name] for sample in samples]) for name in ("camera", "gear", "joints")}
    batch["pair"] = tuple(np.stack([sample["pair"][i] for sample in samples]) for i in range(2))
    rows = envs.flat_observations(DICT, batch)
    assert rows.shape == (3, 16)
    assert np.array_equal(rows, np.stack([envs.flat_observation(DICT, sample) for sample in samples]))
    assert envs.flat_observations(spaces.Discrete(3), np.array([2, 0])).tolist() == [[0, 0, 1], [1, 0, 0]]
    assert envs.flat_observations(spaces.Box(0, 1, (2, 2)), np.zeros((5, 2, 2))).shape == (5, 4)


def test_flattening_agrees_with_gymnasiums() -> None:
    DICT.seed(1)
    sample = DICT.sample()
    assert np.allclose(envs.flat_observation(DICT, sample), spaces.flatten(DICT, sample))


BOX = spaces.Box(-1, 1, (2,))


@pytest.mark.parametrize("action_space", [BOX, spaces.Discrete(3)])
def test_supported_spaces_pass(action_space: spaces.Space[Any]) -> None:
    envs.check_spaces(DICT, action_space)
    envs.check_spaces(spaces.Discrete(3), action_space)


@pytest.mark.parametrize(
    ("observation_space", "action_space", "words"),
    [
        (spaces.Text(5), BOX, "Text cannot be flattened"),
        (spaces.Dict({"a": BOX, "b": spaces.Sequence(BOX)}), BOX, "Sequence cannot be flattened"),
        (spaces.Graph(BOX, None), BOX, "Graph cannot be flattened"),
        (BOX, spaces.MultiDiscrete([2, 2]), "actions are MultiDiscrete"),
        (BOX, spaces.Tuple((BOX, BOX)), "actions are Tuple"),
        (BOX, spaces.Dict({"a": BOX}), "actions are Dict"),
    ],
)
def test_other_spaces_are_refused_by_name(observation_space: Any, action_space: Any, words: str) -> None:
    with pytest.raises(UserError, match="wrap the env") as refusal:
        envs.check_spaces(observation_space, action_space)
    assert words in str(refusal.value)
    assert "\n" not in str(refusal.value)


# ------------------------------------------------------------------ fixed_horizon


FIXED = {"fixed_horizon": True}


def test_with_a_fixed_horizon_the_rest_of_an_episode_is_spent_where_the_pole_fell() -> None:
    env, plain = envs.make_env("CartPole-v1", FIXED), envs.make_env("CartPole-v1")
    env.reset(seed=0)
    plain.reset(seed=0)
    fall = [plain.step(1)]
    while not fall[-1][2]:
        fall.append(plain.step(1))
    steps = [env.step(1) for _ in range(500)]
    assert not any(terminated for _, _, terminated, _, _ in steps)
    assert [truncated for _, _, _, truncated, _ in steps] == [False] * 499 + [True]
    assert [reward for _, reward, *_ in steps] == [1.0] * len(fall) + [0.0] * (500 - len(fall))
    for observation, *_ in steps[len(fall) :]:
        np.testing.assert_array_equal(observation, fall[-1][0])
    assert env.spec.id == "CartPole-v1"


def test_a_clip_of_a_fixed_horizon_shows_what_was_recorded() -> None:
    recording, shown = (make("CartPole-v1", FIXED) for make in (envs.make_env, lambda *of: envs.make_shown_env(*of, 64)))
    _, info = recording.reset()
    shown.reset(seed=info["episode_seed"])
    for _ in range(60):
        assert np.array_equal(recording.step(1)[0], shown.step(1)[0])
    shown.close()


@pytest.mark.parametrize(
    ("env", "options", "sentence"),
    [
        (f"{HERE}:Counter", FIXED, "has no time limit to go on to"),
        ("CartPole-v1", {"fixed_horizon": "yes"}, "fixed_horizon: 'yes'; write on or off"),
    ],
)
def test_a_fixed_horizon_that_cannot_be_is_refused(env: str, options: dict[str, Any], sentence: str) -> None:
    with pytest.raises(UserError, match=sentence):
        envs.make_env(env, options)
