"""What it is worth to tell labelers apart: half of the labels come from one who knows, the other half from one who guesses.

The labels are those of `benchmarks.offline`, with no policy in between. The same answers on the same seeds are learned from
three times: with the name of who gave each, as if all were one person's, and without the guesses, which nobody could know. What
is compared is the share of the run's other labels that the reward foretells, seed by seed.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import torch

from benchmarks import reporting
from benchmarks.offline import LABELS, Labelled, compared, flags, foretells, turned
from rltrainer.config import Reward
from rltrainer.core import Comparison

KNOWS, GUESSES = "knows", "guesses"
APART, AS_ONE, ALONE = "told apart", "as one person's", "without the guesses"
ARMS: dict[str, Callable[[list[Comparison]], list[Comparison]]] = {
    APART: lambda answers: answers,
    AS_ONE: lambda answers: [replace(c, labeler=KNOWS) for c in answers],
    ALONE: lambda answers: [c for c in answers if c.labeler == KNOWS],
}


def half_guessed(answers: Sequence[Comparison], seed: int) -> list[Comparison]:
    """Every second answer is a guesser's: turned round as often as not."""
    heads = np.random.default_rng([seed, len(answers)]).random(len(answers)) < 0.5
    return [
        replace(turned(c) if guessed and wrong else c, labeler=GUESSES if guessed else KNOWS)
        for c, guessed, wrong in zip(answers, np.arange(len(answers)) % 2 == 1, heads, strict=True)
    ]


def measured(data: Labelled, learner: str, labels: int, seed: int) -> list[dict[str, Any]]:
    """All arms on one draw of labels."""
    drawn, others = data.drawn(labels, 0.0, seed)
    answers = half_guessed(drawn, seed)
    known = {"env": data.env, "learner": learner, "labels": labels, "seed": seed}
    return [
        {**known, "arm": arm, "accuracy": foretells(data, Reward(learner=learner), of(answers), others, seed)[0]}
        for arm, of in ARMS.items()
    ]


def table(rows: Sequence[dict[str, Any]]) -> str:
    """Markdown: accuracy of the labelers told apart, and how many points more or less the other arms have."""
    return compared(rows, {"env": "env", "learner": "learner", "labels": "labels"}, "arm", list(ARMS))


def main() -> None:
    """The command."""
    options = flags(__doc__, LABELS, seeds=10)
    options.add_argument("--learners", nargs="+", metavar="NAME", default=["bayes", "ensemble"])
    chosen = options.parse_args()
    if chosen.quick:
        chosen.envs, chosen.seeds, chosen.labels = chosen.envs[:1], 2, LABELS[1:2]
    torch.set_num_threads(1)
    rows = []
    for env in chosen.envs:
        data = Labelled.of(env, chosen.runs / env.replace("/", "_"), max(chosen.labels))
        for seed in range(chosen.seeds):
            for labels in chosen.labels:
                for learner in chosen.learners:
                    rows += measured(data, learner, labels, seed)
            print(f"{env}: seed {seed} done", file=sys.stderr)
    print(table(rows))
    reporting.write(chosen.json, {}, rows)


if __name__ == "__main__":
    reporting.run(main)
