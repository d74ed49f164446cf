"""Takes docs/labeler.png: a run of HalfCheetah-v5 that the bot labels, then the page in Chromium. `make docs/labeler.png`."""

from __future__ import annotations

import io
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from PIL import Image
from playwright.sync_api import Page, sync_playwright

from rltrainer.store import Store

PICTURE = Path(__file__).parents[1] / "docs" / "labeler.png"
BUDGET = 120
BY_BOT = 60
BY_HAND = 4
"""Answers on the page itself, which make it say what it has saved."""
MOMENT_MS = 1000
RLTRAINER = [sys.executable, "-m", "rltrainer"]


def main() -> None:
    """The command."""
    with tempfile.TemporaryDirectory() as folder:
        run = Path(folder) / "run"
        settings = ["--env", "HalfCheetah-v5", "--steps", "400000", "--labels", str(BUDGET), "--port", "0"]
        command = [*RLTRAINER, "train", *settings, "--labeling.task", "Which one runs better?", "--no-open", "--run", str(run)]
        trainer = subprocess.Popen(command, stderr=subprocess.PIPE, text=True)
        try:
            assert trainer.stderr is not None
            url = next(found[0] for line in trainer.stderr if (found := re.search(r"http\S+#token=\S+", line)))
            label(run, url)
            PICTURE.write_bytes(picture(url))
        finally:
            trainer.send_signal(signal.SIGINT)
            trainer.communicate(timeout=60)


def label(run: Path, url: str) -> None:
    """Have the bot answer until there is something to see."""
    port = url.partition("/#")[0].rpartition(":")[2]
    bot = subprocess.Popen([*RLTRAINER, "bot", str(run), "--port", port, "--pace", "0.5"])
    store = Store.open(run)
    while store.counts()["labels"] < BY_BOT and bot.poll() is None:
        time.sleep(1)
    store.close()
    bot.send_signal(signal.SIGINT)
    bot.wait()


def picture(url: str) -> bytes:
    """The page after a few answers, as a PNG of 256 colours."""
    with sync_playwright() as playwright:
        chromium = shutil.which("chromium") or shutil.which("google-chrome")
        browser = playwright.chromium.launch(executable_path=chromium, args=["--no-sandbox", "--disable-gpu"])
        page = browser.new_page(viewport={"width": 1440, "height": 900})
        page.goto(url)
        for _ in range(BY_HAND):
            watched(page)
            page.keyboard.press("ArrowRight")
        watched(page)
        shot = Image.open(io.BytesIO(page.screenshot()))
        browser.close()
    file = io.BytesIO()
    shot.quantize(256, dither=Image.Dither.NONE).save(file, "PNG", optimize=True)
    return file.getvalue()


def watched(page: Page) -> None:
    """A pair is on screen, and was for a moment."""
    page.wait_for_selector("body[data-stage=clips]", timeout=300_000)
    page.wait_for_timeout(MOMENT_MS)


if __name__ == "__main__":
    main()
