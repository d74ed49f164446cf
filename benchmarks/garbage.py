"""Messages that nobody means well by: hostile JSON by families, and bytes changed at random from messages that are good."""

from __future__ import annotations

import json
import random
from collections.abc import Callable, Sequence
from typing import Any

Fields = dict[str, Any]

TOKENS = (
    b'{ } [ ] , : " \\ \\u0000 \\ud800 \\udfff NaN -Infinity 1e999 -0 1.0 0x1 null true false type label_id \xff \xc0\xaf '
    b"\xed\xa0\x80 \xef\xbb\xbf \xe2\x80\xae __proto__ constructor // /* ' `"
).split(b" ")
CHANGES = 6
KINDS = (
    *("welcome", "rules", "status", "curves", "ack", "refused", "withdrawn", "predicted", "report_ready", "pair", "answer"),
    *("hello", "label", "settings", "pause", "here", "report", "hello ", "LABEL", "lab\0el", "labels", ""),
)


def mutated(messages: Sequence[Fields], rng: random.Random) -> bytes:
    """One of the messages as JSON, with up to `CHANGES` changes to its bytes."""
    content = bytearray(json.dumps(rng.choice(messages)).encode())
    for _ in range(rng.randint(1, CHANGES)):
        start = rng.randint(0, len(content))
        end = min(len(content), start + rng.choice((0, 1, 1, 2, 4, 16)))
        match rng.randrange(6):
            case 0:
                content[start:end] = b""
            case 1:
                content[start:start] = rng.choice(TOKENS)
            case 2:
                content[start:end] = rng.randbytes(end - start)
            case 3:
                content[start:start] = content[start:end] * rng.choice((1, 2, 50))
            case 4:
                other = json.dumps(rng.choice(messages)).encode()
                content[start:end] = other[rng.randrange(len(other)) :][: rng.randint(1, 40)]
            case _ if start < len(content):
                content[start] ^= 1 << rng.randrange(8)
    return bytes(content)


def _with(message: Fields, rng: random.Random, value: Any) -> str:
    """The message with one of its fields, or a field within it, changed to that, which may be JSON's text."""
    changed = json.loads(json.dumps(message))
    where = changed
    name = rng.choice(list(where))
    if isinstance(where[name], dict) and where[name] and rng.random() < 0.7:
        where = where[name]
        name = rng.choice(list(where))
    where[name] = "VALUE"
    return json.dumps(changed).replace('"VALUE"', value if isinstance(value, str) else json.dumps(value), 1)


def _twice(message: Fields, rng: random.Random) -> str:
    """A key twice, here or within."""
    text, name = json.dumps(message), rng.choice(list(message))
    again = f"{json.dumps(name)}: {json.dumps(message[name])}"
    return rng.choice((f"{text[:-1]}, {again}}}", f"{{{again}, {text[1:]}", text.replace("{", '{"x": 1, "x": 1, ')))


def _nested(message: Fields, rng: random.Random) -> str:
    depth = rng.choice((3, 100, 198, 202, 400, 2500))
    opened, closed = rng.choice((("[", "]"), ('{"a":', "}"), ("[[", ""), ("[", "")))
    return _with(message, rng, opened * depth + ("1" if closed == "}" else "") + closed * depth)


FAMILIES: dict[str, Callable[[Fields, random.Random], str]] = {
    "no number": lambda message, rng: _with(
        message, rng, rng.choice(("NaN", "Infinity", "-Infinity", "1e999", "-1e999", "+1"))
    ),
    "a huge number": lambda message, rng: _with(message, rng, rng.choice(("", "-")) + "9" * rng.choice((17, 20, 400, 5000))),
    "an odd number": lambda message, rng: _with(
        message, rng, rng.choice(("1.0", "-0", "1E400", "5e-324", "01", "0x1", "1.", "2e0"))
    ),
    "deep nesting": _nested,
    "a key twice": _twice,
    "half a character": lambda message, rng: _with(message, rng, rng.choice(('"\\ud800"', '"\\udc00x"', '"\\ud83d\\u0041"'))),
    "a whole one": lambda message, rng: _with(
        message, rng, rng.choice(('"\\ud83d\\ude00"', '"\\u202e"', '"\\uffff"', '"\\u2028"'))
    ),
    "a NUL": lambda message, rng: _with(message, rng, rng.choice(('"\\u0000"', '"a\\u0000b"', '"\x00"'))),
    "another type": lambda message, rng: _with(message, rng, rng.choice((None, True, 0, -1, 0.5, [], {}, [{}], {"a": None}))),
    "another word": lambda message, rng: _with(
        message, rng, json.dumps(rng.choice(("", " ", "../up", "a b", "x" * 65, "x" * 201, "PREFER", "ｐrefer", "ä", "1")))
    ),
    "a field too few": lambda message, rng: json.dumps({name: message[name] for name in list(message)[rng.randint(0, 1) :: 2]}),
    "a field too many": lambda message, rng: json.dumps(
        {
            **message,
            rng.choice(("labeler", "admin", "__proto__", "constructor", "", "\x00", "Type", "seq")): rng.choice((1, "ada")),
        }
    ),
    "more than one": lambda message, rng: rng.choice(("[{0}]", "{0}{0}", "{0},{0}", "{0}\n{0}", '{0} "x"')).replace(
        "{0}", json.dumps(message)
    ),
    "cut off": lambda message, rng: json.dumps(message)[: rng.randint(0, 30)],
    "put oddly": lambda message, rng: rng.choice(("\ufeff{0}", "\n\t{0}\r ", "{0}\x00", "\x0c{0}", "/**/{0}", "{0};")).replace(
        "{0}", json.dumps(message)
    ),
    "no JSON": lambda message, rng: rng.choice(
        ("", " ", "left", "null", "0", '"label"', "{}", "[]", "'", "<xml/>", "\\", "\U0001f600")
    ),
    "long": lambda message, rng: _with(message, rng, json.dumps("x" * rng.choice((300, 5000, 15_000)))),
    "wide": lambda message, rng: json.dumps({**message, **{f"k{number}": 0 for number in range(rng.choice((10, 900)))}}),
    "many of them": lambda message, rng: _with(message, rng, json.dumps(["a"] * rng.choice((17, 2500)))),
    "wide within": lambda message, rng: _with(
        message, rng, json.dumps({f"k{n}": [0, 1] for n in range(rng.choice((3, 9, 500)))})
    ),
    "another kind": lambda message, rng: json.dumps({**message, "type": rng.choice(KINDS)}),
}
"""How a message is spoilt, by what is wrong with it. Some of it is allowed after all; benchmarks.protocol tells."""
