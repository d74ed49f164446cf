"""What the operating system sees when a label is saved: it is on the disk before the page hears of it."""

from __future__ import annotations

import asyncio
import contextlib
import re
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
from test_server import new_run, page, service

CALLS = "pwrite64,fsync,fdatasync,?unlink,?unlinkat,sendto"
SYNC = r"f(data)?sync\(\d+<[^>]*"


@contextlib.contextmanager
def traced(pid: int, log: Path) -> Iterator[None]:
    """Calls of a process and its threads go to `log`. Skips the test where strace is missing or may not trace."""
    strace = shutil.which("strace")
    if strace is None:
        pytest.skip("strace is not installed (Debian: apt-get install strace)")
    command = [strace, "-f", "-y", "-s", "5000", "-e", f"trace={CALLS}", "-o", str(log), "-p", str(pid)]
    with subprocess.Popen(command, stderr=subprocess.PIPE, text=True) as tracing:
        assert tracing.stderr is not None
        said = tracing.stderr.readline()
        if "attached" not in said:
            tracing.wait()
            pytest.skip(f"strace may not trace here: {said.strip()}")
        yield
        tracing.terminate()  # it lets go of the process


def in_order(log: str) -> Iterator[str]:
    """The calls, each where it ended; what is sent where it began. Calls of two threads at once stand there in halves."""
    begun: dict[str, str] = {}
    for line in log.splitlines():
        thread, call = line.split(maxsplit=1)
        if call.startswith("sendto"):
            yield call
        elif call.endswith("<unfinished ...>"):
            begun[thread] = call.removesuffix(" <unfinished ...>")
        elif call.startswith("<..."):
            yield begun.pop(thread, "") + call.partition(" resumed>")[2]
        else:
            yield call


def first(calls: list[str], pattern: str, after: int = 0) -> int:
    """Where the first call is, from `after` on, that fits the pattern."""
    found = [place for place, call in enumerate(calls) if place >= after and re.search(pattern, call)]
    assert found, f"no call like {pattern}"
    return found[0]


def test_a_label_is_written_and_synced_before_its_ack_is_sent(tmp_path: Path) -> None:
    store, log = new_run(tmp_path / "run", 1), tmp_path / "calls"
    (query,) = store.waiting()
    store.close()
    label_id = "the-label-whose-way-is-followed"

    async def judge(url: str, pid: int) -> None:
        async with page(url) as ada:
            await ada.pair()
            with traced(pid, log):
                await ada.send(type="label", label_id=label_id, query_id=query.id, verdict="prefer", preferred=query.first)
                await ada.until("ack", label_id=label_id)

    with service(tmp_path / "run") as (process, url):
        asyncio.run(judge(url, process.pid))
    calls = list(in_order(log.read_text(errors="replace")))
    written = first(calls, rf"pwrite64\(\d+<[^>]*/store\.db(-wal)?>.*{label_id}")
    synced = first(calls, rf"{SYNC}/store\.db(-wal)?>\) += 0", written)
    acked = first(calls, rf"sendto\(.*ack.*{label_id}")
    assert written < synced < acked
    if any("store.db-journal" in call for call in calls):  # a label counts once its rollback journal is gone, for good
        gone = first(calls, r"unlink(at)?\(.*/store\.db-journal\".* = 0", synced)
        assert gone < first(calls, rf"{SYNC}/run>\) += 0", gone) < acked
