"""Who sends what: a crowd of guests as a stateful model of hypothesis, each message with what it is owed.

Guests come by good and bad links, send what pages send and what no page would, in any order, and go. Meanwhile bystanders label
as people do.
"""

from __future__ import annotations

import asyncio
import json
import random
import time
import uuid
from collections.abc import Callable, Coroutine, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any, Literal, TypeVar

from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, rule
from websockets.asyncio.client import ClientConnection
from websockets.exceptions import ConnectionClosed

from benchmarks.garbage import FAMILIES, mutated
from benchmarks.protocol import LONGEST, PROTOCOL, REPORT, Owed, Run, understood
from rltrainer.core import Query
from rltrainer.labeling import messages as wire
from rltrainer.labeling.limits import MOST_OF_A_LINK

T = TypeVar("T")
How = Literal["as it is", "text", "raw"]
"""How a message goes out: text in text frames and bytes in binary ones, bytes in a text frame, bytes in no frame."""
Fields = dict[str, Any]

PATIENCE_SECONDS = 10.0
HELLO_SECONDS, NO_HELLO = 5.0, 4408
MOST_GUESTS = 6
MOST_OWED = 48
VOLLEY = 40
"""Most messages in one go."""
SLOWED = "this link sends more than"
"""How the word to somebody begins who is read more slowly."""


@dataclass
class Findings:
    """What was not as it should be, by kind."""

    found: list[tuple[str, str]] = field(default_factory=list)

    def add(self, kind: str, what: str) -> None:
        self.found.append((kind, what))

    def count(self, kind: str) -> int:
        return sum(one == kind for one, _ in self.found)


@dataclass(frozen=True)
class Pass:
    """A link: its token, and whom it lets in. bad: whether it lets nobody in"""

    token: str
    labeler: str
    admin: bool = False
    bad: bool = False


class Guest:
    """One connection, what it is owed, and what came."""

    def __init__(self, link: Pass, page: ClientConnection, run: Run, findings: Findings) -> None:
        self.link, self.page, self.run, self.findings = link, page, run, findings
        self.let_in = False
        self.gone: int | None = None  # the code with which it was closed
        self.rules: Fields = {}
        self.owed: list[tuple[Owed, str]] = []
        self._codes: frozenset[int] = frozenset()
        self._closing = ""
        self._since = time.monotonic()
        self._changed = asyncio.Event()
        self._loop = asyncio.get_running_loop()
        self._unsent: asyncio.Queue[tuple[str | bytes, How]] = asyncio.Queue()
        self._hearing, self._sending = asyncio.create_task(self._hear()), asyncio.create_task(self._send())

    @property
    def labeler(self) -> str:
        return self.link.labeler

    def send(self, message: str | bytes, owed: Owed, *, how: How = "as it is") -> None:
        """From any thread: send it soon; what is owed for it is waited for later."""
        if owed.want not in ("nothing", "closed"):
            self.owed.append((owed, repr(message[:300])))
        if owed.codes:
            self._codes, self._closing = owed.codes, repr(message[:300])
        self._loop.call_soon_threadsafe(self._unsent.put_nowait, (message, how))

    async def _send(self) -> None:
        while True:
            message, how = await self._unsent.get()
            with suppress(ConnectionClosed):
                if how == "raw":
                    assert isinstance(message, bytes)
                    self.page.transport.write(message)
                else:
                    await self.page.send(message, text=True if how == "text" else None)
            self._unsent.task_done()

    @property
    def waits(self) -> bool:
        """Whether anything is owed."""
        return self.gone is None and bool(self.owed or self._codes)

    async def settle(self) -> None:
        """Wait until nothing is owed any more."""
        try:
            async with asyncio.timeout(PATIENCE_SECONDS):
                while self.waits:
                    self._changed.clear()
                    await self._changed.wait()
        except TimeoutError:
            self.findings.add("unanswered", f"{self.owed or self._closing} of {self.labeler}")
            self.owed.clear()
            self._codes = frozenset()

    async def ruled(self, rules: Fields) -> None:
        """Wait until these rules have come."""
        try:
            async with asyncio.timeout(PATIENCE_SECONDS):
                while self.gone is None and not rules.items() <= self.rules.items():
                    self._changed.clear()
                    await self._changed.wait()
        except TimeoutError:
            self.findings.add("unanswered", f"rules {rules}, not {self.rules}")

    async def leave(self, *, rudely: bool) -> None:
        """Go away."""
        if self.gone is None:  # else nobody sends what waits any more
            await self._unsent.join()
        self._codes = self._codes or frozenset({1000, 1006})
        self.owed.clear()
        if rudely:
            self.page.transport.abort()
        else:
            await self.page.close()
        await self._hearing

    async def _hear(self) -> None:
        with suppress(ConnectionClosed):
            async for message in self.page:
                if isinstance(message, str):
                    self._heard(wire.heard(message))
                self._changed.set()
        self.gone = self.page.close_code or 1006
        late = not self.let_in and time.monotonic() - self._since > HELLO_SECONDS - 0.5
        about = f"{self.gone} {self.page.close_reason!r}, {self._closing or self.owed}"
        if self.gone not in self._codes and not (late and self.gone == NO_HELLO):
            self.findings.add("unexpected close", f"of guest {self.labeler}: {about}")
        elif self.owed and self.gone in self._codes:
            self.findings.add("unanswered", f"{self.owed} of {self.labeler}, who was closed: {about}")
        self._changed.set()
        await self._unsent.join()
        self._sending.cancel()

    def _heard(self, said: wire.Message) -> None:
        match said:
            case wire.Welcome():
                self.rules = said.rules.model_dump()
                self._got("welcome", None, "")
            case wire.Rules():
                self.rules = said.model_dump()
            case wire.Ack():
                self.run.acked.add(said.label_id)
                self._got("ack", said.label_id, "")
            case wire.Refused() if not said.reason.startswith(SLOWED):
                self._got("refused", said.label_id, said.reason)
            case wire.ReportReady():
                self._got("report", REPORT, said.reason)
            case _:
                pass

    def _got(self, what: str, name: str | None, reason: str) -> None:
        """An answer: the first that is owed under that name has to be this one."""
        if what == "refused" and 4401 in self._codes:  # a word before the close
            return
        place = next((place for place, (owed, _) in enumerate(self.owed) if owed.name == name), None)
        if place is None:
            self.findings.add("wrong answer", f"{what} {name} {reason!r} to {self.labeler}, who had asked nothing like it")
            return
        owed, message = self.owed.pop(place)
        if owed.want != what and not (owed.want == "either" and what in ("ack", "refused")):
            self.findings.add("wrong answer", f"{what} {reason!r} to {message} of {self.labeler}; owed is {owed.want}")


class Loop:
    """The event loop in which all connections live, in a thread beside hypothesis'."""

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self._loop = loop

    def do(self, work: Coroutine[Any, Any, T]) -> T:
        return asyncio.run_coroutine_threadsafe(work, self._loop).result()


@dataclass
class Party:
    """What all crowds share.

    good, bad: links for a crowd's guests; pages: opens a connection; sent: messages so far, by kind
    reports:   how many may still be made: each costs seconds
    """

    run: Run
    findings: Findings
    loop: Loop
    connect: Callable[[], Coroutine[Any, Any, ClientConnection]]
    good: list[Pass]
    bad: list[Pass]
    pairs: list[Query]
    elsewhere: list[Query]
    sent: dict[str, int] = field(default_factory=dict)
    reports: int = 0

    @property
    def tokens(self) -> set[str]:
        return {link.token for link in self.good}


NUMBER = st.integers(0, 63)
SEED = st.integers(0, 2**32 - 1)
RASH = st.sampled_from((True, True, True, False))
"""Whether something is said before what was said before it is answered."""
IDS = st.sampled_from((*["new"] * 6, "mine again", "another's again"))
ABOUT = st.sampled_from(("waiting", "waiting", "waiting", "mine", "mine", "answered", "elsewhere", "none such"))
VERDICTS = st.sampled_from(("prefer", "prefer", "prefer", "equal", "both_bad", "skip", "undo", "undo"))
CHOICES = st.sampled_from(("first", "second", "first", "second", "foreign", "none such", None))
MORE = st.sampled_from(
    (
        *[{}] * 8,
        {"strength": "much"},
        {"strength": "slightly"},
        {"reason": "it fell"},
        {"reason": " \0\u202e\U0001f600 "},
        {"trims": 1},
    )
)
CHANGES = st.dictionaries(
    st.sampled_from(
        (
            *(f"labeling.{name}" for name in ("allow_ties", "allow_skipping", "allow_editing", "allow_reasons", "queue_size")),
            *("clips.speed", "clips.frame_rate", "labeling.config_restricted", "labeling.host", "steps", "clips.size", ""),
        )
    ),
    st.one_of(
        st.booleans(),
        st.none(),
        st.integers(-1, 300),
        st.sampled_from((0.5, 2.0, 16.0, 1e-300, 1e300, 10**30, 2**53, 100_000, 100_001, -0.0)),
    ),
    max_size=3,
)
ENDS = {
    b"\xff\xfe": 1007,
    b'{"type":"here"}\xed\xa0\x80': 1007,
    b"\x00" * (LONGEST + 1): 1009,
}
"""Text frames that no text is in, or too much, and with which code the connection is closed."""
RAW = {
    "a frame of no known kind": (b"\x83\x80\x00\x00\x00\x00", 1002),
    "a frame that is not masked": (b"\x81\x02{}", 1002),
    "a reserved bit": (b"\xc1\x80\x00\x00\x00\x00", 1002),
    "a long ping": (b"\x89\xfe\x00\x80\x00\x00\x00\x00" + b"\x00" * 128, 1002),
    "a close of one byte": (b"\x88\x81\x00\x00\x00\x00\x03", 1002),
    "too much, announced": (b"\x81\xff\x00\x00\x00\x00\x7f\xff\xff\xff\x00\x00\x00\x00", 1009),
    "a piece of nothing": (b"\x80\x80\x00\x00\x00\x00", 1002),
}
"""Bytes that are no frames, and with which code the connection is closed."""


async def _settled(guests: Sequence[Guest]) -> None:
    for guest in guests:
        await guest.settle()


async def _gone(guests: Sequence[Guest]) -> None:
    """They go, every other one without a word."""
    for place, guest in enumerate(guests):
        await guest.leave(rudely=place % 2 == 1)


class Crowd(RuleBasedStateMachine):
    """Up to `MOST_GUESTS` at once. Rules never look at how things stand to decide what is drawn: a seed sends the same."""

    party: Party

    def __init__(self) -> None:
        super().__init__()
        self.guests: list[Guest] = []
        self.sent: list[Fields] = []  # labels, for resends

    # ------------------------------------------------------------------ coming and going

    @rule(kind=st.sampled_from((*["good"] * 5, "holds", "holds", "bad", "silent", "old")), which=NUMBER)
    def arrive(self, kind: str, which: int) -> None:
        links = self.party.bad if kind == "bad" else self.party.good
        self._arrive(kind, links[which % len(links)])

    @rule(who=NUMBER, rudely=st.booleans())
    def leave(self, who: int, rudely: bool) -> None:  # noqa: FBT001 - hypothesis calls it
        if len(self._present()) > 1:
            guest = self._guest(who)
            self._settle()
            self._do(guest.leave(rudely=rudely))

    # ------------------------------------------------------------------ what pages send

    @rule(who=NUMBER, ids=IDS, about=ABOUT, which=NUMBER, verdict=VERDICTS, choice=CHOICES, more=MORE, rash=RASH)
    def label(  # noqa: PLR0917 - what hypothesis drew
        self,
        who: int,
        ids: str,
        about: str,
        which: int,
        verdict: str,
        choice: str | None,
        more: Fields,
        rash: bool,  # noqa: FBT001
    ) -> None:
        self._label(self._guest(who), ids, about, which, verdict, choice, more, rash=rash)

    @rule(who=NUMBER, which=NUMBER, verdicts=st.lists(st.sampled_from(("prefer", "prefer", "equal", "skip")), max_size=12))
    def answer(self, who: int, which: int, verdicts: list[str]) -> None:
        """Several, without waiting for what becomes of them."""
        for place, verdict in enumerate(verdicts):
            choice = "first" if verdict == "prefer" else None
            self._label(self._guest(who), "new", "waiting", which + place, verdict, choice, {}, rash=True)

    @rule(who=NUMBER, which=NUMBER, rash=RASH)
    def undo(self, who: int, which: int, rash: bool) -> None:  # noqa: FBT001
        self._label(self._guest(who), "new", "mine", which, "undo", None, {}, rash=rash)

    @rule(who=NUMBER, changes=CHANGES)
    def settings(self, who: int, changes: Fields) -> None:
        self._say(self._guest(who), {"type": "settings", "changes": changes})

    @rule(who=NUMBER, paused=st.booleans())
    def pause(self, who: int, paused: bool) -> None:  # noqa: FBT001
        self._say(self._guest(who), {"type": "pause", "paused": paused})

    @rule(who=NUMBER, kind=st.sampled_from(("here", "here", "report", "hello")))
    def ask(self, who: int, kind: str) -> None:
        guest = self._guest(who)
        if kind == "report" and guest.link.admin:
            if self.party.reports <= 0:
                kind = "here"
            self.party.reports -= 1
        self._say(guest, {"type": kind, "token": guest.link.token} if kind == "hello" else {"type": kind})

    # ------------------------------------------------------------------ what no page sends

    @rule(who=NUMBER, families=st.lists(st.sampled_from(sorted(FAMILIES)), max_size=VOLLEY), seed=SEED)
    def spoil(self, who: int, families: list[str], seed: int) -> None:
        rng = random.Random(seed)  # noqa: S311
        for family in families:
            guest = self._guest(who)
            self._text(guest, FAMILIES[family](rng.choice(self._examples(guest, rng)), rng), "hostile JSON")

    @rule(who=NUMBER, number=st.integers(1, VOLLEY), seed=SEED)
    def mutate(self, who: int, number: int, seed: int) -> None:
        rng = random.Random(seed)  # noqa: S311
        for _ in range(number):
            guest = self._guest(who)
            content = mutated(self._examples(guest, rng), rng)
            try:
                self._text(guest, content.decode(), "changed bytes")
            except UnicodeDecodeError:
                self._end(guest, content, 1007, "changed bytes")

    @rule(who=NUMBER, texts=st.lists(st.text(max_size=40), max_size=3))
    def speak(self, who: int, texts: list[str]) -> None:
        for text in texts:
            self._text(self._guest(who), text.encode(errors="replace").decode(), "any text")

    @rule(who=NUMBER, which=NUMBER, content=st.binary(max_size=20))
    def end(self, who: int, which: int, content: bytes) -> None:
        """What ends a connection. Seldom: to come again takes a while."""
        guest, kind = self._guest(who), which % 16
        if kind == 0:
            self._settle()
            self._count("binary")
            guest.send(content, Owed("closed", codes=frozenset({1003})))
            self._settle()
        elif kind == 1:
            text, code = list(ENDS.items())[which // 16 % len(ENDS)]
            self._end(guest, text, code, "no text, or too much")
        elif kind == 2:
            raw, code = list(RAW.values())[which // 16 % len(RAW)]
            self._settle()
            self._count("no frames")
            guest.send(raw, Owed("closed", codes=frozenset({code})), how="raw")
            self._settle()
        else:
            self._say(guest, {"type": "here"})

    # ------------------------------------------------------------------ how

    def _do(self, work: Coroutine[Any, Any, T]) -> T:
        return self.party.loop.do(work)

    def _count(self, kind: str) -> None:
        self.party.sent[kind] = self.party.sent.get(kind, 0) + 1

    def _present(self) -> list[Guest]:
        self.guests = [guest for guest in self.guests if guest.gone is None]
        return self.guests

    def _guest(self, who: int) -> Guest:
        """Somebody who is there; where nobody is, somebody comes."""
        if not self._present():
            self._arrive("good", self.party.good[who % len(self.party.good)])
        return self.guests[who % len(self.guests)]

    def _arrive(self, kind: str, link: Pass) -> None:
        if len(self._present()) >= MOST_GUESTS:
            self._settle()
            self._do(self.guests[0].leave(rudely=False))
            self._present()
        guest = self._do(self._opened(link))
        self.guests.append(guest)
        if kind != "silent":
            hello = {"type": "hello", "protocol": PROTOCOL - (kind == "old"), "token": link.token}
            held = [query.id for query in self.party.pairs[-3:]] if kind == "holds" else []
            self._text(guest, json.dumps({**hello, "holds": held}), "pages' own")

    async def _opened(self, link: Pass) -> Guest:
        return Guest(link, await self.party.connect(), self.party.run, self.party.findings)

    def _say(self, guest: Guest, message: Fields) -> None:
        self._text(guest, json.dumps(message), "pages' own")

    def _text(self, guest: Guest, text: str, kind: str, *, rash: bool = False) -> None:
        """A text, and what it is owed."""
        if len(text.encode()) > LONGEST:
            self._end(guest, text.encode(), 1009, kind)
            return
        self._count(kind)
        if not guest.let_in:
            self._greet(guest, text)
            return
        owing = sum(len(one.owed) for one in self._present()) >= MOST_OWED
        message, before = understood(text), dict(self.party.run.rules)
        alone = message is not None and self._alone(message)
        if owing or (alone and not rash):
            self._settle()
        guest.send(text, self.party.run.heard(text, guest.labeler, admin=guest.link.admin, rash=rash))
        if alone and not rash:
            self._settle()
        if self.party.run.rules != before:
            self._ruled(guest)

    def _alone(self, message: Fields) -> bool:
        """Whether what is owed for it depends on what came before, whoever sent that."""
        again = message["type"] == "label" and (message["verdict"] == "undo" or message["label_id"] in self.party.run.labels)
        return again or message["type"] in ("settings", "report")

    def _greet(self, guest: Guest, text: str) -> None:
        owed = self.party.run.greeted(text, self.party.tokens)
        here = sum(one.let_in and one.link == guest.link for one in self._present())
        if owed.want == "welcome" and here >= MOST_OF_A_LINK:
            owed = Owed("refused", codes=frozenset({1013}))
        guest.send(text, owed)
        self._do(guest.settle())
        guest.let_in = owed.want == "welcome"
        if guest.let_in:
            self._ruled(guest)

    def _ruled(self, guest: Guest) -> None:
        """Go on once the rules are in force."""
        if not self.party.run.rules.items() <= guest.rules.items():
            self._do(guest.ruled(self.party.run.rules))

    def _label(  # noqa: PLR0917 - what hypothesis drew
        self, guest: Guest, ids: str, about: str, which: int, verdict: str, choice: str | None, more: Fields, *, rash: bool
    ) -> None:
        query = self._query(guest, about, which)
        names = {"first": query.first, "second": query.second, "none such": "f" * 32, "foreign": self.party.elsewhere[0].first}
        again = [one for one in self.sent if (one["by"] == guest.labeler) == (ids == "mine again")]
        name = again[which % len(again)]["label_id"] if again and ids != "new" else uuid.uuid4().hex
        message = {"type": "label", "label_id": name, "query_id": query.id, "verdict": verdict, **more}
        if "trims" in more:
            message["trims"] = {(query.first, query.second, "f" * 32)[which % 3]: [which % 4, which % 7]}
        if choice is not None and (verdict == "prefer" or which % 8 == 0):
            message["preferred"] = names[choice]
        self.sent.append({"label_id": name, "by": guest.labeler})
        self._text(guest, json.dumps(message), "pages' own", rash=rash)

    def _query(self, guest: Guest, about: str, which: int) -> Query:
        run, pairs = self.party.run, self.party.pairs
        answered = [key for key, verdict in run.said.items() if (key[1] == guest.labeler) or about == "answered"][-64:]
        if about == "elsewhere":
            return self.party.elsewhere[which % len(self.party.elsewhere)]
        if about == "none such":
            return Query(f"none-{which}", "e" * 32, "f" * 32)
        if about == "waiting" or not answered:
            return pairs[-1 - which % len(pairs)]
        return run.pairs.get(answered[which % len(answered)][0], pairs[0])

    def _examples(self, guest: Guest, rng: random.Random) -> list[Fields]:
        """One of each message of pages, as this guest might send it now."""
        query = self.party.pairs[-1 - rng.randrange(len(self.party.pairs))]
        name = f"{rng.getrandbits(128):032x}"
        label = {"type": "label", "label_id": name, "query_id": query.id, "verdict": "prefer", "preferred": query.second}
        return [
            *(
                label,
                {**label, "strength": "much", "reason": "ab"},
                {**label, "trims": {query.first: [0, 2], query.second: [1, 3]}},
            ),
            {"type": "label", "label_id": name, "query_id": query.id, "verdict": "equal", "preferred": None},
            *({"type": "here"}, {"type": "pause", "paused": False}),
            {"type": "settings", "changes": {"labeling.allow_ties": True, "clips.speed": 2.0}},
            {"type": "hello", "token": guest.link.token, "holds": [query.id]},
        ]

    def _end(self, guest: Guest, content: bytes, code: int, kind: str) -> None:
        """What no service reads on after."""
        self._settle()
        self._count(kind)
        codes = {1007, 1009} if len(content) > LONGEST else {code}
        guest.send(content, Owed("closed", codes=frozenset(codes)), how="text")
        self._settle()

    def _settle(self) -> None:
        waiting = [guest for guest in self._present() if guest.waits]
        if waiting:
            self._do(_settled(waiting))

    def teardown(self) -> None:
        """All say one word more, which is refused: by then all before it are through. Then they go."""
        self._settle()
        for guest in [guest for guest in self._present() if guest.let_in]:
            self._count("a last word")
            guest.send("?", Owed("refused"))
        self._settle()
        self._do(_gone(self._present()))
