"""What a person at the terminal sees of a run: a progress bar, or a line now and then where there is no terminal."""

from __future__ import annotations

import time
from typing import Any

from rich.console import Console
from rich.progress import BarColumn, Progress, TaskProgressColumn, TextColumn, TimeRemainingColumn

from rltrainer.core import FitReport

LINE_SECONDS = 10.0


class Dashboard:
    """Shows the facts of a run as it goes: the fields of `loop.Progress`, `steps_per_second` and `true_return`."""

    def __init__(self, total: int, console: Console | None = None) -> None:
        self.console = console or Console(stderr=True)
        self._bar: Progress | None = None
        self._told = 0.0
        self._untold, self._last = ("", ""), ""
        if self.console.is_terminal:
            columns = (
                TextColumn("{task.description}"),
                BarColumn(),
                TaskProgressColumn(),
                TimeRemainingColumn(),
                TextColumn("{task.fields[facts]}"),
            )
            self._bar = Progress(*columns, console=self.console)
            self._task = self._bar.add_task("starting", total=total, facts="")
            self._bar.start()

    def show(self, facts: dict[str, Any]) -> None:
        """Put the facts on screen."""
        text = words(facts)
        if self._bar is not None:
            self._bar.update(self._task, completed=facts["step"], description=facts["phase"], facts=text)
            return
        self._untold = (f"{facts['phase']}: step {facts['step']:,} of {facts['steps']:,}", text)
        if time.monotonic() - self._told >= LINE_SECONDS:
            self._tell()

    def _tell(self) -> None:
        """The newest facts in a line, where that would say something new."""
        where, text = self._untold
        if text != self._last:
            self._told, self._last = time.monotonic(), text
            self.say(f"{where} · {text}")

    def fitting(self, done: int, fits: int, report: FitReport) -> None:
        """A reward model is learned with no env: `done` of so many fits."""
        if self._bar is not None:
            facts = words({"held_out_accuracy": report.held_out_accuracy})
            self._bar.update(self._task, completed=done, total=fits, description="fitting", facts=facts)

    def say(self, line: str) -> None:
        """A line that stays, markup and wrapping off: URLs must survive."""
        self.console.print(line, markup=False, highlight=False, soft_wrap=True)

    def close(self) -> None:
        """Leave the terminal as it was; where there is none, say how far the run came."""
        if self._bar is not None:
            self._bar.stop()
        else:
            self._tell()


def words(facts: dict[str, Any]) -> str:
    """The facts in one line; what is not known yet is left out."""
    wanted = facts.get("wanted")
    parts = [
        f"{facts['steps_per_second']:,.0f} steps/s" if facts.get("steps_per_second") else "",
        f"labels {facts['labels']}{f'/{wanted}' if wanted else ''} (asked {facts['asked']})" if "labels" in facts else "",
        f"held-out accuracy {facts['held_out_accuracy']:.0%}" if facts.get("held_out_accuracy") is not None else "",
        f"true return {facts['true_return']:.1f}" if facts.get("true_return") is not None else "",
        facts.get("message", "") if facts.get("phase") in ("warmup", "paused") else "",
    ]
    return " · ".join(part for part in parts if part)
