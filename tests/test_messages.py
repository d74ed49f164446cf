"""Facts about the wire: the examples in tests/wire are what both sides read and write, and nothing else gets in."""

from __future__ import annotations

import json
from pathlib import Path
from typing import get_args

import pytest
from pydantic import ValidationError

from rltrainer.core import Strength, Verdict
from rltrainer.labeling import messages as wire

EXAMPLES = Path(__file__).parent / "wire"

KINDS: dict[str, type[wire.Message]] = {
    "ack": wire.Ack,
    "curves": wire.Curves,
    "hello": wire.Hello,
    "here": wire.Here,
    "label": wire.LabelMessage,
    "label_both_bad": wire.LabelMessage,
    "label_equal": wire.LabelMessage,
    "label_much": wire.LabelMessage,
    "label_undo": wire.LabelMessage,
    "pause": wire.PauseMessage,
    "pair_header": wire.PairHeader,
    "pair_header_watched": wire.PairHeader,
    "predicted": wire.Predicted,
    "refused": wire.Refused,
    "report": wire.ReportMessage,
    "report_ready": wire.ReportReady,
    "rules": wire.Rules,
    "settings": wire.SettingsMessage,
    "status": wire.Status,
    "welcome": wire.Welcome,
    "withdrawn": wire.Withdrawn,
}
FROM_PAGES = [name for name, kind in KINDS.items() if kind in get_args(wire.FromPage)]


THREE_TRIMS = '{"a": [0, 1], "b": [0, 1], "c": [0, 1]}'


def example(name: str) -> str:
    return (EXAMPLES / f"{name}.json").read_text()


def test_every_message_has_an_example() -> None:
    assert {path.stem for path in EXAMPLES.glob("*.json")} == set(KINDS)


@pytest.mark.parametrize("name", KINDS)
def test_an_example_is_read_and_written_as_it_stands(name: str) -> None:
    message = KINDS[name].model_validate_json(example(name))
    assert json.loads(message.model_dump_json(exclude_unset=True)) == json.loads(example(name))


@pytest.mark.parametrize("name", FROM_PAGES)
def test_what_a_page_sends_is_known_by_its_type(name: str) -> None:
    assert wire.read(example(name)) == KINDS[name].model_validate_json(example(name))


@pytest.mark.parametrize("name", sorted(set(KINDS) - set(FROM_PAGES)))
def test_what_the_service_sends_is_not_taken_from_a_page(name: str) -> None:
    with pytest.raises(ValueError, match="message not understood"):
        wire.read(example(name))


@pytest.mark.parametrize("name", sorted({*KINDS} - {*FROM_PAGES, "pair_header", "pair_header_watched"}))
def test_what_the_service_says_is_known_by_its_type(name: str) -> None:
    assert wire.heard(example(name)) == KINDS[name].model_validate_json(example(name))


@pytest.mark.parametrize("name", FROM_PAGES)
def test_a_field_too_many_is_refused(name: str) -> None:
    with pytest.raises(ValueError, match="labeler"):
        wire.read(json.dumps({**json.loads(example(name)), "labeler": "somebody else"}))


@pytest.mark.parametrize(
    ("text", "names"),
    [
        ("", "message"),
        ("[]", "message"),
        ("left", "message"),
        ('{"type": "hello"}', "token"),
        ('{"type": "hello", "token": 5}', "token"),
        (json.dumps({"type": "hello", "token": "x" * 129}), "token"),
        ('{"type": "vote", "token": "x"}', "type|tag"),
        ('{"type": "label", "label_id": "", "query_id": "q", "verdict": "equal"}', "label_id"),
        ('{"type": "label", "label_id": "../up", "query_id": "q", "verdict": "equal"}', "label_id"),
        ('{"type": "label", "label_id": "l", "query_id": 7, "verdict": "equal"}', "query_id"),
        ('{"type": "label", "label_id": "l", "query_id": "q", "verdict": 0.5}', "verdict"),
        ('{"type": "label", "label_id": "l", "query_id": "q", "verdict": "left"}', "verdict"),
        ('{"type": "label", "label_id": "l", "query_id": "q", "verdict": "equal", "trims": {"s": [1]}}', "trims"),
        ('{"type": "label", "label_id": "l", "query_id": "q", "verdict": "equal", "trims": {"s": [-1, 4]}}', "trims"),
        ('{"type": "label", "label_id": "l", "query_id": "q", "verdict": "equal", "trims": {"s": [0.5, 4]}}', "trims"),
        ('{"type": "label", "label_id": "l", "query_id": "q", "verdict": "equal", "strength": "hugely"}', "strength"),
        ('{"type": "label", "label_id": "l", "query_id": "q", "verdict": "equal", "strength": null}', "strength"),
        (
            '{"type": "label", "label_id": "l", "query_id": "q", "verdict": "skip", "trims": ' + THREE_TRIMS + "}",
            "trims",
        ),
        (json.dumps({"type": "label", "label_id": "l", "query_id": "q", "verdict": "equal", "reason": "x" * 201}), "reason"),
        ('{"type": "label", "label_id": "l", "query_id": "q", "verdict": "equal", "reason": "\\ud800"}', "message"),
        ('{"type": "pause", "paused": "yes"}', "paused"),
        ('{"type": "settings", "changes": {"clips.speed": "fast"}}', "changes"),
        ('{"type": "settings", "changes": {"clips.speed": NaN}}', "changes|message"),
        ('{"type": "settings", "changes": {"labeling.queue_size": 90071992547409930}}', "changes"),
        ('{"type": "settings", "changes": {"clips.speed": 1e300}}', "changes"),
        ('{"type": "pause", "paused": true, "paused": false}', "paused: it is there twice"),
        (
            '{"type": "label", "label_id": "l", "query_id": "q", "verdict": "equal", "trims": {"s": [0, 1], "s": [0, 2]}}',
            "s: it is there twice",
        ),
    ],
)
def test_what_is_not_understood_is_refused_in_one_line(text: str, names: str) -> None:
    with pytest.raises(ValueError, match=f"message not understood: .*({names})") as refusal:
        wire.read(text)
    assert "\n" not in str(refusal.value)


def test_a_verdict_is_a_word_of_core() -> None:
    message = wire.read(example("label_undo"))
    assert isinstance(message, wire.LabelMessage)
    assert message.verdict is Verdict.UNDO


def test_a_page_that_says_no_strength_leaves_it_open() -> None:
    found = [wire.read(example(name)) for name in ("label", "label_much")]
    assert [message.strength for message in found if isinstance(message, wire.LabelMessage)] == [Strength.PLAIN, Strength.MUCH]


def header(first: bytes, second: bytes) -> wire.PairHeader:
    clips = [
        wire.ClipHeader(segment_id=name, bytes=len(video), frames=50, frame_rate=20.0, width=256, height=256)
        for name, video in (("seg-a", first), ("seg-b", second))
    ]
    return wire.PairHeader(query_id="q1", clips=(clips[0], clips[1]))


@pytest.mark.parametrize("videos", [(b"first", b"second one"), (b"", b"x"), (b"\x00\xff" * 1000, b"\x00\x00\x00\x01")])
def test_a_packed_pair_comes_out_as_it_went_in(videos: tuple[bytes, bytes]) -> None:
    packed = wire.pack_pair(header(*videos), videos)
    assert wire.unpack_pair(packed) == (header(*videos), videos)


def test_a_packed_pair_begins_with_the_length_of_its_header() -> None:
    packed = wire.pack_pair(header(b"ab", b"cd"), (b"ab", b"cd"))
    length = int.from_bytes(packed[:4], "big")
    assert json.loads(packed[4 : 4 + length])["query_id"] == "q1"
    assert packed[4 + length :] == b"abcd"


def test_a_number_that_is_none_is_not_sent() -> None:
    with pytest.raises(ValidationError):
        wire.Status.model_validate({**json.loads(example("status")), "true_return": float("nan")})
