"""What pages may do in a run, and what a page may change of it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from rltrainer.config import Config
from rltrainer.core import Strength, UserError, Verdict
from rltrainer.labeling.messages import LabelMessage, Rules

CHANGEABLE = (
    "labeling.allow_ties",
    "labeling.allow_skipping",
    "labeling.allow_editing",
    "labeling.allow_reasons",
    "labeling.queue_size",
    "clips.speed",
    "clips.frame_rate",
)
"""Settings that an unrestricted page may change while the run goes on."""

TIES = (Verdict.EQUAL, Verdict.BOTH_BAD)


def watching(config: Config) -> bool:
    """Whether an oracle answers and pages only look on."""
    return config.labeler == "oracle"


def rules_of(config: Config) -> Rules:
    """What the settings mean to a page."""
    labeling, clips = config.labeling, config.clips
    return Rules(
        allow_editing=labeling.allow_editing,
        allow_reasons=labeling.allow_reasons,
        allow_skipping=labeling.allow_skipping,
        allow_ties=labeling.allow_ties,
        config_restricted=labeling.config_restricted,
        speed=clips.speed,
        frame_rate=clips.frame_rate,
        queue_size=labeling.queue_size,
    )


def objection(message: LabelMessage, config: Config) -> str | None:
    """Why the rules do not allow a label, in a sentence; None where they do."""
    verdict, labeling = message.verdict, config.labeling
    names_one = message.preferred is not None
    broken = {
        "an oracle answers in this run, pages only watch (labeler)": watching(config),
        "ties are off in this run (labeling.allow_ties)": verdict in TIES and not labeling.allow_ties,
        "skipping is off in this run (labeling.allow_skipping)": verdict is Verdict.SKIP and not labeling.allow_skipping,
        "trimming is off in this run (labeling.allow_editing)": message.trims and not labeling.allow_editing,
        "reasons are off in this run (labeling.allow_reasons)": message.reason and not labeling.allow_reasons,
        "an undo has no trims and no reason": (message.trims or message.reason) and verdict is Verdict.UNDO,
        "'prefer' names a segment, and nothing else does": (verdict is Verdict.PREFER) != names_one,
        "only 'prefer' has a strength": verdict is not Verdict.PREFER and message.strength is not Strength.PLAIN,
    }
    return next((rule for rule, is_broken in broken.items() if is_broken), None)


def checked(changes: Mapping[str, Any], config: Config) -> dict[str, Any]:
    """Changes that an admin's page asks for, as the config understands them. Raises UserError."""
    foreign = next((name for name in changes if name not in CHANGEABLE), None)
    if foreign is not None:
        raise UserError(f"the page may not change {foreign!r}; it may change {', '.join(CHANGEABLE)}")
    settings = config.but(changes, "settings").model_dump()
    return {name: settings[section][field] for name in changes for section, _, field in [name.partition(".")]}
