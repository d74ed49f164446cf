"""Scores of runs, and how sure they are, after Agarwal et al. 2021 (rliable): IQM, stratified bootstrap, P(improvement).

The figures are those of the library `rliable`, to which a test holds them. It takes equally many runs of every env, which a
benchmark that is still under way does not have; here the runs are drawn again within each env, however many there are.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from benchmarks.arms import CHANCE, TRUE, task_of
from benchmarks.rows import DONE, Row

Array = NDArray[Any]
Strata = Sequence[Array]
"""The scores of each env's runs, one array [runs] an env."""
RESAMPLES = 5_000
COVERED = 0.95


@dataclass(frozen=True)
class Estimate:
    """A figure with its 95% interval, from so many runs; `worst` is the lowest score among them."""

    value: float
    low: float
    high: float
    runs: int
    worst: float = math.nan


# ------------------------------------------------------------------ scores


def env_of(row: Row) -> str:
    """The env's name in a report: runs of another length than the table's are apart."""
    usual = row["arm"] == CHANCE or row["steps"] == task_of(row["env"]).steps
    return str(row["env"]) if usual else f"{row['env']}, {row['steps']:,} steps"


def true_returns(rows: Iterable[Row]) -> dict[tuple[str, str, int], list[float]]:
    """(env, arm, labels) → mean true return of each run that ended well, in the order of the seeds."""
    found: dict[tuple[str, str, int], list[float]] = {}
    for row in sorted(rows, key=lambda row: int(row["seed"])):
        if row["status"] == DONE:
            found.setdefault((env_of(row), row["arm"], row["labels"]), []).append(row["mean_return"])
    return found


def ends_of_scale(rows: Sequence[Row]) -> dict[str, tuple[float, float]]:
    """env → (return of random actions, mean return of PPO on the true reward), where both were run and the second is higher."""
    returns = true_returns(rows)
    found = {}
    for env, plain_env in {(env_of(row), row["env"]) for row in rows if row["arm"] == TRUE}:
        floor, top = returns.get((plain_env, CHANCE, 0)), returns.get((env, TRUE, 0))
        if floor and top and np.mean(top) > np.mean(floor):
            found[env] = (float(np.mean(floor)), float(np.mean(top)))
    return found


def scores(rows: Sequence[Row]) -> dict[tuple[str, int], dict[str, Array]]:
    """(arm, labels) → env → (R − R_random) / (R_true − R_random) of each run, [runs], in the order of the seeds.

    A run that failed scores 0: dropping it would flatter its arm.
    """
    ends = ends_of_scale(rows)
    found: dict[tuple[str, int], dict[str, list[float]]] = {}
    for row in sorted(rows, key=lambda row: int(row["seed"])):
        if row["arm"] == CHANCE or env_of(row) not in ends or (row["arm"] == TRUE and row["status"] != DONE):
            continue
        floor, top = ends[env_of(row)]
        score = (row["mean_return"] - floor) / (top - floor) if row["status"] == DONE else 0.0
        found.setdefault((row["arm"], row["labels"]), {}).setdefault(env_of(row), []).append(score)
    return {group: {env: np.array(values) for env, values in by_env.items()} for group, by_env in found.items()}


# ------------------------------------------------------------------ statistics


def iqm(values: Array) -> Array:
    """Mean of the middle half of the last axis, [..., N] → [...]: a quarter, rounded down, is cut at each end."""
    cut = values.shape[-1] // 4
    middle: Array = np.sort(values, axis=-1)[..., cut : values.shape[-1] - cut].mean(axis=-1)
    return middle


def interquartile_mean(strata: Strata, resamples: int = RESAMPLES) -> Estimate:
    """IQM over all runs of all envs, with its stratified bootstrap interval: runs are drawn again within each env."""
    pooled = np.concatenate(strata)
    low, high = _interval(lambda rng: iqm(np.concatenate([_again(s, rng, resamples) for s in strata], axis=1)))
    return Estimate(float(iqm(pooled)), low, high, len(pooled), float(pooled.min()))


def improvement(first: Strata, second: Strata, resamples: int = RESAMPLES) -> Estimate:
    """P(a run of the first arm beats one of the second in the same env), ties half, mean over envs (Mann–Whitney's U)."""

    def chance(pairs: Iterable[tuple[Array, Array]]) -> Array:
        """Pairs of [..., N] and [..., M] → [...]."""
        wins = [np.sign(x[..., :, None] - y[..., None, :]).mean(axis=(-2, -1)) for x, y in pairs]
        return np.asarray((np.mean(wins, axis=0) + 1) / 2)

    pairs = list(zip(first, second, strict=True))
    low, high = _interval(lambda rng: chance((_again(x, rng, resamples), _again(y, rng, resamples)) for x, y in pairs))
    return Estimate(float(chance(pairs)), low, high, sum(map(len, first)))


def labels_to(level: float, curve: Mapping[int, float]) -> int | None:
    """The fewest labels from which on the score stays at that level, of the budgets that were run; None if there are none."""
    enough = None
    for labels in sorted(curve, reverse=True):
        if curve[labels] < level:
            break
        enough = labels
    return enough


def _again(values: Array, rng: np.random.Generator, times: int) -> Array:
    """Draws with replacement, [N] → [times, N]."""
    drawn: Array = values[rng.integers(len(values), size=(times, len(values)))]
    return drawn


def _interval(resampled: Callable[[np.random.Generator], Array]) -> tuple[float, float]:
    """The percentile interval of a resampled figure; the same rows always give the same one."""
    tail = (1 - COVERED) / 2
    low, high = np.quantile(resampled(np.random.default_rng(0)), [tail, 1 - tail])
    return float(low), float(high)
