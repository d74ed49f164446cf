"""Memory of a long run: what `rltrainer train` and its label service hold in RAM, from the warm-up to the end.

CartPole-v1 with an oracle and default settings, in processes of their own, as a user starts them. A page is connected all the
time and watches what the oracle chose, so that the service renders clips, too. Once a second the resident memory is read (VmRSS
of Linux): of the trainer, of the label service, and of the process that makes its clips. Each process's growth is the
median of the last twentieth of the run over that of the twentieth after the warm-up, which is the first tenth of the steps.
"""

from __future__ import annotations

import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np
from websockets.exceptions import ConnectionClosed
from websockets.sync.client import connect
from websockets.typing import Origin

from benchmarks import reporting
from rltrainer.labeling import messages as wire
from rltrainer.labeling.gate import SOCKET_PATH
from rltrainer.store import Store

SETTINGS = {"env": "CartPole-v1", "labeler": "oracle", "labeling.page": "on", "labeling.port": 0}
WARMUP = 0.1
SHARE = 0.05
EVERY_SECONDS = 1.0
KEPT = 400
"""Samples in the results, evenly spread."""
PROC = Path("/proc")


def main() -> None:
    """The command."""
    options = reporting.flags(__doc__)
    options.add_argument("--steps", type=int, default=1_000_000)
    options.add_argument("--labels", type=int, default=1000)
    options.add_argument("--seed", type=int, default=0)
    chosen = options.parse_args()
    steps, labels = (100_000, 100) if chosen.quick else (chosen.steps, chosen.labels)
    with tempfile.TemporaryDirectory() as folder:
        run = Path(folder) / "run"
        began = time.monotonic()
        samples = watched(run, {**SETTINGS, "steps": steps, "labels": labels, "seed": chosen.seed})
        lasted = time.monotonic() - began
        store = Store.open(run)
        counts = store.counts()
        store.close()
    figures: dict[str, Any] = {"env steps": samples[-1]["step"], "labels": counts["labels"], "seconds": lasted}
    for part in ("trainer", "service", "clips"):
        figures |= growth(part, [(one["step"] / steps, one[part]) for one in samples if one.get(part)])
    thinned = [samples[i] for i in np.unique(np.linspace(0, len(samples) - 1, KEPT).astype(int))]
    reporting.write(chosen.json, figures, {"megabytes": thinned})


def growth(part: str, samples: list[tuple[float, float]]) -> dict[str, Any]:
    """samples: (share of the steps, megabytes)"""
    early = float(np.median([size for at, size in samples if WARMUP <= at <= WARMUP + SHARE]))
    late = float(np.median([size for at, size in samples if at >= 1 - SHARE]))
    return {
        f"{part}: MB after the warm-up": early,
        f"{part}: MB at the end": late,
        f"{part}: growth": late / early - 1,
        f"{part}: MB at most": max(size for _, size in samples),
    }


def watched(run: Path, settings: dict[str, Any]) -> list[dict[str, float]]:
    """What each process held, and at which step, while one run lasted."""
    flags = [word for name, value in settings.items() for word in (f"--{name.replace('_', '-')}", str(value))]
    command = [sys.executable, "-m", "rltrainer", "train", *flags, "--run", str(run)]
    said = run.with_suffix(".txt")
    with said.open("w") as out:
        trainer = subprocess.Popen(command, cwd=reporting.ROOT, stdout=out, stderr=out)
    try:
        threading.Thread(target=watch_page, args=(address_in(said, trainer),), daemon=True).start()
        samples = list(sampled(run, trainer))
    finally:
        trainer.terminate()
    if trainer.wait() != 0:
        raise RuntimeError(said.read_text())
    return samples


def address_in(said: Path, trainer: subprocess.Popen[bytes]) -> str:
    """Of the page, as soon as the trainer says it."""
    while trainer.poll() is None:
        found = [line for line in said.read_text().splitlines() if "#token=" in line]
        if found:
            return found[0][found[0].index("http") :].strip()
        time.sleep(0.1)
    raise RuntimeError(said.read_text())


def sampled(run: Path, trainer: subprocess.Popen[bytes]) -> Iterator[dict[str, float]]:
    """Once a second, until the trainer ends."""
    store = Store.open(run)
    while trainer.poll() is None:
        progress = store.newest_event("progress")
        if progress is not None:
            with suppress(OSError):  # it ended meanwhile
                yield {"step": progress["step"], **held(trainer.pid)}
        with suppress(subprocess.TimeoutExpired):
            trainer.wait(EVERY_SECONDS)
    store.close()


def held(trainer: int) -> dict[str, float]:
    """Megabytes by process."""
    sizes = {"trainer": resident(trainer)}
    for child in children(trainer):
        words = (PROC / str(child) / "cmdline").read_bytes().split(b"\0")
        if b"label" in words:
            sizes["service"] = resident(child)
            sizes["clips"] = sum(resident(one) for one in children(child))
    return sizes


def children(process: int) -> list[int]:
    files = (PROC / str(process) / "task").glob("*/children")
    return [int(word) for file in files for word in file.read_text().split()]


def resident(process: int) -> float:
    lines = (PROC / str(process) / "status").read_text().splitlines()
    return next(int(line.split()[1]) / 1000 for line in lines if line.startswith("VmRSS:"))


def watch_page(address: str) -> None:
    """A page that looks at everything, until the service ends."""
    origin, _, token = address.partition("/#token=")
    where = origin.replace("http", "ws", 1) + SOCKET_PATH
    with suppress(ConnectionClosed), connect(where, origin=Origin(origin), compression=None, max_size=None, proxy=None) as page:
        page.send(wire.Hello(token=token).model_dump_json())
        for _ in page:
            pass


if __name__ == "__main__":
    reporting.run(main)
