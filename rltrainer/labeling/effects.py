"""What goes between the session and its shell: effects to carry out, and what the events about store and clips hold."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from rltrainer.config import Clips
from rltrainer.core import Answer, Label, Query, Range
from rltrainer.labeling import messages as wire


@dataclass(frozen=True)
class Admit:
    """A page has said a link that is good."""

    page: int


@dataclass(frozen=True)
class Send:
    """A text message for one page."""

    page: int
    message: wire.Message


@dataclass(frozen=True)
class SendPair:
    """A binary message for one page."""

    page: int
    header: wire.PairHeader
    videos: tuple[bytes, bytes]


@dataclass(frozen=True)
class Close:
    """End one connection, after what was sent to it before."""

    page: int
    code: int
    reason: str


@dataclass(frozen=True)
class Slow:
    """Read this page's next message so many seconds later."""

    page: int
    seconds: float


@dataclass(frozen=True)
class SaveLabel:
    """Commit an answer; then `Session.saved`, or `Session.not_saved`."""

    label_id: str
    query_id: str
    labeler: str
    answer: Answer


@dataclass(frozen=True)
class Lease:
    """Note in the store, for the trainer, that these pairs are being looked at."""

    query_ids: tuple[str, ...]
    labeler: str
    seconds: float


@dataclass(frozen=True)
class Release:
    """Note in the store that nobody looks at these pairs any more."""

    query_ids: tuple[str, ...]


@dataclass(frozen=True)
class ChangeSettings:
    """Record changed settings; they come into force with the next snapshot."""

    changes: Mapping[str, Any]
    labeler: str


@dataclass(frozen=True)
class Pause:
    """Ask the trainer to rest, or to go on."""

    paused: bool
    labeler: str


@dataclass(frozen=True)
class MakeClips:
    """Render one pair; then `Session.clips_ready`, or `Session.clips_failed`. There is one of these at a time."""

    query_id: str
    clips: Clips


@dataclass(frozen=True)
class MakeReport:
    """Make the run's report, and tell this page alone where it is."""

    page: int


Effect = Admit | Send | SendPair | Close | Slow | SaveLabel | Lease | Release | ChangeSettings | Pause | MakeClips | MakeReport

# ------------------------------------------------------------------ what events carry


@dataclass(frozen=True)
class Pair:
    """Both clips of a query, encoded. `steps`: how many env steps each shows."""

    header: wire.PairHeader
    videos: tuple[bytes, bytes]
    steps: tuple[int, int]

    def lengths(self) -> dict[str, Range]:
        """(frames, steps) of each clip, by segment."""
        return {clip.segment_id: (clip.frames, steps) for clip, steps in zip(self.header.clips, self.steps, strict=True)}


@dataclass(frozen=True)
class Snapshot:
    """The store at one moment.

    waiting:  queries without an answer, oldest first
    labels:   what came since the last snapshot, in the store's order
    leased:   labeler by query id
    settings: changed while the run goes on, by dotted name
    paused:   whether the trainer is asked to rest
    """

    waiting: Sequence[Query] = ()
    labels: Sequence[Label] = ()
    leased: Mapping[str, str] = field(default_factory=dict)
    settings: Mapping[str, Any] = field(default_factory=dict)
    paused: bool = False
