"""The reachers that draw themselves with matplotlib."""

from __future__ import annotations

import warnings
from types import SimpleNamespace
from typing import Any

import gymnasium as gym
import numpy as np

from rltrainer.fancy.compat import enable, module
from rltrainer.fancy.ids import is_fancy_id


def is_drawn(env: str) -> bool:
    """Whether this is the id of a reacher that draws with matplotlib (see `Drawn`)."""
    if not is_fancy_id(env):
        return False
    enable()
    reacher = module("fancy_gym.envs.classic_control.base_reacher.base_reacher").BaseReacherEnv
    entry: Any = gym.spec(env).entry_point
    return isinstance(entry, type) and issubclass(entry, reacher)


class Drawn(gym.Wrapper[Any, Any, Any, Any]):
    """Pictures of the reachers that draw with matplotlib and return nothing: taken from their figure."""

    def __init__(self, env: gym.Env[Any, Any], size: int) -> None:
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
