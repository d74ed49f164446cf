"""The tables of a run's store. Whatever of them changes raises `VERSION`."""

from __future__ import annotations

import sqlalchemy as sa

from rltrainer.core import Verdict

VERSION = 5

everything = sa.MetaData()
meta = sa.Table("meta", everything, sa.Column("key", sa.String, primary_key=True), sa.Column("value", sa.JSON, nullable=False))
segments = sa.Table(
    "segments",
    everything,
    sa.Column("id", sa.String, primary_key=True),
    sa.Column("steps", sa.Integer, nullable=False),
    sa.Column("policy_step", sa.Integer, nullable=False),
)
queries = sa.Table(
    "queries",
    everything,
    sa.Column("place", sa.Integer, primary_key=True, autoincrement=True),
    sa.Column("id", sa.String, unique=True, nullable=False),
    sa.Column("first", sa.ForeignKey("segments.id"), nullable=False),
    sa.Column("second", sa.ForeignKey("segments.id"), nullable=False),
    sa.Column("asked_at", sa.Integer, nullable=False),
    sa.Column("strategy", sa.String, nullable=False),
    sa.Column("labeler", sa.String, nullable=False),
    sa.Column("withdrawn", sa.Boolean, nullable=False, default=False),
)
labels = sa.Table(
    "labels",
    everything,
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
    sqlite_autoincrement=True,  # a place is never given again, though `Store.rewind` forgets an oracle's last labels
)
events = sa.Table(
    "events",
    everything,
    sa.Column("seq", sa.Integer, primary_key=True, autoincrement=True),
    sa.Column("kind", sa.String, nullable=False, index=True),
    sa.Column("content", sa.JSON, nullable=False),
    sa.Column("created_at", sa.Float, nullable=False),
)
forecasts = sa.Table(
    "forecasts",
    everything,
    sa.Column("seq", sa.Integer, primary_key=True, autoincrement=True),
    sa.Column("version", sa.Integer, nullable=False),
    sa.Column("rewards", sa.JSON, nullable=False),
    sqlite_autoincrement=True,  # a new one takes the place of the old one, and never its number
)
leases = sa.Table(
    "leases",
    everything,
    sa.Column("query_id", sa.ForeignKey("queries.id"), primary_key=True),
    sa.Column("labeler", sa.String, nullable=False),
    sa.Column("expires_at", sa.Float, nullable=False),
)
links = sa.Table(
    "links",
    everything,
    sa.Column("token_hash", sa.String, primary_key=True),
    sa.Column("labeler", sa.String, nullable=False),
    sa.Column("admin", sa.Boolean, nullable=False),
    sa.Column("created_at", sa.Float, nullable=False),
    sa.Column("ended_at", sa.Float),
)
settings = sa.Table(
    "settings",
    everything,
    sa.Column("seq", sa.Integer, primary_key=True, autoincrement=True),
    sa.Column("changes", sa.JSON, nullable=False),
    sa.Column("labeler", sa.String, nullable=False),
    sa.Column("created_at", sa.Float, nullable=False),
)
pauses = sa.Table(
    "pauses",
    everything,
    sa.Column("seq", sa.Integer, primary_key=True, autoincrement=True),
    sa.Column("paused", sa.Boolean, nullable=False),
    sa.Column("labeler", sa.String, nullable=False),
    sa.Column("created_at", sa.Float, nullable=False),
)
_newest = sa.select(sa.func.max(labels.c.seq)).group_by(labels.c.query_id, labels.c.labeler)
standing = labels.select().where(labels.c.seq.in_(_newest), labels.c.verdict != Verdict.UNDO.value).subquery("standing")
"""The newest revision of each (query, labeler), undone ones left out."""

_answers = labels.select().where(labels.c.query_id == queries.c.id)
_taken_back = sa.select(labels.c.query_id).where(labels.c.verdict == Verdict.UNDO.value)
answered = _answers.exists() & (queries.c.id.not_in(_taken_back) | queries.c.id.in_(sa.select(standing.c.query_id)))
"""Whether an answer to a query stands. What stands is sorted out for those alone of which an answer was taken back."""
