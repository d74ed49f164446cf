"""What a labeler feels, and what labelling costs the training: a scripted person in a real Chromium, PPO on the same cores.

HalfCheetah-v5, 8 envs, started by `rltrainer train` as a user would. The page is loaded some times; then nobody is there, then
the person answers 20 pairs a minute for ten minutes, then nobody is there again; at last the person answers while training is
paused. Times are read from the page's own clock (performance.now() at the key event, and when the frame with the next pair was
painted), the JavaScript heap after a collection. A wait is a moment at which an answer was due and no new pair was on screen.
"""

from __future__ import annotations

import re
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from playwright.sync_api import Browser, Page, sync_playwright

from benchmarks import reporting
from rltrainer.store import Store

PAIRS_PER_MINUTE = 20
PAUSED_PAIRS_PER_MINUTE = 40
SETTLED_MINUTES = 2
"""From then on the page's memory is to be flat."""
WARMUP_LABELS = 5
TARGETS = {
    "keypress to next pair, p95 ms": 100,
    "the same while paused": 50,
    "page load to first pair, s": 1.5,
    "page weight, KB": 100,
    "waits": 0,
    "memory, most over minute 2": 1.1,
    "steps/s with a person over none": 0.85,
}
QUIET = [
    *("--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run"),
    *("--disable-background-networking", "--disable-component-update", "--disable-sync"),
]
SETTINGS = ["--env", "HalfCheetah-v5", "--steps", "100000000", "--labels", "0", "--queries.warmup-labels", str(WARMUP_LABELS)]
WATCHED = """
    window.firstPairAt = null;
    window.blankFrames = 0;
    const blank = () => document.body.dataset.stage !== "clips" || Array.from(document.querySelectorAll("canvas")).some(
        (canvas) => canvas.getContext("2d").getImageData(2, 2, 1, 1).data.every((value, place) => place === 3 || value === 0));
    const look = () => document.body?.dataset.shown
        ? setTimeout(() => { window.firstPairAt = performance.now(); }) : requestAnimationFrame(look);
    requestAnimationFrame(look);
    document.addEventListener("keydown", () => {
        let left = 20;
        const count = () => { window.blankFrames += blank(); if ((left -= 1)) requestAnimationFrame(count); };
        requestAnimationFrame(count);
    });
"""
"""Told before the page begins: when its first pair was painted, and how many of the frames after a keypress had no clips."""


def main() -> None:
    """The command."""
    options = reporting.flags(__doc__)
    options.add_argument("--minutes", type=float, default=10.0, help="minutes that the person answers")
    options.add_argument("--apart", type=float, default=60.0, help="seconds with nobody there, before and after")
    options.add_argument("--loads", type=int, default=10, help="how often the page is loaded")
    chosen = options.parse_args()
    if chosen.quick:
        chosen.minutes, chosen.apart, chosen.loads = 0.7, 15.0, 3
    with tempfile.TemporaryDirectory() as folder:
        raw = measure(Path(folder) / "run", chosen.minutes, chosen.apart, chosen.loads)
    reporting.write(chosen.json, figures(raw), [raw])


def figures(raw: dict[str, Any]) -> dict[str, Any]:
    """What the phases came to."""
    person, paused, loads = raw["person"], raw["paused"], raw["loads"]
    unattended = statistics.mean(raw["nobody"])
    later = [heap["used"] for heap in person["heap"] if heap["minute"] >= SETTLED_MINUTES] or [1.0]
    return {
        "labels given": person["labels"],
        **_keys("keypress to next pair", person["keys"]),
        **_keys("keypress to next pair, training paused", paused["keys"]),
        "keypress to mark, p95 ms": _p95([key["markedAt"] - key["keyAt"] for key in person["keys"]] or [float("nan")]),
        "frames without clips after a keypress": person["blank"] + paused["blank"],
        "answers that had to wait for a pair": person["waits"],
        "page load to first pair, median s": statistics.median(load["seconds"] for load in loads),
        "page load to first pair, most s": max(load["seconds"] for load in loads),
        "page weight over the wire, KB": max(load["wire"] for load in loads) / 1000,
        "page weight unpacked, KB": max(load["unpacked"] for load in loads) / 1000,
        "requests that left the origin": sum(load["left"] for load in loads),
        "JavaScript heap by minute, MB": [round(heap["used"] / 1e6, 2) for heap in person["heap"]],
        "heap from minute 2 on, least and most over that minute's": [min(later) / later[0], max(later) / later[0]],
        "steps/s with a person over none": person["steps_per_second"] / unattended,
        "steps/s with nobody, before and after": raw["nobody"],
        "targets": TARGETS,
    }


def _keys(name: str, keys: Sequence[dict[str, float]]) -> dict[str, float]:
    times = [key["shownAt"] - key["keyAt"] for key in keys] or [float("nan")]
    return {f"{name}, median ms": statistics.median(times), f"{name}, p95 ms": _p95(times), f"{name}, presses": len(keys)}


def _p95(times: Sequence[float]) -> float:
    return sorted(times)[min(len(times) - 1, int(0.95 * len(times)))]


def measure(run: Path, minutes: float, apart: float, loads: int) -> dict[str, Any]:
    """The phases in order."""
    command = [sys.executable, "-m", "rltrainer", "train", *SETTINGS, "--port", "0", "--no-open", "--run", str(run)]
    process = subprocess.Popen(command, stderr=subprocess.PIPE, text=True)
    assert process.stderr is not None
    url = next(found[0] for line in process.stderr if (found := re.search(r"http\S+#token=\S+", line)))
    store = Store.open(run)
    try:
        with sync_playwright() as playwright:
            chromium = shutil.which("chromium") or shutil.which("google-chrome")
            browser = playwright.chromium.launch(executable_path=chromium, args=QUIET)
            person(browser, url, store, 30, count=WARMUP_LABELS + 1)
            _settle(store)
            raw: dict[str, Any] = {"loads": [load(browser, url) for _ in range(loads)]}
            raw["nobody"] = [nobody(store, apart)]
            raw["person"] = person(browser, url, store, PAIRS_PER_MINUTE, count=round(minutes * PAIRS_PER_MINUTE))
            raw["nobody"].append(nobody(store, apart))
            store.pause("you", paused=True)
            while (store.newest_event("progress") or {}).get("phase") != "paused":
                time.sleep(0.2)
            raw["paused"] = person(browser, url, store, PAUSED_PAIRS_PER_MINUTE, count=round(4 * minutes))
            browser.close()
    finally:
        process.terminate()
        process.communicate(timeout=60)
        store.close()
    return raw


def load(browser: Browser, url: str) -> dict[str, Any]:
    """The page from nothing: seconds to its first pair, bytes without clips, and requests to anybody else."""
    page, left = _page(browser, url)
    page.wait_for_timeout(500)
    files: list[dict[str, Any]] = page.evaluate("performance.getEntries().filter(e => e.transferSize).map(e => e.toJSON())")
    found = {
        "seconds": page.evaluate("firstPairAt") / 1000,
        "wire": sum(file["transferSize"] for file in files),
        "unpacked": sum(file["decodedBodySize"] for file in files),
        "left": len(left),
    }
    page.context.close()
    return found


def person(browser: Browser, url: str, store: Store, pace: float, *, count: int) -> dict[str, Any]:
    """Looks, presses a key, looks at the next pair: `pace` a minute, `count` in all. Once a minute the heap is measured."""
    page, _ = _page(browser, url)
    heap = page.context.new_cdp_session(page)
    before, waits, last = store.counts()["labels"], 0, ""
    sizes: list[dict[str, float]] = []
    page.wait_for_timeout(1000)
    began, first = time.monotonic(), _step(store)
    for number in range(1, count + 1):
        page.wait_for_timeout(max(0.0, began + 60 * number / pace - time.monotonic()) * 1000)
        if not _fresh(page, last):
            waits += 1
            while not _fresh(page, last):
                page.wait_for_timeout(50)
            page.wait_for_timeout(300)
        last = page.evaluate("document.body.dataset.shown")
        page.keyboard.press(("ArrowLeft", "ArrowRight")[number % 2])
        if number % round(pace) == 0:
            page.wait_for_timeout(1000)
            heap.send("HeapProfiler.collectGarbage")
            sizes.append({"minute": number / pace, "used": heap.send("Runtime.getHeapUsage")["usedSize"]})
    page.wait_for_timeout(500)
    final = _step(store)
    found = {
        "labels": store.counts()["labels"] - before,
        "waits": waits,
        "keys": page.evaluate("rltrainerTimings"),
        "blank": page.evaluate("blankFrames"),
        "heap": sizes,
        "steps_per_second": (final[0] - first[0]) / (final[1] - first[1]) if final[1] > first[1] else None,
    }
    page.context.close()
    return found


def nobody(store: Store, seconds: float) -> float:
    """Steps a second while no page is open."""
    first = _step(store)
    time.sleep(seconds)
    last = _step(store)
    return float((last[0] - first[0]) / (last[1] - first[1]))


def _page(browser: Browser, url: str) -> tuple[Page, list[str]]:
    """A new person's page with its first pair, and the addresses that it asked and that are not its own."""
    page = browser.new_context(viewport={"width": 1440, "height": 900}).new_page()
    left: list[str] = []
    own = (url.partition("#")[0], "blob:", "data:")
    page.on("request", lambda request: None if request.url.startswith(own) else left.append(request.url))
    page.add_init_script(WATCHED)
    page.goto(url)
    page.wait_for_selector("body[data-stage=clips]", timeout=120_000)
    return page, left


def _fresh(page: Page, last: str) -> bool:
    """Whether a pair is on screen that was not answered."""
    stage, shown = page.evaluate("[document.body.dataset.stage, document.body.dataset.shown]")
    return bool(stage == "clips" and shown != last)


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
