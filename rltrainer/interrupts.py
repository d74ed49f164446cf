"""Ctrl-C and SIGTERM, obeyed where nothing can break."""

from __future__ import annotations

import signal
import threading
from types import FrameType
from typing import Any, Self

ASKS = (signal.SIGINT, signal.SIGTERM)


class Asked(KeyboardInterrupt):
    """A signal came, and is obeyed at a place where nothing is half done."""


class Interrupts:
    """While it lasts, the first signal is kept until `check` is called; the second one interrupts at once.

    Python raises KeyboardInterrupt between any two instructions, also inside a lock of a library: TensorBoard's writer was left
    asleep for good by one stop in twenty, and the run hung.
    """

    def __init__(self) -> None:
        self._asked = False
        self._before: dict[signal.Signals, Any] = {}

    def __enter__(self) -> Self:
        """Outside of the main thread, which alone gets signals, nothing is changed; a signal that is ignored stays ignored."""
        if threading.current_thread() is threading.main_thread():
            handlers = {asked: signal.getsignal(asked) for asked in ASKS}
            self._before = {asked: handler for asked, handler in handlers.items() if handler is not signal.SIG_IGN}
        for asked in self._before:
            signal.signal(asked, self._note)
        return self

    def __exit__(self, *error: object) -> None:
        for asked, handler in self._before.items():
            signal.signal(asked, handler)

    def check(self) -> None:
        """Raises Asked where a signal came."""
        if self._asked:
            self._asked = False
            raise Asked

    def _note(self, asked: int, frame: FrameType | None) -> None:
        self._asked = True
        for one in self._before:
            signal.signal(one, signal.default_int_handler)


def ignore_in_subprocess() -> None:
    """Ctrl-C in a terminal reaches every process of a run: an env's own leaves the ending to the one that trains."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
