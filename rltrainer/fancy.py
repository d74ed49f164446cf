"""What fancy_gym 0.3 needs to run on today's Gymnasium, and nothing else. Importing this module does nothing.

fancy_gym 0.3 was written for Gymnasium 0.29: it subclasses a wrapper that is gone since 1.0, and counts on wrappers
handing on the attributes of the env inside. `enable` restores both, for fancy_gym's own classes only.
"""

from __future__ import annotations

import contextlib
import importlib
import io
import logging
import sys
import warnings
from collections.abc import Iterator, Mapping
from dataclasses import replace
from functools import cache
from types import SimpleNamespace
from typing import Any

import gymnasium as gym
import numpy as np
from gymnasium import spaces
from gymnasium.envs.registration import EnvSpec

from rltrainer.core import Array, InnerSteps, UserError

Env = gym.Env[Any, Any]
Wrapper = gym.Wrapper[Any, Any, Any, Any]

PRIMITIVES = ("ProMP", "DMP", "ProDMP")
WEIGHT_BOUND = np.pi
"""Of movement-primitive weights, which fancy_gym leaves unbounded and SB3 refuses so. A ProMP's weight is the place of
a joint in radians, and a whole turn covers every joint; it also keeps 99.8% of the standard normal that an unbounded
Box samples."""


def is_fancy_id(env: str) -> bool:
    """Whether an env id is fancy_gym's: `fancy/…`, or a movement-primitive version such as `fancy_ProMP/…`."""
    return env.startswith("fancy/") or is_black_box_id(env)


def is_black_box_id(env: str) -> bool:
    """Whether an env id is a movement-primitive version, where one action is a whole trajectory."""
    namespace, slash, _ = env.partition("/")
    return bool(slash) and namespace.rpartition("_")[2] in PRIMITIVES and "_" in namespace


def make(env: str, options: Mapping[str, Any]) -> Env:
    """A fancy_gym env. Raises UserError where fancy_gym is missing, gymnasium.error.Error for an unknown id."""
    enable()
    if is_black_box_id(env):
        return black_box(env, **options)
    if env.startswith("fancy/AirHockey-"):
        spec = replace(gym.spec(env), entry_point="rltrainer.fancy:AirHockey", disable_env_checker=True)
        return gym.make(spec, **options)
    with _quiet():
        return gym.make(env, disable_env_checker=True, **options)


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    """Without the warnings that these envs' own Box bounds draw each time one is made."""
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", ".*precision lowered by casting", UserWarning)
        yield


def step_based(env: str, options: Mapping[str, Any]) -> tuple[str, dict[str, Any]]:
    """Id and options of the env whose steps are recorded: the one inside a movement-primitive id, else the same."""
    if not is_black_box_id(env):
        return env, dict(options)
    enable()
    kwargs = {**_registered(env).kwargs, **options}
    inner = {name: value for name, value in kwargs.items() if name not in _PRIMITIVE_OPTIONS}
    return kwargs["underlying_id"], inner


_PRIMITIVE_OPTIONS = ("underlying_id", "mp_wrapper", "mp_type", "mp_config_override", "_mp_config_override_register")


# ------------------------------------------------------------------ what was taken away


@cache
def enable() -> None:
    """Import fancy_gym so that it works in this process (each needs its own). Raises UserError where it cannot."""
    if sys.version_info >= (3, 12):
        found = f"{sys.version_info.major}.{sys.version_info.minor}"
        raise UserError(f"fancy ids need Python 3.11 and this is Python {found}; set rltrainer up with Python 3.11")
    with _missing_wrapper(), contextlib.redirect_stdout(io.StringIO()), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            _module("fancy_gym")
        except ModuleNotFoundError as error:
            raise UserError(f"fancy ids need the package {error.name}; pip install fancy_gym==0.3.0") from None
        except ImportError as error:
            raise UserError(
                f"fancy_gym needs a system library that is missing ({error}); "
                "on Debian and Ubuntu: apt-get install libglib2.0-0 libgl1"
            ) from None
    _restore_forwarding()
    _keep_off_the_root_logger()


@contextlib.contextmanager
def _missing_wrapper() -> Iterator[None]:
    """fancy_gym subclasses `gymnasium.wrappers.EnvCompatibility`, and no env of today needs it: there to import."""
    setattr(gym.wrappers, "EnvCompatibility", gym.Wrapper)  # noqa: B010 - a name that the module does not declare
    try:
        yield
    finally:
        delattr(gym.wrappers, "EnvCompatibility")


def _restore_forwarding() -> None:
    black_box_wrapper = _module("fancy_gym.black_box.black_box_wrapper").BlackBoxWrapper
    raw_interface_wrapper = _module("fancy_gym.black_box.raw_interface_wrapper").RawInterfaceWrapper
    others = _module("fancy_gym.utils.wrappers")
    for wrapper in (raw_interface_wrapper, black_box_wrapper, others.TimeAwareObservation, others.FlattenObservation):
        wrapper.__getattr__ = _forward
    _module("fancy_gym.envs.registry").gym_make = _make_inner


def _make_inner(env: str, **options: Any) -> InnerRecorder:
    return InnerRecorder(gym.make(env, disable_env_checker=True, **options))


def _module(name: str) -> Any:
    return importlib.import_module(name)


def _forward(self: Wrapper, name: str) -> Any:
    if name.startswith("_") or "env" not in self.__dict__:
        raise AttributeError(f"{type(self).__name__} has no attribute {name!r}")
    return self.env.get_wrapper_attr(name)


def _keep_off_the_root_logger() -> None:
    """mp_pytorch warns through `logging.warning`, which puts a handler on the root logger: it gets its own logger."""
    logger = logging.getLogger("mp_pytorch")
    logger.addHandler(logging.NullHandler())
    for name in ("mp_pytorch.mp.promp", "mp_pytorch.mp.prodmp"):
        _module(name).logging = logger


# ------------------------------------------------------------------ movement primitives


class InnerRecorder(gym.Wrapper[Any, Any, Any, Any]):
    """Stands in for the env inside a black box: keeps its steps, and hands its attributes on as fancy_gym expects."""

    def __init__(self, env: Env) -> None:
        super().__init__(env)
        self._observations: list[Any] = []
        self._actions: list[Array] = []
        self._env_rewards: list[float] = []

    __getattr__ = _forward

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> tuple[Any, dict[str, Any]]:
        observation, info = self.env.reset(seed=seed, options=options)
        self._observations, self._actions, self._env_rewards = [observation], [], []
        return observation, info

    def step(self, action: Array) -> tuple[Any, Any, bool, bool, dict[str, Any]]:
        action = np.array(action, dtype=self.action_space.dtype)  # what is recorded is what the env got
        observation, reward, terminated, truncated, info = self.env.step(action)
        self._observations.append(observation)
        self._actions.append(action)
        self._env_rewards.append(float(reward))
        return observation, reward, terminated, truncated, info

    def take(self) -> InnerSteps:
        """The steps since the last call or reset; none where fancy_gym refused a trajectory unseen."""
        actions = np.array(self._actions, dtype=self.action_space.dtype).reshape(-1, *(self.action_space.shape or ()))
        taken = InnerSteps(self._observations, actions, np.array(self._env_rewards, dtype=np.float64))
        self._observations, self._actions, self._env_rewards = self._observations[-1:], [], []
        return taken


class BlackBox(gym.Wrapper[Any, Any, Any, Any]):
    """A movement-primitive env with finite action bounds. One step is a trajectory; info["inner_steps"] has its steps.

    recorded: the env inside, whose steps those are
    """

    def __init__(self, env: Env, recorded: InnerRecorder, spec: EnvSpec) -> None:
        super().__init__(env)
        self.recorded = recorded
        self._own_spec = spec
        self.action_space = _bounded(env.action_space)

    @property
    def spec(self) -> EnvSpec:  # type: ignore[override]  # Gymnasium's own wrappers make it a property too
        """fancy_gym's own specs of these ids cannot be made again; this one can."""
        return self._own_spec

    def step(self, action: Array) -> tuple[Any, float, bool, bool, dict[str, Any]]:
        observation, reward, terminated, truncated, info = self.env.step(action)
        return observation, float(reward), terminated, truncated, {**info, "inner_steps": self.recorded.take()}

    def render(self) -> Any:
        """The env inside, as it looks now."""
        return self.recorded.render()


def _bounded(space: Any) -> spaces.Box:
    """Finite bounds. Those that are so already shrink by a bit: as float32, 0.15 is more than 0.15, and refused."""
    low = np.where(np.isfinite(space.low), np.nextafter(space.low, space.high), -WEIGHT_BOUND)
    high = np.where(np.isfinite(space.high), np.nextafter(space.high, space.low), WEIGHT_BOUND)
    return spaces.Box(low.astype(space.dtype), high.astype(space.dtype), dtype=space.dtype)


def black_box(mp_id: str, **options: Any) -> BlackBox:
    """The env of a movement-primitive id."""
    enable()
    registered = _registered(mp_id)
    assert callable(registered.entry_point)
    with _quiet():
        env = registered.entry_point(**{**registered.kwargs, **options})
    spec = EnvSpec(
        mp_id,
        "rltrainer.fancy:black_box",
        order_enforce=False,
        disable_env_checker=True,
        kwargs={"mp_id": mp_id, **options},
    )
    return BlackBox(env, _recorder(env), spec)


def _registered(mp_id: str) -> EnvSpec:
    registered = gym.spec(mp_id)
    underlying = registered.kwargs["underlying_id"]
    if underlying not in gym.registry:
        raise UserError(f"env is {mp_id!r}, made of {underlying!r}, which no installed package has; choose another id")
    return registered


def _recorder(env: Env) -> InnerRecorder:
    while not isinstance(env, InnerRecorder):
        assert isinstance(env, gym.Wrapper)
        env = env.env
    return env


# ------------------------------------------------------------------ single envs


class AirHockey(gym.Env[Any, Any]):
    """fancy_gym's air hockey, which is a mushroom_rl env, as a Gymnasium env. Needs the extra `airhockey`.

    It draws from NumPy's global generator while it resets and steps: that is swapped for one of its own meanwhile.
    """

    metadata = {"render_modes": ["rgb_array", "human"], "render_fps": 50}  # noqa: RUF012 - as Gymnasium declares it

    def __init__(self, render_mode: str | None = None, **options: Any) -> None:
        enable()
        mujoco_envs = _module("fancy_gym.envs.mujoco")
        if not hasattr(mujoco_envs, "AirHockeyEnv"):
            raise UserError("the AirHockey envs need packages that are not installed; pip install -e '.[airhockey]'")
        self.render_mode = render_mode
        self.width, self.height = options.pop("width", 640), options.pop("height", 360)
        self.default_cam_config: dict[str, Any] | None = options.pop("default_camera_config", None)
        with _quiet():
            self._env = mujoco_envs.AirHockeyEnv(render_mode=render_mode, **options)
        self._random_state: Any = np.random.RandomState(0).get_state()
        self.observation_space: spaces.Space[Any] = self._env.observation_space
        self.action_space: spaces.Space[Any] = self._env.action_space

    @property
    def model(self) -> Any:
        """MuJoCo's model."""
        return self._env.base_env._model

    @property
    def data(self) -> Any:
        """MuJoCo's data."""
        return self._env.base_env._data

    @property
    def dt(self) -> float:
        """Seconds of a step."""
        return float(self._env.base_env.dt)

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> tuple[Any, dict[str, Any]]:
        super().reset(seed=seed)
        with self._own_generator():
            observation, info = self._env.reset(seed=int(self.np_random.integers(2**31)))
        return observation, info

    def step(self, action: Any) -> tuple[Any, float, bool, bool, dict[str, Any]]:
        with self._own_generator():
            action = np.array(action)  # two of these envs change what they are given
            observation, reward, terminated, truncated, info = self._env.step(action)
        return observation, float(reward), bool(terminated), bool(truncated), info

    def render(self) -> Any:
        """What the table looks like now, uint8 [height, width, 3] in mode "rgb_array"."""
        viewer = self._env.base_env._viewer_params
        viewer.update(width=self.width, height=self.height)
        if self.default_cam_config:
            viewer.update(camera_params={"static": self.default_cam_config})
        return self._env.render()

    def close(self) -> None:
        self._env.close()

    @contextlib.contextmanager
    def _own_generator(self) -> Iterator[None]:
        others = np.random.get_state()  # noqa: NPY002 - the very generator that is to be kept as it was
        np.random.set_state(self._random_state)  # noqa: NPY002
        try:
            yield
        finally:
            self._random_state = np.random.get_state()  # noqa: NPY002
            np.random.set_state(others)  # noqa: NPY002


class Drawn(gym.Wrapper[Any, Any, Any, Any]):
    """Pictures of the reachers that draw with matplotlib and return nothing: taken from their figure."""

    def __init__(self, env: Env, size: int) -> None:
        import matplotlib.pyplot as plt

        super().__init__(env)
        plt.switch_backend("Agg")  # no window, also where there is a desktop
        self._size = size
        self._reacher: Any = self.unwrapped
        self._reacher.render_mode = "human"  # two of the three move their arm in no other mode

    @property
    def render_mode(self) -> str:  # type: ignore[override]  # Gymnasium's own wrappers make it a property too
        return "rgb_array"

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> tuple[Any, dict[str, Any]]:
        self.close()  # a figure keeps the goal of the episode it was made in
        return self.env.reset(seed=seed, options=options)

    def render(self) -> Any:
        """What the env looks like now, uint8 [H, W, 3]."""
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # Agg cannot show a figure, and warns of it
            if self._reacher.fig is None:
                self._begin()
            self._reacher.render()
        return np.array(self._reacher.fig.canvas.buffer_rgba())[..., :3]

    def _begin(self) -> None:
        """A figure of arm and goal only. The goal stays: they move it at step 1, in a way that matplotlib refuses."""
        import matplotlib.pyplot as plt

        steps, self._reacher._steps = self._reacher._steps, 0
        settings: Any = {"figure.figsize": (3.2, 3.2), "figure.dpi": self._size / 3.2}
        with plt.rc_context(settings):
            self._reacher.render()
        self._reacher._steps = steps
        for name in ("goal_point", "goal_point_plot", "via_point_plot"):
            setattr(self._reacher, name, SimpleNamespace(set_data=lambda *_: None))
        self._reacher.fig.subplots_adjust(left=0, bottom=0, right=1, top=1)
        axes = self._reacher.fig.gca()
        axes.set_axis_off()
        axes.set_aspect("equal")
        axes.title.set_visible(False)

    def close(self) -> None:
        """Put the figure away."""
        import matplotlib.pyplot as plt

        if self._reacher.fig is not None:
            plt.close(self._reacher.fig)
            self._reacher.fig = None


def is_drawn(env: str) -> bool:
    """Whether this is the id of a reacher that draws with matplotlib (see `Drawn`)."""
    if not is_fancy_id(env):
        return False
    enable()
    reacher = _module("fancy_gym.envs.classic_control.base_reacher.base_reacher").BaseReacherEnv
    entry: Any = gym.spec(env).entry_point
    return isinstance(entry, type) and issubclass(entry, reacher)


CAMERAS: Mapping[str, tuple[tuple[float, float, float], float, float, float]] = {
    "fancy/AirHockey-": ((-0.3, 0.0, 0.0), 2.5, -60.0, 90.0),
    "fancy/BeerPong": ((0.0, -1.8, 0.9), 7.0, -30.0, 150.0),
    "fancy/BoxPushing": ((0.4, 0.0, 0.2), 1.7, -45.0, 180.0),
    "fancy/Reacher": ((0.0, 0.0, 0.0), 1.6, -90.0, 90.0),
    "fancy/TableTennis": ((0.6, 0.0, 1.2), 5.0, -30.0, 140.0),
}
"""Point looked at and distance [m], elevation and azimuth [degrees], where the env's own view hides what matters."""


def camera(env: str) -> dict[str, Any] | None:
    """From where an env id is best watched, as MuJoCo's free camera is set; None where its own view will do."""
    for prefix, (lookat, distance, elevation, azimuth) in CAMERAS.items():
        if env.startswith(prefix):
            return {"lookat": np.array(lookat), "distance": distance, "elevation": elevation, "azimuth": azimuth}
    return None


_FIRST_GOALS: Mapping[str, Mapping[str, float]] = {
    "AntJumpEnv": {"goal": 0},
    "HalfCheetahJumpEnv": {"goal": 0},
    "HopperJumpOnBoxEnv": {"box_x": 1},
    "HopperThrowEnv": {"goal": 0},
    "HopperThrowInBasketEnv": {"basket_x": 5},
    "Walker2dJumpEnv": {"goal": 0},
}
_FIRST_PLACES: Mapping[str, Mapping[str, tuple[float, float, float]]] = {
    "BeerPongEnv": {"cup_table": (-1.42, -4.05, 0.84)},
    "HopperJumpOnBoxEnv": {"box": (1, 0, 0)},
    "HopperThrowInBasketEnv": {"basket_ground": (5, 0, 0)},
}


def forget_goal(env: Any) -> None:
    """Put the goal of an unwrapped env back where a new env has it, before a reset.

    Seven envs observe first and draw their goal then, so that an episode would begin with the goal of the one before.
    """
    for cls in type(env).__mro__:
        for name, value in _FIRST_GOALS.get(cls.__name__, {}).items():
            setattr(env, name, value)
        for body, place in _FIRST_PLACES.get(cls.__name__, {}).items():
            env.model.body(body).pos[:] = place
