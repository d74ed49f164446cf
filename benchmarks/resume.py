"""Runs killed by SIGKILL at random and resumed: whether they end as one that was never killed, and what checkpoints cost.

Each kill is of a run of its own, by turns of each method: `rltrainer train` in a process group of its own, killed at a moment
drawn over the whole run, then `rltrainer train --resume`. All of what was learned, of policy and reward, is
compared bit by bit with a run of the same settings that nobody killed. These runs are short, so checkpoints come oftener than
by default. The cost is measured at the default, on HalfCheetah: the time between two rollouts that goes into a checkpoint and
into resetting the envs, as a share of the whole run.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import tempfile
import time
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np
from safetensors.numpy import load_file

from benchmarks import reporting
from rltrainer.checkpoints import Checkpoints
from rltrainer.config import Config
from rltrainer.methods import Barrier, barrier
from rltrainer.progress import Dashboard
from rltrainer.training import train

OFTEN = 0.5
"""Share of a run's time that checkpoints may cost in the runs that are killed."""
START_SECONDS = 4.0
GAP_SECONDS = 0.3
"""About what passes until the first checkpoint, and from one to the next."""
COMMON = {"env": "Pendulum-v1", "labeler": "oracle", "labels": 40, "steps": 12_000, "n_envs": 2, "labeling.page": "off"}
ARMS: dict[str, dict[str, Any]] = {
    "PPO, DummyVecEnv": {"n_envs": 4},
    "PPO, SubprocVecEnv": {"subprocesses": "on"},
    "SAC": {"method": "sac", "steps": 2000, "sac.exploration_steps": 300},
    "CPL": {"method": "cpl"},
}


def main() -> None:
    """The command."""
    options = reporting.flags(__doc__)
    options.add_argument("--kills", type=int, default=20)
    options.add_argument("--steps", type=int, default=300_000, help="of the run in which checkpoints are timed")
    options.add_argument("--seed", type=int, default=0)
    chosen = options.parse_args()
    kills, steps = (4, 30_000) if chosen.quick else (chosen.kills, chosen.steps)
    with tempfile.TemporaryDirectory() as folder:
        killed = kill(kills, Path(folder), np.random.default_rng(chosen.seed))
        cost = timed(steps, Path(folder) / "timed")
    resumed = [one for one in killed if one["resumed_at"] is not None]
    figures = {
        "identical": f"{sum(one['identical'] for one in killed)} of {len(killed)}",
        "of them resumed from a checkpoint": f"{sum(one['identical'] for one in resumed)} of {len(resumed)}",
        "share of run time that checkpoints cost": cost["share"],
        "milliseconds of a checkpoint, resets included": 1000 * float(np.mean(cost["seconds"])),
        "megabytes of one": cost["bytes"] / 1e6,
    }
    reporting.write(chosen.json, figures, {"kills": killed, "cost": cost})


# ------------------------------------------------------------------ killed and resumed


def kill(kills: int, folder: Path, rng: np.random.Generator) -> list[dict[str, Any]]:
    """What became of so many runs that were killed once each."""
    whole: dict[str, tuple[int, dict[str, bytes]]] = {}
    found = []
    for number in range(kills):
        arm = list(ARMS)[number % len(ARMS)]
        if arm not in whole:
            finish(start(words(arm), folder / arm))
            whole[arm] = max(Checkpoints(folder / arm).numbers()), learned(folder / arm)
        last, wanted = whole[arm]
        found.append({"run": arm, "checkpoints": last, **kill_one(arm, folder / str(number), rng.uniform(-1, last), wanted)})
        print(found[-1], flush=True)
    return found


def kill_one(arm: str, run: Path, moment: float, wanted: dict[str, bytes]) -> dict[str, Any]:
    """moment: in checkpoints, and below 0 before there is one"""
    process, began = start(words(arm), run), time.monotonic()
    while process.poll() is None and max(Checkpoints(run).numbers(), default=-1) < int(np.floor(moment)):
        time.sleep(0.002)
    time.sleep((moment - np.floor(moment)) * (START_SECONDS if moment < 0 else GAP_SECONDS))
    with suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)
    lasted = time.monotonic() - began
    if process.wait() != -signal.SIGKILL:
        raise RuntimeError(f"{process.args!r} ended before it was killed: make it longer")
    begun = (run / "config.yaml").exists()
    reached = max(Checkpoints(run).numbers(), default=None)
    finish(start(["--resume", str(run)]) if begun else start(words(arm), run))
    return {
        "moment": round(moment, 2),
        "killed_after_seconds": round(lasted, 2),
        "resumed_at": reached,
        "identical": learned(run) == wanted,
    }


def words(arm: str) -> list[str]:
    return [word for name, value in {**COMMON, **ARMS[arm]}.items() for word in (f"--{name.replace('_', '-')}", str(value))]


def start(flags: list[str], run: Path | None = None) -> subprocess.Popen[bytes]:
    """`rltrainer train` with those flags."""
    where = [] if run is None else ["--run", str(run)]
    return subprocess.Popen(
        [sys.executable, "-c", "from benchmarks.resume import often; often()", "train", *flags, *where],
        cwd=reporting.ROOT,
        stderr=subprocess.DEVNULL,
        start_new_session=True,
    )


def finish(process: subprocess.Popen[bytes]) -> None:
    if process.wait() != 0:
        raise RuntimeError(f"{process.args!r} ended with {process.returncode}")


def often() -> None:
    """The command line, with more checkpoints than by default."""
    from rltrainer.cli import main as command

    barrier.SHARE = OFTEN
    command()


def learned(run: Path) -> dict[str, bytes]:
    """Every array that the run saved when it ended, bit by bit."""
    files = {file.name: load_file(file) for file in run.glob("*.safetensors")}
    return {f"{file}: {name}": array.tobytes() for file, arrays in files.items() for name, array in arrays.items()}


# ------------------------------------------------------------------ what it costs


def timed(steps: int, run: Path) -> dict[str, Any]:
    """Seconds of each barrier of a run with default settings, and their share of the whole."""
    seconds: list[float] = []
    at_barrier = Barrier._on_rollout_start

    def on_rollout_start(self: Barrier) -> None:
        number, began = self._number, time.perf_counter()
        at_barrier(self)
        if self._number > number:
            seconds.append(time.perf_counter() - began)

    settings = {"labeler": "oracle", "labels": 100, "steps": steps, "labeling.page": "off"}
    Barrier._on_rollout_start = on_rollout_start  # type: ignore[method-assign]  # to time it
    began = time.perf_counter()
    train(Config().but(settings), run, Dashboard(steps), announce=print)
    lasted = time.perf_counter() - began
    kept = Checkpoints(run)
    size = (kept.folder / f"{kept.numbers()[-1]}.safetensors").stat().st_size
    return {"share": sum(seconds) / lasted, "seconds": seconds, "run_seconds": lasted, "steps": steps, "bytes": size}


if __name__ == "__main__":
    reporting.run(main)
