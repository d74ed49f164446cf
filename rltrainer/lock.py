"""One trainer to a run."""

from __future__ import annotations

import fcntl
import json
import os
import socket
from pathlib import Path
from typing import Self

from rltrainer.core import UserError

FILE = "trainer.lock"


class RunLock:
    """While it lasts, no other process trains this run. The system lets go of it when its holder ends, however that ends."""

    def __init__(self, run: Path) -> None:
        self._run, self._file = run, run / FILE
        self._handle = -1

    def __enter__(self) -> Self:
        """Raises UserError that names the holder."""
        self._handle = os.open(self._file, os.O_RDWR | os.O_CREAT, 0o644)
        try:
            fcntl.flock(self._handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            os.close(self._handle)
            raise UserError(
                f"run is {str(self._run)!r}, which {self._holder()} is training; stop that one first, or wait for its end"
            ) from None
        os.ftruncate(self._handle, 0)
        os.pwrite(self._handle, json.dumps({"pid": os.getpid(), "host": socket.gethostname()}).encode(), 0)
        return self

    def __exit__(self, *error: object) -> None:
        os.close(self._handle)

    def _holder(self) -> str:
        try:
            holder = json.loads(self._file.read_text())
            return f"process {holder['pid']} on {holder['host']}"
        except (OSError, ValueError, TypeError, KeyError):  # it took the lock a moment ago
            return "another process"
