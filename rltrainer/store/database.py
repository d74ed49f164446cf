"""The SQLite file of a store: how it is opened, and what there is to do where it is damaged."""

from __future__ import annotations

import errno
import sqlite3
from pathlib import Path
from typing import Any

import sqlalchemy as sa

FILE = "store.db"
BACKUPS = "backups"
BUSY_SECONDS = 30
NO_ROOM = {
    sqlite3.SQLITE_FULL,
    sqlite3.SQLITE_CANTOPEN,  # of a journal, where a file system has no names left
    sqlite3.SQLITE_IOERR_WRITE,
    sqlite3.SQLITE_IOERR_FSYNC,
    sqlite3.SQLITE_IOERR_DIR_FSYNC,
    sqlite3.SQLITE_IOERR_TRUNCATE,
    sqlite3.SQLITE_IOERR_SHMSIZE,
}
"""What SQLite says where a disk takes no more."""


class NoRoom(OSError):
    """The disk did not take what was to be written: nothing of it counts, and what was there before stands."""


def newest_backup(folder: Path) -> Path | None:
    """The last of a run's backups (`rltrainer backup RUN`) that is whole, or None. One in the making begins with a dot."""
    return max((file.parent for file in (folder / BACKUPS).glob(f"[!.]*/{FILE}")), default=None)


def way_out(folder: Path) -> str:
    """What to do about a damaged store."""
    backup = newest_backup(folder)
    if backup is not None:
        return f"its newest backup is {str(backup)!r}, a run folder to go on with: pass that one, or a copy of it"
    return (
        f"it has no backup in {str(folder / BACKUPS)!r}: go on with a copy of the run made elsewhere, or start another one; "
        "SQLite's own `sqlite3 store.db .recover` may save rows"
    )


def is_corrupt(error: Exception) -> bool:
    """Whether SQLite says that a database is malformed; other files are none in its eyes."""
    code = getattr(getattr(error, "orig", None), "sqlite_errorcode", None)
    return code is not None and code & 0xFF == sqlite3.SQLITE_CORRUPT


def journal_mode(version: tuple[int, ...] = sqlite3.sqlite_version_info) -> str:
    """WAL where it is sound with two writing connections; SQLite before 3.51.3 can corrupt a file then."""
    return "WAL" if version >= (3, 51, 3) else "DELETE"


def engine_of(path: Path) -> sa.Engine:
    """For the file at that place, with commits that survive a power cut."""
    engine = sa.create_engine(f"sqlite:///{path}")
    mode = journal_mode()

    @sa.event.listens_for(engine, "connect")
    def prepare(connection: Any, _: Any) -> None:
        connection.isolation_level = None  # SQLAlchemy's BEGIN below is the only one
        connection.execute(f"PRAGMA busy_timeout = {BUSY_SECONDS * 1000}")
        connection.execute(f"PRAGMA journal_mode = {mode}")
        connection.execute(f"PRAGMA synchronous = {'FULL' if mode == 'WAL' else 'EXTRA'}")
        connection.execute("PRAGMA foreign_keys = ON")

    @sa.event.listens_for(engine, "handle_error")
    def explain(context: sa.engine.ExceptionContext) -> None:
        error = context.original_exception
        if getattr(error, "sqlite_errorcode", None) in NO_ROOM:
            raise NoRoom(errno.ENOSPC, f"{error}", str(path)) from error

    @sa.event.listens_for(engine, "begin")
    def begin(connection: sa.Connection) -> None:
        connection.exec_driver_sql(connection.get_execution_options().get("begin", "BEGIN"))

    return engine
