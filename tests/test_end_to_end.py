"""The whole ring with real parts: `rltrainer train`, its label service, a real Chromium, real keys."""

from __future__ import annotations

import re
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from chromium import chromium
from playwright.sync_api import Page

from rltrainer.core import Verdict
from rltrainer.store import Store


@pytest.fixture
def page() -> Iterator[Page]:
    """A page in a real Chromium. Errors in it fail the test."""
    with chromium() as browser:
        page = browser.new_page(viewport={"width": 1280, "height": 800})
        errors: list[str] = []
        page.on("pageerror", lambda error: errors.append(str(error)))
        yield page
    assert errors == []


@pytest.fixture
def training(tmp_path: Path) -> Iterator[tuple[subprocess.Popen[str], Path, str]]:
    """A run that waits for its first labels: the process, its folder, the labeler's URL."""
    run = tmp_path / "run"
    settings = ["--env", "Pendulum-v1", "--steps", "200000", "--labels", "60", "--queries.warmup-labels", "4"]
    short = ["--segments.steps", "20", "--clips.size", "96", "--port", "0", "--no-open", "--run", str(run)]
    process = subprocess.Popen(
        [sys.executable, "-m", "rltrainer", "train", *settings, *short], stderr=subprocess.PIPE, text=True
    )
    assert process.stderr is not None
    url = next(found[0] for line in process.stderr if (found := re.search(r"http\S+#token=\S+", line)))
    yield process, run, url
    process.kill()
    process.wait()
    process.stderr.close()


def until(fact: Callable[[], object], seconds: float = 60.0) -> None:
    """Wait for a fact of another process."""
    deadline = time.monotonic() + seconds
    while not fact():
        assert time.monotonic() < deadline, "it did not come true in time"
        time.sleep(0.05)


def answer(page: Page, key: str, store: Store) -> None:
    """Press a key once a pair can be judged, and see the label in the store."""
    before = len(store.labels())
    left = page.get_by_role("button", name="Left is better")

    def gone() -> bool:
        if left.is_enabled():  # not while the page waits for a pair
            page.keyboard.press(key)  # ignored while the page is locked after a swap
        page.wait_for_timeout(150)
        return len(store.labels()) > before

    until(gone)


def test_keys_pressed_in_a_browser_become_labels_and_raise_the_rewards_version(
    page: Page, training: tuple[subprocess.Popen[str], Path, str]
) -> None:
    process, run, url = training
    page.goto(url)
    store = Store.open(run)
    page.get_by_role("button", name="Left is better").wait_for(timeout=30_000)
    for key in ["ArrowLeft", "ArrowRight", "ArrowUp", "ArrowLeft", "ArrowRight"]:
        answer(page, key, store)
    until(lambda: len(store.labels()) >= 5)
    verdicts = {label.answer.verdict for label in store.labels()}
    assert verdicts == {Verdict.PREFER, Verdict.EQUAL}

    def version() -> int:
        return int((store.newest_event("progress") or {}).get("reward_version", 0))

    until(lambda: version() >= 1)
    before = version()
    for key in ["ArrowLeft", "ArrowRight", "ArrowLeft"]:
        answer(page, key, store)
    until(lambda: version() > before)
    store.close()
    process.send_signal(signal.SIGINT)
    assert process.wait(30) == 0
    assert {"config.yaml", "policy.safetensors", "reward.safetensors", "store.db", "labels.jsonl", "logs"} <= {
        file.name for file in run.iterdir()
    }
    assert len((run / "labels.jsonl").read_text().splitlines()) >= 8
