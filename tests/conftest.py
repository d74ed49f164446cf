"""What all tests share: one thread for torch, off-screen rendering and Ctrl-C, in children too; an empty store."""

from __future__ import annotations

import os

os.environ.setdefault("OMP_NUM_THREADS", "1")  # read when torch is imported

import signal
from collections.abc import Iterator
from pathlib import Path

import pytest

from rltrainer.labeling.gl import use_gl
from rltrainer.store import Store

use_gl()
signal.signal(signal.SIGINT, signal.default_int_handler)  # a job in the background ignores Ctrl-C, and its children would too


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    made = Store.create(tmp_path / "run", env={"id": "Toy-v0"}, config={"steps": 3})
    yield made
    made.close()
