"""What a labeler feels, and what labelling costs the training: a scripted person in a real Chromium, PPO on the same cores.

HalfCheetah-v5, 8 envs, started by `rltrainer train` as a user would. Phases alternate within one run: in one the person
answers 15 pairs a minute, in the next nobody is there (the page is closed). Keypress → next pair is read from the page's own
clock (performance.now() at the key event and at the frame in which the next pair was painted).
"""

from __future__ import annotations

import re
import shutil
import signal
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from playwright.sync_api import Browser, sync_playwright

from benchmarks import reporting
from rltrainer.store import Store

PAIRS_PER_MINUTE = 15
KEY_TARGET_MS = 100
SPEED_TARGET = 0.85
WARMUP_LABELS = 5
QUIET = [
    *("--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run"),
    *("--disable-background-networking", "--disable-component-update", "--disable-sync"),
]


def main() -> None:
    """The command."""
    options = reporting.flags(__doc__)
    options.add_argument("--phase", type=float, default=60.0, help="seconds of a phase")
    options.add_argument("--rounds", type=int, default=4, help="phases of each kind")
    chosen = options.parse_args()
    if chosen.quick:
        chosen.phase, chosen.rounds = 20.0, 2
    with tempfile.TemporaryDirectory() as folder:
        raw = measure(Path(folder) / "run", chosen.phase, chosen.rounds)
    keys = sorted(entry["shownAt"] - entry["keyAt"] for phase in raw for entry in phase["keys"])
    ratios = [a["steps_per_second"] / b["steps_per_second"] for a, b in zip(raw[0::2], raw[1::2], strict=True)]
    figures = {
        "labels given": sum(phase["labels"] for phase in raw),
        "keypress to next pair, median ms": statistics.median(keys),
        "keypress to next pair, p95 ms": keys[min(len(keys) - 1, int(0.95 * len(keys)))],
        "keypress target ms": KEY_TARGET_MS,
        "answers that had to wait for a pair": sum(phase["waits"] for phase in raw),
        "steps/s with a person over none, mean": statistics.mean(ratios),
        "steps/s with a person over none, all": [round(ratio, 3) for ratio in ratios],
        "speed target": SPEED_TARGET,
    }
    reporting.write(chosen.json, figures, raw)


def measure(run: Path, seconds: float, rounds: int) -> list[dict[str, Any]]:
    """The phases in order, person and nobody in turn."""
    settings = [
        "--env",
        "HalfCheetah-v5",
        "--steps",
        100_000_000,
        "--labels",
        0,
        "--queries.warmup-labels",
        WARMUP_LABELS,
    ]
    command = [
        sys.executable,
        "-m",
        "rltrainer",
        "train",
        *map(str, settings),
        "--port",
        "0",
        "--no-open",
        "--run",
        str(run),
    ]
    process = subprocess.Popen(command, stderr=subprocess.PIPE, text=True)
    assert process.stderr is not None
    url = next(found[0] for line in process.stderr if (found := re.search(r"http\S+#token=\S+", line)))
    store = Store.open(run)
    try:
        with sync_playwright() as playwright:
            chromium = shutil.which("chromium") or shutil.which("google-chrome")
            browser = playwright.chromium.launch(executable_path=chromium, args=QUIET)
            person(browser, url, store, until=lambda: store.counts()["labels"] > WARMUP_LABELS)
            _settle(store)
            phases = []
            for _ in range(rounds):
                for kind in (person, nobody):
                    before, deadline = _step(store), time.monotonic() + seconds
                    phase = kind(browser, url, store, until=lambda end=deadline: time.monotonic() > end)
                    after = _step(store)
                    phase["steps_per_second"] = (after[0] - before[0]) / (after[1] - before[1])
                    print({**phase, "keys": len(phase["keys"])}, flush=True)
                    phases.append(phase)
            browser.close()
    finally:
        process.send_signal(signal.SIGINT)
        process.communicate(timeout=60)
        store.close()
    return phases


def person(browser: Browser, url: str, store: Store, *, until: Any) -> dict[str, Any]:
    """Looks, presses a key, looks at the next pair."""
    page = browser.new_page(viewport={"width": 1440, "height": 900})
    page.goto(url)
    left = page.get_by_role("button", name="Left is better")
    left.wait_for(timeout=60_000)
    before, waits, number = store.counts()["labels"], 0, 0
    due = time.monotonic()
    while not until():
        due += 60 / PAIRS_PER_MINUTE
        page.wait_for_timeout(max(0.0, due - time.monotonic()) * 1000)
        if not left.is_enabled():
            waits += 1
            continue
        page.keyboard.press(("ArrowLeft", "ArrowRight")[number % 2])
        number += 1
    page.wait_for_timeout(500)
    keys = page.evaluate("window.rltrainerTimings")
    page.close()
    return {"kind": "person", "labels": store.counts()["labels"] - before, "waits": waits, "keys": keys}


def nobody(browser: Browser, url: str, store: Store, *, until: Any) -> dict[str, Any]:
    """Time goes by."""
    while not until():
        time.sleep(0.2)
    return {"kind": "nobody", "labels": 0, "waits": 0, "keys": []}


def _settle(store: Store) -> None:
    """The first rollouts are over."""
    first = _step(store)[0]
    while _step(store)[0] < first + 10_000:
        time.sleep(0.2)


def _step(store: Store) -> tuple[int, float]:
    """Env steps done and when, by the trainer's newest word."""
    event = store.newest_event("progress") or {"step": 0, "at": 0.0}
    return event["step"], event["at"]


if __name__ == "__main__":
    main()
