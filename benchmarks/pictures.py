"""Speed of a reward that sees pictures, on the processor and on the GPU where there is one.

Frames of 84 × 84 in stacks of four, segments of 50 steps, as Atari agents see them; noise, since nobody looks at what is
learned. What is timed is a refit of the default learner, and the reward of one step of eight envs.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections.abc import Callable
from statistics import median
from typing import Any

import gymnasium as gym
import numpy as np
import torch

from benchmarks import reporting
from rltrainer.config import Reward
from rltrainer.core import Comparison, Segment
from rltrainer.rewards import make_learner
from rltrainer.sizes import Sizes

SHAPE = (84, 84, 4)
SEGMENT = 50
ENVS = 8
STEPS = 20
"""Of rewards in one turn: one alone is over in milliseconds."""
CHILD = "RLTRAINER_BENCH_PICTURES_ON"


def segment(rng: np.random.Generator, number: int) -> Segment:
    """Noise, named by its number."""
    seen = rng.integers(0, 256, (SEGMENT + 1, int(np.prod(SHAPE))), np.uint8)
    return Segment(seen, rng.integers(0, 6, SEGMENT), np.zeros(SEGMENT), number, np.zeros(0, int))


def seconds(turns: int, work: Callable[[], object]) -> list[float]:
    """Of each turn."""
    found = []
    for _ in range(turns):
        began = time.perf_counter()
        work()
        found.append(round(time.perf_counter() - began, 5))
    return found


def measured(labels: int, turns: int) -> dict[str, Any]:
    """Seconds of refits and of steps, on what torch finds here."""
    rng = np.random.default_rng(0)
    segments = [segment(rng, number) for number in range(2 * labels)]
    pairs = [Comparison(a, b, 1.0, a.whole, b.whole) for a, b in zip(segments[::2], segments[1::2], strict=True)]
    sizes = Sizes.of(int(np.prod(SHAPE)), gym.spaces.Discrete(6), SHAPE)
    learner = make_learner(sizes, Reward(), np.random.SeedSequence(0))
    learner.fit(pairs, segments[:8])  # the first refit takes longer
    reward, one = learner.snapshot(), segments[0]
    step = (one.observations[:ENVS], one.actions[:ENVS], one.observations[1 : ENVS + 1])
    return {
        "device": torch.cuda.get_device_name() if torch.cuda.is_available() else "processor",
        "refit": seconds(turns, lambda: learner.fit(pairs, segments[:8])),
        "steps": seconds(turns, lambda: [reward(*step) for _ in range(STEPS)]),
    }


def on(device: str, labels: int, turns: int) -> dict[str, Any]:
    """The same in a process of its own, which sees that device alone."""
    words = [sys.executable, "-m", "benchmarks.pictures", "--labels", str(labels), "--turns", str(turns)]
    hidden = {} if device == "gpu" else {"CUDA_VISIBLE_DEVICES": ""}
    done = subprocess.run(words, env={**os.environ, CHILD: device, **hidden}, stdout=subprocess.PIPE, check=True)
    found: dict[str, Any] = json.loads(done.stdout)
    return found


def main() -> None:
    """The command."""
    options = reporting.flags(__doc__)
    options.add_argument("--labels", type=int, metavar="N", default=30, help="how many are learned from")
    options.add_argument("--turns", type=int, default=5, help="refits on each device")
    chosen = options.parse_args()
    if os.environ.get(CHILD):
        print(json.dumps(measured(chosen.labels, chosen.turns)))
        return
    turns = 2 if chosen.quick else chosen.turns
    raw = [on(device, chosen.labels, turns) for device in ("processor", *(["gpu"] if torch.cuda.is_available() else []))]
    figures: dict[str, Any] = {}
    for row in raw:
        figures[f"{row['device']}: seconds a refit of {chosen.labels} labels"] = median(row["refit"])
        figures[f"{row['device']}: ms a step of {ENVS} envs"] = 1000 * median(row["steps"]) / STEPS
    if len(raw) > 1:
        figures["a refit, times quicker on the GPU"] = median(raw[0]["refit"]) / median(raw[1]["refit"])
    reporting.write(chosen.json, figures, {"threads": torch.get_num_threads(), "devices": raw})


if __name__ == "__main__":
    reporting.run(main)
