"""What more than "this one" is worth: the same pairs, with how much better a segment is, or with ties where two are close.

The labels are those of `benchmarks.offline`, with no policy in between. How far apart a pair is, its true returns say; from
where on it is much better, or equal, is up to people, so that several bounds are tried: they are shares of the run's pairs.
What is compared is the share of the run's other labels, close ones among them, that the reward foretells, seed by seed.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import torch

from benchmarks import reporting
from benchmarks.offline import LABELS, Labelled, compared, flags, foretells
from rltrainer.config import Reward, Ties
from rltrainer.core import Comparison, Strength

MISTAKES = [0.0, 0.1]
Manner = Callable[[list[Comparison], Callable[[float], float]], list[Comparison]]
"""A way to answer: the plain answers, and the distance that a share of the run's pairs lies below, to its own answers."""


def strengths(far: float, otherwise: Strength = Strength.PLAIN, *, every: int = 1) -> Manner:
    """Much better where a pair is farther apart than the others, of which it is one of this share; `otherwise` elsewhere.

    every: 2 where every second answer alone is thought about so
    """

    def answered(answers: list[Comparison], bound: Callable[[float], float]) -> list[Comparison]:
        said = (distance(c) > bound(1 - far) and n % every == 0 for n, c in enumerate(answers))
        return [replace(c, strength=Strength.MUCH if told else otherwise) for c, told in zip(answers, said, strict=True)]

    return answered


def equal(close: float) -> Manner:
    """A tie where a pair is closer than the others, of which it is one of this share."""

    def answered(answers: list[Comparison], bound: Callable[[float], float]) -> list[Comparison]:
        return [replace(c, target=0.5) if distance(c) < bound(close) else c for c in answers]

    return answered


def skipped(close: float) -> Manner:
    """No answer there."""

    def answered(answers: list[Comparison], bound: Callable[[float], float]) -> list[Comparison]:
        return [c for c in answers if distance(c) >= bound(close)]

    return answered


def distance(comparison: Comparison) -> float:
    """How far apart two segments are by their true returns."""
    return abs(comparison.first.env_return - comparison.second.env_return)


BASE = "which is better"
ARMS: dict[str, tuple[Manner, Ties]] = {BASE: (lambda answers, _: answers, "half")}
for far in (0.1, 0.5, 0.9):
    ARMS[f"{far:.0%} much"] = (strengths(far), "half")
    ARMS[f"{far:.0%} much, others slightly"] = (strengths(far, Strength.SLIGHTLY), "half")
ARMS["50% much, every second unsaid"] = (strengths(0.5, every=2), "half")
for close in (0.25, 0.5):
    ARMS[f"{close:.0%} equal"] = (equal(close), "rao_kupper")
    ARMS[f"{close:.0%} equal, taken as halves"] = (equal(close), "half")
    ARMS[f"{close:.0%} skipped"] = (skipped(close), "half")


def measured(data: Labelled, labels: int, mistakes: float, seed: int) -> list[dict[str, Any]]:
    """All arms on one draw of labels."""
    plain, others = data.drawn(labels, mistakes, seed)
    distances = [distance(c) for c in data.comparisons]
    known = {"env": data.env, "labels": labels, "mistakes": f"{mistakes:.0%}", "seed": seed}
    rows = []
    for arm, (manner, ties) in ARMS.items():
        answers = manner(plain, lambda share: float(np.quantile(distances, share)))
        rows.append({**known, "arm": arm, "accuracy": foretells(data, Reward(ties=ties), answers, others, seed)[0]})
    return rows


def tables(rows: Sequence[dict[str, Any]]) -> str:
    """Markdown, of strengths and of ties: accuracy of plain answers, and points more or less of the other manners."""
    groups = {"env": "env", "labels": "labels", "mistakes": "mistakes"}
    of_strengths = [arm for arm in ARMS if "much" in arm]
    of_ties = [arm for arm in ARMS if arm not in (BASE, *of_strengths)]
    return "\n\n".join(compared(rows, groups, "arm", [BASE, *arms]) for arms in (of_strengths, of_ties))


def main() -> None:
    """The command."""
    chosen, mistakes = flags(__doc__, LABELS, seeds=10).parse_args(), MISTAKES
    if chosen.quick:
        chosen.envs, chosen.seeds, chosen.labels, mistakes = chosen.envs[:1], 2, LABELS[1:2], MISTAKES[1:]
    torch.set_num_threads(1)
    rows = []
    for env in chosen.envs:
        data = Labelled.of(env, chosen.runs / env.replace("/", "_"), max(chosen.labels))
        for labels in chosen.labels:
            rows += [row for share in mistakes for seed in range(chosen.seeds) for row in measured(data, labels, share, seed)]
            print(f"{env}: {labels} labels done", file=sys.stderr)
    print(tables(rows))
    reporting.write(chosen.json, {}, rows)


if __name__ == "__main__":
    reporting.run(main)
