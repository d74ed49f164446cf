"""What the service owes whom for a message: the protocol read once more, by none of the service's own code.

benchmarks.fuzz sends messages and compares. Where the two readings differ, one of them is wrong.
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

from rltrainer.core import Query

PROTOCOL = 4
LONGEST = 16 * 1024
"""Bytes of a message."""

REPORT = "the report"

Want = Literal["ack", "refused", "either", "nothing", "welcome", "report", "closed"]
Fields = dict[str, Any]


@dataclass(frozen=True)
class Owed:
    """An answer that is to come.

    name:  the label that it names, if it names one, or `REPORT`
    codes: with which the connection may be closed instead of it, or after it
    """

    want: Want
    name: str | None = None
    codes: frozenset[int] = frozenset()


# ------------------------------------------------------------------ what a text says


def understood(text: str) -> Fields | None:
    """The fields of a message from a page, those left out included; None where it has to be refused."""
    try:
        message = json.loads(text, object_pairs_hook=_once, parse_constant=_none_such)
        json.dumps(message, ensure_ascii=False).encode()  # no lone surrogates
    except (ValueError, RecursionError):
        return None
    if not isinstance(message, dict) or not isinstance(message.get("type"), str):
        return None
    shape = SHAPES.get(message["type"])
    if shape is None or message.keys() - shape.keys() - {"type"}:
        return None
    filled = {name: default for name, (_, default) in shape.items() if default is not NEEDED} | message
    fits = all(name in filled and check(filled[name]) for name, (check, _) in shape.items())
    return filled if fits else None


def named(text: str) -> str | None:
    """The label that a refusal of a text that is not understood names, so that it leaves its page's outbox."""
    try:
        found = json.loads(text)
    except (ValueError, RecursionError):
        return None
    name = found.get("label_id") if isinstance(found, dict) else None
    return name if _is_id(name) else None


def _once(pairs: list[tuple[str, Any]]) -> Fields:
    if len(dict(pairs)) < len(pairs):
        raise ValueError("a key twice")
    return dict(pairs)


def _none_such(constant: str) -> Any:
    raise ValueError(constant)


def _text(most: int) -> Callable[[Any], bool]:
    return lambda value: isinstance(value, str) and len(value) <= most


def _is_id(value: Any) -> bool:
    return isinstance(value, str) and re.fullmatch(r"[A-Za-z0-9_-]{1,64}", value) is not None


def _is_whole(value: Any, least: int, most: int) -> bool:
    return type(value) is int and least <= value <= most


def _is_trim(value: Any) -> bool:
    return isinstance(value, list) and len(value) == 2 and _is_whole(value[0], 0, 100_000) and _is_whole(value[1], 1, 100_000)


def _is_setting(value: Any) -> bool:
    return value is None or isinstance(value, bool) or (isinstance(value, int | float) and abs(value) <= 2**53)


def _one_of(*words: str) -> Callable[[Any], bool]:
    return lambda value: isinstance(value, str) and value in words


NEEDED = object()
SHAPES: dict[str, dict[str, tuple[Callable[[Any], bool], Any]]] = {
    "hello": {
        "protocol": (lambda value: type(value) is int, PROTOCOL),
        "token": (_text(128), NEEDED),
        "holds": (lambda value: isinstance(value, list) and len(value) <= 16 and all(map(_is_id, value)), []),
    },
    "label": {
        "label_id": (_is_id, NEEDED),
        "query_id": (_is_id, NEEDED),
        "verdict": (_one_of("prefer", "equal", "both_bad", "skip", "undo"), NEEDED),
        "preferred": (lambda value: value is None or _is_id(value), None),
        "trims": (
            lambda value: (
                isinstance(value, dict) and len(value) <= 2 and all(map(_is_id, value)) and all(map(_is_trim, value.values()))
            ),
            {},
        ),
        "strength": (_one_of("slightly", "plain", "much"), "plain"),
        "reason": (_text(200), ""),
    },
    "settings": {
        "changes": (
            lambda value: isinstance(value, dict) and len(value) <= 8 and all(map(_is_setting, value.values())),
            NEEDED,
        )
    },
    "pause": {"paused": (lambda value: isinstance(value, bool), NEEDED)},
    "here": {},
    "report": {},
}

# ------------------------------------------------------------------ what may be set

SWITCHES = ("allow_ties", "allow_skipping", "allow_editing", "allow_reasons")


def _is_number(value: Any, least: float, most: float) -> bool:
    return not isinstance(value, bool) and isinstance(value, int | float) and least <= value <= most


SETTABLE: dict[str, Callable[[Any], bool]] = {
    **{f"labeling.{name}": lambda value: value in (True, False) for name in SWITCHES},  # 0 and 1 are understood, too
    "labeling.queue_size": lambda value: _is_number(value, 1, 100_000) and value == math.floor(value),
    "clips.speed": lambda value: _is_number(value, math.ulp(0.0), 16),
    "clips.frame_rate": lambda value: value is None or _is_number(value, 1, 240),
}

# ------------------------------------------------------------------ what a run owes


@dataclass(frozen=True)
class Asked:
    """A label as somebody sent it, and what was owed for it."""

    labeler: str
    said: Fields
    want: Want


@dataclass
class Run:
    """What has been asked of the service, and what should have come of it.

    said:   the newest verdict of each (query, labeler); None where nobody can know it
    labels: what was sent under each label id
    acked:  the label ids that were called saved
    """

    steps: int
    pairs: dict[str, Query] = field(default_factory=dict)
    said: dict[tuple[str, str], str | None] = field(default_factory=dict)
    labels: dict[str, list[Asked]] = field(default_factory=dict)
    acked: set[str] = field(default_factory=set)
    settings: list[tuple[str, Fields]] = field(default_factory=list)
    pauses: list[tuple[str, bool]] = field(default_factory=list)
    rules: Fields = field(default_factory=dict)

    def greeted(self, text: str, good: Iterable[str]) -> Owed:
        """For a first message. good: tokens that let somebody in"""
        hello = understood(text)
        if hello is None or hello["type"] != "hello":
            return Owed("closed", codes=frozenset({1008}))
        if hello["protocol"] != PROTOCOL:
            return Owed("refused", codes=frozenset({4400}))
        if hello["token"] not in good:
            return Owed("closed", codes=frozenset({4401, 1013}))  # 4401 after a word, 1013 where many are tried
        return Owed("welcome")

    def heard(self, text: str, labeler: str, *, admin: bool, rash: bool) -> Owed:  # noqa: PLR0911 - a row for each type
        """For any other. rash: sent before the answers to those before it were there"""
        message = understood(text)
        if message is None:
            return Owed("refused", named(text))
        match message["type"]:
            case "label":
                return self._label(message, labeler, rash=rash)
            case "here":
                return Owed("nothing")
            case "hello":
                return Owed("refused")
            case _ if not admin:
                return Owed("refused")
            case "settings":
                return self._settings(message["changes"], labeler)
            case "pause":
                self.pauses.append((labeler, message["paused"]))
                return Owed("nothing")
            case _:
                return Owed("report", REPORT)

    def _label(self, message: Fields, labeler: str, *, rash: bool) -> Owed:
        name, key, due = message["label_id"], (message["query_id"], labeler), self._due(message, labeler)
        if name in self.acked:  # a resend, whatever else it says
            return Owed("ack", name)
        sent = self.labels.setdefault(name, [])
        sent.append(Asked(labeler, message, due))
        if len(sent) > 1 and rash:  # which of them came first, nobody knows
            self.said |= {(asked.said["query_id"], asked.labeler): None for asked in sent if asked.want != "refused"}
            return Owed("either", name)
        if due == "refused":
            return Owed(due, name)
        unsure = due == "either" or (rash and message["verdict"] == "undo")
        self.said[key] = None if unsure else message["verdict"]
        return Owed("either" if unsure else due, name)

    def _due(self, message: Fields, labeler: str) -> Want:
        verdict, preferred, trims, rules = message["verdict"], message["preferred"], message["trims"], self.rules
        pair = self.pairs.get(message["query_id"])
        segments = {pair.first, pair.second} if pair else set()
        before = self.said.get((message["query_id"], labeler), "undo")
        wrong = (
            pair is None,
            verdict in ("equal", "both_bad") and not rules["allow_ties"],
            verdict == "skip" and not rules["allow_skipping"],
            trims and (not rules["allow_editing"] or verdict == "undo"),
            message["reason"] and (not rules["allow_reasons"] or verdict == "undo"),
            (verdict == "prefer") != (preferred is not None),
            verdict != "prefer" and message["strength"] != "plain",
            {*trims, *([preferred] if preferred else [])} - segments,
            any(first >= end for first, end in trims.values()),
            verdict == "undo" and before == "undo",
        )
        if any(wrong):
            return "refused"
        unsure = trims or (verdict == "undo" and before is None)  # a clip's frames are the service's to know
        return "either" if unsure else "ack"

    def _settings(self, changes: Mapping[str, Any], labeler: str) -> Owed:
        if not all(name in SETTABLE and SETTABLE[name](value) for name, value in changes.items()):
            return Owed("refused")
        self.settings.append((labeler, dict(changes)))
        self.rules |= {name.partition(".")[2]: value for name, value in changes.items()}
        return Owed("nothing")

    # ------------------------------------------------------------------ what a row may say

    def wrong_with(self, row: Mapping[str, Any]) -> str | None:
        """What is wrong with a row of the labels' table, by its columns, trims as a dictionary; None where it was asked for."""
        sent = self.labels.get(row["id"], [])
        if not sent:
            return "nobody sent it"
        if not any(asked.labeler == row["labeler"] for asked in sent):
            return f"it was sent by {sorted({asked.labeler for asked in sent})}"
        fitting = [asked for asked in sent if asked.labeler == row["labeler"] and self._says(asked.said, row)]
        if not fitting:
            return "it says what was not sent"
        return "it should have been refused" if all(asked.want == "refused" for asked in fitting) else None

    def _says(self, said: Fields, row: Mapping[str, Any]) -> bool:
        same = all(row[name] == said[name] for name in ("query_id", "verdict", "preferred", "strength"))
        inside = all(0 <= first < end <= self.steps for first, end in row["trims"].values())
        return same and row["reason"] == said["reason"].strip() and row["trims"].keys() == said["trims"].keys() and inside
