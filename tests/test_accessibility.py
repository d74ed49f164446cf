"""No state of the labeler's page, dark or light, wide or narrow, has anything that axe-core holds against WCAG 2.2 AA."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import pytest
from axe_playwright_python.sync_playwright import Axe
from chromium import chromium
from stand_in import StandIn, encode, make_pair, shapes, training

from rltrainer.core import Verdict
from rltrainer.labeling import messages as wire

pytestmark = pytest.mark.long

RULES = {
    "runOnly": ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "wcag22aa", "best-practice"],
    "resultTypes": ["violations"],
}
TASK = "Which one runs better?\n\n## How\n\n- **far**\n- upright"
STATUS = training(verdict="New labels still change the ranking.", true_return=512.3)
CURVES = wire.Curves(points=[(4096, 0.6, -10.0, 1), (8192, 0.7, 20.0, 2)])
WATCHED = wire.AnswerHeader(verdict=Verdict.PREFER, preferred="q1-b", labeler="oracle")

Prepare = Callable[[StandIn], None]
Act = Callable[[Any, StandIn], object]


def of_phase(phase: str) -> Prepare:
    def prepare(service: StandIn) -> None:
        service.pairs.clear()
        service.status = STATUS.model_copy(update={"phase": phase})

    return prepare


def watched(service: StandIn) -> None:
    service.welcome["mode"] = "watch"
    service.pairs = [(header.model_copy(update={"answer": WATCHED}), videos) for header, videos in service.pairs[:1]]


def press(*keys: str) -> Act:
    return lambda page, _: [page.keyboard.press(key) for key in keys]


def trimmed(page: Any, _: StandIn) -> None:
    page.click("#trim")
    page.wait_for_selector(".left .first")  # hidden until the next frame, and then it would not take the focus
    page.locator(".left .first").press("ArrowRight")
    page.wait_for_selector(".left .reset")


def informed(page: Any, service: StandIn) -> None:
    service.send(CURVES)
    service.send(STATUS.model_copy(update={"step": 30_000}))
    paid = {f"q1-{side}": [float(frame) for frame in range(20)] for side in "ab"}
    service.send(wire.Predicted(query_id="q1", version=4, rewards=paid))
    page.click("#insight-words")
    page.wait_for_selector(".spark:not([hidden])")
    page.wait_for_selector("#foresight svg")


def reviewed(page: Any, _: StandIn) -> None:
    page.evaluate("() => new Promise(resolve => setTimeout(resolve, 300))")  # deaf before
    page.keyboard.press("ArrowLeft")
    page.wait_for_selector("body[data-shown=q2]")
    page.keyboard.press("h")
    page.wait_for_selector(".past button")


def explaining(page: Any, _: StandIn) -> None:
    page.keyboard.press("r")
    page.wait_for_selector("#why")


def rebinding(page: Any, _: StandIn) -> None:
    page.keyboard.press("?")
    page.click("[aria-label^='←: left is better']")
    page.keyboard.press("t")
    page.wait_for_selector("#keys-error")


def paused(service: StandIn) -> None:
    service.pairs.clear()
    service.status = STATUS.model_copy(update={"phase": "paused", "paused": True})


def in_error(page: Any, _: StandIn) -> None:
    page.evaluate("dispatchEvent(new ErrorEvent('error', { message: 'a wheel came off' }))")
    page.click("#trouble summary")


STATES: dict[str, tuple[Prepare | None, str, Act | None]] = {
    "waiting": (of_phase("warmup"), "#preview", None),
    "labeling": (None, "body[data-shown=q1]", None),
    "explaining": (None, "body[data-shown=q1]", explaining),
    "rebinding": (None, "body[data-shown=q1]", rebinding),
    "paused": (paused, "text=Training is paused", None),
    "trimming": (None, "body[data-shown=q1]", trimmed),
    "enlarged": (None, "body[data-shown=q1]", press("e", " ")),
    "knowing": (None, "body[data-shown=q1]", informed),
    "help": (None, "body[data-shown=q1]", press("?")),
    "history": (None, "body[data-shown=q1]", reviewed),
    "settings": (None, "body[data-shown=q1]", lambda page, _: page.click("#settings-open")),
    "watching": (watched, "body[data-shown=q1]", None),
    "queue empty": (of_phase("training"), "text=You are up to date", None),
    "disconnected": (None, "body[data-shown=q1]", lambda _, service: service.stop()),
    "finished": (of_phase("finished"), "#totals", None),
    "not allowed": (None, "text=not allowed", None),
    "error": (None, "body[data-shown=q1]", in_error),
}
"""What is prepared, what shows that the page is there, and what is done then."""

SMALL = """() => Array.from(document.querySelectorAll("button, summary, input"))
    .filter(target => target.checkVisibility() && !target.closest("label"))
    .filter(target => Math.min(target.getBoundingClientRect().width, target.getBoundingClientRect().height) < 44)
    .map(target => target.outerHTML)"""
"""What is too small for a finger; a field in a label has all of the label."""

LOOKS = [("light", 1440), ("dark", 390)]


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    with chromium() as started:
        yield started


@pytest.fixture(scope="module")
def videos() -> tuple[bytes, bytes]:
    return encode(shapes((220, 40, 40), 20), 20), encode(shapes((40, 190, 70), 20), 20)


@pytest.mark.parametrize("state", STATES)
def test_axe_finds_nothing_in_any_state_and_fingers_hit_everything(
    state: str, browser: Any, videos: tuple[bytes, bytes]
) -> None:
    prepare, there, act = STATES[state]
    service = StandIn([make_pair(f"q{number}", videos, 20, 20) for number in (1, 2, 3)], task=TASK)
    service.status = STATUS
    if prepare:
        prepare(service)
    url = service.url.replace("s3cret", "guessed") if state == "not allowed" else service.url
    page = browser.new_page(reduced_motion="reduce")
    try:
        page.goto(url)
        page.wait_for_selector(there)
        if act:
            act(page, service)
        for scheme, width in LOOKS:
            page.emulate_media(color_scheme=scheme)
            page.set_viewport_size({"width": width, "height": 800})
            found = Axe().run(page, options=RULES).response["violations"]
            assert [(rule["id"], [node["html"] for node in rule["nodes"]]) for rule in found] == [], f"{scheme}, {width} px"
            assert page.evaluate(SMALL) == []
    finally:
        page.close()
        service.close()
