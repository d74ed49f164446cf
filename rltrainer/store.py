"""Runs, segments, queries, labels, events: where trainer and label service meet. The only module that knows SQL.

The trainer writes meta, segments, queries and its progress; whoever answers (the label service, or an oracle inside the
trainer) writes labels; the service writes leases, settings, pauses and where it listens; it and the command line write links.
Segment arrays lie in files named by their hash, fsynced before the row that names them.
"""

from __future__ import annotations

import sqlite3
import time
import uuid
from collections.abc import Iterable, Mapping, Sequence
from contextlib import closing
from dataclasses import asdict
from pathlib import Path
from typing import Any, cast

import sqlalchemy as sa

from rltrainer.core import INHERITED, Answer, Label, Link, Query, Range, Segment, Strength, UserError, Verdict
from rltrainer.disk import check_local, sync_folder
from rltrainer.segment_files import remembered_segment, write_segment

VERSION = 4
FILE = "store.db"
BACKUPS = "backups"
BUSY_SECONDS = 30
ORACLE = "oracle"
"""The source of what an oracle inside the trainer answered."""

_tables = sa.MetaData()
_meta = sa.Table("meta", _tables, sa.Column("key", sa.String, primary_key=True), sa.Column("value", sa.JSON, nullable=False))
_segments = sa.Table(
    "segments",
    _tables,
    sa.Column("id", sa.String, primary_key=True),
    sa.Column("steps", sa.Integer, nullable=False),
    sa.Column("policy_step", sa.Integer, nullable=False),
)
_queries = sa.Table(
    "queries",
    _tables,
    sa.Column("place", sa.Integer, primary_key=True, autoincrement=True),
    sa.Column("id", sa.String, unique=True, nullable=False),
    sa.Column("first", sa.ForeignKey("segments.id"), nullable=False),
    sa.Column("second", sa.ForeignKey("segments.id"), nullable=False),
    sa.Column("asked_at", sa.Integer, nullable=False),
    sa.Column("strategy", sa.String, nullable=False),
    sa.Column("labeler", sa.String, nullable=False),
    sa.Column("withdrawn", sa.Boolean, nullable=False, default=False),
)
_labels = sa.Table(
    "labels",
    _tables,
    sa.Column("seq", sa.Integer, primary_key=True, autoincrement=True),
    sa.Column("id", sa.String, unique=True, nullable=False),
    sa.Column("query_id", sa.ForeignKey("queries.id"), nullable=False, index=True),
    sa.Column("labeler", sa.String, nullable=False),
    sa.Column("revision", sa.Integer, nullable=False),
    sa.Column("verdict", sa.String, nullable=False),
    sa.Column("preferred", sa.ForeignKey("segments.id")),
    sa.Column("trims", sa.JSON, nullable=False),
    sa.Column("strength", sa.String, nullable=False),
    sa.Column("reason", sa.String, nullable=False),
    sa.Column("created_at", sa.Float, nullable=False),
    sa.Column("source", sa.String, nullable=False),
    sa.UniqueConstraint("query_id", "labeler", "revision"),
)
_events = sa.Table(
    "events",
    _tables,
    sa.Column("seq", sa.Integer, primary_key=True, autoincrement=True),
    sa.Column("kind", sa.String, nullable=False, index=True),
    sa.Column("content", sa.JSON, nullable=False),
    sa.Column("created_at", sa.Float, nullable=False),
)
_leases = sa.Table(
    "leases",
    _tables,
    sa.Column("query_id", sa.ForeignKey("queries.id"), primary_key=True),
    sa.Column("labeler", sa.String, nullable=False),
    sa.Column("expires_at", sa.Float, nullable=False),
)
_links = sa.Table(
    "links",
    _tables,
    sa.Column("token_hash", sa.String, primary_key=True),
    sa.Column("labeler", sa.String, nullable=False),
    sa.Column("admin", sa.Boolean, nullable=False),
    sa.Column("created_at", sa.Float, nullable=False),
    sa.Column("ended_at", sa.Float),
)
_settings = sa.Table(
    "settings",
    _tables,
    sa.Column("seq", sa.Integer, primary_key=True, autoincrement=True),
    sa.Column("changes", sa.JSON, nullable=False),
    sa.Column("labeler", sa.String, nullable=False),
    sa.Column("created_at", sa.Float, nullable=False),
)
_pauses = sa.Table(
    "pauses",
    _tables,
    sa.Column("seq", sa.Integer, primary_key=True, autoincrement=True),
    sa.Column("paused", sa.Boolean, nullable=False),
    sa.Column("labeler", sa.String, nullable=False),
    sa.Column("created_at", sa.Float, nullable=False),
)
_newest = sa.select(sa.func.max(_labels.c.seq)).group_by(_labels.c.query_id, _labels.c.labeler)
_standing = _labels.select().where(_labels.c.seq.in_(_newest), _labels.c.verdict != Verdict.UNDO.value).subquery("standing")
"""The newest revision of each (query, labeler), undone ones left out."""


class Store:
    """The store of one run, in the run's folder. Each process opens its own."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._engine = _engine(folder / FILE)
        self._writer = self._engine.execution_options(begin="BEGIN IMMEDIATE")

    @classmethod
    def create(cls, folder: Path, **facts: Any) -> Store:
        """A new store; `facts` are what the run is (its `env`, its `config`), readable as `fact(name)`.

        Raises UserError where the folder lies on a network file system.
        """
        check_local(folder)
        (folder / "segments").mkdir(parents=True)
        store = cls(folder)
        with store._writer.begin() as connection:
            _tables.create_all(connection)
            rows = {"version": VERSION, "run": uuid.uuid4().hex, "created_at": time.time(), **facts}
            connection.execute(_meta.insert(), [{"key": key, "value": value} for key, value in rows.items()])
        return store

    @classmethod
    def open(cls, folder: Path) -> Store:
        """The store in a run folder. Raises UserError where there is none, a damaged one, or one of another version."""
        if not (folder / FILE).is_file():
            raise UserError(
                f"{str(folder)!r} is not a run folder: it holds no {FILE}; pass the folder that `rltrainer train` printed"
            )
        check_local(folder)
        store = cls(folder)
        try:
            store._check()
        except UserError:
            store.close()
            raise
        return store

    def _check(self) -> None:
        """Raises UserError where the file is no store, is damaged, or is of another version."""
        file = str(self.folder / FILE)
        try:
            found = self.fact("version")
            damage = self.damage()
        except (sa.exc.DatabaseError, KeyError) as error:
            damage = str(getattr(error, "orig", "it does not say its version"))
            if not _is_corrupt(error) and newest_backup(self.folder) is None:
                raise UserError(f"{file!r} is not a store of rltrainer; pass another run folder") from None
        if damage is not None:
            raise UserError(f"{file!r} is damaged ({damage}); {way_out(self.folder)}")
        if found != VERSION:
            raise UserError(
                f"{file!r} is a store of version {found} and this rltrainer reads version {VERSION}; "
                "use the rltrainer that wrote it to `rltrainer export` its labels"
            )

    def damage(self, *, thorough: bool = False) -> str | None:
        """What SQLite finds wrong with its file, or None. It knows its pages' structure, and no checksum of what they hold.

        thorough: whether indexes and rows agree, too, and whether every row is there that another names
        """
        try:
            with self._engine.begin() as connection:
                check = "integrity_check" if thorough else "quick_check"
                found: str = connection.exec_driver_sql(f"PRAGMA {check}(1)").scalar_one()
                lost = connection.exec_driver_sql("PRAGMA foreign_key_check").first() if thorough else None
        except sa.exc.DatabaseError as error:
            return str(error.orig)
        if found != "ok":
            return found.splitlines()[-1]
        return None if lost is None else f"row {lost[1]} of {lost[0]} names one of {lost[2]} that is not there"

    def copy(self, file: Path) -> None:
        """Write the database as it stands to a new file, by SQLite's backup API. Who writes meanwhile waits for a moment.

        Raises OSError where the file cannot be written.
        """
        try:
            with (
                closing(sqlite3.connect(self.folder / FILE, timeout=BUSY_SECONDS)) as here,
                closing(sqlite3.connect(file)) as there,
            ):
                here.backup(there)
        except sqlite3.Error as error:
            raise OSError(None, str(error)) from None

    def close(self) -> None:
        self._engine.dispose()

    def fact(self, name: str) -> Any:
        """What `create` was told of the run. Raises KeyError."""
        with self._engine.begin() as connection:
            row = connection.execute(sa.select(_meta.c.value).where(_meta.c.key == name)).one_or_none()
        if row is None:
            raise KeyError(name)
        return row.value

    # ------------------------------------------------------------------ trainer's side

    def ask(self, pairs: Iterable[tuple[Segment, Segment]], asked_at: int, strategy: str, labeler: str = "") -> list[Query]:
        """Put pairs before the labelers, in one transaction; their segments are on disk before.

        labeler: who is asked, if they are there; anybody by default
        """
        pairs = list(pairs)
        rows = self._write(segment for pair in pairs for segment in pair)
        queries = [Query(uuid.uuid4().hex, a.id, b.id, asked_at, strategy, labeler) for a, b in pairs]
        with self._writer.begin() as connection:
            _insert_segments(connection, rows)
            if queries:
                connection.execute(_queries.insert(), [{**asdict(q), "withdrawn": False} for q in queries])
        return queries

    def keep(self, segments: Iterable[Segment]) -> None:
        """Make segments durable that nothing is asked about yet."""
        rows = self._write(segments)
        with self._writer.begin() as connection:
            _insert_segments(connection, rows)

    def _write(self, segments: Iterable[Segment]) -> dict[str, dict[str, Any]]:
        """Segments to disk. Gives the rows that will name them, by id."""
        rows = {}
        for segment in segments:
            write_segment(self._path(segment.id), segment)
            rows[segment.id] = {"id": segment.id, "steps": len(segment), "policy_step": segment.policy_step}
        sync_folder(self.folder / "segments")
        return rows

    def withdraw(self, query_ids: Sequence[str]) -> None:
        """Take pairs that nobody has answered off the queue; an answer that still comes is kept."""
        with self._writer.begin() as connection:
            connection.execute(_queries.update().where(_queries.c.id.in_(query_ids)).values(withdrawn=True))

    def rewind(self, cursor: int, place: int) -> None:
        """Back to the labels up to `cursor` and the queries up to `place`, for a trainer that goes on from there.

        What an oracle answered since is forgotten: it is asked again. What people answered since stays, and so does its pair;
        pairs that nobody answered since are withdrawn, and whoever still answers one is heard.
        """
        since = (_labels.c.seq > cursor) & (_labels.c.source == ORACLE)
        unanswered = _queries.c.id.not_in(sa.select(_labels.c.query_id))
        with self._writer.begin() as connection:
            connection.execute(_labels.delete().where(since))
            connection.execute(_queries.update().where(_queries.c.place > place, unanswered).values(withdrawn=True))

    def log(self, kind: str, **content: Any) -> None:
        """Add an event: what happened, for whoever watches the run."""
        with self._writer.begin() as connection:
            connection.execute(_events.insert().values(kind=kind, content=content, created_at=time.time()))

    # ------------------------------------------------------------------ whoever answers

    def save_label(self, label_id: str, query_id: str, labeler: str, answer: Answer, source: str = "browser") -> Label:
        """Make an answer durable. The same `label_id` again gives the label that is there already.

        Raises LookupError where the query is unknown, ValueError where the answer does not fit it.
        """
        return self.save_labels(labeler, [(label_id, query_id, answer)], source)[0]

    def save_labels(self, labeler: str, answers: Iterable[tuple[str, str, Answer]], source: str) -> list[Label]:
        """Several answers (label id, query id, answer) in one transaction: all of them are durable, or none."""
        with self._writer.begin() as connection:
            return [_insert_label(connection, labeler, source, *answer) for answer in answers]

    def admit(self, queries: Iterable[Query], labels: Iterable[Label]) -> int:
        """Take queries and labels as they stood elsewhere, with their ids, revisions and times: all of them, or none.

        What is here stays: a label of the same id, and an answer of the same labeler that is as new. Gives how many were new.

        Raises ValueError where one does not fit what is here; the segments must be here (`lacking`).
        """
        with self._writer.begin() as connection:
            for query in queries:
                _admit_query(connection, query)
            return sum(_admit_label(connection, label) for label in labels)

    def lease(self, query_ids: Sequence[str], labeler: str, expires_at: float) -> None:
        """Keep pairs for one labeler until `expires_at` (Unix seconds)."""
        with self._writer.begin() as connection:
            connection.execute(_leases.delete().where(_leases.c.query_id.in_(query_ids)))
            if query_ids:
                rows = [{"query_id": q, "labeler": labeler, "expires_at": expires_at} for q in query_ids]
                connection.execute(_leases.insert(), rows)

    def release(self, query_ids: Sequence[str]) -> None:
        """Give pairs back to the queue."""
        with self._writer.begin() as connection:
            connection.execute(_leases.delete().where(_leases.c.query_id.in_(query_ids)))

    def add_link(self, token_hash: str, link: Link) -> None:
        """Let whoever holds the token of this hash in, under that labeler's name."""
        with self._writer.begin() as connection:
            connection.execute(_links.insert().values(token_hash=token_hash, **asdict(link), created_at=time.time()))

    def end_links(self, labeler: str) -> int:
        """Let nobody in under that name any more. Gives how many links that ended."""
        theirs = (_links.c.labeler == labeler) & _links.c.ended_at.is_(None)
        with self._writer.begin() as connection:
            return connection.execute(_links.update().where(theirs).values(ended_at=time.time())).rowcount

    def links(self) -> dict[str, Link]:
        """Links that let somebody in, by token hash."""
        with self._engine.begin() as connection:
            rows = connection.execute(_links.select().where(_links.c.ended_at.is_(None)))
            return {row.token_hash: Link(row.labeler, row.admin) for row in rows}

    def change_settings(self, changes: Mapping[str, Any], labeler: str) -> None:
        """Record settings changed while the run goes on, by dotted name. The user's own file stays as it is."""
        with self._writer.begin() as connection:
            connection.execute(_settings.insert().values(changes=dict(changes), labeler=labeler, created_at=time.time()))

    def pause(self, labeler: str, *, paused: bool) -> None:
        """Ask the trainer to rest at its next rollout boundary, or to go on."""
        with self._writer.begin() as connection:
            connection.execute(_pauses.insert().values(paused=paused, labeler=labeler, created_at=time.time()))

    # ------------------------------------------------------------------ reading

    def settings_changed(self) -> list[dict[str, Any]]:
        """What was changed since the start, oldest first: `changes` by dotted name, by which `labeler`, `at` what time."""
        with self._engine.begin() as connection:
            rows = connection.execute(_settings.select().order_by(_settings.c.seq)).all()
        return [{"at": row.created_at, "labeler": row.labeler, "changes": row.changes} for row in rows]

    def settings(self) -> dict[str, Any]:
        """Every setting changed since the start, newest value, by dotted name."""
        merged: dict[str, Any] = {}
        with self._engine.begin() as connection:
            for changes in connection.scalars(sa.select(_settings.c.changes).order_by(_settings.c.seq)):
                merged |= changes
        return merged

    def paused(self) -> bool:
        """Whether the trainer is asked to rest."""
        newest = sa.select(_pauses.c.paused).order_by(_pauses.c.seq.desc()).limit(1)
        with self._engine.begin() as connection:
            return bool(connection.scalar(newest))

    def segment(self, segment_id: str) -> Segment:
        """The segment of that id, from its file. Raises UserError where the file is damaged."""
        return remembered_segment(self._path(segment_id))

    def labelled(self) -> list[str]:
        """Ids of the segments that somebody answered about."""
        pair = sa.union(sa.select(_queries.c.first, _queries.c.id), sa.select(_queries.c.second, _queries.c.id)).subquery()
        with self._engine.begin() as connection:
            return list(
                connection.scalars(sa.select(pair.c.first).where(pair.c.id.in_(sa.select(_labels.c.query_id))).distinct())
            )

    def segments(self) -> list[str]:
        """Ids of all segments."""
        with self._engine.begin() as connection:
            return list(connection.scalars(sa.select(_segments.c.id).order_by(_segments.c.id)))

    def lacking(self, segment_ids: Iterable[str]) -> set[str]:
        """Those of the segments that are not in this store."""
        return set(segment_ids) - set(self.segments())

    def query(self, query_id: str) -> Query | None:
        with self._engine.begin() as connection:
            row = connection.execute(_queries.select().where(_queries.c.id == query_id)).one_or_none()
        return None if row is None else _query(row)

    def judged(self) -> dict[str, Query]:
        """Queries that somebody answered about, by id."""
        with self._engine.begin() as connection:
            rows = connection.execute(_queries.select().where(_queries.c.id.in_(sa.select(_labels.c.query_id)))).all()
        return {row.id: _query(row) for row in rows}

    def labels(self, since: int = 0) -> list[Label]:
        """Labels with seq > `since`, all revisions, in the store's order."""
        with self._engine.begin() as connection:
            rows = connection.execute(_labels.select().where(_labels.c.seq > since).order_by(_labels.c.seq)).all()
        return [_label(row) for row in rows]

    def standing_labels(self) -> list[Label]:
        """What stands now: the newest revision of each (query, labeler), undone ones left out."""
        with self._engine.begin() as connection:
            return [_label(row) for row in connection.execute(sa.select(_standing).order_by(_standing.c.seq))]

    def last_place(self) -> int:
        """Place of the query that was asked last, 0 where there is none."""
        with self._engine.begin() as connection:
            return int(connection.scalar(sa.select(sa.func.max(_queries.c.place))) or 0)

    def waiting(self) -> list[Query]:
        """Queries that nobody has answered, oldest first, without the withdrawn ones."""
        unanswered = ~_queries.c.withdrawn & _queries.c.id.not_in(sa.select(_standing.c.query_id))
        with self._engine.begin() as connection:
            rows = connection.execute(_queries.select().where(unanswered).order_by(_queries.c.place)).all()
        return [_query(row) for row in rows]

    def leased(self, now: float) -> dict[str, str]:
        """Labeler by query id, of leases that have not run out."""
        with self._engine.begin() as connection:
            rows = connection.execute(sa.select(_leases.c.query_id, _leases.c.labeler).where(_leases.c.expires_at > now))
            return {row.query_id: row.labeler for row in rows}

    def counts(self) -> dict[str, int]:
        """Numbers of pairs `asked` (withdrawn ones left out), `waiting`, and of standing `labels` and `skipped`.

        Inherited labels and their pairs are not among them.
        """
        how_many = sa.func.count()
        inherited = sa.select(_labels.c.query_id).where(_labels.c.source.startswith(INHERITED))
        asked = sa.select(how_many).where(~_queries.c.withdrawn, _queries.c.id.not_in(inherited))
        waiting = asked.where(_queries.c.id.not_in(sa.select(_standing.c.query_id)))
        own = sa.select(_standing.c.verdict, how_many).where(~_standing.c.source.startswith(INHERITED))
        with self._engine.begin() as connection:
            verdicts = {verdict: int(number) for verdict, number in connection.execute(own.group_by(_standing.c.verdict))}
            skipped = verdicts.pop(Verdict.SKIP.value, 0)
            numbers = {"asked": connection.scalar(asked) or 0, "waiting": connection.scalar(waiting) or 0}
        return {**numbers, "labels": sum(verdicts.values()), "skipped": skipped}

    def newest_event(self, kind: str) -> dict[str, Any] | None:
        """The content of the last event of that kind, with its time as `at` (Unix seconds)."""
        with self._engine.begin() as connection:
            row = connection.execute(
                _events.select().where(_events.c.kind == kind).order_by(_events.c.seq.desc()).limit(1)
            ).one_or_none()
        return None if row is None else {**row.content, "at": row.created_at}

    def events(self, kind: str) -> list[dict[str, Any]]:
        """The contents of all events of that kind, oldest first."""
        with self._engine.begin() as connection:
            rows = connection.execute(_events.select().where(_events.c.kind == kind).order_by(_events.c.seq)).all()
        return [{**row.content, "at": row.created_at} for row in rows]

    def _path(self, segment_id: str) -> Path:
        return self.folder / "segments" / f"{segment_id}.safetensors"


def newest_backup(folder: Path) -> Path | None:
    """The last of a run's backups (`rltrainer backup RUN`), or None."""
    return max((file.parent for file in (folder / BACKUPS).glob(f"*/{FILE}")), default=None)


def way_out(folder: Path) -> str:
    """What to do about a damaged store."""
    backup = newest_backup(folder)
    if backup is not None:
        return f"its newest backup is {str(backup)!r}, a run folder to go on with: pass that one, or a copy of it"
    return (
        f"it has no backup in {str(folder / BACKUPS)!r}: go on with a copy of the run made elsewhere, or start another one; "
        "SQLite's own `sqlite3 store.db .recover` may save rows"
    )


def _is_corrupt(error: Exception) -> bool:
    """Whether SQLite says that a database is malformed; other files are none in its eyes."""
    code = getattr(getattr(error, "orig", None), "sqlite_errorcode", None)
    return code is not None and code & 0xFF == sqlite3.SQLITE_CORRUPT


def journal_mode(version: tuple[int, ...] = sqlite3.sqlite_version_info) -> str:
    """WAL where it is sound with two writing connections; SQLite before 3.51.3 can corrupt a file then."""
    return "WAL" if version >= (3, 51, 3) else "DELETE"


def _engine(path: Path) -> sa.Engine:
    engine = sa.create_engine(f"sqlite:///{path}")
    mode = journal_mode()

    @sa.event.listens_for(engine, "connect")
    def prepare(connection: Any, _: Any) -> None:
        connection.isolation_level = None  # SQLAlchemy's BEGIN below is the only one
        connection.execute(f"PRAGMA busy_timeout = {BUSY_SECONDS * 1000}")
        connection.execute(f"PRAGMA journal_mode = {mode}")
        connection.execute(f"PRAGMA synchronous = {'FULL' if mode == 'WAL' else 'EXTRA'}")
        connection.execute("PRAGMA foreign_keys = ON")

    @sa.event.listens_for(engine, "begin")
    def begin(connection: sa.Connection) -> None:
        connection.exec_driver_sql(connection.get_execution_options().get("begin", "BEGIN"))

    return engine


def _insert_segments(connection: sa.Connection, rows: Mapping[str, Mapping[str, Any]]) -> None:
    known = set(connection.scalars(sa.select(_segments.c.id).where(_segments.c.id.in_(rows))))
    new = [row for name, row in rows.items() if name not in known]
    if new:
        connection.execute(_segments.insert(), new)


def _insert_label(connection: sa.Connection, labeler: str, source: str, label_id: str, query_id: str, answer: Answer) -> Label:
    there = connection.execute(_labels.select().where(_labels.c.id == label_id)).one_or_none()
    if there is not None:
        return _label(there)
    query = connection.execute(_queries.select().where(_queries.c.id == query_id)).one_or_none()
    if query is None:
        raise LookupError(f"no query {query_id!r} in this run")
    _check_answer(answer, _steps(connection, query))
    mine = (_labels.c.query_id == query_id) & (_labels.c.labeler == labeler)
    newest = connection.scalar(sa.select(sa.func.max(_labels.c.revision)).where(mine))
    revision = 0 if newest is None else newest + 1
    label = Label(label_id, query_id, labeler, answer, revision, created_at=time.time(), source=source)
    return _label(connection.execute(_labels.insert().values(**_row(label)).returning(_labels)).one())


def _admit_query(connection: sa.Connection, query: Query) -> None:
    there = connection.execute(_queries.select().where(_queries.c.id == query.id)).one_or_none()
    if there is None:
        connection.execute(_queries.insert().values(**asdict(query), withdrawn=False))
    elif {there.first, there.second} != {query.first, query.second}:
        raise ValueError(f"query {query.id!r} asks about other segments in this run")


def _admit_label(connection: sa.Connection, label: Label) -> bool:
    mine = (_labels.c.query_id == label.query_id) & (_labels.c.labeler == label.labeler)
    stands = (_labels.c.id == label.id) | (mine & (_labels.c.revision >= label.revision))
    if connection.execute(sa.select(_labels.c.seq).where(stands).limit(1)).first() is not None:
        return False
    query = connection.execute(_queries.select().where(_queries.c.id == label.query_id)).one()
    _check_answer(label.answer, _steps(connection, query))
    connection.execute(_labels.insert().values(**_row(label)))
    return True


def _steps(connection: sa.Connection, query: Any) -> dict[str, int]:
    """The length of each segment of a query, by its id."""
    pair = _segments.c.id.in_([query.first, query.second])
    return {row.id: row.steps for row in connection.execute(_segments.select().where(pair))}


def _row(label: Label) -> dict[str, Any]:
    """A label as a new row: the store gives it its place."""
    return {
        "id": label.id,
        "query_id": label.query_id,
        "labeler": label.labeler,
        "revision": label.revision,
        "verdict": label.answer.verdict.value,
        "preferred": label.answer.preferred,
        "trims": {segment: list(steps) for segment, steps in label.answer.trims.items()},
        "strength": label.answer.strength.value,
        "reason": label.answer.reason,
        "created_at": label.created_at,
        "source": label.source,
    }


def _check_answer(answer: Answer, steps: Mapping[str, int]) -> None:
    """Raises ValueError where the answer names a foreign segment or a range outside one."""
    for name in {*answer.trims, *([answer.preferred] if answer.preferred else [])} - set(steps):
        raise ValueError(f"segment {name!r} is not in this query; it asks about {sorted(steps)}")
    for name, (start, end) in answer.trims.items():
        if not 0 <= start < end <= steps[name]:
            raise ValueError(f"trim [{start}, {end}) of segment {name!r} is outside its {steps[name]} steps")


def _label(row: Any) -> Label:
    trims = {segment: cast(Range, tuple(steps)) for segment, steps in row.trims.items()}
    answer = Answer(Verdict(row.verdict), row.preferred, trims, Strength(row.strength), row.reason)
    return Label(row.id, row.query_id, row.labeler, answer, row.revision, row.seq, row.created_at, row.source)


def _query(row: Any) -> Query:
    return Query(row.id, row.first, row.second, row.asked_at, row.strategy, row.labeler)
