"""How far a number of labels goes: the final true return with learned rewards over plain PPO's.

Oracle labels; the same PPO settings, env steps and seeds in all arms; every run is the command line that a user would type.
Score: (R - R_random) / (R_plain - R_random) of the final policy, without exploration noise, over 20 episodes on seeds of
their own. R_plain is the mean over the seeds of `--labeler none`.
"""

from __future__ import annotations

import json
import statistics
import subprocess
import sys
import tempfile
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import gymnasium as gym
import numpy as np

from benchmarks import reporting

STEPS = {"Pendulum-v1": 150_000, "HalfCheetah-v5": 200_000}
TARGET = 0.95


def run(env: str, labeler: str, labels: int, steps: int, seed: int) -> dict[str, Any]:
    """One run and its evaluation."""
    with tempfile.TemporaryDirectory() as folder:
        path = str(Path(folder) / "run")
        began = time.time()
        _rltrainer(
            "train",
            "--env",
            env,
            "--labeler",
            labeler,
            "--labels",
            labels,
            "--steps",
            steps,
            "--seed",
            seed,
            "--run",
            path,
        )
        seconds = time.time() - began
        found = json.loads(_rltrainer("evaluate", path, "--episodes", 20, "--json"))
    row = {
        "env": env,
        "labeler": labeler,
        "labels": labels,
        "steps": steps,
        "seed": seed,
        "wall_seconds": round(seconds, 1),
        **found,
    }
    print(row, flush=True)
    return row


def _rltrainer(*arguments: object) -> str:
    command = [sys.executable, "-m", "rltrainer", *map(str, arguments)]
    return subprocess.run(command, check=True, capture_output=True, text=True).stdout


def random_return(env_id: str, episodes: int = 20) -> float:
    """Mean true return of uniformly random actions."""
    env = gym.make(env_id)
    env.action_space.seed(0)
    returns = []
    for episode in range(episodes):
        env.reset(seed=episode)
        total, over = 0.0, False
        while not over:
            _, reward, terminated, truncated, _ = env.step(env.action_space.sample())
            total, over = total + float(reward), terminated or truncated
        returns.append(total)
    env.close()
    return float(np.mean(returns))


def main() -> None:
    """The command."""
    options = reporting.flags(__doc__)
    options.add_argument("--envs", nargs="+", default=list(STEPS))
    options.add_argument("--labels", type=int, default=100)
    options.add_argument("--seeds", type=int, default=3)
    options.add_argument("--steps", type=int, help="instead of each env's own number")
    options.add_argument("--jobs", type=int, default=2, help="runs side by side")
    chosen = options.parse_args()
    if chosen.quick:
        chosen.envs, chosen.seeds, chosen.steps = ["Pendulum-v1"], 1, 40_000
    arms = [
        (env, labeler, chosen.labels, chosen.steps or STEPS.get(env, 200_000), seed)
        for env in chosen.envs
        for seed in range(chosen.seeds)
        for labeler in ("none", "oracle")
    ]
    with ThreadPoolExecutor(chosen.jobs) as pool:
        rows = list(pool.map(lambda arm: run(*arm), arms))
    figures: dict[str, Any] = {"target": TARGET}
    for env in chosen.envs:
        floor = random_return(env)
        plain = statistics.mean(row["mean_return"] for row in rows if row["env"] == env and row["labeler"] == "none")
        found = [row["mean_return"] for row in rows if row["env"] == env and row["labeler"] == "oracle"]
        scores = [(value - floor) / (plain - floor) for value in found]
        figures[f"{env}: random"] = floor
        figures[f"{env}: plain PPO"] = plain
        figures[f"{env}: {chosen.labels} labels"] = statistics.mean(found)
        figures[f"{env}: score, mean"] = statistics.mean(scores)
        figures[f"{env}: scores"] = [round(score, 3) for score in scores]
    reporting.write(chosen.json, figures, rows)


if __name__ == "__main__":
    main()
