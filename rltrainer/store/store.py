"""Runs, segments, queries, labels, events: as the trainer and the label service read and write them.

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
from typing import Any

import sqlalchemy as sa

from rltrainer.core import INHERITED, Answer, Forecast, Label, Link, Query, Segment, UserError, Verdict
from rltrainer.disk import check_local, sync_folder
from rltrainer.segment_files import remembered_segment, write_segment
from rltrainer.store import tables
from rltrainer.store.database import BUSY_SECONDS, FILE, engine_of, is_corrupt, newest_backup, way_out
from rltrainer.store.rows import (
    admit_label,
    admit_query,
    insert_labels,
    insert_segments,
    label_of,
    query_of,
    set_leases,
    take_label,
)

ORACLE = "oracle"
"""The source of what an oracle inside the trainer answered."""


class Store:
    """The store of one run, in the run's folder. Each process opens its own."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._engine = engine_of(folder / FILE)
        self._writer = self._engine.execution_options(begin="BEGIN IMMEDIATE")

    @classmethod
    def create(cls, folder: Path, **facts: Any) -> Store:
        """A new store; `facts` are what the run is (its `env`, its `config`), readable as `fact(name)`.

        Raises UserError where the folder lies on a network file system.
        """
        check_local(folder)
        (folder / "segments").mkdir(parents=True, exist_ok=True)  # a run may have been killed while its store was made
        store = cls(folder)
        with store._writer.begin() as connection:
            tables.everything.create_all(connection)
            rows = {"version": tables.VERSION, "run": uuid.uuid4().hex, "created_at": time.time(), **facts}
            connection.execute(tables.meta.insert(), [{"key": key, "value": value} for key, value in rows.items()])
        return store

    @staticmethod
    def lies_in(folder: Path) -> bool:
        """Whether a folder holds a store. An empty file is none: a run was killed as it began."""
        return (folder / FILE).is_file() and (folder / FILE).stat().st_size > 0

    @classmethod
    def open(cls, folder: Path) -> Store:
        """The store in a run folder. Raises UserError where there is none, a damaged one, or one of another version."""
        if not (folder / FILE).is_file():
            if (folder / "reward.safetensors").is_file():
                backup = newest_backup(folder)
                copy = "a copy of the run made elsewhere" if backup is None else f"its newest backup, {str(backup)!r}"
                raise UserError(f"{str(folder)!r} holds no {FILE} any more; go on with {copy}")
            if (folder / "policy.safetensors").is_file():
                raise UserError(
                    f"{str(folder)!r} holds no {FILE}: what trains on the env's own reward has no labels; pass the folder of a "
                    "run that learns a reward"
                )
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
            if not is_corrupt(error) and newest_backup(self.folder) is None:
                raise UserError(f"{file!r} is not a store of rltrainer; pass another run folder") from None
        if damage is not None:
            raise UserError(f"{file!r} is damaged ({damage}); {way_out(self.folder)}")
        if found != tables.VERSION:
            raise UserError(
                f"{file!r} is a store of version {found} and this rltrainer reads version {tables.VERSION}; "
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
            row = connection.execute(sa.select(tables.meta.c.value).where(tables.meta.c.key == name)).one_or_none()
        if row is None:
            raise KeyError(name)
        return row.value

    # ------------------------------------------------------------------ trainer's side

    def set_fact(self, name: str, value: Any) -> None:
        """Say anew what holds for the run, where it goes on with other settings."""
        with self._writer.begin() as connection:
            connection.execute(tables.meta.update().where(tables.meta.c.key == name).values(value=value))

    def ask(self, pairs: Iterable[tuple[Segment, Segment]], asked_at: int, strategy: str, labeler: str = "") -> list[Query]:
        """Put pairs before the labelers, in one transaction; their segments are on disk before.

        labeler: who is asked, if they are there; anybody by default
        """
        pairs = list(pairs)
        rows = self._write(segment for pair in pairs for segment in pair)
        queries = [Query(uuid.uuid4().hex, a.id, b.id, asked_at, strategy, labeler) for a, b in pairs]
        with self._writer.begin() as connection:
            insert_segments(connection, rows)
            if queries:
                connection.execute(tables.queries.insert(), [{**asdict(q), "withdrawn": False} for q in queries])
        return queries

    def keep(self, segments: Iterable[Segment]) -> None:
        """Make segments durable that nothing is asked about yet."""
        rows = self._write(segments)
        with self._writer.begin() as connection:
            insert_segments(connection, rows)

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
            connection.execute(tables.queries.update().where(tables.queries.c.id.in_(query_ids)).values(withdrawn=True))

    def rewind(self, cursor: int, place: int) -> None:
        """Back to the labels up to `cursor` and the queries up to `place`, for a trainer that goes on from there.

        What an oracle answered since is forgotten: it is asked again. What people answered since stays, and so does its pair;
        pairs that nobody answered since are withdrawn, and whoever still answers one is heard.
        """
        since = (tables.labels.c.seq > cursor) & (tables.labels.c.source == ORACLE)
        unanswered = tables.queries.c.id.not_in(sa.select(tables.labels.c.query_id))
        with self._writer.begin() as connection:
            connection.execute(tables.labels.delete().where(since))
            connection.execute(tables.queries.update().where(tables.queries.c.place > place, unanswered).values(withdrawn=True))

    def log(self, kind: str, **content: Any) -> None:
        """Add an event: what happened, for whoever watches the run."""
        with self._writer.begin() as connection:
            connection.execute(tables.events.insert().values(kind=kind, content=content, created_at=time.time()))

    def foretell(self, forecast: Forecast) -> None:
        """Say what the reward pays for segments that wait to be judged, in place of what was said before."""
        row = {"version": forecast.version, "rewards": forecast.rewards}
        with self._writer.begin() as connection:
            connection.execute(tables.forecasts.delete())
            connection.execute(tables.forecasts.insert().values(row))

    # ------------------------------------------------------------------ whoever answers

    def save_label(self, label_id: str, query_id: str, labeler: str, answer: Answer, source: str = "browser") -> Label:
        """Make an answer durable. The same `label_id` again gives the label that is there already.

        Raises LookupError where the query is unknown, ValueError where the answer does not fit it.
        """
        return self.save_labels(labeler, [(label_id, query_id, answer)], source)[0]

    def save_labels(self, labeler: str, answers: Iterable[tuple[str, str, Answer]], source: str) -> list[Label]:
        """Several answers (label id, query id, answer) in one transaction: all of them are durable, or none."""
        with self._writer.begin() as connection:
            return insert_labels(connection, labeler, source, list(answers))

    def note(
        self, answers: Iterable[tuple[str, str, str, Answer]], leases: Mapping[str, tuple[str, float] | None]
    ) -> list[Label | LookupError | ValueError]:
        """What pages did in a while, in one transaction, which costs the disk one sync.

        answers: label id, query id, labeler, answer. Each is taken, or gives why it is not, for itself. Whoever has answered a
                 pair does not look at it any more
        leases:  for each pair who looks at it, and until when (Unix seconds), or None where nobody does any more
        """
        with self._writer.begin() as connection:
            labels = [take_label(connection, *answer) for answer in answers]
            set_leases(connection, leases)
            return labels

    def admit(self, queries: Iterable[Query], labels: Iterable[Label]) -> int:
        """Take queries and labels as they stood elsewhere, with their ids, revisions and times: all of them, or none.

        What is here stays: a label of the same id, and an answer of the same labeler that is as new. Gives how many were new.

        Raises ValueError where one does not fit what is here; the segments must be here (`lacking`).
        """
        with self._writer.begin() as connection:
            for query in queries:
                admit_query(connection, query)
            return sum(admit_label(connection, label) for label in labels)

    def lease(self, query_ids: Sequence[str], labeler: str, expires_at: float) -> None:
        """Keep pairs for one labeler until `expires_at` (Unix seconds)."""
        self.note((), dict.fromkeys(query_ids, (labeler, expires_at)))

    def release(self, query_ids: Sequence[str]) -> None:
        """Give pairs back to the queue."""
        self.note((), dict.fromkeys(query_ids))

    def add_link(self, token_hash: str, link: Link) -> None:
        """Let whoever holds the token of this hash in, under that labeler's name."""
        with self._writer.begin() as connection:
            connection.execute(tables.links.insert().values(token_hash=token_hash, **asdict(link), created_at=time.time()))

    def end_links(self, labeler: str) -> int:
        """Let nobody in under that name any more. Gives how many links that ended."""
        theirs = (tables.links.c.labeler == labeler) & tables.links.c.ended_at.is_(None)
        with self._writer.begin() as connection:
            return connection.execute(tables.links.update().where(theirs).values(ended_at=time.time())).rowcount

    def links(self) -> dict[str, Link]:
        """Links that let somebody in, by token hash."""
        with self._engine.begin() as connection:
            rows = connection.execute(tables.links.select().where(tables.links.c.ended_at.is_(None)))
            return {row.token_hash: Link(row.labeler, row.admin) for row in rows}

    def change_settings(self, changes: Mapping[str, Any], labeler: str) -> None:
        """Record settings changed while the run goes on, by dotted name. The user's own file stays as it is."""
        with self._writer.begin() as connection:
            connection.execute(tables.settings.insert().values(changes=dict(changes), labeler=labeler, created_at=time.time()))

    def pause(self, labeler: str, *, paused: bool) -> None:
        """Ask the trainer to rest at its next rollout boundary, or to go on."""
        with self._writer.begin() as connection:
            connection.execute(tables.pauses.insert().values(paused=paused, labeler=labeler, created_at=time.time()))

    # ------------------------------------------------------------------ reading

    def settings_changed(self) -> list[dict[str, Any]]:
        """What was changed since the start, oldest first: `changes` by dotted name, by which `labeler`, `at` what time."""
        with self._engine.begin() as connection:
            rows = connection.execute(tables.settings.select().order_by(tables.settings.c.seq)).all()
        return [{"at": row.created_at, "labeler": row.labeler, "changes": row.changes} for row in rows]

    def settings(self) -> dict[str, Any]:
        """Every setting changed since the start, newest value, by dotted name."""
        merged: dict[str, Any] = {}
        with self._engine.begin() as connection:
            for changes in connection.scalars(sa.select(tables.settings.c.changes).order_by(tables.settings.c.seq)):
                merged |= changes
        return merged

    def paused(self) -> bool:
        """Whether the trainer is asked to rest."""
        newest = sa.select(tables.pauses.c.paused).order_by(tables.pauses.c.seq.desc()).limit(1)
        with self._engine.begin() as connection:
            return bool(connection.scalar(newest))

    def segment(self, segment_id: str) -> Segment:
        """The segment of that id, from its file. Raises UserError where the file is damaged."""
        return remembered_segment(self._path(segment_id))

    def labelled(self) -> list[str]:
        """Ids of the segments that somebody answered about."""
        pair = sa.union(
            sa.select(tables.queries.c.first, tables.queries.c.id), sa.select(tables.queries.c.second, tables.queries.c.id)
        ).subquery()
        with self._engine.begin() as connection:
            return list(
                connection.scalars(sa.select(pair.c.first).where(pair.c.id.in_(sa.select(tables.labels.c.query_id))).distinct())
            )

    def segments(self) -> list[str]:
        """Ids of all segments."""
        with self._engine.begin() as connection:
            return list(connection.scalars(sa.select(tables.segments.c.id).order_by(tables.segments.c.id)))

    def lacking(self, segment_ids: Iterable[str]) -> set[str]:
        """Those of the segments that are not in this store."""
        return set(segment_ids) - set(self.segments())

    def query(self, query_id: str) -> Query | None:
        with self._engine.begin() as connection:
            row = connection.execute(tables.queries.select().where(tables.queries.c.id == query_id)).one_or_none()
        return None if row is None else query_of(row)

    def judged(self) -> dict[str, Query]:
        """Queries that somebody answered about, by id."""
        with self._engine.begin() as connection:
            rows = connection.execute(
                tables.queries.select().where(tables.queries.c.id.in_(sa.select(tables.labels.c.query_id)))
            ).all()
        return {row.id: query_of(row) for row in rows}

    def labels(self, since: int = 0) -> list[Label]:
        """Labels with seq > `since`, all revisions, in the store's order."""
        with self._engine.begin() as connection:
            rows = connection.execute(
                tables.labels.select().where(tables.labels.c.seq > since).order_by(tables.labels.c.seq)
            ).all()
        return [label_of(row) for row in rows]

    def standing_labels(self) -> list[Label]:
        """What stands now: the newest revision of each (query, labeler), undone ones left out."""
        with self._engine.begin() as connection:
            return [label_of(row) for row in connection.execute(sa.select(tables.standing).order_by(tables.standing.c.seq))]

    def last_place(self) -> int:
        """Place of the query that was asked last, 0 where there is none."""
        with self._engine.begin() as connection:
            return int(connection.scalar(sa.select(sa.func.max(tables.queries.c.place))) or 0)

    def waiting(self) -> list[Query]:
        """Queries that nobody has answered, oldest first, without the withdrawn ones."""
        unanswered = ~tables.queries.c.withdrawn & ~tables.answered
        with self._engine.begin() as connection:
            rows = connection.execute(tables.queries.select().where(unanswered).order_by(tables.queries.c.place)).all()
        return [query_of(row) for row in rows]

    def leased(self, now: float) -> dict[str, str]:
        """Labeler by query id, of leases that have not run out."""
        with self._engine.begin() as connection:
            rows = connection.execute(
                sa.select(tables.leases.c.query_id, tables.leases.c.labeler).where(tables.leases.c.expires_at > now)
            )
            return {row.query_id: row.labeler for row in rows}

    def counts(self) -> dict[str, int]:
        """Numbers of pairs `asked` (withdrawn ones left out), `waiting`, and of standing `labels` and `skipped`.

        Inherited labels and their pairs are not among them.
        """
        how_many = sa.func.count()
        inherited = sa.select(tables.labels.c.query_id).where(tables.labels.c.source.startswith(INHERITED))
        pairs = sa.select(how_many.label("asked"), how_many.filter(~tables.answered).label("waiting"))
        pairs = pairs.where(~tables.queries.c.withdrawn, tables.queries.c.id.not_in(inherited))
        own = sa.select(tables.standing.c.verdict, how_many).where(~tables.standing.c.source.startswith(INHERITED))
        with self._engine.begin() as connection:
            verdicts = {verdict: int(number) for verdict, number in connection.execute(own.group_by(tables.standing.c.verdict))}
            skipped = verdicts.pop(Verdict.SKIP.value, 0)
            numbers = connection.execute(pairs).one()._asdict()
        return {**numbers, "labels": sum(verdicts.values()), "skipped": skipped}

    def forecast(self, since: int = 0) -> Forecast | None:
        """What the reward pays for segments that wait, if that is newer than the one at place `since`."""
        with self._engine.begin() as connection:
            row = connection.execute(tables.forecasts.select().where(tables.forecasts.c.seq > since)).one_or_none()
        return None if row is None else Forecast(row.version, row.rewards, row.seq)

    def newest_event(self, kind: str) -> dict[str, Any] | None:
        """The content of the last event of that kind, with its time as `at` (Unix seconds)."""
        with self._engine.begin() as connection:
            row = connection.execute(
                tables.events.select().where(tables.events.c.kind == kind).order_by(tables.events.c.seq.desc()).limit(1)
            ).one_or_none()
        return None if row is None else {**row.content, "at": row.created_at}

    def events(self, kind: str) -> list[dict[str, Any]]:
        """The contents of all events of that kind, oldest first."""
        with self._engine.begin() as connection:
            rows = connection.execute(
                tables.events.select().where(tables.events.c.kind == kind).order_by(tables.events.c.seq)
            ).all()
        return [{**row.content, "at": row.created_at} for row in rows]

    def _path(self, segment_id: str) -> Path:
        return self.folder / "segments" / f"{segment_id}.safetensors"
