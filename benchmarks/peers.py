"""Ours beside imitation's preference_comparisons: true return for each label, each env step and each CPU second.

The same envs, PPO settings, scales, seeds, label budget and env steps for all. imitation counts the steps that it learns on and
takes more to ask about, so here every step of its envs is counted, and its total is set such that it takes as many as ours.
Arms take turns, seed by seed; each run is a process, of which the training's CPU seconds count. benchmarks/imitated.py says
which settings are imitation's; plain PPO on the true reward and random actions give the scale.

imitation 1.0.1 has to be installed beside rltrainer. It asks for a Gymnasium and a Stable-Baselines3 of 2023 and runs on
today's, so that pip must not look at what it asks for, and `pip check` complains ever after: an environment of its own is best.

    python3.11 -m venv .venv-peers
    .venv-peers/bin/pip install -c constraints.txt torch
    .venv-peers/bin/pip install -c constraints.txt -e .
    .venv-peers/bin/pip install --no-deps -r benchmarks/peers.txt
    .venv-peers/bin/rltrainer bench peers --envs HalfCheetah-v5 --labels 100
    .venv-peers/bin/rltrainer bench peers --envs Swimmer-v5 --labels 700

Rows, tables and plots are those of benchmarks.labels, resumed in the same way; `--report` has one report of all that was run.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks import reporting, study, tables
from benchmarks.arms import CHANCE, DEFAULT, PEERS, TRUE
from benchmarks.rows import DONE, Row
from benchmarks.scores import env_of, true_returns

FILE = Path("runs/bench/peers.json")
TITLE = "What others make of as many labels and steps"
WORDS = (
    "Means over the runs that ended. Steps are counted in the envs, those before the first label included; CPU seconds are the "
    "training's, from the process's start to its end. Gain: true return above that of random actions."
)
HEAD = ["", "labels", "runs", "true return", "env steps", "CPU s", "gain a label", "gain per 1,000 steps", "gain a CPU second"]


@dataclass(frozen=True)
class Spent:
    """What runs of one arm returned, and what went into them: means over the runs. Plain PPO's steps are not counted."""

    runs: int
    true_return: float
    gain: float
    labels: float
    env_steps: float | None
    cpu_seconds: float


def spent(rows: Sequence[Row]) -> dict[str, dict[tuple[str, int], Spent]]:
    """env → (arm, label budget) → what was made of what, for envs where random actions were played."""
    found: dict[str, dict[tuple[str, int], Spent]] = {}
    floors = {env: float(np.mean(returns)) for (env, arm, _), returns in true_returns(rows).items() if arm == CHANCE}
    groups: dict[tuple[str, str, int], list[Row]] = {}
    for row in rows:
        if row["status"] == DONE and "cpu_seconds" in row:
            groups.setdefault((env_of(row), row["arm"], row["labels"]), []).append(row)
    for (env, arm, labels), runs in groups.items():
        if runs[0]["env"] in floors:
            found.setdefault(env, {})[arm, labels] = _spent(runs, floors[runs[0]["env"]])
    return found


def _spent(runs: Sequence[Row], floor: float) -> Spent:
    def mean(name: str) -> float:
        return float(np.mean([row[name] for row in runs]))

    counted = all("env_steps" in row for row in runs)
    returned = mean("mean_return")
    steps = mean("env_steps") if counted else None
    return Spent(len(runs), returned, returned - floor, mean("labels_given"), steps, mean("cpu_seconds"))


def section(rows: Sequence[Row]) -> str:
    """The Markdown of what was spent."""
    parts = [f"## What it took\n\n{WORDS}"]
    for env, by_arm in spent(rows).items():
        lines = [_line(arm, labels, made) for (arm, labels), made in by_arm.items()]
        parts.append(f"### {env}\n\n{tables.table(HEAD, lines)}")
    return "\n\n".join(parts)


def _line(arm: str, labels: int, made: Spent) -> list[str]:
    per_label = f"{made.gain / made.labels:.2f}" if made.labels else ""
    steps, per_step = "", ""
    if made.env_steps is not None:
        steps, per_step = f"{made.env_steps:,.0f}", f"{1000 * made.gain / made.env_steps:.2f}"
    amounts = [f"{made.true_return:.1f}", steps, f"{made.cpu_seconds:.1f}", per_label, per_step]
    return [arm, str(labels) if labels else "", str(made.runs), *amounts, f"{made.gain / made.cpu_seconds:.2f}"]


def ratios(rows: Sequence[Row]) -> dict[str, float]:
    """Ours over each other arm at the same labels, and over plain PPO: score (IQM), CPU seconds and counted env steps."""
    return dict(_ratios(rows))


def _ratios(rows: Sequence[Row]) -> Iterator[tuple[str, float]]:
    curves = tables.curves(rows)
    for env, by_arm in spent(rows).items():
        for (arm, labels), ours in by_arm.items():
            if arm != DEFAULT:
                continue
            for other, at in [(peer, labels) for peer in PEERS] + [(TRUE, 0)]:
                theirs = by_arm.get((other, at))
                if theirs is None:
                    continue
                name = f"{env}, {labels} labels: ours over {other}'s"
                yield f"{name}, CPU seconds", ours.cpu_seconds / theirs.cpu_seconds
                if ours.env_steps and theirs.env_steps:
                    yield f"{name}, env steps", ours.env_steps / theirs.env_steps
                if (score := _score(curves, env, other, at)) > 0:
                    yield f"{name}, score (IQM)", _score(curves, env, DEFAULT, labels) / score


def _score(curves: tables.Curves, env: str, arm: str, labels: int) -> float:
    """The IQM; 0 where the env has no scale."""
    found = curves.get(env, {}).get(arm, {}).get(labels)
    return found.value if found else 0.0


def main() -> None:
    """The command."""
    options = study.flags(__doc__, FILE, arms=[DEFAULT, *PEERS])
    options.set_defaults(envs=["HalfCheetah-v5"])
    chosen = options.parse_args()
    if chosen.quick:
        chosen.envs, chosen.seeds, chosen.steps, chosen.labels = ["Pendulum-v1"], 1, 30_000, [40]
    rows = study.gather(chosen)
    targets: dict[str, Any] = {
        "target: CPU seconds over imitation's, at most": 0.5,
        "target: score over imitation's, above": 1.0,
    }
    study.write(chosen, TITLE, rows, {**targets, **ratios(rows)}, section(rows))


if __name__ == "__main__":
    reporting.run(main)
