"""What commonly breaks on a machine, and a line to type for each. What may crash is tried in a process of its own."""

from __future__ import annotations

import importlib.metadata
import os
import socket
import sqlite3
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Literal

import numpy as np
from packaging.requirements import Requirement

from rltrainer.config import Labeling
from rltrainer.core import UserError
from rltrainer.labeling.gl import gl_backend, gl_renders
from rltrainer.store import journal_mode

PROBE_SECONDS = 120.0
SLOW_FRAME_MS = 60.0
"""Above this a pair of 50-frame clips takes more than six seconds to render."""
PIP = f"{sys.executable} -m pip"


@dataclass(frozen=True)
class Check:
    """One thing looked at.

    status: "warn" is something that rltrainer works without; found: in words; mend: a line to type, "" if all is well
    """

    name: str
    status: Literal["ok", "warn", "fail"]
    found: str
    mend: str = ""


def checks(port: int | None = None) -> list[Check]:
    """Everything looked at, in a few seconds. port: the labeler's; None is the config's default."""
    looks: list[Callable[[], Check]] = [
        packages,
        fancy_gym,
        gl,
        video,
        lambda: labeler_port(Labeling().port if port is None else port),
        sqlite,
        torch,
    ]
    with ThreadPoolExecutor() as pool:
        return [future.result() for future in [pool.submit(look) for look in looks]]


def report(found: Sequence[Check]) -> str:
    """The checks as lines of text, each that is not well with the way to mend it."""
    width = max(len(check.name) for check in found)
    lines = []
    for check in found:
        lines.append(f"{check.status:<4}  {check.name:<{width}}  {check.found}")
        lines += [f"      {'':<{width}}  → {check.mend}"] if check.mend else []
    return "\n".join(lines)


def healthy(found: Sequence[Check]) -> bool:
    """Whether nothing fails: what the command's exit code says."""
    return all(check.status != "fail" for check in found)


# ------------------------------------------------------------------ packages


def packages() -> Check:
    """What pyproject.toml asks for, and what fancy_gym asks for in turn: its mujoco is an old one."""
    wrong = list(_unmet("rltrainer"))
    if sys.version_info < (3, 12) and not wrong:
        wrong = list(_unmet("fancy_gym"))
    if wrong:
        return Check("packages", "fail", "; ".join(found for found, _ in wrong), f"{PIP} install {_quoted(wrong)}")
    names = ("gymnasium", "mujoco", "stable-baselines3", "torch", "numpy")
    return Check("packages", "ok", ", ".join(f"{name} {importlib.metadata.version(name)}" for name in names))


def _unmet(package: str) -> Iterator[tuple[str, str]]:
    """(what is wrong, the requirement) of each requirement of a package that is missing or of another version."""
    for text in importlib.metadata.requires(package) or []:
        asked = Requirement(text)
        if asked.marker is not None and not asked.marker.evaluate({"extra": ""}):
            continue
        try:
            version = importlib.metadata.version(asked.name)
        except importlib.metadata.PackageNotFoundError:
            yield f"{asked.name} is missing", f"{asked.name}{asked.specifier}"
            continue
        if not asked.specifier.contains(version, prereleases=True):
            found = f"{asked.name} is {version}, and {package} needs {asked.specifier}"
            yield found, f"{asked.name}{asked.specifier}"


def _quoted(wrong: Sequence[tuple[str, str]]) -> str:
    return " ".join(f"'{requirement}'" for _, requirement in wrong)


def fancy_gym() -> Check:
    """Whether fancy ids can be had; everything else does without."""
    if sys.version_info >= (3, 12):
        found = f"not for Python {sys.version_info.major}.{sys.version_info.minor}: its mujoco has no wheel for that"
        return Check("fancy_gym", "warn", found, "python3.11 -m venv .venv && .venv/bin/pip install -e .")
    works, found = _probe("import_fancy")
    mend = found.rpartition("; ")[2] if "; " in found else f"{PIP} install fancy_gym==0.3.0"
    return Check("fancy_gym", "ok", found) if works else Check("fancy_gym", "fail", found, mend)


def import_fancy() -> str:
    """In a probe. Raises UserError with the way out."""
    from rltrainer import fancy

    fancy.enable()
    return f"fancy_gym {importlib.metadata.version('fancy_gym')}"


def torch() -> Check:
    """Whether torch loads at all, and how busy it would be left to itself."""
    works, found = _probe("import_torch")
    mend = f"{PIP} install --force-reinstall torch"
    return Check("torch", "ok", found) if works else Check("torch", "fail", found, mend)


def import_torch() -> str:
    """In a probe."""
    import torch as loaded

    return f"torch {loaded.__version__}, {loaded.get_num_threads()} threads, of which training uses 1"


# ------------------------------------------------------------------ pictures and video


def gl() -> Check:
    """Which GL renders, and how fast."""
    asked, backend = os.environ.get("MUJOCO_GL"), gl_backend()
    if backend is None and asked is not None and any(gl_renders(other) for other in ("egl", "osmesa") if other != asked):
        return Check("GL", "warn", f"no pictures with MUJOCO_GL={asked}; clips are drawn in 2-D", "unset MUJOCO_GL")
    if backend is None:
        found = "none, so the clips of MuJoCo envs are drawn in 2-D"
        return Check("GL", "warn", found, "apt-get install libosmesa6 (or, with a graphics card, libegl1 libgl1)")
    works, found = _probe("render", MUJOCO_GL=backend)
    if not works:
        return Check("GL", "fail", f"{backend}: {found}", "MUJOCO_GL=osmesa rltrainer doctor (apt-get install libosmesa6)")
    found = f"{backend}, {float(found):.1f} ms of processor time a frame (HalfCheetah-v5, 256 x 256)"
    slow = float(found.split()[1]) > SLOW_FRAME_MS
    return Check("GL", "warn", found, "set clips.size to 128") if slow else Check("GL", "ok", found)


def render() -> str:
    """In a probe: milliseconds for one frame."""
    from rltrainer.envs import make_shown_env
    from rltrainer.labeling.camera import close
    from rltrainer.labeling.clips import pictures_of

    env = make_shown_env("HalfCheetah-v5", {}, 256)
    env.reset(seed=0)
    picture, _ = pictures_of(env, 256)
    picture()
    start = time.process_time()
    for _ in range(20):
        picture()
    spent = time.process_time() - start
    close(env)
    return f"{spent / 20 * 1e3}"


def video() -> Check:
    """Whether what is encoded can be decoded again."""
    works, found = _probe("encode_and_decode")
    mend = f"{PIP} install --force-reinstall av"
    return Check("H.264", "ok", found) if works else Check("H.264", "fail", found, mend)


def encode_and_decode() -> str:
    """In a probe. Raises ValueError where other pictures come out than went in."""
    import imageio.v3 as iio

    from rltrainer.labeling.clips import encode

    levels = (40, 120, 200)
    encoded = encode([np.full((64, 64, 3), level, np.uint8) for level in levels], 20.0)
    decoded = iio.imread(encoded, plugin="pyav", extension=".mp4").mean(axis=(1, 2, 3))
    if not np.allclose(decoded, levels, atol=4):
        raise ValueError(f"gray levels {levels} came back as {decoded.round().tolist()}")
    return f"av {importlib.metadata.version('av')} encodes and decodes"


# ------------------------------------------------------------------ the rest


def labeler_port(port: int) -> Check:
    """Whether the page's port is free."""
    with socket.socket() as listener:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)  # as a server takes one that was just let go
        try:
            listener.bind(("127.0.0.1", port))
        except OSError as error:
            found = f"{port} cannot be taken: {error.strerror}; a labeler that still runs?"
            return Check("port", "warn", found, "add --port 0 to the command: any free one")
    return Check("port", "ok", f"{port} is free")


def sqlite() -> Check:
    """Which journal the store uses, and why."""
    wal = journal_mode() == "WAL"
    why = "" if wal else ": WAL, which is quicker, is sound from 3.51.3 on"
    return Check("SQLite", "ok", f"{sqlite3.sqlite_version}, journal {journal_mode()}{why}")


def _probe(name: str, **environment: str) -> tuple[bool, str]:
    """(whether it worked, what it said) of a function of this module, called in a process of its own."""
    command = [sys.executable, "-c", f"from rltrainer.doctor import answer, {name}; answer({name})"]
    try:
        ended = subprocess.run(
            command,
            env={**os.environ, **environment},
            capture_output=True,
            text=True,
            timeout=PROBE_SECONDS,
            check=False,
        )
    except subprocess.TimeoutExpired:
        return False, f"no answer after {PROBE_SECONDS:g} s"
    if ended.returncode < 0:
        return False, f"it crashed with signal {-ended.returncode}"
    said = (ended.stdout if ended.returncode == 0 else ended.stderr).strip().splitlines()
    return ended.returncode == 0, said[-1] if said else f"exit code {ended.returncode}"


def answer(probe: Callable[[], str]) -> None:
    """Print what a probe says; a mistake of the user's as its sentence alone."""
    try:
        said = probe()
    except UserError as error:
        sys.exit(str(error))
    sys.stdout.write(f"\n{said}\n")
