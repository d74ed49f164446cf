"""Runs jobs side by side, each as the commands that a user would type, in processes of their own."""

from __future__ import annotations

import json
import os
import platform
import shlex
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Generator, Mapping, Sequence
from concurrent.futures import FIRST_COMPLETED, ThreadPoolExecutor, wait
from dataclasses import asdict, dataclass
from functools import cache
from pathlib import Path
from typing import Any

from benchmarks.arms import ARMS, CHANCE, Job
from benchmarks.reporting import ROOT
from benchmarks.rows import DONE, FAILED, Row
from rltrainer.store import Store

EPISODES = 20
COUNTS = "counts.json"
"""Where a run folder that is not ours says what it was given."""
ONE_THREAD = dict.fromkeys(("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"), "1")


class Stopped(Exception):
    """The runner was stopped: what was running did not happen."""


class Failure(Exception):
    """A command failed; the text is the last line that it said."""


@dataclass(frozen=True)
class Finished:
    """What a command printed and took."""

    output: str
    cpu_seconds: float
    wall_seconds: float


def flags_of(settings: Mapping[str, Any]) -> list[str]:
    """The flags of `rltrainer train` for settings by their dotted names."""
    flags = []
    for name, value in settings.items():
        flags += [f"--{name.replace('_', '-')}", json.dumps(value) if isinstance(value, dict) else str(value)]
    return flags


def commands(job: Job, run: Path) -> tuple[list[str], list[str]]:
    """What trains, and what plays the result."""
    train = ["-m", *ARMS[job.arm].trainer, *flags_of(job.settings), "--run", str(run)]
    return train, ["-m", "rltrainer", "evaluate", str(run), "--episodes", str(EPISODES), "--json"]


def counts(run: Path) -> dict[str, int]:
    """What a run was given: labels, and env steps, those before the first label included. Without a store: neither."""
    if (run / COUNTS).exists():
        return dict(json.loads((run / COUNTS).read_text("utf-8")))
    if not (run / "labels.jsonl").exists():
        return {"labels_given": 0}
    store = Store.open(run)
    try:
        last = store.newest_event("progress")
    finally:
        store.close()
    given = len((run / "labels.jsonl").read_text("utf-8").splitlines())
    return {"labels_given": given} | ({"env_steps": int(last["step"])} if last else {})


class Runner:
    """Runs jobs. `stop` ends whatever is running at once, with all its processes."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._live: set[int] = set()
        self._stopped = False

    def run(self, job: Job) -> Row:
        """One run and its evaluation, as a row; one that failed is a row, too. Raises Stopped."""
        row = asdict(job) | {"status": FAILED, "settings": job.settings, "commit": commit(), "machine": machine()}
        try:
            with tempfile.TemporaryDirectory(prefix="rltrainer-bench-") as folder:
                row |= self._chance(job) if job.arm == CHANCE else self._trained(job, Path(folder) / "run")
            row["status"] = DONE
        except Failure as failure:
            row["error"] = str(failure).replace(folder, "").replace(str(ROOT), "")
        return row | {"ended": time.strftime("%Y-%m-%dT%H:%M:%S%z")}

    def _trained(self, job: Job, run: Path) -> Row:
        train, evaluate = commands(job, run)
        finished = self._process(train)
        return {
            "command": shlex.join(["python", *train[:-2]]),
            **counts(run),
            "cpu_seconds": round(finished.cpu_seconds, 2),
            "wall_seconds": round(finished.wall_seconds, 2),
            **json.loads(self._process(evaluate).output),
        }

    def _chance(self, job: Job) -> Row:
        options = json.dumps(job.settings.get("env_options", {}))
        command = ["-m", "benchmarks.chance", job.settings["env"], options]
        return {"command": shlex.join(["python", *command]), **json.loads(self._process(command).output)}

    def _process(self, arguments: Sequence[str]) -> Finished:
        """A Python process in a group of its own, so that Ctrl-C reaches it through `stop` only. Raises Failure, Stopped."""
        began = time.monotonic()
        with tempfile.TemporaryFile("w+") as output, tempfile.TemporaryFile("w+") as complaint:
            with self._lock:
                if self._stopped:
                    raise Stopped
                process = subprocess.Popen(
                    [sys.executable, *arguments],
                    stdin=subprocess.DEVNULL,
                    stdout=output,
                    stderr=complaint,
                    cwd=ROOT,
                    env=os.environ | ONE_THREAD,
                    start_new_session=True,
                )
                self._live.add(process.pid)
            os.waitid(os.P_PID, process.pid, os.WEXITED | os.WNOWAIT)
            with self._lock:  # its id is its own until it is waited for: `stop` cannot meet another process there
                self._live.discard(process.pid)
                _, status, used = os.wait4(process.pid, 0)
            process.returncode = os.waitstatus_to_exitcode(status)
            if self._stopped:
                raise Stopped
            output.seek(0)
            complaint.seek(0)
            if process.returncode:
                said = complaint.read().strip().splitlines() or [f"exit code {process.returncode}"]
                raise Failure(said[-1])
            return Finished(output.read(), used.ru_utime + used.ru_stime, time.monotonic() - began)

    def stop(self) -> None:
        """End everything, and let nothing new begin."""
        with self._lock:
            self._stopped = True
            for pid in self._live:
                os.killpg(pid, signal.SIGKILL)


def run_all(todo: Sequence[Job], side_by_side: int, keep: Callable[[Row], None]) -> Generator[Row, None, None]:
    """The rows of the jobs as they end, each after `keep` was called with it, by one thread at a time.

    Closing it early, Ctrl-C among the reasons, ends what is running; a row is made and kept, or it never was.
    """
    runner = Runner()
    one_at_a_time = threading.Lock()

    def run(job: Job) -> Row:
        row = runner.run(job)
        with one_at_a_time:
            keep(row)
        return row

    with ThreadPoolExecutor(side_by_side) as pool:
        try:
            waiting = {pool.submit(run, job) for job in todo}
            while waiting:
                done, waiting = wait(waiting, return_when=FIRST_COMPLETED)
                yield from (future.result() for future in done)
        finally:
            runner.stop()
            pool.shutdown(wait=True, cancel_futures=True)


def commit() -> str:
    """The checkout's commit now, with a + where the code differs from it; `unknown` where there is no git."""
    git = shutil.which("git")
    if git is None:
        return "unknown"
    head = subprocess.run([git, "rev-parse", "--short=10", "HEAD"], cwd=ROOT, capture_output=True, text=True, check=False)
    code = [git, "diff", "--quiet", "HEAD", "--", "rltrainer", "benchmarks/*.py"]
    changed = subprocess.run(code, cwd=ROOT, check=False, stderr=subprocess.DEVNULL).returncode
    return head.stdout.strip() + ("+" if changed else "") or "unknown"


@cache
def machine() -> str:
    """Where it ran, in words."""
    return f"{platform.platform(terse=True)}, {os.cpu_count()} cores, Python {platform.python_version()}"
