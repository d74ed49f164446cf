"""What a report says, as plain values."""

from __future__ import annotations

import json
import math
import time
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

from rltrainer.agreement import Agreement, Work, agreements, judgements, work
from rltrainer.config import Config
from rltrainer.core import Label
from rltrainer.store import Store

MOST_POINTS = 500
"""Points of a curve: more cannot be told apart on a page."""

Point = tuple[float, float]
P = TypeVar("P")


@dataclass(frozen=True)
class Figures:
    """All that is known of how a run went. None stands where nothing is known.

    state:     the trainer's newest progress event, its own words included
    counts:    pairs asked and waiting, labels and skipped pairs (`Store.counts`)
    accuracy:  (step, share of held-out answers foretold); accuracy_range: its 95% interval at the same steps, (step, low, high)
    returns:   (step, the env's own return)
    given:     by labeler: (seconds since the run began, labels that stand)
    changes:   settings changed while the run went on
    config:    every setting as the run began, by dotted name; of those in `chosen` the value is not the default
    """

    run: str
    folder: str
    env: str
    created_at: float
    made_at: float
    state: Mapping[str, Any]
    counts: Mapping[str, int]
    labelers: Sequence[Work]
    agreements: Sequence[Agreement]
    accuracy: Sequence[Point]
    accuracy_range: Sequence[tuple[float, float, float]]
    returns: Sequence[Point]
    given: Mapping[str, Sequence[Point]]
    changes: Sequence[Mapping[str, Any]]
    config: Mapping[str, Any]
    chosen: Sequence[str]


def gather(run: Path) -> Figures:
    """Read a run's figures from its store, also while it trains and is labelled. Raises UserError where there is no store."""
    store = Store.open(run)
    try:
        own = [label for label in store.labels() if not label.inherited]
        standing = [label for label in store.standing_labels() if not label.inherited]
        queries = store.judged()
        progress = went(store.events("progress"))
        config, default = flat(store.fact("config")), flat(Config().model_dump(mode="json"))
        return Figures(
            run=store.fact("run"),
            folder=run.resolve().name,
            env=store.fact("env")["id"],
            created_at=store.fact("created_at"),
            made_at=time.time(),
            state=spoken(progress[-1]) if progress else {},
            counts=store.counts(),
            labelers=work(own, standing, queries),
            agreements=agreements(judgements(standing, queries)),
            accuracy=thinned(curve(progress, "held_out_accuracy")),
            accuracy_range=thinned(interval(progress)),
            returns=thinned(curve(progress, "true_return")),
            given=over_time(standing, store.fact("created_at")),
            changes=store.settings_changed(),
            config=config,
            chosen=sorted(name for name, value in config.items() if value != default.get(name)),
        )
    finally:
        store.close()


def went(events: Iterable[Mapping[str, Any]]) -> list[Mapping[str, Any]]:
    """Progress events in the order of their steps: what a run that went back to a checkpoint did after it, it does anew."""
    kept: list[Mapping[str, Any]] = []
    for event in events:
        while kept and (kept[-1].get("step") or 0) > (event.get("step") or 0):
            kept.pop()
        kept.append(event)
    return kept


def spoken(event: Mapping[str, Any]) -> dict[str, Any]:
    """An event as JSON can say it: what is no number becomes None."""
    said: dict[str, Any] = json.loads(json.dumps(event), parse_constant=lambda _: None)
    return said


def flat(settings: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    """Settings by dotted name. What an env is made with is one value."""
    found: dict[str, Any] = {}
    for name, value in settings.items():
        sections = isinstance(value, Mapping) and name != "env_options"
        found |= flat(value, f"{prefix}{name}.") if sections else {prefix + name: value}
    return found


def curve(progress: Iterable[Mapping[str, Any]], name: str) -> list[Point]:
    """(step, value) wherever the value is a new one."""
    points: list[Point] = []
    for event in progress:
        value = event.get(name)
        if value is None or not math.isfinite(value) or (points and points[-1][1] == value):
            continue
        points.append((float(event.get("step") or 0), float(value)))
    return points


def interval(progress: Iterable[Mapping[str, Any]]) -> list[tuple[float, float, float]]:
    """(step, low, high) of the held-out accuracy, wherever it is a new one."""
    points: list[tuple[float, float, float]] = []
    for event in progress:
        found = event.get("diagnosis") or {}
        low, high = found.get("accuracy_low"), found.get("accuracy_high")
        if low is not None and high is not None and (not points or points[-1][1:] != (low, high)):
            points.append((float(event.get("step") or 0), low, high))
    return points


def over_time(standing: Iterable[Label], begun: float) -> dict[str, list[Point]]:
    """By labeler: (seconds since the run began, how many labels), one point for each label."""
    found: dict[str, list[Point]] = {}
    for label in sorted(standing, key=lambda label: label.created_at):
        points = found.setdefault(label.labeler, [])
        points.append((max(0.0, label.created_at - begun), float(len(points) + 1)))
    return {labeler: thinned(points) for labeler, points in found.items()}


def thinned(points: Sequence[P]) -> list[P]:
    """At most MOST_POINTS of them, the first and the last among these."""
    if len(points) <= MOST_POINTS:
        return list(points)
    return [points[round(place * (len(points) - 1) / (MOST_POINTS - 1))] for place in range(MOST_POINTS)]
