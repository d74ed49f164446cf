"""Which reward learner foretells preferences best: the same labels for each of them, with no policy in between.

For each env one run with an oracle is made (or found again in `--runs`). Each learner is given some of its labels, a share of
them turned round, and is judged by the share of the other labels that its reward foretells. All learners are given the same
labels and mistakes on the same seeds, so what is compared is how each did beside the default, seed by seed.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
import time
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import mean, stdev
from typing import Any

import numpy as np
import torch

from benchmarks import reporting
from rltrainer.config import Reward
from rltrainer.core import Comparison, UserError, rewards_along
from rltrainer.refit import fit_through, stored_comparisons
from rltrainer.rewards import make_learner
from rltrainer.sizes import Sizes
from rltrainer.store import Store

ENVS = ["Pendulum-v1", "HalfCheetah-v5"]
LABELS = [25, 50, 100, 200]
MISTAKES = [0.0, 0.1, 0.3]
TOTAL, STEPS, SEED = 400, 60_000, 300
"""Labels, env steps and seed of the run that they come from."""
REFERENCE = 64
BASE = "bayes"
ARMS: dict[str, dict[str, Any]] = {
    BASE: {"learner": "bayes"},
    "bayes, label_noise 0": {"learner": "bayes", "label_noise": 0.0},
    "bayes, label_noise 0.1": {"learner": "bayes", "label_noise": 0.1},
    "ensemble": {"learner": "ensemble"},
    "robust": {"learner": "robust"},
    "surf": {"learner": "surf"},
}


@dataclass(frozen=True)
class Labelled:
    """A run's labels that prefer a side, and what its learner is made with."""

    env: str
    sizes: Sizes
    comparisons: list[Comparison]

    @classmethod
    def of(cls, env: str, folder: Path, wanted: int) -> Labelled:
        """Of the run in this folder, which is made where it is missing. Raises UserError with less than twice those wanted."""
        if not folder.exists():
            run = {"env": env, "labeler": "oracle", "labels": TOTAL, "steps": STEPS, "seed": SEED, "run": folder}
            flags = [word for name, value in run.items() for word in (f"--{name}", str(value))]
            subprocess.run([sys.executable, "-m", "rltrainer", "train", *flags], check=True)
        store = Store.open(folder)
        try:
            found = [c for c in stored_comparisons(store) if c.target != 0.5]
            sizes = Sizes.stored(store)
        finally:
            store.close()
        if len(found) < 2 * wanted:
            raise UserError(f"the run for {env} holds {len(found)} labels that prefer a side, which is too few")
        return cls(env, sizes, found)

    def drawn(self, labels: int, mistakes: float, seed: int) -> tuple[list[Comparison], list[Comparison]]:
        """(some to learn from, a share of them turned round; all others, as they are)."""
        rng = np.random.default_rng([seed, labels])
        shuffled = [self.comparisons[index] for index in rng.permutation(len(self.comparisons))]
        wrong = rng.random(labels) < mistakes
        return [turned(c) if is_wrong else c for c, is_wrong in zip(shuffled, wrong, strict=False)], shuffled[labels:]


def turned(comparison: Comparison) -> Comparison:
    """The opposite answer."""
    c = comparison
    return Comparison(c.first, c.second, 1 - c.target, c.first_range, c.second_range, c.query_id, c.labeler, c.strength)


def measured(data: Labelled, arm: str, labels: int, mistakes: float, seed: int) -> dict[str, Any]:
    """One learner on one draw of labels."""
    learned, others = data.drawn(labels, mistakes, seed)
    accuracy, seconds = foretells(data, Reward(**ARMS[arm]), learned, others, seed)
    known = {"env": data.env, "arm": arm, "labels": labels, "mistakes": mistakes, "seed": seed}
    return {**known, "accuracy": accuracy, "judged": len(others), "cpu_seconds": round(seconds, 3)}


def foretells(
    data: Labelled, settings: Reward, learned: list[Comparison], others: list[Comparison], seed: int
) -> tuple[float, float]:
    """(share of the others that a reward foretells which learned from some labels, CPU seconds of the fit)"""
    learner = make_learner(data.sizes, settings, np.random.SeedSequence(seed))
    shown = [segment for c in learned for segment in (c.first, c.second)]
    began = time.process_time()
    fit_through(learner, learned, shown[:REFERENCE], settings)
    seconds = time.process_time() - began
    reward = learner.snapshot()
    leads = [rewards_along(reward, c.first).sum() - rewards_along(reward, c.second).sum() for c in others]
    hits = [(lead > 0) == (c.target > 0.5) for lead, c in zip(leads, others, strict=True)]
    return round(float(np.mean(hits)), 4), seconds


def table(rows: Sequence[dict[str, Any]], env: str) -> str:
    """Markdown: accuracy of the default, and how much better the others are than it, with twice the standard error."""
    arms = [arm for arm in ARMS if any(row["arm"] == arm for row in rows)]
    lines = [
        "| labels | mistakes | " + " | ".join(arms) + " |",
        "|---|---|" + "---|" * len(arms),
    ]
    for labels in sorted({row["labels"] for row in rows}):
        for mistakes in sorted({row["mistakes"] for row in rows}):
            cells = [_cell(rows, (env, arm, labels, mistakes)) for arm in arms]
            lines.append(f"| {labels} | {mistakes:.0%} | " + " | ".join(cells) + " |")
    return "\n".join(lines)


def _cell(rows: Sequence[dict[str, Any]], group: tuple[str, str, int, float]) -> str:
    env, arm, labels, mistakes = group
    mine, base = (by_seed(rows, (env, name, labels, mistakes)) for name in (arm, BASE))
    return gained(mine, base, is_base=arm == BASE)


def gained(mine: dict[int, float], base: dict[int, float], *, is_base: bool) -> str:
    """Of accuracies by seed: points ahead of the base with twice the standard error; of the base its mean."""
    if is_base:
        return f"{mean(base.values()):.1%}"
    gains = [100 * (accuracy - base[seed]) for seed, accuracy in mine.items()]
    error = 2 * stdev(gains) / len(gains) ** 0.5 if len(gains) > 1 else float("nan")
    return f"{mean(gains):+.1f} ± {error:.1f}"


def compared(rows: Sequence[dict[str, Any]], groups: dict[str, str], arm: str, arms: Sequence[str]) -> str:
    """Markdown, a line for each group: accuracy of the first of the arms, and how many points more or less the others have.

    groups: heading of each column that names a group, and its key in a row; arm: the key of what is compared
    """
    lines = ["| " + " | ".join([*groups, *arms]) + " |", "|" + "---|" * (len(groups) + len(arms))]
    for group in dict.fromkeys(tuple(row[key] for key in groups.values()) for row in rows):
        of_group = [row for row in rows if tuple(row[key] for key in groups.values()) == group]
        found = {name: {row["seed"]: row["accuracy"] for row in of_group if row[arm] == name} for name in arms}
        cells = [gained(found[name], found[arms[0]], is_base=name == arms[0]) for name in arms]
        lines.append("| " + " | ".join([*map(str, group), *cells]) + " |")
    return "\n".join(lines)


def by_seed(rows: Iterable[dict[str, Any]], group: tuple[str, str, int, float]) -> dict[int, float]:
    """Accuracy of one arm on one kind of labels."""
    return {
        row["seed"]: row["accuracy"] for row in rows if tuple(row[k] for k in ("env", "arm", "labels", "mistakes")) == group
    }


def flags(description: str | None, labels: Sequence[int], seeds: int) -> argparse.ArgumentParser:
    """Those of a benchmark on the labels of these runs."""
    options = reporting.flags(description)
    options.add_argument("--envs", nargs="+", metavar="ENV", default=ENVS)
    options.add_argument("--runs", type=Path, metavar="FOLDER", default=Path("runs/bench/offline"), help="where the runs lie")
    options.add_argument("--labels", nargs="+", type=int, metavar="N", default=labels, help="how many are learned from")
    options.add_argument("--seeds", type=int, default=seeds, help="draws of labels, and nets to begin with")
    return options


def main() -> None:
    """The command."""
    options = flags(__doc__, LABELS, seeds=10)
    options.add_argument("--arms", nargs="+", metavar="ARM", choices=ARMS, default=[*ARMS], help=f"learners: {', '.join(ARMS)}")
    chosen = options.parse_args()
    arms = [BASE, *(arm for arm in chosen.arms if arm != BASE)]  # which all others are set beside
    mistakes = MISTAKES
    if chosen.quick:
        chosen.envs, chosen.seeds, chosen.labels, mistakes = chosen.envs[:1], 2, LABELS[1:2], MISTAKES[1:2]
    torch.set_num_threads(1)
    rows = []
    for env in chosen.envs:
        data = Labelled.of(env, chosen.runs / env.replace("/", "_"), max(chosen.labels))
        for seed in range(chosen.seeds):
            groups = [(n, share) for n in chosen.labels for share in mistakes]
            rows += [measured(data, arm, n, share, seed) for n, share in groups for arm in arms]
            print(f"{env}: seed {seed} done", file=sys.stderr)
    for env in chosen.envs:
        print(f"\n{env}\n\n{table(rows, env)}\n")
    seconds = {f"CPU seconds a fit: {arm}": mean(row["cpu_seconds"] for row in rows if row["arm"] == arm) for arm in arms}
    reporting.write(chosen.json, seconds, rows)


if __name__ == "__main__":
    reporting.run(main)
