"""The wire messages between page and label service. `tests/wire/*.json` holds an example of each, read by both sides' tests.

Text messages are JSON objects with a `type`. A pair is one binary message: the length of its header (4 bytes, big-endian), the
header (JSON), then the videos of its two clips, one after the other.
"""

from __future__ import annotations

import json
import struct
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, TypeAdapter, ValidationError

from rltrainer.core import REASON_LENGTH, Strength, Verdict

PROTOCOL = 4
INBOUND_LIMIT = 16 * 1024
MOST_HELD = 16
MOST_POINTS = 200

Id = Annotated[str, Field(min_length=1, max_length=64, pattern=r"^[A-Za-z0-9_-]+$")]
Whole = Annotated[int, Field(ge=-(2**53), le=2**53)]
Number = Annotated[float, Field(ge=-(2**53), le=2**53)]
"""What JavaScript counts exactly: no larger numbers are taken."""
FrameRange = tuple[Annotated[int, Field(ge=0, le=100_000)], Annotated[int, Field(ge=1, le=100_000)]]


class Message(BaseModel):
    """A closed schema: a field too many, too few or of another type is refused."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True, allow_inf_nan=False)


# ------------------------------------------------------------------ page → service


class Hello(Message):
    """The first message, within five seconds: who is there. A page that comes back `holds` pairs that it was sent before."""

    type: Literal["hello"] = "hello"
    protocol: int = PROTOCOL
    token: Annotated[str, Field(max_length=128)]
    holds: Annotated[list[Id], Field(max_length=MOST_HELD)] = Field(default_factory=list)


class LabelMessage(Message):
    """One answer. `label_id` is made by the page; a resend carries the same one. Trims are frames [first, end) of a clip.

    An answer that leaves open how much better the preferred clip is has no `strength`.
    """

    type: Literal["label"] = "label"
    label_id: Id
    query_id: Id
    verdict: Annotated[Verdict, Field(strict=False)]
    preferred: Id | None = None
    trims: Annotated[dict[Id, Annotated[FrameRange, Field(strict=False)]], Field(max_length=2)] = Field(default_factory=dict)
    strength: Annotated[Strength, Field(strict=False)] = Strength.PLAIN
    reason: Annotated[str, Field(max_length=REASON_LENGTH)] = ""


class SettingsMessage(Message):
    """Settings that the panel of an unrestricted page changes, by dotted name."""

    type: Literal["settings"] = "settings"
    changes: Annotated[dict[str, bool | Whole | Number | None], Field(max_length=8)]


class Here(Message):
    """Somebody is at the page: what it holds stays there. Sent now and then while keys or the pointer move."""

    type: Literal["here"] = "here"


class ReportMessage(Message):
    """An admin's page asks for the run's report; `ReportReady` is the answer."""

    type: Literal["report"] = "report"


class PauseMessage(Message):
    """Training is to rest at its next boundary, or to go on."""

    type: Literal["pause"] = "pause"
    paused: bool


FromPage = Hello | LabelMessage | SettingsMessage | PauseMessage | Here | ReportMessage
Inbound = Annotated[FromPage, Field(discriminator="type")]
_INBOUND: TypeAdapter[FromPage] = TypeAdapter(Inbound)


# ------------------------------------------------------------------ service → page


class Rules(Message):
    """What the labeler may do, and how clips play. Sent with the welcome and again when it changes."""

    type: Literal["rules"] = "rules"
    allow_editing: bool
    allow_reasons: bool
    allow_skipping: bool
    allow_ties: bool
    config_restricted: bool
    speed: float
    frame_rate: float | None
    queue_size: int


class Welcome(Message):
    """The page is let in. In mode "watch" an oracle answers and the page only shows its choices. An admin may do more.

    saved: answers of this labeler's that stand
    """

    type: Literal["welcome"] = "welcome"
    protocol: int = PROTOCOL
    run: str
    env: str
    labeler: str
    admin: bool
    mode: Literal["label", "watch"]
    task: str
    notice: str | None
    saved: int
    rules: Rules


class ClipHeader(Message):
    """One clip of a pair: `bytes` of H.264 in MP4; frame i shows what the step at its place led to."""

    segment_id: Id
    bytes: int
    frames: int
    frame_rate: float
    width: int
    height: int


class AnswerHeader(Message):
    """What the oracle said of a pair (mode "watch")."""

    verdict: Annotated[Verdict, Field(strict=False)]
    preferred: Id | None
    labeler: str


class PairHeader(Message):
    """A pair to judge. The page shuffles left and right."""

    type: Literal["pair"] = "pair"
    query_id: Id
    clips: tuple[ClipHeader, ClipHeader]
    answer: AnswerHeader | None = None


class Ack(Message):
    """The label is durable: only now may the page say "saved". `saved` as in the welcome."""

    type: Literal["ack"] = "ack"
    label_id: Id
    saved: int


class Refused(Message):
    """A message was not taken, and why, in a sentence. A refused label leaves the outbox."""

    type: Literal["refused"] = "refused"
    label_id: Id | None
    reason: str


class Withdrawn(Message):
    """Pairs that need no answer any more."""

    type: Literal["withdrawn"] = "withdrawn"
    query_ids: list[Id]


class Status(Message):
    """What the run is doing and what the labels do, once a second while it changes.

    paused: what a page asked for; the phase is "paused" once training rests
    reward_version: None where no reward is learned
    next_pair_seconds: until another pair may be asked, at the pace of now; None where nobody knows
    """

    type: Literal["status"] = "status"
    phase: Literal["starting", "warmup", "training", "paused", "finished", "stopped"]
    paused: bool
    message: str
    labels: int
    skipped: int
    wanted: int
    waiting: int
    step: int
    steps: int
    steps_per_second: float | None
    held_out_accuracy: float | None
    verdict: str
    true_return: float | None
    reward_version: int | None
    next_pair_seconds: float | None


CurvePoint = tuple[int, float | None, float | None, int]
"""Step, held-out accuracy, the env's own return, version of the reward: as in `Status`."""


class Curves(Message):
    """How the run went until the page came, by steps. The page goes on with what each status says."""

    type: Literal["curves"] = "curves"
    points: Annotated[list[CurvePoint], Field(max_length=MOST_POINTS)]


class Predicted(Message):
    """What a version of the reward pays along the frames of both clips of a pair that the page has, by segment.

    Never sent where the config is restricted: who sees it answers less freely.
    """

    type: Literal["predicted"] = "predicted"
    query_id: Id
    version: int
    rewards: dict[Id, list[float]]


class ReportReady(Message):
    """Where the report is, for this page alone and while it is connected; or why there is none."""

    type: Literal["report_ready"] = "report_ready"
    path: str | None
    reason: str


FromService = Welcome | Rules | Status | Curves | Ack | Refused | Withdrawn | Predicted | ReportReady
Outbound = Annotated[FromService, Field(discriminator="type")]
_OUTBOUND: TypeAdapter[FromService] = TypeAdapter(Outbound)


def read(text: str) -> FromPage:
    """A message from a page. Raises ValueError with a sentence fit to send back."""
    try:
        message = _INBOUND.validate_json(text)
    except ValidationError as error:
        first = error.errors(include_url=False, include_input=False)[0]
        place = ".".join(str(part) for part in first["loc"]) or "message"
        raise ValueError(f"message not understood: {place}: {first['msg']}") from None
    json.loads(text, object_pairs_hook=_each_once)
    return message


def _each_once(fields: list[tuple[str, Any]]) -> None:
    """Raises ValueError for a key that is there twice: readers differ over which of them counts."""
    names = [name for name, _ in fields]
    twice = next((name for name in names if names.count(name) > 1), None)
    if twice is not None:
        raise ValueError(f"message not understood: {twice}: it is there twice")


def heard(text: str) -> FromService:
    """A text message from the service. Raises ValidationError."""
    return _OUTBOUND.validate_json(text)


def pack_pair(header: PairHeader, videos: tuple[bytes, bytes]) -> bytes:
    """The binary message of a pair."""
    head = header.model_dump_json().encode()
    return struct.pack(">I", len(head)) + head + videos[0] + videos[1]


def unpack_pair(message: bytes) -> tuple[PairHeader, tuple[bytes, bytes]]:
    """The inverse of `pack_pair`."""
    (length,) = struct.unpack_from(">I", message)
    fields: dict[str, Any] = json.loads(message[4 : 4 + length])
    header = PairHeader.model_validate_json(json.dumps(fields))
    middle = 4 + length + header.clips[0].bytes
    return header, (message[4 + length : middle], message[middle : middle + header.clips[1].bytes])
