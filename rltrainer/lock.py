"""One trainer to a run."""

from __future__ import annotations

import json
import os
import socket
import sys
from pathlib import Path
from typing import Self

from rltrainer.core import UserError

if sys.platform == "win32":
    import msvcrt
else:
    import fcntl

FILE = "trainer.lock"
UNWRITTEN = 2**20
"""A byte that nothing is written to: Windows lets nobody else read what is locked."""


class RunLock:
    """While it lasts, no other process trains this run. The system lets go of it when its holder ends, however that ends."""

    def __init__(self, run: Path) -> None:
        self._run, self._file = run, run / FILE
        self._handle = -1

    def __enter__(self) -> Self:
        """Raises UserError that names the holder."""
        self._handle = os.open(self._file, os.O_RDWR | os.O_CREAT, 0o644)
        try:
            _seize(self._handle)
        except (BlockingIOError, PermissionError):
            os.close(self._handle)
            raise UserError(
                f"run is {str(self._run)!r}, which {self._holder()} is training; stop that one first, or wait for its end"
            ) from None
        os.ftruncate(self._handle, 0)
        os.lseek(self._handle, 0, os.SEEK_SET)
        os.write(self._handle, json.dumps({"pid": os.getpid(), "host": socket.gethostname()}).encode())
        return self

    def __exit__(self, *error: object) -> None:
        os.close(self._handle)

    def _holder(self) -> str:
        try:
            holder = json.loads(self._file.read_text())
            return f"process {holder['pid']} on {holder['host']}"
        except (OSError, ValueError, TypeError, KeyError):  # it took the lock a moment ago
            return "another process"


def _seize(handle: int) -> None:
    """Raises BlockingIOError, or on Windows PermissionError, where another process has it."""
    if sys.platform == "win32":
        os.lseek(handle, UNWRITTEN, os.SEEK_SET)
        msvcrt.locking(handle, msvcrt.LK_NBLCK, 1)
    else:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
