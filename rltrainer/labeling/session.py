"""What connected pages are owed and allowed, without sockets: events go in, effects come out.

The shell (server.py) reports what happens and carries out, in order, what it gets back; what the store says it reports
in the order in which the store said it. `now` is any clock that goes forward, in seconds.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import islice
from typing import Any

from pydantic import TypeAdapter, ValidationError

from rltrainer.config import Config
from rltrainer.core import Answer, Forecast, Label, Link, UserError, Verdict
from rltrainer.labeling import messages as wire
from rltrainer.labeling.curves import Course
from rltrainer.labeling.dealing import Dealer, Seat
from rltrainer.labeling.effects import (
    Admit,
    ChangeSettings,
    Close,
    Effect,
    MakeClips,
    MakeReport,
    Pair,
    Pause,
    SaveLabel,
    Send,
    Slow,
    Snapshot,
)
from rltrainer.labeling.foresight import Foresight
from rltrainer.labeling.gate import hash_among
from rltrainer.labeling.limits import LINK_RATE, MOST_OF_A_LINK, MOST_PAGES, Limits
from rltrainer.labeling.opinions import Opinions
from rltrainer.labeling.queue import Queue
from rltrainer.labeling.rules import checked, objection, rules_of, watching
from rltrainer.labeling.shelf import Shelf
from rltrainer.labeling.status import status_of
from rltrainer.labeling.watch import Watch

HELLO_SECONDS = 5.0
MOST_KEPT = 200
UNCHECKED = "the trim cannot be checked: the clips of this pair cannot be made again"

POLICY_VIOLATION = 1008
TRY_LATER = 1013
OTHER_PROTOCOL = 4400
NOT_ADMITTED = 4401
LINK_ENDED = 4403
NO_HELLO = 4408


@dataclass
class Saving:
    """A label on its way into the store, and the pages that wait for its ack."""

    pages: list[int]
    labeler: str
    message: wire.LabelMessage
    awaits_clips: bool


class Session:
    """The state of all connected pages.

    run:    the run's name; env: what it trains on
    config: as the run began; settings changed since come with each snapshot
    """

    def __init__(self, run: str, env: str, config: Config) -> None:
        self.config = config
        self.notice: str | None = None
        self._run, self._env, self._base = run, env, config
        self._links: Mapping[str, Link] = {}  # by token hash
        self._limits = Limits()
        self._arriving: dict[int, float] = {}
        self._unknown: dict[int, wire.Hello] = {}  # of arriving pages whose link may be newer than what is known of links
        self._dealer = Dealer()
        self._shelf = Shelf()
        self._watch = Watch()
        self._queue = Queue()
        self._settings: Mapping[str, Any] = {}
        self._label_ids: set[str] = set()
        self._verdicts: dict[tuple[str, str], Verdict] = {}  # the newest, by (query, labeler)
        self._opinions = Opinions()
        self._saving: dict[str, Saving] = {}
        self._paused = False
        self._status: wire.Status | None = None
        self._course = Course()
        self._foresight = Foresight()

    # ------------------------------------------------------------------ events: pages

    def connected(self, page: int, now: float) -> None:
        self._arriving[page] = now

    def disconnected(self, page: int, now: float) -> list[Effect]:
        self._arriving.pop(page, None)
        self._unknown.pop(page, None)
        return self._dealer.leave(page) + self._settle(now)

    def received(self, page: int, text: str, now: float) -> list[Effect]:
        """A text message. What a page may not do is refused in a sentence, never in silence."""
        seat = self._dealer.seats.get(page)
        if seat is None:
            return self._greet(page, text, now) + self._settle(now) if page in self._arriving else []
        slowed = self._slow(page, seat, now)
        try:
            message = wire.read(text)
        except ValueError as error:
            return [*slowed, _refused(page, str(error), _label_id_in(text))]
        match message:
            case wire.LabelMessage():
                effects = self._label(page, seat, message, now)
            case wire.SettingsMessage() | wire.PauseMessage():
                effects = self._change(page, seat, message)
            case wire.Here():
                seat.seen = now
                effects = self._dealer.renew(page, now, self.config.labeling.lease_seconds)
            case wire.ReportMessage() if not seat.admin:
                effects = [_refused(page, "only an admin may see the report, and yours is a labeler's link")]
            case wire.ReportMessage():
                effects = [MakeReport(page)]
            case wire.Hello():
                effects = [_refused(page, "hello was said already")]
        return slowed + effects + self._settle(now)

    def elapsed(self, now: float) -> list[Effect]:
        """Time went by."""
        late = [page for page, since in self._arriving.items() if now - since > HELLO_SECONDS]
        return [*[self._close_late(page) for page in late], *self._settle(now)]

    # ------------------------------------------------------------------ events: the store

    def ticked(self, snapshot: Snapshot, now: float) -> list[Effect]:
        """The store was looked at."""
        effects = self._apply_settings(snapshot.settings) + self._apply_pause(paused=snapshot.paused)
        for label in snapshot.labels:
            self._note(label)
        self._queue.look(
            snapshot,
            self._shelf,
            held=lambda query_id: self._dealer.holder(query_id) is not None,
            answered=lambda query_id: bool(self._opinions.labelers(query_id)),
        )
        return effects + self._dealer.keep(self._queue) + self._settle(now)

    def let_in(self, links: Mapping[str, Link], now: float) -> list[Effect]:
        """Who may come in, by token hash: pages that wait for that are answered, and one whose link has ended is closed."""
        self._links = links
        gone = [page for page, seat in self._dealer.seats.items() if seat.link not in links]
        effects = [effect for page in gone for effect in self._put_out(page)]
        unknown, self._unknown = self._unknown, {}
        for page, hello in unknown.items():
            key = hash_among(hello.token, links)
            effects += self._admit(page, key, hello, now) if key else self._tell_wrong(page, now)
        return effects + self._settle(now) if effects else []

    def saved(self, label: Label, now: float) -> list[Effect]:
        """A label is durable."""
        saving = self._saving.pop(label.id, None)
        self._note(label)
        pages = [page for page in saving.pages if page in self._dealer.seats] if saving else []
        effects: list[Effect] = [self._ack(page, label.id) for page in pages]
        if label.answer.verdict is not Verdict.UNDO:
            self._queue.answered(label.query_id)
            enough = len(self._opinions.labelers(label.query_id)) > 1
            effects += self._dealer.withdraw_everywhere(label.query_id, again=enough)
        elif pages:
            effects += self._give_back(pages[0], label.query_id, now)
        return effects + self._settle(now)

    def not_saved(self, label_id: str, reason: str, now: float) -> list[Effect]:
        """The store would not take a label."""
        return self._drop(self._saving[label_id], reason) + self._settle(now)

    def delayed(self, reason: str) -> list[Effect]:
        """The store takes nothing yet. Pages keep their labels, and hear why they are not saved: a refusal that names none."""
        pages = {page for saving in self._saving.values() for page in saving.pages} & self._dealer.seats.keys()
        return [_refused(page, f"answers are not saved yet, and kept on this page: {reason}") for page in sorted(pages)]

    def reported(self, counts: Mapping[str, int], progress: Mapping[str, Any] | None) -> list[Effect]:
        """How the run stands: `Store.counts` and the newest progress event. Pages hear of it where it changed."""
        if progress:
            self._course.note(progress)
        status = status_of(counts, progress or {}, self.config, paused=self._paused, trouble=self._shelf.trouble)
        if status == self._status:
            return []
        self._status = status
        return self._to_all(status)

    def foretold(self, forecast: Forecast | None) -> list[Effect]:
        """The trainer's newest forecast, if it is new. In a study nobody sees it: it would sway who answers."""
        if forecast is None or self.config.labeling.config_restricted:
            return []
        self._foresight.newest = forecast
        return list(self._foresight.tell(self._dealer.seats, self._shelf))

    def remember(self, past: Iterable[Mapping[str, Any]]) -> None:
        """The progress events of the run so far, oldest first."""
        for progress in past:
            self._course.note(progress)

    # ------------------------------------------------------------------ events: clips

    def clips_ready(self, query_id: str, pair: Pair, now: float) -> list[Effect]:
        self._shelf.put(query_id, pair)
        effects = [effect for saving in self._awaiting(query_id) for effect in self._save(saving)]
        return effects + self._settle(now)

    def clips_failed(self, query_id: str, reason: str, now: float, *, final: bool = True) -> list[Effect]:
        """A pair cannot be shown (`final`), or could not this time. Pages do not hear of it: they get another."""
        self._shelf.failed(query_id, reason, final=final, wanted=query_id in self._queue or watching(self.config))
        if not self._shelf.hopeless(query_id):
            return self._settle(now)
        effects = [effect for saving in self._awaiting(query_id) for effect in self._drop(saving, UNCHECKED)]
        self._watch.give_up(query_id)
        if query_id in self._dealer.unseen():
            effects += self._dealer.withdraw_everywhere(query_id)
        return effects + self._settle(now)

    # ------------------------------------------------------------------ hello

    def _greet(self, page: int, text: str, now: float) -> list[Effect]:
        """The first message, or one more before it is answered."""
        if page in self._unknown:
            return [self._close(page, POLICY_VIOLATION, "hello is answered before anything else is heard")]
        try:
            message: wire.Message | None = wire.read(text)
        except ValueError:
            message = None
        if not isinstance(message, wire.Hello):
            return [self._close(page, POLICY_VIOLATION, "the first message is hello")]
        if message.protocol != wire.PROTOCOL:
            return self._turn_away(page, OTHER_PROTOCOL, "this page is from another version of rltrainer; reload it")
        key = hash_among(message.token, self._links)
        if key is None:
            self._unknown[page] = message  # the link may have been made a moment ago: it waits for the next look at links
            return []
        return self._admit(page, key, message, now)

    def _tell_wrong(self, page: int, now: float) -> list[Effect]:
        """A link is none of those that are there."""
        if not self._limits.tells_wrong(now):
            return [self._close(page, TRY_LATER, "many links were tried that are not valid; try again in a minute")]
        return self._turn_away(page, NOT_ADMITTED, "this link is not valid; open the whole link that you were sent")

    def _admit(self, page: int, key: str, hello: wire.Hello, now: float) -> list[Effect]:
        """Whoever has a link that is good comes in, where there is room."""
        full = self._full(key)
        if full:
            return self._turn_away(page, TRY_LATER, full)
        del self._arriving[page]
        link = self._links[key]
        self._dealer.seats[page] = Seat(link.labeler, key, link.admin, seen=now)
        welcome = wire.Welcome(
            run=self._run,
            env=self._env,
            labeler=link.labeler,
            admin=link.admin,
            mode="watch" if watching(self.config) else "label",
            task=self.config.labeling.task,
            notice=self.notice,
            saved=self._opinions.of(link.labeler),
            rules=rules_of(self.config),
        )
        curves = [Send(page, self._course.curves())] if self._course.begun else []
        status = [Send(page, self._status)] if self._status else []
        so_far: list[Effect] = [Admit(page), Send(page, welcome), *curves, *status, *self._watch.on_screen([page])]
        return so_far + self._back(page, hello.holds, now)

    def _back(self, page: int, held: Sequence[str], now: float) -> list[Effect]:
        """Pairs that a page brings with it stay there, but for those that are answered or somebody else's by now.

        One that another labeler has answered stays for a second opinion, where one is still due.
        """
        seat, open_, (_, due) = self._dealer.seats[page], set(self._open()), self._opinions_due()
        free = {name for name in held if name in open_ and self._kept_for(name) in (None, seat.labeler)}
        again = [name for name in held if due > 0 and self._opinions.lacks_second(name, seat.labeler)][:1]
        stay = [name for name in held if name in {*free, *again} and self._dealer.holder(name) is None]
        seat.again |= set(again) & set(stay)
        gone = [name for name in held if name not in stay]
        effects = self._dealer.give(page, stay, now, self.config.labeling.lease_seconds)
        return [*effects, Send(page, wire.Withdrawn(query_ids=gone))] if gone else effects

    def _full(self, key: str) -> str | None:
        """Why one more page of a link is not let in, or None."""
        seats = self._dealer.seats.values()
        if sum(seat.link == key for seat in seats) >= MOST_OF_A_LINK:
            return f"{MOST_OF_A_LINK} pages are connected through this link; close one"
        return f"{MOST_PAGES} pages are connected to this run; try again later" if len(seats) >= MOST_PAGES else None

    def _slow(self, page: int, seat: Seat, now: float) -> list[Effect]:
        """Who sends too much is read more slowly, and is told so."""
        wait = self._limits.message(seat.link, now)
        if wait <= 0:
            return []
        reason = f"this link sends more than {LINK_RATE:g} messages a second: they are read more slowly, and none is lost"
        told = [_refused(page, reason)] if self._limits.to_be_told(seat.link) else []
        return [*told, Slow(page, wait)]

    def _turn_away(self, page: int, code: int, reason: str) -> list[Effect]:
        return [_refused(page, reason), self._close(page, code, reason)]

    def _put_out(self, page: int) -> list[Effect]:
        reason = "This link has been ended by whoever runs the training."
        return [*self._dealer.leave(page), _refused(page, reason), Close(page, LINK_ENDED, reason)]

    def _close(self, page: int, code: int, reason: str) -> Effect:
        del self._arriving[page]
        self._unknown.pop(page, None)
        return Close(page, code, reason)

    def _close_late(self, page: int) -> Effect:
        if page in self._unknown:
            return self._close(page, TRY_LATER, f"this link could not be looked up within {HELLO_SECONDS:g} s")
        return self._close(page, NO_HELLO, f"no hello within {HELLO_SECONDS:g} s")

    # ------------------------------------------------------------------ labels

    def _label(self, page: int, seat: Seat, message: wire.LabelMessage, now: float) -> list[Effect]:
        if message.label_id in self._label_ids:  # the line may have dropped before the ack
            back = self._give_back(page, message.query_id, now) if message.verdict is Verdict.UNDO else []
            return [self._ack(page, message.label_id), *back]
        if message.label_id in self._saving:
            self._saving[message.label_id].pages.append(page)
            return []
        reason = objection(message, self.config) or self._objection(message, seat.labeler)
        trimmed = bool(message.trims) and not self._shelf.knows_length(message.query_id)
        if not reason and trimmed and self._shelf.hopeless(message.query_id):
            reason = UNCHECKED
        if reason:
            return self._refuse(page, message, reason)
        if message.verdict is not Verdict.UNDO:
            self._dealer.answered(page, message.query_id)
        seat.seen = now
        awaits_clips = trimmed or bool(self._awaiting(message.query_id))  # an undo does not overtake its answer
        saving = self._saving[message.label_id] = Saving([page], seat.labeler, message, awaits_clips)
        renewed = self._dealer.renew(page, now, self.config.labeling.lease_seconds)
        return [*([] if awaits_clips else self._save(saving)), *renewed]

    def _ack(self, page: int, label_id: str) -> Effect:
        return Send(page, wire.Ack(label_id=label_id, saved=self._opinions.of(self._dealer.seats[page].labeler)))

    def _give_back(self, page: int, query_id: str, now: float) -> list[Effect]:
        """What a page has taken back is its own to judge again, but for what somebody holds or it has answered since."""
        seat = self._dealer.seats[page]
        if self._dealer.holder(query_id) is not None or self._verdict(query_id, seat.labeler) is not Verdict.UNDO:
            return []
        if self._opinions.labelers(query_id):
            seat.again.add(query_id)
        return self._dealer.give(page, [query_id], now, self.config.labeling.lease_seconds)

    def _objection(self, message: wire.LabelMessage, labeler: str) -> str | None:
        """Why a label is not taken, or None. What only the store knows, the store says."""
        query = self._queue.get(message.query_id)
        if query and message.preferred not in (None, query.first, query.second):
            return f"segment {message.preferred!r} is not in this pair"
        if message.verdict is Verdict.UNDO and self._verdict(message.query_id, labeler) in (None, Verdict.UNDO):
            return "there is no answer of yours to undo"
        return None

    def _verdict(self, query_id: str, labeler: str) -> Verdict | None:
        """What a labeler last said of a query, labels on their way included."""
        for saving in reversed(self._saving.values()):
            if (saving.message.query_id, saving.labeler) == (query_id, labeler):
                return saving.message.verdict
        return self._verdicts.get((query_id, labeler))

    def _save(self, saving: Saving) -> list[Effect]:
        message = saving.message
        try:
            trims = {
                segment_id: self._shelf.steps_of(message.query_id, segment_id, trim)
                for segment_id, trim in message.trims.items()
            }
        except ValueError as error:
            return self._drop(saving, str(error))
        saving.awaits_clips = False
        answer = Answer(message.verdict, message.preferred, trims, message.strength, message.reason.strip())
        return [SaveLabel(message.label_id, message.query_id, saving.labeler, answer)]

    def _drop(self, saving: Saving, reason: str) -> list[Effect]:
        """Refuse a label that was on its way."""
        del self._saving[saving.message.label_id]
        pages = [page for page in saving.pages if page in self._dealer.seats]
        return [effect for page in pages for effect in self._refuse(page, saving.message, reason)]

    def _refuse(self, page: int, message: wire.LabelMessage, reason: str) -> list[Effect]:
        """Say why a label is not taken. The page has put the pair away: asked about again, it is sent again."""
        if message.verdict is not Verdict.UNDO:
            self._dealer.seats[page].pushed.pop(message.query_id, None)
        return [_refused(page, reason, message.label_id)]

    def _awaiting(self, query_id: str) -> list[Saving]:
        return [s for s in self._saving.values() if s.awaits_clips and s.message.query_id == query_id]

    def _note(self, label: Label) -> None:
        self._label_ids.add(label.id)
        self._verdicts[label.query_id, label.labeler] = label.answer.verdict
        self._opinions.note(label)
        if label.answer.verdict is not Verdict.UNDO and not label.inherited:  # this env may not show another run's clips
            self._watch.newest = label

    # ------------------------------------------------------------------ settings

    def _change(self, page: int, seat: Seat, message: wire.SettingsMessage | wire.PauseMessage) -> list[Effect]:
        if not seat.admin:
            what = "pause training" if isinstance(message, wire.PauseMessage) else "change settings"
            return [_refused(page, f"only an admin may {what}, and yours is a labeler's link")]
        try:
            if isinstance(message, wire.PauseMessage):
                return [Pause(message.paused, seat.labeler)]
            return [ChangeSettings(checked(message.changes, self.config), seat.labeler)]
        except UserError as error:
            return [_refused(page, str(error))]

    def _apply_settings(self, settings: Mapping[str, Any]) -> list[Effect]:
        if settings == self._settings:
            return []
        self._settings, old = dict(settings), self.config
        self.config = self._base.but(settings, "settings")
        if self.config.clips != old.clips:  # what a page has keeps its frames: trims count them
            self._shelf.forget_but(query_id for seat in self._dealer.seats.values() for query_id in seat.pushed)
        return self._to_all(rules_of(self.config)) if rules_of(self.config) != rules_of(old) else []

    def _apply_pause(self, *, paused: bool) -> list[Effect]:
        if paused == self._paused:
            return []
        self._paused = paused
        if self._status is None:
            return []
        self._status = self._status.model_copy(update={"paused": paused})
        return self._to_all(self._status)

    # ------------------------------------------------------------------ what follows

    def _settle(self, now: float) -> list[Effect]:
        """What follows from the state as it is: pairs dealt, pairs pushed, the next clips asked for."""
        if watching(self.config):
            effects = self._watch.show(self._shelf, list(self._dealer.seats), now)
        else:
            lease = self.config.labeling.lease_seconds
            effects = self._dealer.deal(self._open, self._kept_for, self._second_opinions(), now, lease)
            effects += self._dealer.push(self._shelf.get)
            effects += self._foresight.tell(self._dealer.seats, self._shelf)
        self._shelf.forget(min(3 * self.config.labeling.queue_size, MOST_KEPT), self._soon)
        return effects + self._next_clips()

    def _soon(self) -> list[str]:
        """Pairs whose clips somebody is about to need: those that pages hold, or one for the first page to come.

        The trainer replaces what waits by newer pairs every few seconds: clips of all of them would be made for nobody.
        """
        if watching(self.config):
            return []
        if self._dealer.seats:
            return self._dealer.unseen()
        return list(islice((query_id for query_id in self._open() if query_id != self._queue.kept), 1))

    def _open(self) -> Iterator[str]:
        """Pairs that may be dealt, the best first."""
        answered = {s.message.query_id for s in self._saving.values() if s.message.verdict is not Verdict.UNDO}
        return self._queue.open(self._shelf, answered)

    def _kept_for(self, query_id: str) -> str | None:
        """The one labeler who may have a pair, or None."""
        return self._queue.kept_for(query_id, lambda name: any(seat.labeler == name for seat in self._dealer.seats.values()))

    def _second_opinions(self) -> Callable[[str], str | None] | None:
        """Gives a labeler an answered pair of somebody else's, if there is one. None where no more are due."""
        taken, due = self._opinions_due()
        return self._opinions.give(due, taken, self._shelf.hopeless) if due > 0 else None

    def _opinions_due(self) -> tuple[set[str], int]:
        """Pairs that somebody judges as the second, or answered on their way into the store; and how many more are due."""
        saving = {saving.message.query_id: saving.labeler for saving in self._saving.values()}
        again = {query_id for seat in self._dealer.seats.values() for query_id in seat.again}
        again |= {query_id for query_id, labeler in saving.items() if self._opinions.labelers(query_id) - {labeler}}
        due = self._opinions.due(self.config.labeling.overlap, self.config.labels, len(self._queue)) - len(again)
        return again | saving.keys(), due

    def _next_clips(self) -> list[Effect]:
        """Ask for the most urgent clips, one pair at a time: a label may wait for them, then pages do, then nobody."""
        if self._shelf.making is not None:
            return []
        urgent = [saving.message.query_id for saving in self._saving.values() if saving.awaits_clips]
        ahead = [query_id for query_id in [*self._watch.preparing(), *self._soon()] if query_id not in self._shelf]
        wanted = next((query_id for query_id in urgent + ahead if not self._shelf.hopeless(query_id)), None)
        if wanted is None:
            return []
        self._shelf.making = wanted
        return [MakeClips(wanted, self.config.clips)]

    def _to_all(self, message: wire.Message) -> list[Effect]:
        return [Send(page, message) for page in self._dealer.seats]


_ID: TypeAdapter[str] = TypeAdapter(wire.Id)


def _label_id_in(text: str) -> str | None:
    """The id of a label that is not understood: refused by name, it leaves the page's outbox."""
    try:
        return _ID.validate_python(json.loads(text).get("label_id"))
    except (ValidationError, ValueError, AttributeError, RecursionError):
        return None


def _refused(page: int, reason: str, label_id: str | None = None) -> Send:
    return Send(page, wire.Refused(label_id=label_id, reason=reason))
