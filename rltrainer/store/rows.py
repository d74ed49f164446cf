"""What the store's rows say, and how new ones are written, within a transaction."""

from __future__ import annotations

import time
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from typing import Any, cast

import sqlalchemy as sa

from rltrainer.core import Answer, Label, Query, Range, Strength, Verdict
from rltrainer.store import tables


def insert_segments(connection: sa.Connection, rows: Mapping[str, Mapping[str, Any]]) -> None:
    """Those of the rows, by id, that are not there yet."""
    known = set(connection.scalars(sa.select(tables.segments.c.id).where(tables.segments.c.id.in_(rows))))
    new = [row for name, row in rows.items() if name not in known]
    if new:
        connection.execute(tables.segments.insert(), new)


def insert_labels(
    connection: sa.Connection, labeler: str, source: str, answers: Sequence[tuple[str, str, Answer]]
) -> list[Label]:
    """Answers (label id, query id, answer) as new revisions, or the labels that are there under their ids.

    All of them in a few statements, each of which takes its time. Raises LookupError or ValueError.
    """
    ids, query_ids = [label_id for label_id, _, _ in answers], [query_id for _, query_id, _ in answers]
    there = {row.id: row for row in connection.execute(tables.labels.select().where(tables.labels.c.id.in_(ids)))}
    lengths, newest = _lengths(connection, query_ids), _newest(connection, labeler, query_ids)
    rows = {}
    for label_id, query_id, answer in answers:
        if label_id in there or label_id in rows:
            continue
        if query_id not in lengths:
            raise LookupError(f"no query {query_id!r} in this run")
        _check_answer(answer, lengths[query_id])
        newest[query_id] = newest.get(query_id, -1) + 1
        label = Label(label_id, query_id, labeler, answer, newest[query_id], created_at=time.time(), source=source)
        rows[label_id] = _row(label)
    if rows:
        made = connection.execute(tables.labels.insert().returning(tables.labels), list(rows.values()))
        there |= {row.id: row for row in made}
    return [label_of(there[label_id]) for label_id in ids]


def take_label(
    connection: sa.Connection, label_id: str, query_id: str, labeler: str, answer: Answer
) -> Label | LookupError | ValueError:
    """An answer from a page, or why it is not taken. Its labeler has done with the pair, unless they take an answer back."""
    try:
        (label,) = insert_labels(connection, labeler, "browser", [(label_id, query_id, answer)])
    except (LookupError, ValueError) as error:
        return error
    if answer.verdict is not Verdict.UNDO:
        theirs = (tables.leases.c.query_id == query_id) & (tables.leases.c.labeler == labeler)
        connection.execute(tables.leases.delete().where(theirs))
    return label


def set_leases(connection: sa.Connection, leases: Mapping[str, tuple[str, float] | None]) -> None:
    """By query: labeler and end in Unix seconds, or None to end the lease."""
    rows = [{"query_id": query_id, "labeler": lease[0], "expires_at": lease[1]} for query_id, lease in leases.items() if lease]
    if leases:
        connection.execute(tables.leases.delete().where(tables.leases.c.query_id.in_(list(leases))))
    if rows:
        connection.execute(tables.leases.insert(), rows)


def admit_query(connection: sa.Connection, query: Query) -> None:
    """A query as it stood elsewhere. Raises ValueError where the one of its id here is another."""
    there = connection.execute(tables.queries.select().where(tables.queries.c.id == query.id)).one_or_none()
    if there is None:
        connection.execute(tables.queries.insert().values(**asdict(query), withdrawn=False))
    elif {there.first, there.second} != {query.first, query.second}:
        raise ValueError(f"query {query.id!r} asks about other segments in this run")


def admit_label(connection: sa.Connection, label: Label) -> bool:
    """A label as it stood elsewhere, where none here is as new. Gives whether it was taken. Raises ValueError."""
    mine = (tables.labels.c.query_id == label.query_id) & (tables.labels.c.labeler == label.labeler)
    stands = (tables.labels.c.id == label.id) | (mine & (tables.labels.c.revision >= label.revision))
    if connection.execute(sa.select(tables.labels.c.seq).where(stands).limit(1)).first() is not None:
        return False
    _check_answer(label.answer, _lengths(connection, [label.query_id])[label.query_id])
    connection.execute(tables.labels.insert().values(**_row(label)))
    return True


def _lengths(connection: sa.Connection, query_ids: Sequence[str]) -> dict[str, dict[str, int]]:
    """By query: the length of each of its segments, by its id. Queries that are not there are left out."""
    pair = tables.segments.c.id.in_([tables.queries.c.first, tables.queries.c.second])
    asked = sa.select(tables.queries.c.id, tables.segments.c.id.label("segment"), tables.segments.c.steps)
    lengths: dict[str, dict[str, int]] = defaultdict(dict)
    for row in connection.execute(asked.join(tables.segments, pair).where(tables.queries.c.id.in_(query_ids))):
        lengths[row.id][row.segment] = row.steps
    return dict(lengths)


def _newest(connection: sa.Connection, labeler: str, query_ids: Sequence[str]) -> dict[str, int]:
    """By query: the newest revision of that labeler's answer, where there is one."""
    answered = tables.labels.c.query_id
    mine = (tables.labels.c.labeler == labeler) & answered.in_(query_ids)
    newest = sa.select(answered, sa.func.max(tables.labels.c.revision)).where(mine).group_by(answered)
    return dict(connection.execute(newest).all())


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


def label_of(row: Any) -> Label:
    """The label that a row of `tables.labels` says."""
    trims = {segment: cast(Range, tuple(steps)) for segment, steps in row.trims.items()}
    answer = Answer(Verdict(row.verdict), row.preferred, trims, Strength(row.strength), row.reason)
    return Label(row.id, row.query_id, row.labeler, answer, row.revision, row.seq, row.created_at, row.source)


def query_of(row: Any) -> Query:
    """The query that a row of `tables.queries` says."""
    return Query(row.id, row.first, row.second, row.asked_at, row.strategy, row.labeler)
