"""Making envs: Gymnasium ids, fancy_gym ids, a user's own factory; their spaces, their pictures."""

from __future__ import annotations

import contextlib
import difflib
import importlib
import inspect
import sys
from collections.abc import Callable, Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

import gymnasium as gym
import numpy as np
from gymnasium import spaces
from gymnasium.utils import RecordConstructorArgs

from rltrainer import fancy
from rltrainer.core import Array, UserError
from rltrainer.floors import brought_along
from rltrainer.horizon import FixedHorizon

Env = gym.Env[Any, Any]
CAMERA_OPTIONS = {"camera_id", "camera_name", "default_camera_config"}
WAYS = "an env is a Gymnasium or fancy_gym id, package.module:id, or package.module:factory"


class SeededEpisodes(gym.Wrapper[Any, Any, Any, Any], RecordConstructorArgs):
    """Gives every episode a seed of its own, so that (episode_seed, actions) says all that happened in it.

    A reset without a seed draws one and passes it down; a reset with a seed uses that one, and draws the seeds that
    follow from it. Each reset's info names the seed as `episode_seed`.
    """

    def __init__(self, env: Env) -> None:
        RecordConstructorArgs.__init__(self)
        gym.Wrapper.__init__(self, env)
        self._generator = np.random.default_rng(np.random.SeedSequence())
        self._recorded = recorded_env(env)
        self._forget = _forgetting(env.unwrapped)

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> tuple[Any, dict[str, Any]]:
        if seed is None:
            seed = int(self._generator.integers(2**31))
        else:
            self._generator = np.random.default_rng(np.random.SeedSequence(seed))
        self._forget(self.unwrapped)
        observation, info = self.env.reset(seed=seed, options=options)
        return observation, {**info, "episode_seed": seed}

    @property
    def recorded_observation_space(self) -> spaces.Space[Any]:
        """Of the steps that are recorded: the env's own, or those of the env inside a black box."""
        return self._recorded.observation_space

    @property
    def recorded_action_space(self) -> spaces.Space[Any]:
        """Of the steps that are recorded: the env's own, or those of the env inside a black box."""
        return self._recorded.action_space

    @property
    def recorded_episode_limit(self) -> int | None:
        """`episode_limit` of this env, for a VecEnv to ask for."""
        return episode_limit(self)

    @property
    def recorded_steps_per_second(self) -> float:
        """`frames_per_second` of this env, for a VecEnv to ask for."""
        return frames_per_second(self)


def _fresh_world(walker: Any) -> None:
    """A Box2D world remembers the bodies that it held: BipedalWalker gets a new one, as LunarLander gives itself."""
    walker._destroy()
    walker.world = type(walker.world)()


def _nothing(env: Any) -> None:
    """Of an env that forgets by itself: by a name, so that it can be pickled."""


def _forgetting(env: Env) -> Callable[[Any], None]:
    """What to do before each reset of an env that remembers the episode before."""
    classes = [f"{cls.__module__}:{cls.__name__}" for cls in type(env).__mro__]
    if "gymnasium.envs.box2d.bipedal_walker:BipedalWalker" in classes:
        return _fresh_world
    return fancy.forget_goal if any(name.startswith("fancy_gym.") for name in classes) else _nothing


# ------------------------------------------------------------------ making


def make_env(env: str, options: Mapping[str, Any] | None = None, *, render_mode: str | None = None) -> Env:
    """The env of that id, or what `package.module:factory` makes, in `SeededEpisodes`. Raises UserError.

    options: keyword arguments for making it; `fixed_horizon: True` makes its episodes last until their time limit
    """
    options = dict(options or {})
    with _explained(env, options):
        return SeededEpisodes(_make(env, options, render_mode))


def is_factory(env: str) -> bool:
    """Whether this names a factory (`package.module:factory`); `module:Env-v0` is an id, in Gymnasium's own form."""
    _, colon, name = env.partition(":")
    return bool(colon) and name.isidentifier()


def _make(env: str, options: dict[str, Any], render_mode: str | None) -> Env:
    options = {**options, **({} if render_mode is None else {"render_mode": render_mode})}
    env = _registered(env)
    fixed = options.pop("fixed_horizon", False)
    if is_factory(env):
        made = _from_factory(env, options)
    else:
        made = fancy.make(env, options) if fancy.is_fancy_id(env) else gym.make(env, **options)
    return _lasting(env, made, fixed) if fixed is not False else made


def _lasting(env: str, made: Env, fixed: Any) -> Env:
    """The env with episodes that last until their time limit. Raises UserError where that cannot be."""
    if fixed is not True:
        raise UserError(f"env_options has fixed_horizon: {fixed!r}; write on or off")
    if recorded_env(made) is not made:
        raise UserError(
            f"env is {env!r}, whose steps are whole movements; fixed_horizon is for envs that are stepped: leave it out"
        )
    limit = episode_limit(made)
    if limit is None:
        raise UserError(f"env is {env!r}, which has no time limit to go on to; give env_options max_episode_steps, too")
    return FixedHorizon(made, limit)


def _registered(env: str) -> str:
    """`module:Env-v0` without the module, which has registered it; a factory or a bare id as it is."""
    module_name, colon, name = env.partition(":")
    if not colon or is_factory(env):
        return env
    _import(module_name)
    return name


def _import(name: str) -> Any:
    """A module of the user's; those in the working directory are found too."""
    here = str(Path.cwd())
    if here not in sys.path:
        sys.path.append(here)
    with fancy.importable(), contextlib.redirect_stdout(sys.stderr):  # stdout is for what a command answers
        return importlib.import_module(name)


def _from_factory(env: str, options: dict[str, Any]) -> Env:
    factory = _factory(env)
    if not _takes(factory, "render_mode"):
        options = {name: value for name, value in options.items() if name != "render_mode"}
    with fancy.importable():
        made = factory(**options)
    if not isinstance(made, gym.Env):
        raise UserError(f"env is {env!r}, which made a {type(made).__name__}; it must return a gymnasium.Env")
    if fancy.is_black_box(made):
        named = f"{env.partition(':')[0]}:name_ProMP/Env-v0"
        raise UserError(f"env is {env!r}, which made a movement-primitive env; give its id instead, in the form {named}")
    return made


def _factory(env: str) -> Callable[..., Any]:
    """The function or class itself."""
    module_name, _, name = env.partition(":")
    module = _import(module_name)
    factory: Callable[..., Any] | None = getattr(module, name, None)
    if not callable(factory):
        raise UserError(f"env is {env!r}, and {module_name} has no factory {name!r}{_nearest(name, dir(module))}")
    return factory


def _takes(factory: Callable[..., Any], name: str) -> bool:
    parameters = inspect.signature(factory).parameters
    return name in parameters or any(one.kind is inspect.Parameter.VAR_KEYWORD for one in parameters.values())


@contextlib.contextmanager
def _explained(env: str, options: Mapping[str, Any]) -> Iterator[None]:
    """Turns what goes wrong while an env is made into one sentence where the user can mend it."""
    try:
        yield
    except gym.error.DependencyNotInstalled as error:
        raise UserError(f"env is {env!r}, which needs a package that is not installed: {_line(error)}") from None
    except (gym.error.Error, ImportError) as error:
        found = _line(error).partition(". Did you mean")[0]
        raise UserError(f"env is {env!r}: {found}{_nearest(env, gym.registry)} ({WAYS})") from error
    except TypeError as error:
        if "unexpected keyword argument 'render_mode'" in str(error):
            raise UserError(
                f"env is {env!r}, which cannot be shown: it takes no render_mode ({_line(error)}); "
                "let it take 'rgb_array', or train with --labeler oracle and labeling.page off"
            ) from None
        if options:
            raise UserError(f"env_options is {dict(options)}, which do not fit {env!r}: {_line(error)}") from error
        raise UserError(_not_made(env, error)) from error
    except UserError:
        raise
    except Exception as error:  # an env is foreign code and may raise anything
        raise UserError(_not_made(env, error)) from error


def _not_made(env: str, error: Exception) -> str:
    return f"env is {env!r}, and making it raised {type(error).__name__}: {_line(error)}; mend it, or give other env_options"


def _line(error: Exception) -> str:
    return " ".join(str(error).split()).rstrip(".")


def _nearest(name: str, known: Iterable[str]) -> str:
    guess = difflib.get_close_matches(name, list(known), n=1)
    return f"; did you mean {guess[0]!r}?" if guess and guess[0] != name else ""


# ------------------------------------------------------------------ about an env


def layers(env: Env) -> Iterator[Env]:
    """The env and every env inside it, from the outside in."""
    yield env
    while isinstance(env, gym.Wrapper):
        env = env.env
        yield env


def recorded_env(env: Env) -> Env:
    """The env whose steps are recorded: the one inside a black box, or this one."""
    return next((layer.recorded for layer in layers(env) if isinstance(layer, fancy.BlackBox)), env)


def episode_limit(env: Env) -> int | None:
    """Recorded steps of an episode at most (inner steps for black boxes); None where there is no limit."""
    limits = [layer.spec.max_episode_steps for layer in layers(env) if layer.spec is not None]
    limits += [layer._max_episode_steps for layer in layers(env) if isinstance(layer, gym.wrappers.TimeLimit)]
    return min((int(limit) for limit in limits if limit is not None), default=None)


def frames_per_second(env: Env) -> float:
    """Recorded steps in a second of the env's own time; 30 where it does not say."""
    fps = env.metadata.get("render_fps")
    if fps:
        return float(fps)
    recorded = recorded_env(env)
    dt = recorded.get_wrapper_attr("dt") if recorded.has_wrapper_attr("dt") else None
    return 1.0 / float(dt) if dt else 30.0


# ------------------------------------------------------------------ pictures


def make_shown_env(env: str, options: Mapping[str, Any] | None, size: int) -> Env:
    """The env whose steps were recorded, able to give pictures, `size` pixels on the longer side where it can choose.

    `reset(seed=episode_seed)` and then the recorded actions give the recorded observations. Raises UserError.
    """
    options = dict(options or {})
    with _explained(env, options):
        env, options = fancy.step_based(_registered(env), options)
        if fancy.is_drawn(env):
            return SeededEpisodes(fancy.Drawn(_make(env, options, None), size))
        made = _make(env, options, "rgb_array")
    if made.render_mode != "rgb_array":
        raise UserError(_not_shown(env, made))
    viewer = _viewer(made.unwrapped)
    if viewer is not None:
        _cheapen(viewer, size)
        fancy.enlarge_marks(env, viewer.model)
        if not CAMERA_OPTIONS & options.keys():
            _aim(viewer, fancy.camera(env))
    return SeededEpisodes(made)


def shows_pictures(env: str, options: Mapping[str, Any] | None = None) -> str | None:
    """None, or a sentence that says why the env cannot be shown. Makes it, and renders nothing. Raises UserError."""
    options = dict(options or {})
    with _explained(env, options):
        env, options = fancy.step_based(_registered(env), options)
        if fancy.is_drawn(env) or (is_factory(env) and _takes(_factory(env), "render_mode")):
            return None
        made = _make(env, options, None)
    offered = [made.render_mode] if is_factory(env) else made.metadata.get("render_modes", [])
    made.close()
    return None if "rgb_array" in offered else _not_shown(env, made)


def _not_shown(env: str, made: Env) -> str:
    modes = ", ".join(map(str, made.metadata.get("render_modes", []))) or "none"
    offers = f"its factory gave one with {made.render_mode!r}" if is_factory(env) else f"it offers {modes}"
    return (
        f"env is {env!r}, which cannot be shown: clips need render_mode='rgb_array', and {offers}; "
        "let it take that mode, or train with --labeler oracle and labeling.page off"
    )


def picture(env: Env) -> Array:
    """What the env looks like now, uint8 [H, W, 3]. Raises UserError where it draws nothing."""
    inner: Any = env.unwrapped
    with brought_along(inner.model, inner.data) if _is_mujoco(inner) else contextlib.nullcontext():
        frame: Any = env.render()
    if not isinstance(frame, np.ndarray) or frame.ndim != 3 or frame.shape[2] < 3:
        raise UserError(f"{env} renders {type(frame).__name__} and no picture; its render_mode must be 'rgb_array'")
    return np.asarray(frame[..., :3], dtype=np.uint8)


def _viewer(env: Any) -> Any:
    """What holds the size and the camera of a MuJoCo env's pictures; None for other envs."""
    if _is_mujoco(env):
        return env.mujoco_renderer
    return env if isinstance(env, fancy.AirHockey) else None


def _is_mujoco(env: Any) -> bool:
    from gymnasium.envs.mujoco.mujoco_env import MujocoEnv

    return isinstance(env, MujocoEnv)


def _cheapen(viewer: Any, size: int) -> None:
    """Frames at `size` and without shadows and multisampling cost a fifth. Works before the first render only."""
    scale = size / max(viewer.width, viewer.height)
    viewer.width, viewer.height = (max(2, 2 * round(side * scale / 2)) for side in (viewer.width, viewer.height))
    visual = viewer.model.vis
    visual.global_.offwidth, visual.global_.offheight = viewer.width, viewer.height
    visual.quality.shadowsize = visual.quality.offsamples = 0


def _aim(viewer: Any, camera: dict[str, Any] | None) -> None:
    """Gymnasium 1.4's camera stands while a walker runs out of the picture: take the model's own, which follows."""
    mujoco: Any = importlib.import_module("mujoco")
    follows = mujoco.mj_name2id(viewer.model, mujoco.mjtObj.mjOBJ_CAMERA, "track")
    if camera is not None:
        viewer.default_cam_config = camera
    elif follows >= 0:
        viewer.camera_id = follows


# ------------------------------------------------------------------ spaces


def check_spaces(observation_space: spaces.Space[Any], action_space: spaces.Space[Any]) -> None:
    """Raises UserError where observations or actions are of a kind that we cannot take."""
    refused = next((space for space in _leaves(observation_space) if not isinstance(space, _FLAT)), None)
    if refused is not None:
        raise UserError(
            f"the env's observations are {observation_space}, and {type(refused).__name__} cannot be flattened for "
            "the reward net; wrap the env to give Box, Discrete, MultiDiscrete, MultiBinary, or a Dict or Tuple of them"
        )
    if not isinstance(action_space, (spaces.Box, spaces.Discrete)):
        raise UserError(
            f"the env's actions are {action_space}; wrap the env to take Box or Discrete, the two that are supported"
        )


_FLAT = (spaces.Box, spaces.Discrete, spaces.MultiDiscrete, spaces.MultiBinary)


def _leaves(space: spaces.Space[Any]) -> Iterator[spaces.Space[Any]]:
    """The simple spaces that a space is made of, in the order in which they are flattened."""
    if isinstance(space, spaces.Dict):
        for part in space.spaces.values():
            yield from _leaves(part)
    elif isinstance(space, spaces.Tuple):
        for part in space.spaces:
            yield from _leaves(part)
    else:
        yield space


def image_shape(space: spaces.Space[Any]) -> tuple[int, ...]:
    """The shape of observations that are pictures, bytes from 0 to 255; () of all others.

    (H, W, C) or (C, H, W) as they are, and (H, W) of grey ones as (H, W, 1)
    """
    if not isinstance(space, spaces.Box) or space.dtype != np.uint8 or len(space.shape) not in (2, 3):
        return ()
    return (*space.shape, 1)[:3] if (space.low == 0).all() and (space.high == 255).all() else ()


def flat_observation(space: spaces.Space[Any], observation: Any) -> Array:
    """One raw observation as a row [O]: uint8 for a uint8 Box, float32 for everything else (Discrete: one-hot)."""
    if isinstance(space, spaces.Box):
        row: Array = np.array(observation, dtype=_dtype(space)).reshape(-1)
        return row
    (row,) = flat_observations(space, _batch_of_one(space, observation))
    return row


def flat_observations(space: spaces.Space[Any], batch: Any) -> Array:
    """N raw observations as [N, O]; they come as SB3's VecEnv gives them (Dict: a dict of arrays [N, ...])."""
    if isinstance(space, spaces.Box):
        rows: Array = np.array(batch, dtype=_dtype(space))
        return rows.reshape(len(rows), -1)
    if isinstance(space, spaces.Dict):
        return _joined([flat_observations(part, batch[name]) for name, part in space.spaces.items()])
    if isinstance(space, spaces.Tuple):
        return _joined([flat_observations(part, values) for part, values in zip(space.spaces, batch, strict=True)])
    if isinstance(space, spaces.Discrete):
        return _one_hot(np.asarray(batch).reshape(-1) - int(space.start), int(space.n))
    if isinstance(space, spaces.MultiDiscrete):
        values = np.asarray(batch).reshape(len(batch), -1) - np.reshape(space.start, -1)
        return _joined([_one_hot(values[:, i], int(n)) for i, n in enumerate(np.reshape(space.nvec, -1))])
    if isinstance(space, spaces.MultiBinary):
        return np.array(batch, dtype=np.float32).reshape(len(batch), -1)
    raise TypeError(f"{space} cannot be flattened; check_spaces refuses it")


def _dtype(space: spaces.Box) -> type[np.generic]:
    return np.uint8 if space.dtype == np.uint8 else np.float32


def _joined(parts: list[Array]) -> Array:
    return np.concatenate(parts, axis=1, dtype=np.float32)


def _one_hot(values: Array, n: int) -> Array:
    return np.asarray(values[:, None] == np.arange(n), dtype=np.float32)


def _batch_of_one(space: spaces.Space[Any], observation: Any) -> Any:
    if isinstance(space, spaces.Dict):
        return {name: _batch_of_one(part, observation[name]) for name, part in space.spaces.items()}
    if isinstance(space, spaces.Tuple):
        return tuple(_batch_of_one(part, value) for part, value in zip(space.spaces, observation, strict=True))
    return np.asarray(observation)[None]
