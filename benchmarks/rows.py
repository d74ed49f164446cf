"""Rows of results in a file of JSON lines, each appended as its run ends: what is there once is never run again."""

from __future__ import annotations

import fcntl
import json
import os
from collections.abc import Iterable
from pathlib import Path
from typing import Any, Self

from benchmarks.arms import Job
from rltrainer.core import UserError

Row = dict[str, Any]
DONE, FAILED = "done", "failed"


def read(file: Path) -> list[Row]:
    """The rows of a file, [] where there is none; a last line that was cut off while it was written does not count."""
    try:
        text = file.read_text("utf-8")
    except FileNotFoundError:
        return []
    try:
        return [json.loads(line) for line in text[: text.rfind("\n") + 1].splitlines()]
    except json.JSONDecodeError as error:
        raise UserError(f"{str(file)!r} is no file of rows ({error}); pass another --json FILE") from None


def key(row: Row) -> tuple[Any, ...]:
    """What was run: one run has one key."""
    return (row["env"], row["arm"], row["labels"], row["steps"], row["seed"], json.dumps(row["settings"], sort_keys=True))


def key_of(job: Job) -> tuple[Any, ...]:
    """The key of the row that a job makes."""
    return (job.env, job.arm, job.labels, job.steps, job.seed, json.dumps(job.settings, sort_keys=True))


def newest(rows: Iterable[Row]) -> dict[tuple[Any, ...], Row]:
    """One row a run; of a run that failed and was run again, the later one."""
    return {key(row): row for row in rows}


class RowFile:
    """The one writer of a file of rows. Raises UserError where another command writes it."""

    def __init__(self, file: Path) -> None:
        self.path = file

    def __enter__(self) -> Self:
        self.path.parent.mkdir(parents=True, exist_ok=True)
        self._file = self.path.open("a+b")
        try:
            fcntl.flock(self._file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            self._file.close()
            raise UserError(
                f"{str(self.path)!r} is being written by another benchmark; wait for it, or pass --json FILE"
            ) from None
        self._file.seek(0)
        self._file.truncate(self._file.read().rfind(b"\n") + 1)
        return self

    def __exit__(self, *error: object) -> None:
        self._file.close()

    def add(self, row: Row) -> None:
        """On disk when this returns."""
        self._file.write(json.dumps(row).encode() + b"\n")
        self._file.flush()
        os.fsync(self._file.fileno())
