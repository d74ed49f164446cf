"""Which GL MuJoCo can render with on this machine. Nothing is remembered on disk."""

from __future__ import annotations

import os
import subprocess
import sys
from functools import cache

_TRY_GL = """
import mujoco
model = mujoco.MjModel.from_xml_string(
    "<mujoco><worldbody><light pos='0 0 3'/><geom type='sphere' size='1' rgba='1 1 1 1'/></worldbody></mujoco>"
)
data = mujoco.MjData(model)
mujoco.mj_forward(model, data)
renderer = mujoco.Renderer(model, 32, 32)
renderer.update_scene(data)
print("picture" if renderer.render().any() else "black", flush=True)
__import__("os")._exit(0)
"""


def gl_renders(backend: str) -> bool:
    """Whether MuJoCo gives a picture with MUJOCO_GL set to that; tried in a process of its own, which may crash."""
    surroundings = {**os.environ, "MUJOCO_GL": backend}
    surroundings.pop("PYOPENGL_PLATFORM", None)  # left by whichever backend this process tried before
    command = [sys.executable, "-c", _TRY_GL]
    try:
        tried = subprocess.run(command, env=surroundings, capture_output=True, text=True, timeout=60, check=False)
    except subprocess.TimeoutExpired:
        return False
    return tried.stdout.strip() == "picture"


@cache
def gl_backend() -> str | None:
    """The value of MUJOCO_GL that gives pictures here: the user's own where it is set. None: there is no GL at all."""
    asked = _asked_for()
    return next(filter(gl_renders, _candidates() if asked is None else [asked]), None)


@cache
def _asked_for() -> str | None:
    """MUJOCO_GL as the user set it, before `use_gl` does."""
    return os.environ.get("MUJOCO_GL")


def _candidates() -> list[str]:
    if sys.platform != "linux":
        return ["glfw"]
    display = "DISPLAY" in os.environ or "WAYLAND_DISPLAY" in os.environ
    return ["egl", "osmesa", "glfw"] if display else ["egl", "osmesa"]


def no_gl() -> str:
    """Why there are no GL pictures, where `gl_backend()` is None."""
    asked = _asked_for()
    if asked is not None:
        return f"MUJOCO_GL is {asked!r}, which gives no pictures here (rltrainer doctor says what would)"
    return "this machine has no GL to render MuJoCo with (apt-get install libosmesa6 brings one)"


@cache
def use_gl() -> str | None:
    """Set MUJOCO_GL to what works and give it. Call before mujoco is imported."""
    backend = gl_backend()
    os.environ["MUJOCO_GL"] = backend or "disable"
    return backend
