"""A reward model from all labels of a run at once, with no env: from the store alone."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from rltrainer.config import Reward
from rltrainer.core import Comparison, FitReport, Learner, Segment, UserError
from rltrainer.diagnostics import Diagnosis, diagnose
from rltrainer.rewards import make_learner
from rltrainer.seeds import Seeds
from rltrainer.sizes import Sizes
from rltrainer.store import Store

EPOCHS = 25
LEAST_FITS = 12
"""Online a label is gone through about as often; the held-out loss is flat from there on (Pendulum-v1, 75 labels)."""
REFERENCE_SEGMENTS = 64
RECENT_SEGMENTS = 32
"""Segments of the newest policy on which a reward is judged."""


@dataclass(frozen=True)
class Refit:
    """A reward model, and what its last fit found."""

    learner: Learner
    report: FitReport
    diagnosis: Diagnosis


def fit_through(
    learner: Learner,
    comparisons: Sequence[Comparison],
    reference: Sequence[Segment],
    settings: Reward,
    watch: Callable[[int, int, FitReport], None] = lambda done, fits, report: None,
) -> FitReport:
    """As many of the learner's bounded fits as it takes to go through the comparisons `EPOCHS` times, or to settle.

    watch: told after each one how many are done, of how many, and what it found
    """
    fits = max(LEAST_FITS, math.ceil(EPOCHS * len(comparisons) / (settings.batch * settings.fit_steps)))
    for done in range(1, fits + 1):
        report = learner.fit(comparisons, reference)
        watch(done if not report.settled else fits, fits, report)
        if report.settled:
            break
    return report


def refit(store: Store, settings: Reward, seed: int, watch: Callable[[int, int, FitReport], None]) -> Refit:
    """A new reward model from a run's standing labels. Raises UserError where there is nothing to learn from.

    It is normalised on the segments that were judged first, as online on those of the warm-up, and compared with the true
    reward on those judged last. Not by the policy's age: another run's labels came first, of however old a policy.
    """
    comparisons = stored_comparisons(store)
    if not comparisons:
        raise UserError(f"{str(store.folder)!r} holds no labels to learn from; label it first: rltrainer label {store.folder}")
    sizes = Sizes.stored(store)
    learner = make_learner(sizes, settings, Seeds.of(seed).learner)
    shown = {segment.id: segment for comparison in comparisons for segment in (comparison.first, comparison.second)}
    judged = list(shown.values())
    report = fit_through(learner, comparisons, judged[:REFERENCE_SEGMENTS], settings, watch)
    return Refit(learner, report, diagnose(comparisons, report, learner, judged[-RECENT_SEGMENTS:]))


def stored_comparisons(store: Store) -> list[Comparison]:
    """What the standing labels teach, in the order in which they were given."""
    found = []
    for label in store.standing_labels():
        query = store.query(label.query_id)
        assert query is not None  # a label's query is in its store: a foreign key holds that
        found.append(Comparison.of(label, query, store.segment))
    return [comparison for comparison in found if comparison is not None]


def table(found: Refit) -> list[tuple[str, str]]:
    """What there is to say of a reward model: (name, value) rows; what is not known is left out."""
    report, about = found.report, found.diagnosis
    rows = [("labels", str(about.labels))]
    if about.accuracy is not None:
        interval = f"{about.accuracy_low:.0%} to {about.accuracy_high:.0%}"
        rows.append(("held-out accuracy", f"{about.accuracy:.0%} (95%: {interval}, of {about.judged} answers)"))
    if report.held_out_loss is not None:
        rows.append(("held-out loss", f"{report.held_out_loss:.3f}"))
    if about.calibration_error is not None:
        rows.append(("calibration error (ECE)", f"{about.calibration_error:.3f}"))
    if about.consistency is not None:
        rows.append(("labeler's consistency", f"{about.consistency:.0%} of {about.repeats} pairs asked again"))
    if about.step_correlation is not None and about.return_correlation is not None:
        rows.append(("correlation with the true reward", f"{about.step_correlation:.2f}, step by step (Pearson)"))
        rows.append(("", f"{about.return_correlation:.2f}, returns of segments (Spearman)"))
    return rows
