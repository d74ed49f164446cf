"""fancy_gym's air hockey as a Gymnasium env."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from typing import Any

import gymnasium as gym
import numpy as np
from gymnasium import spaces

from rltrainer.core import UserError
from rltrainer.fancy.compat import enable, module, quiet


class AirHockey(gym.Env[Any, Any]):
    """fancy_gym's air hockey, which is a mushroom_rl env, as a Gymnasium env. Needs the extra `airhockey`.

    It draws from NumPy's global generator while it resets and steps: that is swapped for one of its own meanwhile.
    """

    metadata = {"render_modes": ["rgb_array", "human"], "render_fps": 50}  # noqa: RUF012 - as Gymnasium declares it

    def __init__(self, render_mode: str | None = None, **options: Any) -> None:
        enable()
        mujoco_envs = module("fancy_gym.envs.mujoco")
        if not hasattr(mujoco_envs, "AirHockeyEnv"):
            raise UserError("the AirHockey envs need packages that are not installed; pip install -e '.[airhockey]'")
        self.render_mode = render_mode
        self.width, self.height = options.pop("width", 640), options.pop("height", 400)
        self.default_cam_config: dict[str, Any] | None = options.pop("default_camera_config", None)
        with quiet():
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
        base = self._env.base_env
        begun = base._viewer is not None
        base._viewer_params.update(width=self.width, height=self.height)
        if self.default_cam_config:
            base._viewer_params.update(camera_params={"static": self.default_cam_config})
        seen = self._env.render()
        if begun or not self.default_cam_config:
            return seen
        _look_at(base._viewer._camera, self.default_cam_config.get("lookat", (0.0, 0.0, 0.0)))
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


def _look_at(camera: Any, point: Any) -> None:
    """With mujoco 2.3.3 and numpy 2 a vector set on a camera does not reach it: all three numbers go to the first."""
    lookat = camera.lookat
    np.lib.stride_tricks.as_strided(lookat, (3,), (lookat.itemsize,))[:] = point
