"""How a run stands, in the words that pages are told."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from rltrainer.config import Config
from rltrainer.labeling.curves import finite
from rltrainer.labeling.messages import Status


def status_of(
    counts: Mapping[str, int], progress: Mapping[str, Any], config: Config, *, paused: bool, trouble: str | None
) -> Status:
    """
    counts:   `Store.counts`
    progress: the trainer's newest progress event, or nothing
    trouble:  why no pair can be shown, which is then what there is to say
    """
    step, pace = int(progress.get("step") or 0), finite(progress.get("steps_per_second"))
    next_at = progress.get("next_pair_at")
    return Status(
        phase=progress.get("phase") or "starting",
        paused=paused,
        message=f"Pairs cannot be shown: {trouble}" if trouble else progress.get("message") or "",
        labels=counts["labels"],
        skipped=counts["skipped"],
        wanted=config.labels,
        waiting=counts["waiting"],
        step=step,
        steps=int(progress.get("steps") or config.steps),
        steps_per_second=pace,
        held_out_accuracy=finite(progress.get("held_out_accuracy")),
        verdict=(progress.get("diagnosis") or {}).get("verdict", ""),
        true_return=finite(progress.get("true_return")),
        reward_version=int(progress.get("reward_version") or 0) if config.models_reward else None,
        next_pair_seconds=max(0, next_at - step) / pace if next_at is not None and pace else None,
    )
