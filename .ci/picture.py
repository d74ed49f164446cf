"""Takes docs/labeler.png and docs/labeler.webp, the same page in use: `make docs/labeler.png`.

A run of HalfCheetah-v5 that the bot labels, then the page in Chromium, where three answers are given and one is taken back.
"""

from __future__ import annotations

import base64
import io
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from PIL import Image
from playwright.sync_api import Browser, Page, ViewportSize, sync_playwright

from rltrainer.store import Store

PICTURE = Path(__file__).parents[1] / "docs" / "labeler.png"
BUDGET = 120
BY_BOT = 60
BY_HAND = 4
"""Answers on the page itself, which make it say what it has saved."""
MOMENT_MS = 1000
FILM = PICTURE.with_suffix(".webp")
FILM_KEYS = ("ArrowRight", "ArrowLeft", "Backspace", "ArrowUp")
FILM_PAIRS = 3
"""What these keys need, so that nothing is waited for in the film."""
FILM_SIZE: ViewportSize = {"width": 1100, "height": 760}
FILM_SCALE = 0.75
FILM_RATE = 12
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
            with sync_playwright() as playwright:
                chromium = shutil.which("chromium") or shutil.which("google-chrome")
                browser = playwright.chromium.launch(executable_path=chromium, args=["--no-sandbox", "--disable-gpu"])
                PICTURE.write_bytes(picture(browser, url))
                FILM.write_bytes(film(browser, url))
                browser.close()
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


def picture(browser: Browser, url: str) -> bytes:
    """The page after a few answers, as a PNG of 256 colours."""
    page = browser.new_page(viewport={"width": 1440, "height": 900})
    page.goto(url)
    for _ in range(BY_HAND):
        watched(page)
        page.keyboard.press("ArrowRight")
    watched(page)
    shot = Image.open(io.BytesIO(page.screenshot()))
    page.close()
    file = io.BytesIO()
    shot.quantize(256).save(file, "PNG", optimize=True)
    return file.getvalue()


def film(browser: Browser, url: str) -> bytes:
    """The page in use, as Chromium painted it, as an animated WebP."""
    page = browser.new_page(viewport=FILM_SIZE)
    page.goto(url)
    page.wait_for_selector(f"#ready:text-is('{FILM_PAIRS} pairs ready')", timeout=300_000)
    watched(page)
    camera = page.context.new_cdp_session(page)
    taken: list[tuple[float, bytes]] = []

    def take(frame: dict[str, Any]) -> None:
        taken.append((frame["metadata"]["timestamp"], base64.b64decode(frame["data"])))
        camera.send("Page.screencastFrameAck", {"sessionId": frame["sessionId"]})

    camera.on("Page.screencastFrame", take)
    camera.send("Page.startScreencast", {"format": "jpeg", "quality": 92})
    for key in FILM_KEYS:
        watched(page)
        page.keyboard.press(key)
    watched(page)
    camera.remove_listener("Page.screencastFrame", take)
    camera.send("Page.stopScreencast")
    page.close()
    began, ended = taken[0][0], taken[-1][0]
    times = [began + number / FILM_RATE for number in range(int((ended - began) * FILM_RATE))]
    shots = [_small([shot for at, shot in taken if at <= time][-1]) for time in times]
    file = io.BytesIO()
    shots[0].save(
        file, "WEBP", save_all=True, append_images=shots[1:], duration=1000 // FILM_RATE, loop=0, quality=55, method=4
    )
    return file.getvalue()


def _small(shot: bytes) -> Image.Image:
    image = Image.open(io.BytesIO(shot)).convert("RGB")
    return image.resize((int(image.width * FILM_SCALE), int(image.height * FILM_SCALE)), Image.Resampling.LANCZOS)


def watched(page: Page) -> None:
    """A pair is on screen, and was for a moment."""
    page.wait_for_selector("body[data-stage=clips]", timeout=300_000)
    page.wait_for_timeout(MOMENT_MS)


if __name__ == "__main__":
    main()
