"""What connected pages are owed and allowed, without sockets: events go in, effects come out.

The shell (server.py) reports what happens and carries out, in order, what it gets back. It applies what the store says in the
order in which the store said it. `now` is any clock that goes forward, in seconds.
"""

from __future__ import annotations

import json
import math
from collections import Counter, OrderedDict
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from pydantic import TypeAdapter, ValidationError

from rltrainer.config import Clips, Config
from rltrainer.core import Answer, Label, Query, Range, UserError, Verdict
from rltrainer.labeling import messages as wire

AHEAD = 3
HELLO_SECONDS = 5.0
WATCH_SECONDS = 3.0
ATTEMPTS = 2
MOST_PREPARED = 64
TROUBLE_AFTER = 3

POLICY_VIOLATION = 1008
NOT_ADMITTED = 4401
OTHER_PROTOCOL = 4400

CHANGEABLE = (
    "labeling.allow_ties",
    "labeling.allow_skipping",
    "labeling.allow_editing",
    "labeling.queue_size",
    "clips.speed",
    "clips.frame_rate",
)
"""Settings that an unrestricted page may change while the run goes on."""

# ------------------------------------------------------------------ effects


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
class MakeClips:
    """Render one pair; then `Session.clips_ready`, or `Session.clips_failed`. There is one of these at a time."""

    query_id: str
    clips: Clips


Effect = Send | SendPair | Close | SaveLabel | Lease | Release | ChangeSettings | MakeClips

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
    """

    waiting: Sequence[Query] = ()
    labels: Sequence[Label] = ()
    leased: Mapping[str, str] = field(default_factory=dict)
    settings: Mapping[str, Any] = field(default_factory=dict)


def steps_shown(trim: Range, frames: int, steps: int) -> Range:
    """The steps [first, end) that the frames [first, end) of a clip of `frames` frames show."""
    first, end = trim
    return first * steps // frames, -(-end * steps // frames)


def rules_of(config: Config) -> wire.Rules:
    """What the settings mean to a page."""
    labeling, clips = config.labeling, config.clips
    return wire.Rules(
        allow_editing=labeling.allow_editing,
        allow_skipping=labeling.allow_skipping,
        allow_ties=labeling.allow_ties,
        config_restricted=labeling.config_restricted,
        speed=clips.speed,
        frame_rate=clips.frame_rate,
        queue_size=labeling.queue_size,
    )


# ------------------------------------------------------------------ state


class Shelf:
    """Rendered pairs in memory, so that a reconnecting page costs no rendering."""

    def __init__(self) -> None:
        self._pairs: OrderedDict[str, Pair] = OrderedDict()

    def __contains__(self, query_id: str) -> bool:
        return query_id in self._pairs

    def put(self, query_id: str, pair: Pair) -> None:
        self._pairs[query_id] = pair

    def get(self, query_id: str) -> Pair | None:
        return self._pairs.get(query_id)

    def keep(self, most: int, wanted: Iterable[str]) -> None:
        """Forget the oldest until `most` are left, those that nobody will ask for soon before the `wanted` ones."""
        wanted = set(wanted)
        for query_id in sorted(self._pairs, key=wanted.__contains__)[: max(0, len(self._pairs) - most)]:
            del self._pairs[query_id]

    def keep_only(self, query_ids: Iterable[str]) -> None:
        kept = set(query_ids)
        self._pairs = OrderedDict((query_id, pair) for query_id, pair in self._pairs.items() if query_id in kept)


@dataclass
class _Page:
    """One connection. Two tabs of one labeler are two pages.

    held:   leased pairs in the order in which they are to be judged, with the time at which each lease ends
    pushed: every pair whose clips went to it: it has them still
    """

    seen: float
    labeler: str | None = None
    held: dict[str, float] = field(default_factory=dict)
    pushed: set[str] = field(default_factory=set)


@dataclass
class _Saving:
    """A label on its way into the store, and the pages that wait for its ack."""

    pages: list[int]
    labeler: str
    message: wire.LabelMessage
    awaits_clips: bool = False


class Session:
    """The state of all connected pages.

    admit: labeler of a token, or None
    """

    def __init__(self, run: str, env: str, config: Config, admit: Callable[[str], str | None]) -> None:
        self.config = config
        self.notice: str | None = None
        self._run, self._env, self._base, self._admit = run, env, config, admit
        self._pages: dict[int, _Page] = {}
        self._waiting: dict[str, Query] = {}
        self._leased: Mapping[str, str] = {}
        self._settings: Mapping[str, Any] = {}
        self._verdicts: dict[tuple[str, str], Verdict] = {}          # by (query, labeler), the newest
        self._label_ids: set[str] = set()
        self._saving: dict[str, _Saving] = {}
        self._shelf = Shelf()
        self._lengths: dict[str, dict[str, Range]] = {}              # by query, then segment
        self._making: str | None = None
        self._failures: Counter[str] = Counter()
        self._troubles: list[str] = []
        self._status: wire.Status | None = None
        self._newest: Label | None = None                            # mode "watch": what came last,
        self._choice: Label | None = None                            # what is being prepared,
        self._shown: tuple[wire.PairHeader, tuple[bytes, bytes]] | None = None  # and what is on screen
        self._shown_at = -math.inf

    @property
    def watching(self) -> bool:
        """Whether an oracle answers and pages only look on."""
        return self.config.labeler == "oracle"

    # ------------------------------------------------------------------ events: pages

    def connected(self, page: int, now: float) -> list[Effect]:
        self._pages[page] = _Page(seen=now)
        return []

    def disconnected(self, page: int, now: float) -> list[Effect]:
        gone = self._pages.pop(page, None)
        held = tuple(gone.held) if gone else ()
        return [*([Release(held)] if held else []), *self._settle(now)]

    def received(self, page: int, text: str, now: float) -> list[Effect]:
        """A text message. What a page may not do is refused in a sentence, never in silence."""
        client = self._pages.get(page)
        if client is None:
            return []
        try:
            message = wire.read(text)
        except ValueError as error:
            return self._misread(page, client, text, str(error))
        if client.labeler is None:
            return self._welcome(page, client, message, now) + self._settle(now)
        match message:
            case wire.LabelMessage():
                return self._label(page, client, message, now) + self._settle(now)
            case wire.SettingsMessage():
                return self._change(page, client.labeler, message)
            case wire.Hello():
                return [Send(page, wire.Refused(label_id=None, reason="hello was said already"))]

    def elapsed(self, now: float) -> list[Effect]:
        """Time went by."""
        late = [page for page, client in self._pages.items() if not client.labeler and now - client.seen > HELLO_SECONDS]
        closed = [self._close(page, POLICY_VIOLATION, f"no hello within {HELLO_SECONDS:g} s") for page in late]
        return [*closed, *self._settle(now)]

    # ------------------------------------------------------------------ events: the store

    def ticked(self, snapshot: Snapshot, now: float) -> list[Effect]:
        """The store was looked at."""
        effects = self._apply_settings(snapshot.settings)
        self._leased = snapshot.leased
        self._waiting = {query.id: query for query in snapshot.waiting}
        for label in snapshot.labels:
            self._note(label)
        returning = {s.message.query_id for s in self._saving.values() if s.message.verdict is Verdict.UNDO}
        needed = {*self._waiting, *returning}
        for page, client in self._pages.items():
            effects += self._withdraw(page, [query_id for query_id in client.held if query_id not in needed])
        return effects + self._settle(now)

    def saved(self, label: Label, now: float) -> list[Effect]:
        """A label is durable."""
        saving = self._saving.pop(label.id, None)
        self._note(label)
        pages = [page for page in saving.pages if page in self._pages] if saving else []
        effects: list[Effect] = [Send(page, wire.Ack(label_id=label.id)) for page in pages]
        if label.answer.verdict is not Verdict.UNDO:
            self._waiting.pop(label.query_id, None)
            for page in self._pages:
                effects += self._withdraw(page, [label.query_id])
        elif pages and self._holder(label.query_id) is None:
            effects += self._give(pages[0], [label.query_id], now)
        return effects + self._settle(now)

    def not_saved(self, label_id: str, reason: str, now: float) -> list[Effect]:
        """The store would not take a label."""
        saving = self._saving.pop(label_id)
        key = (saving.message.query_id, saving.labeler)
        if self._verdicts.get(key) is saving.message.verdict:
            del self._verdicts[key]
        refused = wire.Refused(label_id=label_id, reason=reason)
        return [*(Send(page, refused) for page in saving.pages if page in self._pages), *self._settle(now)]

    def status(self, counts: Mapping[str, int], progress: Mapping[str, Any] | None) -> list[Effect]:
        """How the run stands: `Store.counts` and the trainer's newest progress event. Told to pages where it changed."""
        found = self._status_of(counts, progress or {})
        if found == self._status:
            return []
        self._status = found
        return self._to_all(found)

    # ------------------------------------------------------------------ events: clips

    def clips_ready(self, query_id: str, pair: Pair, now: float) -> list[Effect]:
        self._making = None
        self._troubles.clear()
        self._shelf.put(query_id, pair)
        self._lengths[query_id] = pair.lengths()
        effects: list[Effect] = []
        for saving in [s for s in self._saving.values() if s.awaits_clips and s.message.query_id == query_id]:
            effects += self._save(saving)
        return effects + self._settle(now)

    def clips_failed(self, query_id: str, reason: str, now: float, *, final: bool = True) -> list[Effect]:
        """A pair cannot be shown (`final`), or could not this time. Pages never hear of it: they get another."""
        self._making = None
        self._troubles.append(reason)
        self._failures[query_id] += ATTEMPTS if final else 1
        if not self._hopeless(query_id):
            return self._settle(now)
        if self._choice and self._choice.query_id == query_id:
            self._choice = None
        effects: list[Effect] = []
        for saving in [s for s in self._saving.values() if s.awaits_clips and s.message.query_id == query_id]:
            effects += self._drop(saving, "the trim cannot be checked: the clips of this pair cannot be made again")
        for client in self._pages.values():
            if query_id not in client.pushed and client.held.pop(query_id, None) is not None:
                effects.append(Release((query_id,)))
        return effects + self._settle(now)

    # ------------------------------------------------------------------ hello

    def _welcome(self, page: int, client: _Page, message: wire.Message, now: float) -> list[Effect]:
        if not isinstance(message, wire.Hello):
            return [self._close(page, POLICY_VIOLATION, "the first message is hello")]
        if message.protocol != wire.PROTOCOL:
            return self._turn_away(page, OTHER_PROTOCOL, "this page is from another version of rltrainer; reload it")
        labeler = self._admit(message.token)
        if labeler is None:
            return self._turn_away(page, NOT_ADMITTED, "this link is not valid; open the one that rltrainer printed")
        client.labeler, client.seen = labeler, now
        welcome = wire.Welcome(
            run=self._run,
            env=self._env,
            labeler=labeler,
            mode="watch" if self.watching else "label",
            task=self.config.labeling.task,
            notice=self.notice,
            rules=rules_of(self.config),
        )
        status = [Send(page, self._status)] if self._status else []
        shown = [SendPair(page, *self._shown)] if self._shown else []
        return [Send(page, welcome), *status, *shown]

    def _turn_away(self, page: int, code: int, reason: str) -> list[Effect]:
        return [Send(page, wire.Refused(label_id=None, reason=reason)), self._close(page, code, reason)]

    def _close(self, page: int, code: int, reason: str) -> Close:
        del self._pages[page]
        return Close(page, code, reason)

    def _misread(self, page: int, client: _Page, text: str, reason: str) -> list[Effect]:
        if client.labeler is None:
            return [self._close(page, POLICY_VIOLATION, "the first message is hello")]
        return [Send(page, wire.Refused(label_id=_label_id_in(text), reason=reason))]

    # ------------------------------------------------------------------ labels

    def _label(self, page: int, client: _Page, message: wire.LabelMessage, now: float) -> list[Effect]:
        if message.label_id in self._label_ids:
            return [Send(page, wire.Ack(label_id=message.label_id))]
        if message.label_id in self._saving:
            self._saving[message.label_id].pages.append(page)
            return []
        labeler = client.labeler or ""
        objection = self._objection(message, labeler)
        if objection:
            return [Send(page, wire.Refused(label_id=message.label_id, reason=objection))]
        if message.verdict is not Verdict.UNDO:
            client.held.pop(message.query_id, None)
        client.seen = now
        saving = self._saving[message.label_id] = _Saving([page], labeler, message)
        self._verdicts[message.query_id, labeler] = message.verdict
        saving.awaits_clips = bool(message.trims) and message.query_id not in self._lengths
        return ([] if saving.awaits_clips else self._save(saving)) + self._give(page, list(client.held), now)

    def _objection(self, message: wire.LabelMessage, labeler: str) -> str | None:
        """Why a label is not taken, or None. What only the store knows it says itself."""
        labeling, query = self.config.labeling, self._waiting.get(message.query_id)
        if self.watching:
            return "an oracle answers in this run, pages only watch (labeler)"
        if message.verdict is Verdict.EQUAL and not labeling.allow_ties:
            return "ties are off in this run (labeling.allow_ties)"
        if message.verdict is Verdict.SKIP and not labeling.allow_skipping:
            return "skipping is off in this run (labeling.allow_skipping)"
        if message.trims and not labeling.allow_editing:
            return "trimming is off in this run (labeling.allow_editing)"
        if (message.verdict is Verdict.PREFER) != (message.preferred is not None):
            return f"a label {message.verdict.value!r} with preferred={message.preferred!r}: only 'prefer' names a segment"
        if message.verdict is Verdict.UNDO and message.trims:
            return "an undo has no trims"
        if query and message.preferred not in (None, query.first, query.second):
            return f"segment {message.preferred!r} is not in this pair"
        if message.verdict is Verdict.UNDO and self._verdicts.get((message.query_id, labeler), Verdict.UNDO) is Verdict.UNDO:
            return "there is no answer of yours to undo"
        return None

    def _save(self, saving: _Saving) -> list[Effect]:
        message = saving.message
        try:
            answer = Answer(message.verdict, message.preferred, self._trims(message))
        except ValueError as error:
            return self._drop(saving, str(error))
        saving.awaits_clips = False
        return [SaveLabel(message.label_id, message.query_id, saving.labeler, answer)]

    def _trims(self, message: wire.LabelMessage) -> dict[str, Range]:
        """Trims in steps. Raises ValueError with a sentence where one does not fit its clip."""
        trims = {}
        for segment, (first, end) in message.trims.items():
            if segment not in self._lengths[message.query_id]:
                raise ValueError(f"segment {segment!r} is not in this pair")
            frames, steps = self._lengths[message.query_id][segment]
            if not 0 <= first < end <= frames:
                raise ValueError(f"trim [{first}, {end}) of segment {segment!r} is outside its {frames} frames")
            trims[segment] = steps_shown((first, end), frames, steps)
        return trims

    def _drop(self, saving: _Saving, reason: str) -> list[Effect]:
        """Refuse a label that was on its way."""
        label_id = saving.message.label_id
        del self._saving[label_id]
        self._verdicts.pop((saving.message.query_id, saving.labeler), None)
        refused = wire.Refused(label_id=label_id, reason=reason)
        return [Send(page, refused) for page in saving.pages if page in self._pages]

    def _note(self, label: Label) -> None:
        self._label_ids.add(label.id)
        self._verdicts[label.query_id, label.labeler] = label.answer.verdict
        if label.answer.verdict is not Verdict.UNDO:
            self._newest = label

    # ------------------------------------------------------------------ settings

    def _change(self, page: int, labeler: str, message: wire.SettingsMessage) -> list[Effect]:
        try:
            changes = self._checked(message.changes)
        except UserError as error:
            return [Send(page, wire.Refused(label_id=None, reason=str(error)))]
        return [ChangeSettings(changes, labeler)]

    def _checked(self, changes: Mapping[str, Any]) -> dict[str, Any]:
        """Changes as the config understands them. Raises UserError."""
        if self.config.labeling.config_restricted:
            raise UserError("the page may not change settings in this run (labeling.config_restricted)")
        foreign = next((name for name in changes if name not in CHANGEABLE), None)
        if foreign is not None:
            raise UserError(f"the page may not change {foreign!r}; it may change {', '.join(CHANGEABLE)}")
        settings = self.config.but(changes, "settings").model_dump()
        return {name: settings[name.partition(".")[0]][name.partition(".")[2]] for name in changes}

    def _apply_settings(self, settings: Mapping[str, Any]) -> list[Effect]:
        if settings == self._settings:
            return []
        self._settings, old = dict(settings), self.config
        self.config = self._base.but(settings, "settings")
        if self.config.clips != old.clips:                           # what pages hold keeps its frames: trims count them
            self._shelf.keep_only(query_id for client in self._pages.values() for query_id in client.pushed)
        return self._to_all(rules_of(self.config)) if rules_of(self.config) != rules_of(old) else []

    # ------------------------------------------------------------------ dealing pairs out

    def _settle(self, now: float) -> list[Effect]:
        """What follows from the state as it is: pairs dealt, pairs pushed, the next clip asked for."""
        effects = self._show_choice(now) if self.watching else self._deal(now) + self._push()
        if self._making is None:
            wanted = next((query_id for query_id in self._wanted_clips() if not self._hopeless(query_id)), None)
            if wanted is not None:
                self._making = wanted
                effects.append(MakeClips(wanted, self.config.clips))
        self._shelf.keep(3 * self._prepared(), {*self._held(), *list(self._waiting)[: self._prepared()]})
        return effects

    def _deal(self, now: float) -> list[Effect]:
        """Give each page pairs until it holds AHEAD of them, those that hold least first."""
        effects: list[Effect] = []
        given: dict[int, list[str]] = {}
        hungry = {page for page, client in self._pages.items() if client.labeler and len(client.held) < AHEAD}
        while hungry:
            page = min(hungry, key=lambda page: (len(self._pages[page].held), page))
            query_id = self._free(page, now)
            if query_id is None:
                hungry.discard(page)
                continue
            holder = self._holder(query_id)
            effects += self._withdraw(holder, [query_id]) if holder is not None else []
            self._pages[page].held[query_id] = now
            given.setdefault(page, []).append(query_id)
            hungry = {page for page in hungry if len(self._pages[page].held) < AHEAD}
        for page, query_ids in given.items():
            effects += self._give(page, query_ids, now)
        return effects

    def _free(self, page: int, now: float) -> str | None:
        """The oldest pair that this page may have, ready ones first; else one that another left lying too long."""
        client = self._pages[page]
        answered = {s.message.query_id for s in self._saving.values() if s.message.verdict is not Verdict.UNDO}
        held = {query_id: end for other in self._pages.values() for query_id, end in other.held.items()}
        open_ = [q for q in self._waiting if q not in answered and q not in client.held and not self._hopeless(q)]
        free = [q for q in open_ if q not in held and self._leased.get(q, client.labeler) == client.labeler]
        if free:
            return next((query_id for query_id in free if query_id in self._shelf), free[0])
        if now - client.seen > self.config.labeling.lease_seconds:   # nobody is at this page either
            return None
        return next((query_id for query_id in open_ if held.get(query_id, math.inf) <= now), None)

    def _give(self, page: int, query_ids: Sequence[str], now: float) -> list[Effect]:
        """Lease pairs to a page, or renew what it holds."""
        client, seconds = self._pages[page], self.config.labeling.lease_seconds
        if not query_ids:
            return []
        client.held |= dict.fromkeys(query_ids, now + seconds)
        return [Lease(tuple(query_ids), client.labeler or "", seconds)]

    def _withdraw(self, page: int, query_ids: Iterable[str]) -> list[Effect]:
        """Take pairs from a page; it is told of those that it has."""
        client = self._pages[page]
        taken = [query_id for query_id in query_ids if client.held.pop(query_id, None) is not None]
        shown = [query_id for query_id in taken if query_id in client.pushed]
        return [Send(page, wire.Withdrawn(query_ids=shown))] if shown else []

    def _push(self) -> list[Effect]:
        """Each held pair goes to its page once, as soon as its clips are there."""
        effects: list[Effect] = []
        for page, client in self._pages.items():
            for query_id in client.held:
                pair = self._shelf.get(query_id)
                if pair is not None and query_id not in client.pushed:
                    client.pushed.add(query_id)
                    effects.append(SendPair(page, pair.header, pair.videos))
        return effects

    def _holder(self, query_id: str) -> int | None:
        return next((page for page, client in self._pages.items() if query_id in client.held), None)

    def _held(self) -> list[str]:
        """Held pairs that were not pushed yet, those that pages need first at the front."""
        ranked = [
            (rank, query_id)
            for client in self._pages.values()
            for rank, query_id in enumerate(client.held)
            if query_id not in client.pushed
        ]
        return [query_id for _, query_id in sorted(ranked, key=lambda place: place[0])]

    # ------------------------------------------------------------------ clips

    def _wanted_clips(self) -> list[str]:
        """Pairs to render, the most urgent first."""
        trimmed = [saving.message.query_id for saving in self._saving.values() if saving.awaits_clips]
        if self.watching:
            ahead = [self._choice.query_id] if self._choice else []
        else:
            ahead = [*self._held(), *list(self._waiting)[: self._prepared()]]
        return trimmed + [query_id for query_id in ahead if query_id not in self._shelf]

    def _prepared(self) -> int:
        """Pairs kept ready while nobody looks at them."""
        return min(self.config.labeling.queue_size, MOST_PREPARED)

    def _hopeless(self, query_id: str) -> bool:
        return self._failures[query_id] >= ATTEMPTS

    # ------------------------------------------------------------------ mode "watch"

    def _show_choice(self, now: float) -> list[Effect]:
        """The oracle's newest answer goes to every page, at most one in WATCH_SECONDS. Nothing is rendered for nobody."""
        pages = [page for page, client in self._pages.items() if client.labeler]
        if pages and self._choice is None and now >= self._shown_at + WATCH_SECONDS:
            self._choice, self._newest = self._newest, None
        pair = self._shelf.get(self._choice.query_id) if self._choice else None
        if pair is None or self._choice is None:
            return []
        label, self._choice = self._choice, None
        answer = wire.AnswerHeader(verdict=label.answer.verdict, preferred=label.answer.preferred, labeler=label.labeler)
        self._shown = (pair.header.model_copy(update={"answer": answer}), pair.videos)
        self._shown_at = now
        return [SendPair(page, *self._shown) for page in pages]

    # ------------------------------------------------------------------ news

    def _to_all(self, message: wire.Message) -> list[Effect]:
        return [Send(page, message) for page, client in self._pages.items() if client.labeler]

    def _status_of(self, counts: Mapping[str, int], progress: Mapping[str, Any]) -> wire.Status:
        trouble = f"Pairs cannot be shown: {self._troubles[-1]}" if len(self._troubles) >= TROUBLE_AFTER else None
        return wire.Status(
            phase=progress.get("phase") or "starting",
            message=trouble or progress.get("message") or "",
            labels=counts["labels"],
            skipped=counts["skipped"],
            wanted=self.config.labels,
            waiting=counts["waiting"],
            step=int(progress.get("step") or 0),
            steps=int(progress.get("steps") or self.config.steps),
            steps_per_second=_finite(progress.get("steps_per_second")),
            held_out_accuracy=_finite(progress.get("held_out_accuracy")),
            true_return=_finite(progress.get("true_return")),
            reward_version=int(progress.get("reward_version") or 0),
        )


_ID: TypeAdapter[str] = TypeAdapter(wire.Id)


def _label_id_in(text: str) -> str | None:
    """The id of a label that is not understood: refused by name, it leaves the page's outbox."""
    try:
        return _ID.validate_python(json.loads(text).get("label_id"))
    except (ValidationError, ValueError, AttributeError, RecursionError):
        return None


def _finite(number: float | None) -> float | None:
    return float(number) if number is not None and math.isfinite(number) else None
