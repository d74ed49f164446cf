"""Pictures taken while an env steps, for the few envs that cannot be shown again from their seed and actions."""

from __future__ import annotations

import io
import time
from collections.abc import Callable
from typing import Any

import gymnasium as gym
from PIL import Image

from rltrainer.config import Config
from rltrainer.core import FRAME
from rltrainer.envs import make_shown_env
from rltrainer.labeling.camera import close
from rltrainer.labeling.clips import pictures_of
from rltrainer.labeling.gl import use_gl
from rltrainer.replay import replays_exactly

JPEG_QUALITY = 85
REPLAYED_STEPS = 200
"""How much of an episode the self-test at the start shows again."""


class Filmed(gym.Wrapper[Any, Any, Any, Any]):
    """Puts a picture of every step, as JPEG, under `info[FRAME]`. Rendering is what it costs: film few envs of many."""

    def __init__(self, env: gym.Env[Any, Any], size: int) -> None:
        """env: able to give pictures; size: their longer side at most, in pixels"""
        super().__init__(env)
        self._size = size
        self._picture, _ = pictures_of(env, size)

    @property
    def render_mode(self) -> str | None:  # type: ignore[override]  # Gymnasium's own wrappers make it a property too
        """None, as the envs beside it: a VecEnv wants all of them alike."""
        return None

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> tuple[Any, dict[str, Any]]:
        observation, info = self.env.reset(seed=seed, options=options)
        return observation, {**info, FRAME: self._frame()}

    def step(self, action: Any) -> tuple[Any, Any, bool, bool, dict[str, Any]]:
        observation, reward, terminated, truncated, info = self.env.step(action)
        return observation, reward, terminated, truncated, {**info, FRAME: self._frame()}

    def close(self) -> None:
        """Close the env without harm to other GL contexts of this process."""
        close(self.env)

    def _frame(self) -> bytes:
        image = Image.fromarray(self._picture())
        image.thumbnail((self._size, self._size))
        file = io.BytesIO()
        image.save(file, "JPEG", quality=JPEG_QUALITY)
        return file.getvalue()


def filming_cost(env: Filmed, steps: int = 50) -> tuple[float, float]:
    """Milliseconds that a step takes without filming, and those that filming it adds."""
    env.reset(seed=0)
    stepping = filming = 0.0
    for _ in range(steps):
        began = time.perf_counter()
        *_, terminated, truncated, _ = env.env.step(env.action_space.sample())
        stepped = time.perf_counter()
        env._frame()
        stepping, filming = stepping + stepped - began, filming + time.perf_counter() - stepped
        if terminated or truncated:
            env.reset()
    return 1000 * stepping / steps, 1000 * filming / steps


def must_film(config: Config, say: Callable[[str], None]) -> bool:
    """Whether clips of the env cannot be made afterwards. Says what filming it costs then, measured."""
    unrepeatable = replays_exactly(config.env, config.env_options, REPLAYED_STEPS, config.seed)
    if unrepeatable is None:
        return False
    use_gl()
    env = Filmed(make_shown_env(config.env, config.env_options, config.clips.size), config.clips.size)
    try:
        stepping, filming = filming_cost(env)
    finally:
        env.close()
    say(
        f"{unrepeatable}. So one of the {config.n_envs} envs is filmed as it steps, and clips are cut from that one only: "
        f"filming adds {filming:.1f} ms to a step of {stepping:.2f} ms"
    )
    return True
