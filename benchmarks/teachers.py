"""What wrong answers cost: the score when the oracle errs in 10% and 30% of its preferences, over that when it never does.

The runs are those of benchmarks.labels, with its flags: on the same seeds, with the same settings, resumed in the same way.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from benchmarks import reporting, study, tables
from benchmarks.arms import DEFAULT
from benchmarks.tables import Curves

FILE = Path("runs/bench/teachers.json")
ERRING = ["mistakes_0.1", "mistakes_0.3"]
TARGET = 0.9


def kept(curves: Curves) -> dict[str, float]:
    """Of the noiseless score (IQM), the share that is left with mistakes, for each env and number of labels."""
    return {
        f"{env}: {arm}, {labels} labels: share of the noiseless score": found.value / by_arm[DEFAULT][labels].value
        for env, by_arm in curves.items()
        for arm in ERRING
        for labels, found in by_arm.get(arm, {}).items()
        if labels in by_arm.get(DEFAULT, {}) and by_arm[DEFAULT][labels].value > 0
    }


def main() -> None:
    """The command."""
    options = study.flags(__doc__, FILE, arms=[DEFAULT, *ERRING])
    options.set_defaults(envs=["Pendulum-v1", "HalfCheetah-v5"])
    chosen = options.parse_args()
    if chosen.quick:
        chosen.envs, chosen.seeds, chosen.steps, chosen.arms = ["Pendulum-v1"], 1, 30_000, [DEFAULT, ERRING[0]]
    rows = study.gather(chosen)
    more: dict[str, Any] = {"target at 0.1 mistakes": TARGET, **kept(tables.curves(rows))}
    study.write(chosen, "What wrong answers cost", rows, more)


if __name__ == "__main__":
    reporting.run(main)
