"""Facts about the wrappers: what `step` pays, what is recorded, what is refused; on real envs and on small ones."""

from __future__ import annotations

import pickle
import warnings
from typing import Any

import gymnasium as gym
import numpy as np
import pytest
import toys
from gymnasium import spaces
from gymnasium.utils.env_checker import check_env as check_with_gymnasium
from stable_baselines3 import PPO
from stable_baselines3.common.env_checker import check_env as check_with_sb3
from stable_baselines3.common.monitor import Monitor
from stable_baselines3.common.vec_env import DummyVecEnv, SubprocVecEnv, VecEnv, VecFrameStack, VecNormalize

from rltrainer.core import INNER_STEPS, Array, EnvFault, UserError
from rltrainer.envs import SeededEpisodes, make_env, make_shown_env
from rltrainer.replay import replay
from rltrainer.watchdog import LOST
from rltrainer.wrapper import PreferenceRewardVecWrapper, PreferenceRewardWrapper


class Sum:
    """A learned reward with known values: the sum of what was seen before, done, and seen after."""

    version = 1

    def __call__(self, observations: Array, actions: Array, next_observations: Array) -> Array:
        assert len(observations) == len(actions) == len(next_observations)
        parts = (np.asarray(part, float).reshape(len(observations), -1) for part in (observations, actions, next_observations))
        return np.asarray(sum(part.sum(axis=1) for part in parts))


class Constant(Sum):
    """Pays the same for every step."""

    def __init__(self, pay: float = 1.0) -> None:
        self.pay = pay

    def __call__(self, observations: Array, actions: Array, next_observations: Array) -> Array:
        return np.full(len(observations), self.pay)


def wrap(env: gym.Env[Any, Any], reward: Any = None, **options: Any) -> PreferenceRewardWrapper:
    wrapped = PreferenceRewardWrapper(env, **options)
    wrapped.seat.reward = reward
    return wrapped


def wrap_vec(*makers: Any, reward: Any = None) -> PreferenceRewardVecWrapper:
    wrapped = PreferenceRewardVecWrapper(DummyVecEnv(list(makers)))
    wrapped.seat.reward = reward
    return wrapped


class Paying(gym.RewardWrapper[Any, Any]):
    """The same env with another true reward."""

    def __init__(self, env: gym.Env[Any, Any], pays: float) -> None:
        super().__init__(env)
        self.pays = pays

    def reward(self, reward: Any) -> float:
        return self.pays


REAL = ["HalfCheetah-v5", "Pendulum-v1", "CartPole-v1", "FrozenLake-v1"]
ODD = {"dict": toys.dict_env, "image": toys.image_env, "ledger": toys.ledger}


def made(name: str) -> gym.Env[Any, Any]:
    return ODD[name]() if name in ODD else gym.make(name)


# ------------------------------------------------------------------ what step pays


@pytest.mark.parametrize("name", [*REAL, *ODD])
def test_the_true_reward_changes_nothing_in_what_is_paid(name: str) -> None:
    paid = []
    for pays in (0.0, 1e9):
        env = wrap(Paying(made(name), pays), Sum())
        env.action_space.seed(3)
        env.reset(seed=5)
        rewards = []
        for _ in range(60):
            _, reward, terminated, truncated, info = env.step(env.action_space.sample())
            assert info["env_reward"] == pays
            assert type(reward) is float
            rewards.append(reward)
            if terminated or truncated:
                env.reset()
        paid.append(rewards)
        env.close()
    assert paid[0] == paid[1]
    assert len(set(paid[0])) > 1


@pytest.mark.parametrize("name", [*REAL, *ODD])
def test_every_step_pays_nothing_before_anything_was_learned(name: str) -> None:
    env = wrap(Paying(made(name), 7.0))
    env.action_space.seed(3)
    env.reset(seed=5)
    for _ in range(30):
        _, reward, terminated, truncated, info = env.step(env.action_space.sample())
        assert (reward, info["env_reward"]) == (0.0, 7.0)
        if terminated or truncated:
            assert info["learned_return"] == 0.0
            env.reset()
    env.close()


def test_the_reward_is_of_what_was_seen_before_done_and_seen_after() -> None:
    env = wrap(toys.ledger(), Sum())
    env.reset(seed=1)
    env.reset(seed=1)  # episode 1, so that before and after can be told apart
    _, first, *_ = env.step(np.array([0.5], np.float32))  # [1, 0] → [1, 1]
    _, second, *_ = env.step(np.array([-0.25], np.float32))  # [1, 1] → [1, 2]
    assert (first, second) == (1 + 0 + 0.5 + 1 + 1, 1 + 1 - 0.25 + 1 + 2)


def test_the_learned_return_is_told_at_the_end_and_begins_anew() -> None:
    env = wrap(toys.ledger(length=4), Constant(2.5))
    for _ in range(2):
        env.reset(seed=1)
        for step in range(4):
            *_, truncated, info = env.step(np.zeros(1, np.float32))
            assert ("learned_return" in info) == truncated == (step == 3)
        assert info["learned_return"] == 10.0


def until_done(env: gym.Env[Any, Any]) -> list[tuple[Any, ...]]:
    """The steps of one episode in which CartPole is pushed to the right."""
    env.reset(seed=3)
    steps = [env.step(1)]
    while not (steps[-1][2] or steps[-1][3]):
        steps.append(env.step(1))
    return steps


@pytest.mark.parametrize("limit", [None, 5])
def test_the_step_that_ends_an_episode_pays_as_any_other(limit: int | None) -> None:
    """What comes after an end pays 0, whether the env terminated or ran out of time."""
    steps = until_done(wrap(gym.make("CartPole-v1", max_episode_steps=limit), Constant(1.0)))
    assert [reward for _, reward, *_ in steps] == [1.0] * len(steps)
    assert steps[-1][4]["learned_return"] == len(steps)


def test_the_reward_that_is_set_counts_from_the_next_step_on() -> None:
    env = wrap(toys.ledger(), Constant(1.0))
    env.reset(seed=1)
    rewards = [env.step(np.zeros(1, np.float32))[1]]
    env.seat.reward = Constant(3.0)
    rewards.append(env.step(np.zeros(1, np.float32))[1])
    assert rewards == [1.0, 3.0]


def test_discrete_actions_reach_the_reward_one_in_a_row() -> None:
    seen: list[Array] = []

    class Spy(Constant):
        def __call__(self, observations: Array, actions: Array, next_observations: Array) -> Array:
            seen.append(actions)
            return super().__call__(observations, actions, next_observations)

    env = wrap(gym.make("CartPole-v1"), Spy())
    env.reset(seed=1)
    env.step(1)
    assert seen[0].shape == (1,)
    venv = wrap_vec(lambda: gym.make("CartPole-v1"), lambda: gym.make("CartPole-v1"), reward=Spy())
    venv.reset()
    venv.step(np.array([1, 0]))
    assert seen[1].tolist() == [1, 0]


# ------------------------------------------------------------------ what is recorded


def test_the_terminal_observation_is_recorded_and_not_the_reset_one() -> None:
    venv = wrap_vec(lambda: toys.ledger(length=6), lambda: toys.ledger(length=6, falls_at=4), reward=Sum())
    venv.seed(3)
    venv.reset()
    paid, dones, infos = [], [], []
    for _ in range(12):
        _, rewards, done, info = venv.step(np.full((2, 1), 0.5, np.float32))
        paid.append(rewards)
        dones.append(done)
        infos.append(info)
    assert [list(done) for done in dones[:6]] == [[False, False]] * 3 + [[False, True], [False, False], [True, False]]
    assert paid[5][0] == 0 + 5 + 0.5 + 0 + 6  # episode 0, step 5 → the terminal [0, 6], not [1, 0]
    assert paid[3][1] == 0 + 3 + 0.5 + 0 + 4
    assert infos[5][0]["learned_return"] == sum(row[0] for row in paid[:6])
    for segment in venv.recorder.sample(200, 4, np.random.default_rng(0)):
        episode, step = segment.observations[0]
        seen = [[episode, step + t] for t in range(len(segment.actions) + 1)]
        np.testing.assert_array_equal(segment.observations, seen)


def test_an_end_by_time_is_truncated_and_an_end_by_falling_is_terminated() -> None:
    venv = wrap_vec(lambda: toys.ledger(length=6), lambda: toys.ledger(length=6, falls_at=4))
    venv.seed(3)
    venv.reset()
    for _ in range(12):
        venv.step(np.zeros((2, 1), np.float32))
    segments = venv.recorder.sample(200, 4, np.random.default_rng(0))
    ends = {(s.terminated, s.truncated, len(s.lead_in) + len(s.actions)) for s in segments}
    assert {end for end in ends if end[0] or end[1]} == {(True, False, 4), (False, True, 6)}


def test_falling_at_the_time_limit_is_terminated() -> None:
    single = wrap(toys.ledger(length=4, falls_at=4))
    single.reset(seed=1)
    for _ in range(4):
        single.step(np.zeros(1, np.float32))
    (segment,) = single.recorder.sample(1, 4, np.random.default_rng(0))
    assert segment.terminated
    venv = wrap_vec(lambda: toys.ledger(length=4, falls_at=4))
    venv.reset()
    for _ in range(4):
        venv.step(np.zeros((1, 1), np.float32))
    (segment,) = venv.recorder.sample(1, 4, np.random.default_rng(0))
    assert (segment.terminated, segment.truncated) == (True, False)


@pytest.mark.parametrize("vector", [False, True])
def test_once_the_pole_fell_a_fixed_horizon_pays_nothing_and_no_segment_is_of_that_time(vector: bool) -> None:
    def make() -> gym.Env[Any, Any]:
        return make_env("CartPole-v1", {"fixed_horizon": True})

    env: Any = wrap_vec(make, make, reward=Constant()) if vector else wrap(make(), Constant())
    env.reset()
    action = np.array([1, 0]) if vector else 1
    steps = [env.step(action) for _ in range(500)]
    paid = np.array([reward for _, reward, *_ in steps])
    infos = [info if vector else [info] for *_, info in steps]
    np.testing.assert_array_equal(paid.reshape(500, -1), [[one["env_reward"] for one in info] for info in infos])
    assert 5 < paid.sum() / (2 if vector else 1) < 50
    cut = env.recorder.sample(40, 50, np.random.default_rng(0))
    for segment in cut:
        assert segment.env_rewards.tolist() == [1.0] * len(segment.actions)
        assert (segment.after, segment.terminated) == (50 - len(segment.actions), True)
    env.recorder.restore(env.recorder.state())
    assert [segment.id for segment in env.recorder.sample(40, 50, np.random.default_rng(0))] == [s.id for s in cut]


def test_each_envs_episodes_are_its_own() -> None:
    """Envs that end at different times do not cut one another's episodes."""
    venv = wrap_vec(*(lambda n=n: toys.ledger(length=20, runs_out_at=n) for n in (5, 7, 11)))
    venv.seed(1)
    venv.reset()
    for _ in range(77):
        venv.step(np.zeros((3, 1), np.float32))
    starts = {(int(s.observations[0, 1]), len(s)) for s in venv.recorder.sample(2000, 5, np.random.default_rng(0))}
    assert starts == {(t, 5) for t in range(7)}


@pytest.mark.parametrize("name", ["HalfCheetah-v5", "CartPole-v1"])
def test_a_segment_says_how_to_get_there_again(name: str) -> None:
    """Reset with its seed, act its lead-in, and the observations are those it holds."""
    env = wrap(gym.make(name))
    env.action_space.seed(3)
    env.reset(seed=11)
    for _ in range(150):
        *_, terminated, truncated, _ = env.step(env.action_space.sample())
        if terminated or truncated:
            env.reset()
    again = SeededEpisodes(gym.make(name))
    for segment in env.recorder.sample(4, 10, np.random.default_rng(2)):
        observation, _ = again.reset(seed=segment.episode_seed)
        for action in segment.lead_in:
            observation, *_ = again.step(action)
        seen = [observation]
        rewards = []
        for action in segment.actions:
            observation, reward, *_ = again.step(action)
            seen.append(observation)
            rewards.append(float(reward))
        np.testing.assert_array_equal(segment.observations, np.array(seen, np.float32))
        np.testing.assert_array_equal(segment.env_rewards, rewards)
    env.close()
    again.close()


@pytest.mark.parametrize("vector", [False, True])
def test_a_policy_of_numpys_own_floats_leaves_segments_that_can_be_shown_again(vector: bool) -> None:
    env = wrap_vec(lambda: make_env("Pendulum-v1")) if vector else wrap(make_env("Pendulum-v1"))
    env.reset()
    rng = np.random.default_rng(4)
    for _ in range(60):
        env.step(rng.uniform(-2, 2, (1, 1) if vector else 1))
    (segment,) = env.recorder.sample(1, 50, rng)
    shown = make_shown_env("Pendulum-v1", {}, size=32)
    assert [*replay(shown, segment)] == [*range(50)]
    shown.close()
    env.close()


class Telling(gym.Wrapper[Any, Any, Any, Any]):
    """Its info has names that one could take for ours."""

    said: dict[str, Any] = {"frame": "world", "inner_steps": 3, "lost": False, "at_rest": True}  # noqa: RUF012

    def reset(self, **options: Any) -> tuple[Any, dict[str, Any]]:
        observation, info = self.env.reset(**options)
        return observation, info | self.said

    def step(self, action: Any) -> tuple[Any, Any, bool, bool, dict[str, Any]]:
        observation, reward, terminated, truncated, info = self.env.step(action)
        return observation, reward, terminated, truncated, info | self.said


@pytest.mark.parametrize("vector", [False, True])
def test_what_an_env_says_in_its_info_stays_its_own(vector: bool) -> None:
    env = wrap_vec(lambda: Telling(make_env("Pendulum-v1"))) if vector else wrap(Telling(make_env("Pendulum-v1")))
    env.reset()
    for _ in range(60):
        info = env.step(np.zeros((1, 1) if vector else 1, np.float32))[-1]
    assert (info[0] if vector else info).items() >= Telling.said.items()
    (segment,) = env.recorder.sample(1, 50, np.random.default_rng(0))
    assert segment.frames == ()
    env.close()


def test_what_is_recorded_is_raw_and_flat() -> None:
    env = wrap(toys.dict_env())
    observation, _ = env.reset(seed=1)
    env.step(0)
    assert env.recorder.current.shape == (1, 3 + 36 * 36 * 3 + 2)  # door one-hot, eye, place: in the space's order
    picture = wrap(toys.image_env())
    observation, _ = picture.reset(seed=1)
    assert picture.recorder.current.dtype == np.uint8
    np.testing.assert_array_equal(picture.recorder.current[0], observation.reshape(-1))


def test_each_episode_has_a_seed_of_its_own_and_the_same_ones_from_the_same_seed() -> None:
    def seeds(of: int) -> list[int]:
        env = wrap(toys.ledger(length=3))
        infos = [env.reset(seed=of)[1], *(env.reset()[1] for _ in range(4))]
        return [info["episode_seed"] for info in infos]

    assert seeds(4) == seeds(4)
    assert seeds(4) != seeds(5)
    assert len(set(seeds(4))) == 5


# ------------------------------------------------------------------ a good wrapper


@pytest.mark.parametrize("name", ["HalfCheetah-v5", "Pendulum-v1", "CartPole-v1"])
def test_gymnasiums_and_sb3s_checkers_pass(name: str) -> None:
    env = wrap(gym.make(name), Sum())
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)  # about these envs' own spaces, and that this is a wrapper
        check_with_gymnasium(env, skip_render_check=True)
        check_with_sb3(env, warn=False)
    env.close()


@pytest.mark.parametrize("name", ["dict", "image"])
def test_sb3s_checker_passes_on_dict_and_image_observations(name: str) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)  # about the toys themselves
        check_with_sb3(wrap(ODD[name](), Constant()), warn=False)


def test_the_spec_names_the_wrapper_and_makes_it_again() -> None:
    env = wrap(gym.make("Pendulum-v1", g=9.0), recent_steps=123)
    assert env.spec is not None
    again = gym.make(env.spec)
    found = [layer for layer in layers_of(again) if isinstance(layer, PreferenceRewardWrapper)]
    assert len(found) == 1
    assert found[0].recorder.recent_steps == 123
    assert again.unwrapped.g == 9.0
    again.reset(seed=1)
    _, reward, *_, info = again.step(again.action_space.sample())
    assert reward == 0.0
    assert info["env_reward"] < 0
    assert env.spec.id == "Pendulum-v1"
    again.close()
    env.close()


def layers_of(env: gym.Env[Any, Any]) -> list[gym.Env[Any, Any]]:
    found = [env]
    while isinstance(found[-1], gym.Wrapper):
        found.append(found[-1].env)
    return found


def test_the_spaces_are_the_envs_own() -> None:
    inner = gym.make("HalfCheetah-v5")
    env = wrap(inner)
    assert (env.observation_space, env.action_space) == (inner.observation_space, inner.action_space)
    assert env.render_mode is None
    assert env.unwrapped is inner.unwrapped
    env.close()


def test_wrapping_twice_with_seeded_episodes_is_harmless() -> None:
    env = wrap(make_env("Pendulum-v1"))
    assert sum(isinstance(layer, SeededEpisodes) for layer in layers_of(env)) == 1
    env.close()


def test_wrappers_between_are_recorded_as_they_present_the_env() -> None:
    """An env of rltrainer's own inside a wrapper of the user's: what the policy sees and does is learned from."""
    env = wrap(gym.wrappers.RescaleAction(make_env("Pendulum-v1"), -1, 1), Sum())
    observation, _ = env.reset(seed=3)
    np.testing.assert_array_equal(env.recorder.current[0], observation)
    after, reward, *_ = env.step(np.array([0.5], np.float32))
    assert reward == pytest.approx(observation.sum() + 0.5 + after.sum(), abs=1e-5)
    flat = wrap(gym.wrappers.FlattenObservation(make_env("FrozenLake-v1")))
    flat.reset(seed=3)
    flat.step(1)
    assert flat.recorder.current.shape == (1, 16)
    env.close()
    flat.close()


# ------------------------------------------------------------------ what is refused


def test_actions_that_cannot_be_taken_are_refused_in_a_sentence() -> None:
    for make in (lambda: wrap(toys.tuple_action_env()), lambda: wrap_vec(toys.tuple_action_env)):
        with pytest.raises(UserError, match=r"the env's actions are Tuple.*; wrap the env .*Box"):
            make()


def test_observations_that_cannot_be_taken_are_refused_in_a_sentence() -> None:
    with pytest.raises(UserError, match=r"the env's observations are Text.*; wrap the env"):
        wrap(toys.text_env())


@pytest.mark.parametrize(
    "space", [spaces.Sequence(toys.PUSH), spaces.Graph(toys.PUSH, None), spaces.OneOf([toys.PUSH, toys.PUSH])]
)
def test_odder_observations_are_refused_too_inside_a_dict(space: spaces.Space[Any]) -> None:
    with pytest.raises(UserError, match=type(space).__name__):
        wrap(toys.Spaced(spaces.Dict({"odd": space, "even": toys.PUSH}), toys.PUSH))


def test_a_normaliser_inside_is_refused() -> None:
    """Segments stored behind it would live on a scale that moves under them."""
    with pytest.raises(UserError, match="put it outside"):
        PreferenceRewardVecWrapper(VecFrameStack(VecNormalize(DummyVecEnv([toys.ledger])), 2))


@pytest.mark.parametrize(
    ("layer", "why"),
    [
        (gym.wrappers.NormalizeObservation, "segments hold raw observations; put it outside"),
        (gym.wrappers.NormalizeReward, "oracles judge by the raw reward; put it outside"),
        (gym.wrappers.Autoreset, "the end of an episode cannot be seen through it"),
        (PreferenceRewardWrapper, "wrap once"),
    ],
)
def test_layers_that_hide_what_is_recorded_are_refused_inside(layer: Any, why: str) -> None:
    for wrapped in (wrap, lambda env: wrap_vec(lambda: env)):
        with pytest.raises(UserError, match=f"{layer.__name__} is inside .*: {why}"):
            wrapped(layer(toys.ledger()))


class OwnScale(gym.wrappers.NormalizeReward[Any, Any]):
    """A normaliser of a user's own."""


def test_what_derives_from_such_a_layer_and_a_wrapped_vector_are_refused_too() -> None:
    with pytest.raises(UserError, match="NormalizeReward is inside PreferenceRewardWrapper"):
        wrap(OwnScale(toys.ledger()))
    with pytest.raises(UserError, match="wrap once"):
        PreferenceRewardVecWrapper(wrap_vec(toys.ledger))


def test_vectors_of_gymnasiums_own_are_refused_with_the_way_out() -> None:
    vector: Any = gym.make_vec("CartPole-v1", 2, vectorization_mode="sync")
    for wrapper in (PreferenceRewardWrapper, PreferenceRewardVecWrapper):
        with pytest.raises(UserError, match=r"is a SyncVectorEnv, and what can be wrapped is one gymnasium\.Env, by Pref"):
            wrapper(vector)
    one: Any = toys.ledger()
    with pytest.raises(UserError, match=r"can be wrapped is one gymnasium\.Env, by PreferenceRewardWrapper"):
        PreferenceRewardVecWrapper(one)


def test_a_step_after_the_end_of_an_episode_is_refused() -> None:
    env = wrap(toys.ledger(runs_out_at=3))
    env.reset()
    for _ in range(3):
        env.step(np.zeros(1, np.float32))
    with pytest.raises(UserError, match=r"call reset\(\) first"):
        env.step(np.zeros(1, np.float32))


def test_a_wrapped_env_can_be_pickled() -> None:
    again = pickle.loads(pickle.dumps(wrap(gym.make("Pendulum-v1"))))
    assert again.reset(seed=3)[1]["episode_seed"] == 3


class Elsewhere(SubprocVecEnv):
    """What a SubprocVecEnv of plain envs looks like from here, without the processes."""

    def __init__(self) -> None:
        VecEnv.__init__(self, 2, toys.PUSH, toys.PUSH)

    def get_attr(self, attr_name: str, indices: Any = None) -> list[Any]:
        return [None, None]

    def env_is_wrapped(self, wrapper_class: Any, indices: Any = None) -> list[bool]:
        return [False, False]


def test_envs_in_other_processes_without_seeded_episodes_are_refused() -> None:
    with pytest.raises(UserError, match=r"cannot be wrapped from here.* make each env with rltrainer\.make_env"):
        PreferenceRewardVecWrapper(Elsewhere())


@pytest.mark.parametrize(
    ("fault", "words"),
    [("observation", "observation with NaN"), ("reward", "reward that is NaN"), ("reset", "began an episode with NaN")],
)
@pytest.mark.parametrize("vector", [False, True])
def test_what_is_not_a_number_is_stopped_before_the_policy_sees_it(fault: str, words: str, vector: bool) -> None:
    def make() -> gym.Env[Any, Any]:
        return toys.faulty(fault, at=5, length=7)

    def play_one() -> None:
        env = wrap(make(), Sum())
        env.reset(seed=1)
        for _ in range(20):
            observation, reward, terminated, truncated, _ = env.step(np.zeros(1, np.float32))
            if terminated or truncated:
                observation, _ = env.reset()
            assert np.isfinite(observation).all()
            assert np.isfinite(reward)

    def play_many() -> None:
        venv = wrap_vec(toys.ledger, make, reward=Sum())
        venv.reset()
        for _ in range(20):
            observations, rewards, *_ = venv.step(np.zeros((2, 1), np.float32))
            assert np.isfinite(observations).all()
            assert np.isfinite(rewards).all()

    with pytest.raises(EnvFault, match=words):
        (play_many if vector else play_one)()


def test_a_learned_reward_that_is_not_finite_is_stopped() -> None:
    for pay in (np.nan, np.inf):
        env = wrap(toys.ledger(), Constant(pay))
        env.reset(seed=1)
        with pytest.raises(EnvFault, match="learned reward is not finite"):
            env.step(np.zeros(1, np.float32))


def test_a_true_reward_of_minus_infinity_is_the_envs_own_affair() -> None:
    """fancy_gym's ViaPointReacher pays it; the policy never sees it."""
    env = wrap(toys.ledger(pays=-np.inf), Constant())
    env.reset(seed=1)
    _, reward, *_, info = env.step(np.ones(1, np.float32))
    assert (reward, info["env_reward"]) == (1.0, -np.inf)


def test_an_env_that_raises_is_not_hushed_up() -> None:
    env = wrap(toys.faulty("raise", at=2))
    env.reset(seed=1)
    env.step(np.zeros(1, np.float32))
    with pytest.raises(RuntimeError, match="exploded"):
        env.step(np.zeros(1, np.float32))


# ------------------------------------------------------------------ vectors of envs


def pendulum() -> gym.Env[Any, Any]:
    return Monitor(make_env("Pendulum-v1"))


def played(venv: VecEnv) -> tuple[list[Array], list[Array], list[Any], PreferenceRewardVecWrapper]:
    wrapped = PreferenceRewardVecWrapper(venv)
    wrapped.seat.reward = Sum()
    wrapped.seed(17)
    observations, rewards, infos = [wrapped.reset()], [], []
    rng = np.random.default_rng(0)
    for _ in range(230):  # past the end of the first episodes
        seen, paid, _, info = wrapped.step(rng.uniform(-2, 2, (2, 1)).astype(np.float32))
        observations.append(seen)
        rewards.append(paid)
        infos += [one["env_reward"] for one in info]
    return observations, rewards, infos, wrapped


def test_envs_in_this_process_and_in_others_agree() -> None:
    here = played(DummyVecEnv([pendulum, pendulum]))
    there = played(SubprocVecEnv([pendulum, pendulum], start_method="spawn"))
    try:
        for ours, theirs in zip(here[:3], there[:3], strict=True):
            np.testing.assert_array_equal(np.array(ours), np.array(theirs))
        ids = [[s.id for s in wrapped.recorder.sample(30, 20, np.random.default_rng(1))] for wrapped in (here[3], there[3])]
        assert ids[0] == ids[1]
        assert len(set(ids[0])) > 20
        assert here[1][0].dtype == np.float32
    finally:
        here[3].close()
        there[3].close()


def test_one_env_and_a_vector_of_one_agree() -> None:
    env, venv = wrap(make_env("CartPole-v1"), Sum()), wrap_vec(lambda: make_env("CartPole-v1"), reward=Sum())
    venv.seed(9)
    seen, (alone, _) = venv.reset(), env.reset(seed=9)
    np.testing.assert_array_equal(seen[0], alone)
    for step in range(60):
        seen, paid, dones, _ = venv.step(np.array([step % 2]))
        alone, reward, terminated, truncated, _ = env.step(step % 2)
        assert paid[0] == np.float32(reward)
        assert dones[0] == (terminated or truncated)
        if dones[0]:
            alone, _ = env.reset()
        np.testing.assert_array_equal(seen[0], alone)
    env.close()
    venv.close()


def test_the_monitor_inside_tells_the_true_return() -> None:
    venv = wrap_vec(lambda: Monitor(toys.ledger(length=5, pays=2.0)), reward=Constant(7.0))
    venv.reset()
    for _ in range(5):
        _, _, _, infos = venv.step(np.full((1, 1), 0.5, np.float32))
    assert infos[0]["episode"]["r"] == 5.0
    assert infos[0]["learned_return"] == 35.0


def test_a_normaliser_outside_leaves_the_recorded_segments_raw() -> None:
    inner = wrap_vec(toys.ledger, toys.ledger, reward=Constant())
    venv = VecNormalize(inner)
    venv.reset()
    for _ in range(30):
        venv.step(np.zeros((2, 1), np.float32))
    for segment in inner.recorder.sample(20, 4, np.random.default_rng(0)):
        assert set(np.diff(segment.observations[:, 1])) == {1.0}


@pytest.mark.parametrize(
    "maker", [toys.dict_env, toys.image_env, lambda: gym.make("FrozenLake-v1")], ids=["dict", "image", "discrete"]
)
def test_ppo_learns_through_the_wrapper_on_odd_observations(maker: Any) -> None:
    venv = wrap_vec(maker, maker, reward=Constant())
    policy = "MultiInputPolicy" if isinstance(venv.observation_space, spaces.Dict) else "MlpPolicy"
    PPO(policy, venv, n_steps=16, batch_size=16, n_epochs=1, device="cpu").learn(32)
    (segment, *_) = venv.recorder.sample(10, 4, np.random.default_rng(0))
    assert len(segment) == 4
    venv.close()


# ------------------------------------------------------------------ black boxes


@pytest.fixture(scope="module")
def fancy() -> None:
    pytest.importorskip("mp_pytorch")


@pytest.mark.usefixtures("fancy")
def test_a_black_box_pays_the_learned_reward_summed_over_its_inner_steps() -> None:
    spy: list[tuple[Array, Array, Array]] = []

    class Spy(Sum):
        def __call__(self, observations: Array, actions: Array, next_observations: Array) -> Array:
            spy.append((observations, actions, next_observations))
            return super().__call__(observations, actions, next_observations)

    env = wrap(make_env("fancy_ProMP/Reacher5d-v0"), Spy())
    env.action_space.seed(1)
    env.reset(seed=3)
    _, reward, terminated, truncated, info = env.step(env.action_space.sample())
    assert terminated or truncated
    (observations, actions, after), *others = spy
    assert not others  # one batch for the whole trajectory
    assert len(observations) > 50
    np.testing.assert_array_equal(observations[1:], after[:-1])
    assert reward == pytest.approx(Sum()(observations, actions, after).sum())
    assert info["learned_return"] == reward
    assert INNER_STEPS not in info
    assert type(info["env_reward"]) is float
    env.close()


class Losing(DummyVecEnv):
    """Loses its second env in every step, as a WatchedVecEnv does."""

    def step_wait(self) -> Any:
        observations, rewards, dones, infos = super().step_wait()
        infos[1] = {LOST: True, "TimeLimit.truncated": True, "terminal_observation": observations[1]}
        return observations, rewards, np.array([dones[0], True]), infos


@pytest.mark.usefixtures("fancy")
def test_a_black_box_that_is_lost_pays_nothing_and_leaves_no_segment() -> None:
    env = PreferenceRewardVecWrapper(Losing([lambda: make_env("fancy_ProMP/Reacher5d-v0")] * 2))
    env.seat.reward = Constant(1.0)
    env.seed(3)
    env.reset()
    _, rewards, _, infos = env.step(np.stack([env.action_space.sample() for _ in range(2)]))
    assert rewards[0] > 50
    assert rewards[1] == 0
    assert ["learned_return" in info for info in infos] == [True, False]
    seeds = {segment.episode_seed for segment in env.recorder.sample(20, 50, np.random.default_rng(0))}
    assert seeds == {3}
    env.close()


@pytest.mark.usefixtures("fancy")
def test_a_black_boxs_segments_are_of_its_inner_steps() -> None:
    env = PreferenceRewardVecWrapper(DummyVecEnv([lambda: make_env("fancy_ProMP/Reacher5d-v0")] * 2))
    env.action_space.seed(1)
    env.seed(3)
    env.reset()
    returns = [info["env_reward"] for info in env.step(np.stack([env.action_space.sample() for _ in range(2)]))[3]]
    for segment in env.recorder.sample(10, 50, np.random.default_rng(0)):
        assert len(segment) == 50
        assert segment.actions.shape == (50, 5)
        assert len(np.unique(segment.observations, axis=0)) == 51
    (whole,) = {s.id: s for s in env.recorder.sample(1, env.seat.episode_limit or 0, np.random.default_rng(0))}.values()
    assert any(whole.env_return == pytest.approx(one, rel=1e-5) for one in returns)
    again = make_env("fancy/Reacher5d-v0")
    observation, _ = again.reset(seed=whole.episode_seed)
    for t, action in enumerate(whole.actions):
        np.testing.assert_allclose(whole.observations[t], observation, rtol=1e-5, atol=1e-6)
        observation, *_ = again.step(action)
    again.close()
    env.close()
