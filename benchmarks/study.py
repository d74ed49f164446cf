"""Runs of several arms in several envs: flags, going on where an earlier call ended, progress."""

from __future__ import annotations

import argparse
import os
import time
from collections.abc import Iterator, Sequence
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn

from benchmarks import plots, reporting, tables
from benchmarks.arms import ARMS, CHANCE, DEFAULT, Job, jobs
from benchmarks.rows import FAILED, Row, RowFile, key_of, newest, read
from benchmarks.runs import run_all
from rltrainer.core import UserError

FIRST_SEED = 10
"""Of the benchmarks' seeds: settings were tuned on 0 to 2 and on 100 to 153."""


def flags(description: str | None, file: Path, *, arms: Sequence[str] = (DEFAULT,)) -> argparse.ArgumentParser:
    """The flags that every such benchmark has. file: where its results go if nothing is said"""
    options = reporting.flags(description)
    options.set_defaults(json=file)
    options.add_argument("--envs", nargs="+", metavar="ENV", help="envs of the table in benchmarks/arms.py, or any other id")
    options.add_argument("--arms", nargs="+", metavar="ARM", choices=list(ARMS), default=list(arms), help=", ".join(ARMS))
    options.add_argument("--labels", nargs="+", type=int, metavar="N", default=[100], help="label budgets")
    options.add_argument("--seeds", type=int, metavar="N", default=3, help=f"how many, from {FIRST_SEED} on")
    options.add_argument("--steps", type=int, help="instead of each env's own number")
    options.add_argument("--jobs", type=int, default=os.cpu_count() or 1, help="runs side by side; one a core")
    options.add_argument("--again", action="store_true", help="run those again that failed")
    options.add_argument("--report", action="store_true", help="run nothing: tables and plots of all runs that are there")
    return options


def wanted(chosen: argparse.Namespace) -> list[Job]:
    """The jobs that the flags name. Raises UserError for settings that don't go."""
    if min(chosen.labels) < 1 or chosen.seeds < 1 or chosen.jobs < 1:
        raise UserError("--labels, --seeds and --jobs are numbers from 1 on")
    seeds = [FIRST_SEED + number for number in range(chosen.seeds)]
    found = jobs(chosen.envs, chosen.arms, chosen.labels, seeds, chosen.steps)
    for job in found:
        job.check()
    return found


def gather(chosen: argparse.Namespace) -> list[Row]:
    """The rows that the flags ask for, those that lack run now. With --report, all that are in the file, and no runs."""
    file = chosen.json.with_suffix(".jsonl")
    if file == chosen.json:
        raise UserError(f"--json is {str(file)!r}, where the rows go; the figures want another, such as {file.stem}.json")
    if chosen.report:
        rows = list(newest(read(file)).values())
        if not rows:
            raise UserError(f"{str(file)!r} holds no runs yet; leave --report out, or pass the --json FILE of an earlier call")
        return rows
    asked = wanted(chosen)
    with RowFile(file) as rows_file:
        there = newest(read(file))
        todo = [job for job in asked if key_of(job) not in there or (chosen.again and there[key_of(job)]["status"] == FAILED)]
        with shown(asked, todo, file) as board, closing(run_all(todo, chosen.jobs, rows_file.add)) as ended:
            for row in ended:
                board.ended(row)
    now = newest(read(file))
    return [now[key_of(job)] for job in asked]


def write(
    chosen: argparse.Namespace,
    title: str,
    rows: Sequence[Row],
    more: dict[str, Any] | None = None,
    section: str = "",
) -> None:
    """The report beside the rows: FILE.json with all figures, FILE.md with the tables, FILE-*.png with the plots.

    more, section: what one benchmark adds to the figures and to the tables
    """
    file: Path = chosen.json
    reporting.write(file, {**tables.figures(rows), **(more or {})}, f"{file.stem}.jsonl")
    file.with_suffix(".md").write_text(tables.report(rows, title, reporting.command(), section), "utf-8")
    written = [file.with_suffix(".md")]
    found, better = tables.curves(rows), tables.improvements(rows)
    if found:
        written.append(file.with_name(f"{file.stem}-scores.png"))
        plots.score_plot(written[-1], found)
    if better:
        written.append(file.with_name(f"{file.stem}-improvement.png"))
        plots.improvement_plot(written[-1], better)
    print("written:", *[file, *written])


# ------------------------------------------------------------------ progress


class Board:
    """How far a study is, and when it will end: by the steps of its runs, as they are of a kind."""

    def __init__(self, todo: Sequence[Job], say: Any, bar: Progress | None) -> None:
        self._say, self._bar = say, bar
        self._began = time.monotonic()
        self._runs, self._steps = len(todo), sum(job.steps for job in todo)
        self._ended = self._done = 0
        if bar is not None:
            self._task = bar.add_task("", total=max(1, self._steps), facts=f"0 of {self._runs} runs")

    def ended(self, row: Row) -> None:
        """A run has ended."""
        self._ended += 1
        self._done += row["steps"]
        facts = f"{self._ended} of {self._runs} runs · {self.left()}"
        if self._bar is not None:
            self._bar.update(self._task, completed=self._done, facts=facts)
        self._say(f"{said(row)}" + ("" if self._bar is not None else f" · {facts}"))

    def left(self) -> str:
        """The time to go, in words."""
        if not self._done:
            return "time left unknown"
        hours = (time.monotonic() - self._began) * (self._steps - self._done) / self._done / 3600
        return f"about {hours:.1f} h left" if hours > 1 else f"about {max(1, round(60 * hours))} min left"


@contextmanager
def shown(asked: Sequence[Job], todo: Sequence[Job], file: Path) -> Iterator[Board]:
    """A bar where there is a terminal, a line for each run in any case."""
    console = Console(stderr=True)
    console.print(
        f"{len(asked) - len(todo)} of {len(asked)} runs are in {file}, {len(todo)} to go. "
        "Ctrl-C ends it, and the same command goes on from there.",
        highlight=False,
        soft_wrap=True,
    )
    bar = Progress(BarColumn(), TextColumn("{task.percentage:>3.0f}%"), TextColumn("{task.fields[facts]}"), console=console)
    try:
        if console.is_terminal and todo:
            bar.start()
        yield Board(
            todo,
            lambda line: console.print(line, markup=False, highlight=False, soft_wrap=True),
            bar if bar.live.is_started else None,
        )
    finally:
        bar.stop()


def said(row: Row) -> str:
    """A run's end in a line."""
    who = f"{row['env']} · {row['arm']}" + (f" · {row['labels']} labels" if row["labels"] else "")
    who += f" · seed {row['seed']}" if row["arm"] != CHANCE else ""
    if row["status"] == FAILED:
        return f"{who}: FAILED: {row['error']}"
    took = f" · {row['wall_seconds']:.0f} s" if "wall_seconds" in row else ""
    return f"{who}: true return {row['mean_return']:.1f} ± {row['std_return']:.1f}{took}"
