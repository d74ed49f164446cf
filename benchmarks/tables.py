"""Scores as Markdown tables and as the figures of a results file."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import Any

import numpy as np

from benchmarks.arms import ARMS, CHANCE, DEFAULT, TRUE
from benchmarks.rows import FAILED, Row
from benchmarks.scores import (
    Array,
    Estimate,
    ends_of_scale,
    env_of,
    improvement,
    interquartile_mean,
    labels_to,
    scores,
    true_returns,
)

LEVEL = 0.9
EVERY_ENV = "all envs"
SCORE = (
    "Score: (R − R_random) / (R_true − R_random) of the final policy's true return, over 20 episodes without exploration "
    "noise. IQM over the seeds, [95% stratified bootstrap interval], and the worst seed after the stroke."
)
Curves = dict[str, dict[str, dict[int, Estimate]]]


def curves(rows: Sequence[Row]) -> Curves:
    """env → arm → labels → IQM of the scores; `EVERY_ENV`, of several, where an arm was run at these labels in all of them."""
    found: Curves = {}
    by_group = scores(rows)
    envs = sorted({env for by_env in by_group.values() for env in by_env}, key=_place([env_of(row) for row in rows]))
    for (arm, labels), by_env in sorted(by_group.items(), key=lambda item: (_place(list(ARMS))(item[0][0]), item[0][1])):
        for env in envs:
            if env in by_env:
                found.setdefault(env, {}).setdefault(arm, {})[labels] = interquartile_mean([by_env[env]])
        if len(envs) > 1 and len(by_env) == len(envs):
            strata = [by_env[env] for env in envs]
            found.setdefault(EVERY_ENV, {}).setdefault(arm, {})[labels] = interquartile_mean(strata)
    return {env: found[env] for env in [*envs, EVERY_ENV] if env in found}


def improvements(rows: Sequence[Row]) -> dict[tuple[str, int], Estimate]:
    """(other arm, labels) → P(rltrainer as it stands scores higher), over the envs in which both were run."""
    by_group = scores(rows)
    found = {}
    for (arm, labels), theirs in by_group.items():
        ours: dict[str, Array] = by_group.get((DEFAULT, labels), {})
        shared = [env for env in theirs if env in ours]
        if arm != DEFAULT and shared:
            found[arm, labels] = improvement([ours[env] for env in shared], [theirs[env] for env in shared])
    return found


# ------------------------------------------------------------------ Markdown


def report(rows: Sequence[Row], title: str, command: str, section: str = "") -> str:
    """The whole report; `section` stands after the scores."""
    parts = [
        f"# {title}",
        SCORE,
        f"Made by `{command}` from {len(rows)} runs.",
        _arms(rows),
        *[_scores_of(env, by_arm, rows) for env, by_arm in curves(rows).items()],
        section,
        _improvement_table(rows),
        _notes(rows),
    ]
    return "\n\n".join(part for part in parts if part) + "\n"


def table(head: Sequence[str], lines: Sequence[Sequence[str]]) -> str:
    """A Markdown table."""
    rule = ["---"] + ["---:"] * (len(head) - 1)
    return "\n".join(f"| {' | '.join(cells)} |" for cells in [head, rule, *lines])


def _arms(rows: Sequence[Row]) -> str:
    used = {row["arm"] for row in rows}
    return "\n".join(f"- **{name}**: {arm.what}" for name, arm in ARMS.items() if name in used)


def _scores_of(env: str, by_arm: dict[str, dict[int, Estimate]], rows: Sequence[Row]) -> str:
    ends = ends_of_scale(rows).get(env)
    scale = f"Random actions return {ends[0]:.1f}, PPO on the true reward {ends[1]:.1f}." if ends else ""
    budgets = sorted({labels for arm, curve in by_arm.items() if ARMS[arm].budget is None for labels in curve})
    head = ["labels", *map(str, budgets), f"labels to {LEVEL:.0%}"]
    lines = []
    for arm, curve in by_arm.items():
        if ARMS[arm].budget is None:
            cells = [_cell(curve.get(labels)) for labels in budgets]
            enough = labels_to(LEVEL, {labels: found.value for labels, found in curve.items()})
            lines.append([arm, *cells, str(enough) if enough else f"> {max(curve)}"])
        else:
            (found,) = curve.values()
            lines.append([arm, _cell(found), *[""] * len(budgets)])
    return "\n\n".join(filter(None, [f"## {env}", scale, table(head, lines)]))


def _cell(found: Estimate | None) -> str:
    return "" if found is None else f"{found.value:.2f} [{found.low:.2f}, {found.high:.2f}] / {found.worst:.2f}"


def _improvement_table(rows: Sequence[Row]) -> str:
    found = improvements(rows)
    if not found:
        return ""
    budgets = sorted({labels for _, labels in found})
    arms = dict.fromkeys(arm for arm, _ in found)
    lines = [[arm, *[_chance(found.get((arm, labels))) for labels in budgets]] for arm in arms]
    words = f"P(a run of **{DEFAULT}** scores higher), mean over the envs; an improvement where the interval lies above 0.5."
    return "\n\n".join(["## Probability of improvement", words, table(["over", *map(str, budgets)], lines)])


def _chance(found: Estimate | None) -> str:
    return "" if found is None else f"{found.value:.2f} [{found.low:.2f}, {found.high:.2f}]"


def _notes(rows: Sequence[Row]) -> str:
    """What a sceptic asks: which runs failed, of which commits and machines they are, on which seeds."""
    failed = [f"- {env_of(row)}, {row['arm']}, seed {row['seed']}: {row['error']}" for row in rows if row["status"] == FAILED]
    trained = [row for row in rows if row["arm"] != CHANCE]
    seeds = sorted({row["seed"] for row in trained})
    lines = ["## Runs", f"Seeds {', '.join(map(str, seeds))}. Failed runs: {len(failed)}; a failed run scores 0.", *failed]
    for name in ("commit", "machine"):
        counts = Counter(row[name] for row in trained)
        lines.append(f"- {name}: " + "; ".join(f"{value} ({count} runs)" for value, count in counts.most_common()))
    return "\n".join(lines)


# ------------------------------------------------------------------ figures


def figures(rows: Sequence[Row]) -> dict[str, Any]:
    """The same as names and numbers, for a results file."""
    found: dict[str, Any] = {}
    ends = ends_of_scale(rows)
    by_group, returns = scores(rows), true_returns(rows)
    for env, by_arm in curves(rows).items():
        if env in ends:
            found |= {f"{env}: random": ends[env][0], f"{env}: plain PPO": ends[env][1]}
        for arm, curve in by_arm.items():
            for labels, estimate in curve.items():
                name = f"{env}: {arm}" + (f", {labels} labels" if labels else "")
                if (env, arm, labels) in returns and arm != TRUE:
                    found[name] = float(np.mean(returns[env, arm, labels]))
                found[f"{name}: score, IQM"] = estimate.value
                found[f"{name}: score, interval"] = [round(estimate.low, 3), round(estimate.high, 3)]
                if env in by_group[arm, labels]:
                    found[f"{name}: scores"] = [round(float(score), 3) for score in by_group[arm, labels][env]]
    for (arm, labels), estimate in improvements(rows).items():
        found[f"P(better than {arm}), {labels} labels"] = estimate.value
    found["failed runs"] = sum(row["status"] == FAILED for row in rows)
    return found


def _place(order: Sequence[str]) -> Any:
    """A sort key: where a name stands in that order, those that don't last."""
    places = {name: place for place, name in reversed(list(enumerate(order)))}
    return lambda name: (places.get(name, len(places)), name)
