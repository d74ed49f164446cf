"""Where a transformer foretells more than a sum: the same pairs, judged by more than what each step is worth.

The labels are those of `benchmarks.offline`, with no policy in between, answered anew by judges who remember: by a segment's
worst moment, by its best one and its end, or by whether it gets better. What is compared is the share of the other labels that
each learner foretells, seed by seed.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import torch

from benchmarks import reporting
from benchmarks.offline import REFERENCE, Labelled, compared, flags
from rltrainer.config import Reward
from rltrainer.core import Array, Comparison, Segment
from rltrainer.refit import fit_through
from rltrainer.rewards import make_learner

MOMENT = 10
"""Steps of a moment."""
LABELS = [100, 200]


def moments(rewards: Array) -> Array:
    """Mean rewards [T − MOMENT + 1] of the moments within [T] steps."""
    return np.convolve(rewards, np.full(MOMENT, 1 / MOMENT), "valid")


def gain(rewards: Array) -> float:
    """How much more a step of the second half is worth than one of the first."""
    first, second = np.array_split(rewards, 2)
    return float(second.mean() - first.mean())


JUDGES: dict[str, Callable[[Array], float]] = {
    "the sum": lambda rewards: float(rewards.sum()),
    "the worst moment": lambda rewards: float(moments(rewards).min()),
    "the best moment and the end": lambda rewards: float(moments(rewards).max() + moments(rewards)[-1]),
    "whether it gets better": gain,
}
"""Of a segment's rewards [T]. Peak and end are what people remember (Kahneman et al. 1993, "When more pain is preferred")."""
LEARNERS = ["bayes", "ensemble", "transformer"]


def judged(comparisons: Sequence[Comparison], judge: str) -> list[Comparison]:
    """The same pairs with that judge's answers; pairs that it finds equal are left out."""
    worth = JUDGES[judge]
    leads = [worth(c.first.env_rewards) - worth(c.second.env_rewards) for c in comparisons]
    return [replace(c, target=float(lead > 0)) for c, lead in zip(comparisons, leads, strict=True) if lead]


def measured(data: Labelled, judge: str, learner: str, labels: int, seed: int) -> dict[str, Any]:
    """One learner on one draw of a judge's labels."""
    learned, others = replace(data, comparisons=judged(data.comparisons, judge)).drawn(labels, 0.0, seed)
    returns = _fitted(data, learner, learned, seed)
    first, second = (returns([getattr(c, side) for c in others]).mean(axis=0) for side in ("first", "second"))
    hits = (first > second) == np.array([c.target > 0.5 for c in others])
    known = {"env": data.env, "judge": judge, "learner": learner, "labels": labels, "seed": seed}
    return {**known, "accuracy": round(float(hits.mean()), 4), "judged": len(others)}


def _fitted(data: Labelled, learner: str, learned: list[Comparison], seed: int) -> Callable[[list[Segment]], Array]:
    """What a learner makes of segments once it has learned: returns [M, N]."""
    settings = Reward(learner=learner)
    found = make_learner(data.sizes, settings, np.random.SeedSequence(seed))
    fit_through(found, learned, [side for c in learned for side in (c.first, c.second)][:REFERENCE], settings)
    return found.member_returns


def table(rows: Sequence[dict[str, Any]]) -> str:
    """Markdown: accuracy of the default, and how many points more or less the others have."""
    return compared(rows, {"env": "env", "judged by": "judge", "labels": "labels"}, "learner", LEARNERS)


def main() -> None:
    """The command."""
    chosen = flags(__doc__, LABELS, seeds=3).parse_args()
    if chosen.quick:
        chosen.envs, chosen.seeds, chosen.labels = chosen.envs[:1], 1, LABELS[:1]
    torch.set_num_threads(1)
    rows = []
    for env in chosen.envs:
        data = Labelled.of(env, chosen.runs / env.replace("/", "_"), max(chosen.labels))
        for seed in range(chosen.seeds):
            cells = [(judge, labels, learner) for judge in JUDGES for labels in chosen.labels for learner in LEARNERS]
            for judge, labels, learner in cells:
                rows.append(measured(data, judge, learner, labels, seed))
                print(f"{env}: seed {seed}, {judge}, {labels} labels, {learner}: {rows[-1]['accuracy']:.1%}", file=sys.stderr)
    print(table(rows))
    reporting.write(chosen.json, {}, rows)


if __name__ == "__main__":
    reporting.run(main)
