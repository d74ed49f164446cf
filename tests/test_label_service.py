"""Facts about the label service as the trainer's child: what holds up whom, and what is said where it does not start."""

from __future__ import annotations

import os
import signal
import sys
import time
from pathlib import Path

import pytest

from rltrainer.core import UserError
from rltrainer.labeling import process
from rltrainer.labeling.process import LabelService


def script(folder: Path, *lines: str) -> str:
    """A program that stands where Python would."""
    file = folder / "python"
    file.write_text("\n".join(["#!/bin/sh", *lines]))
    file.chmod(0o755)
    return str(file)


def test_one_that_says_nothing_is_not_waited_for_any_longer(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(process, "START_SECONDS", 0.3)
    monkeypatch.setattr(sys, "executable", script(tmp_path, "exec sleep 60"))
    began = time.monotonic()
    (tmp_path / process.LOG).write_text("an earlier service said this\n")
    with pytest.raises(UserError, match=r"did not start: it was killed, or had not begun after 0\.3 s"):
        LabelService(tmp_path, "127.0.0.1", 0)
    assert time.monotonic() - began < 10


def test_one_that_ends_at_once_is_quoted(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "executable", script(tmp_path, "echo 'rltrainer: the port is taken' >&2", "exit 1"))
    with pytest.raises(UserError, match="the label service did not start: rltrainer: the port is taken"):
        LabelService(tmp_path, "127.0.0.1", 0)


def test_one_that_died_is_started_again_at_its_port_and_training_does_not_wait(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked = tmp_path / "asked"
    line = (
        "if [ -e asked-once ]; then exec sleep 60; fi; touch asked-once; echo 'http://127.0.0.1:4321/#token=t'; exec sleep 60"
    )
    program = script(tmp_path, f"cd {tmp_path}", f'echo "$@" >> {asked}', line)
    monkeypatch.setattr(sys, "executable", program)
    monkeypatch.setattr(process, "PATIENCE_SECONDS", 0.0)
    service = LabelService(tmp_path, "127.0.0.1", 0)
    assert (service.url, service.ensure()) == ("http://127.0.0.1:4321/#token=t", False)
    os.kill(service._child.pid, signal.SIGKILL)
    service._child.wait()
    began = time.monotonic()
    assert service.ensure()
    assert time.monotonic() - began < 5
    while len(asked.read_text().splitlines()) < 2:
        assert time.monotonic() - began < 10
        time.sleep(0.01)
    assert [words.split()[words.split().index("--port") + 1] for words in asked.read_text().splitlines()] == ["0", "4321"]
    service.stop()
    assert service._child.poll() is not None
