"""Movement-primitive envs: one action is the weights of a whole trajectory, which the env inside then follows."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import gymnasium as gym
from gymnasium import spaces
from gymnasium.envs.registration import EnvSpec

from rltrainer.core import INNER_STEPS, Array, UserError
from rltrainer.fancy.compat import enable, quiet
from rltrainer.fancy.ids import is_black_box_id
from rltrainer.fancy.inner_recorder import InnerRecorder
from rltrainer.fancy.weights import Weights

_PRIMITIVE_OPTIONS = ("underlying_id", "mp_wrapper", "mp_type", "mp_config_override", "_mp_config_override_register")


class BlackBox(gym.Wrapper[Any, Any, Any, Any]):
    """A movement-primitive env with finite action bounds. One step is a trajectory; info[INNER_STEPS] has its steps.

    The rest of info holds, as fancy_gym gives it, lists with one entry for each of those steps; "is_success" alone is
    what it was after the last one, which is what SB3 takes it for.

    recorded: the env inside, whose steps those are
    """

    def __init__(self, env: gym.Env[Any, Any], recorded: InnerRecorder, spec: EnvSpec) -> None:
        super().__init__(env)
        self.recorded = recorded
        self._own_spec = spec
        assert isinstance(env.action_space, spaces.Box)
        self.action_space = Weights(env.action_space)

    @property
    def spec(self) -> EnvSpec:  # type: ignore[override]  # Gymnasium's own wrappers make it a property too
        """fancy_gym's own specs of these ids cannot be made again; this one can."""
        return self._own_spec

    def step(self, action: Array) -> tuple[Any, float, bool, bool, dict[str, Any]]:
        observation, reward, terminated, truncated, info = self.env.step(action)
        if "is_success" in info:
            info["is_success"] = bool(info["is_success"][-1])
        return observation, float(reward), terminated, truncated, {**info, INNER_STEPS: self.recorded.take()}

    def render(self) -> Any:
        """The env inside, as it looks now."""
        return self.recorded.render()


def black_box(mp_id: str, **options: Any) -> BlackBox:
    """The env of a movement-primitive id. Raises UserError, gymnasium.error.Error for an unknown id."""
    enable()
    registered = _registered(mp_id)
    assert callable(registered.entry_point)
    with quiet():
        env = registered.entry_point(**{**registered.kwargs, **options})
    spec = EnvSpec(
        mp_id,
        "rltrainer.fancy:black_box",
        order_enforce=False,
        disable_env_checker=True,
        kwargs={"mp_id": mp_id, **options},
    )
    return BlackBox(env, _recorder(env), spec)


def is_black_box(env: gym.Env[Any, Any]) -> bool:
    """Whether one action of this env is a whole trajectory, in our wrapper or only in fancy_gym's."""
    found = [env]
    while isinstance(found[-1], gym.Wrapper):
        found.append(found[-1].env)
    return any(type(layer).__module__.startswith("fancy_gym.black_box.black_box_wrapper") for layer in found)


def step_based(env: str, options: Mapping[str, Any]) -> tuple[str, dict[str, Any]]:
    """Id and options of the env whose steps are recorded: the one inside a movement-primitive id, else the same."""
    if not is_black_box_id(env):
        return env, dict(options)
    enable()
    kwargs = {**_registered(env).kwargs, **options}
    inner = {name: value for name, value in kwargs.items() if name not in _PRIMITIVE_OPTIONS}
    return kwargs["underlying_id"], inner


def _registered(mp_id: str) -> EnvSpec:
    registered = gym.spec(mp_id)
    underlying = registered.kwargs["underlying_id"]
    if underlying not in gym.registry:
        raise UserError(f"env is {mp_id!r}, made of {underlying!r}, which no installed package has; choose another id")
    return registered


def _recorder(env: gym.Env[Any, Any]) -> InnerRecorder:
    while not isinstance(env, InnerRecorder):
        assert isinstance(env, gym.Wrapper)
        env = env.env
    return env
