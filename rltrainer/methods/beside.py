"""A thread beside the training."""

from __future__ import annotations

import threading
from collections.abc import Callable
from queue import SimpleQueue


class Beside:
    """Does what it is given, one after the other, in a thread of its own.

    Where an interrupt cuts `wait` short, another `wait` still returns only after all that was given is done: it stands in
    the same line.
    """

    def __init__(self, name: str) -> None:
        self._line: SimpleQueue[Callable[[], object] | None] = SimpleQueue()
        self._error: Exception | None = None
        threading.Thread(target=self._work, name=name, daemon=True).start()

    def give(self, task: Callable[[], object]) -> None:
        """Returns at once."""
        self._line.put(task)

    def wait(self) -> None:
        """Until all that was given is done. Raises what it raised."""
        done = threading.Event()
        self._line.put(done.set)
        done.wait()
        if self._error is not None:
            error, self._error = self._error, None
            raise error

    def close(self) -> None:
        """`wait`, and end the thread."""
        try:
            self.wait()
        finally:
            self._line.put(None)

    def _work(self) -> None:
        for task in iter(self._line.get, None):
            try:
                task()
            except Exception as error:  # noqa: BLE001  # whatever it is, whoever waits gets it
                self._error = error
