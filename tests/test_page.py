"""The labeler's page in real Chromium, against a stand-in for the label service."""

from __future__ import annotations

import base64
import re
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from chromium import chromium
from playwright import sync_api
from stand_in import BIT, Pair, StandIn, encode, make_pair, shapes, training

from rltrainer.core import Verdict
from rltrainer.labeling import messages as wire

RED, GREEN = (220, 40, 40), (40, 190, 70)
FRAMES, RATE = 20, 20
KEYS = ("ArrowLeft", "ArrowRight", "a", "d", "Shift+ArrowLeft", "Shift+ArrowRight", "ArrowUp", "b", "ArrowDown")
BUTTONS = ("left", "right", "slightly-left", "slightly-right", "much-left", "much-right", "equal", "both-bad", "skip")
ARROW = {"left": "ArrowLeft", "right": "ArrowRight"}

Page = Any
Open = Callable[..., Page]
MakePair = Callable[..., Pair]

FRAME_SHOWN = f"""selector => {{
    const brush = document.querySelector(`${{selector}} canvas`).getContext("2d");
    const lit = bit => brush.getImageData(bit * {BIT} + {BIT // 2}, {BIT // 2}, 1, 1).data[0] > 128;
    return [0, 1, 2, 3, 4, 5].reduce((number, bit) => number + (lit(bit) << bit), 0);
}}"""
COLOUR_SHOWN = """selector => {
    const canvas = document.querySelector(`${selector} canvas`);
    return Array.from(canvas.getContext("2d").getImageData(canvas.width - 4, canvas.height - 4, 1, 1).data.slice(0, 3));
}"""


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    """One browser for all tests. Each test's service has a port, and so an outbox, of its own."""
    with chromium() as started:
        context = started.new_context(viewport={"width": 800, "height": 600})
        context.set_default_timeout(8000)
        yield context


@pytest.fixture(scope="module")
def videos() -> tuple[bytes, bytes]:
    return encode(shapes(RED, FRAMES), RATE), encode(shapes(GREEN, FRAMES), RATE)


@pytest.fixture
def pair(videos: tuple[bytes, bytes]) -> MakePair:
    """Segment a of each pair is red, segment b is green."""
    return lambda query_id, **more: make_pair(query_id, videos, FRAMES, RATE, **more)


@pytest.fixture
def service(pair: MakePair) -> Iterator[StandIn]:
    """A service with three pairs: q1, q2, q3."""
    stand_in = StandIn([pair(f"q{number}") for number in (1, 2, 3)])
    yield stand_in
    stand_in.close()


@pytest.fixture
def open_page(browser: Any, service: StandIn) -> Iterator[Open]:
    """Opens the page; fails the test where the page complained, of a violated policy for example."""
    pages, complaints = [], []

    def leaves(url: str) -> bool:
        return not url.startswith((f"http://127.0.0.1:{service.port}/", "blob:", "data:"))

    def note(message: Any) -> None:
        ours = "Canvas2D", "WebSocket connection"  # tests read pixels and stop the service
        if message.type in ("error", "warning") and not message.text.startswith(ours):
            complaints.append(message.text)

    def opening(url: str | None = None, script: str = "", motion: str = "no-preference", width: int = 800) -> Page:
        page = browser.new_page()
        pages.append(page)
        page.on("console", note)
        page.on("pageerror", lambda error: complaints.append(str(error)))
        page.on("request", lambda request: complaints.append(request.url) if leaves(request.url) else None)
        page.emulate_media(reduced_motion=motion)
        page.set_viewport_size({"width": width, "height": 600})
        if script:
            page.add_init_script(script)
        page.goto(url or service.url)
        return page

    yield opening
    for page in pages:
        page.close()
    assert complaints == []


def until(page: Page, fact: str) -> None:
    """Until a JavaScript expression is true. (`wait_for_function` breaks on the page's policy.)"""
    page.evaluate(f"""() => new Promise((resolve, reject) => {{
        const end = performance.now() + 8000;
        const look = () => {{
            if ({fact}) return resolve();
            if (performance.now() > end) return reject(new Error("never true"));
            requestAnimationFrame(look);
        }};
        look();
    }})""")


def shows(page: Page, selector: str, wanted: Any) -> None:
    """Until an element's text is that, or matches it."""
    sync_api.expect(page.locator(selector)).to_have_text(wanted)


def seen(page: Page, query_id: str = "q1") -> None:
    """Until a pair is on screen."""
    page.wait_for_selector(f"body[data-shown='{query_id}']")


def ready(page: Page, query_id: str = "q1") -> None:
    """Until a pair may be answered: the page is deaf for a quarter of a second after each swap."""
    seen(page, query_id)
    page.evaluate("() => new Promise(resolve => setTimeout(resolve, 255))")


def choose(page: Page, key: str, query_id: str = "q1") -> None:
    ready(page, query_id)
    page.keyboard.press(key)


def side_of(page: Page, colour: tuple[int, int, int]) -> str:
    """Where the clip of that colour plays."""
    left = page.evaluate(COLOUR_SHOWN, ".left")
    return "left" if (left[0] > left[1]) == (colour[0] > colour[1]) else "right"


def text(page: Page, selector: str) -> str:
    return str(page.locator(selector).text_content())


# -------------------------------------------------------------------- answering


def test_a_key_chooses_the_segment_on_its_side_and_a_pair_asked_again_swapped_is_seen_swapped(
    service: StandIn, open_page: Open
) -> None:
    header, videos = service.pairs[0]
    again = header.model_copy(update={"query_id": "again", "clips": header.clips[::-1]}), videos[::-1]
    service.pairs = [service.pairs[0], again]
    page = open_page()
    sides = []
    for query_id in ("q1", "again"):
        ready(page, query_id)
        sides.append(side_of(page, RED))
        page.keyboard.press(ARROW[sides[-1]])
    assert sorted(sides) == ["left", "right"]
    said = [(label.query_id, label.verdict, label.preferred) for label in service.wait_labels(2)]
    assert said == [("q1", Verdict.PREFER, "q1-a"), ("again", Verdict.PREFER, "q1-a")]
    shows(page, "#saved", "2 saved")


def test_every_answer_has_a_key_and_a_button_and_brings_the_next_pair_in_a_tenth_of_a_second(
    service: StandIn, open_page: Open, pair: MakePair
) -> None:
    service.pairs += [pair(f"q{number}") for number in range(4, 19)]
    page = open_page()
    for number, key in enumerate(KEYS, start=1):
        choose(page, key, f"q{number}")
    for number, button in enumerate(BUTTONS, start=10):
        ready(page, f"q{number}")
        page.click(f"#{button}")
    labels = service.wait_labels(18)
    slightly, much, plain = ("prefer", "slightly"), ("prefer", "much"), ("prefer", "plain")
    said = [(label.verdict.value, label.strength.value) for label in labels]
    preferred = [plain, plain, slightly, slightly, much, much]
    assert said == [*preferred, ("equal", "plain"), ("both_bad", "plain"), ("skip", "plain")] * 2
    assert [label.query_id for label in labels] == [f"q{number}" for number in range(1, 19)]
    timings = page.evaluate("rltrainerTimings")
    assert len(timings) == 17  # after the last there is no next pair
    # the middle one: other work on this machine may hold up any single answer
    assert sorted(timing["markedAt"] - timing["keyAt"] for timing in timings)[6] < 50
    assert sorted(timing["shownAt"] - timing["keyAt"] for timing in timings)[5] < 100


def test_a_choice_is_marked_on_its_side_for_a_moment(open_page: Open) -> None:
    page = open_page(script="document.addEventListener('animationend', event => window.ended = event.animationName)")
    ready(page)
    marked = """() => {
        document.querySelector("#right").click();
        return Array.from(document.querySelectorAll(".chosen"), card => card.className);
    }"""
    assert page.evaluate(marked) == ["clip right chosen"]
    until(page, "window.ended === 'chosen' && document.querySelector('.chosen') === null")


def test_a_pair_that_had_to_be_waited_for_comes_without_the_mark_of_the_one_before(
    service: StandIn, open_page: Open, pair: MakePair
) -> None:
    page = open_page()
    for query_id in ("q1", "q2", "q3"):
        choose(page, "ArrowRight", query_id)
    page.wait_for_selector("body[data-stage=waiting]")
    service.push(pair("q4"))
    seen(page, "q4")
    assert page.evaluate("document.querySelector('.chosen')") is None


def test_nobody_answers_a_pair_unseen_and_a_held_key_answers_once(service: StandIn, open_page: Open) -> None:
    page = open_page()
    ready(page)
    page.keyboard.down("ArrowLeft")
    ready(page, "q2")
    page.keyboard.down("ArrowLeft")  # the keyboard's repeat
    page.keyboard.up("ArrowLeft")
    early = """() => new Promise(resolve => {
        const press = () => document.dispatchEvent(new KeyboardEvent("keydown", { key: "ArrowRight" }));
        const look = () => document.body.dataset.shown === "q3" ? resolve(press()) : requestAnimationFrame(look);
        press();
        press();
        look();
    })"""
    page.evaluate(early)
    ready(page, "q3")
    page.keyboard.press("ArrowRight")
    assert [label.query_id for label in service.wait_labels(3)] == ["q1", "q2", "q3"]


def test_undo_takes_back_several_answers_and_shows_their_pairs(service: StandIn, open_page: Open) -> None:
    page = open_page()
    choose(page, "ArrowLeft", "q1")
    choose(page, "ArrowUp", "q2")
    seen(page, "q3")
    page.keyboard.press("Backspace")
    seen(page, "q2")
    page.click("#undo")
    ready(page, "q1")
    wanted = side_of(page, GREEN)
    page.keyboard.press(ARROW[wanted])
    labels = service.wait_labels(5)
    assert [(label.query_id, label.verdict.value) for label in labels] == [
        ("q1", "prefer"),
        ("q2", "equal"),
        ("q2", "undo"),
        ("q1", "undo"),
        ("q1", "prefer"),
    ]
    assert labels[-1].preferred == "q1-b"
    assert len({label.label_id for label in labels}) == 5


def test_a_past_answer_is_seen_moving_and_changed_by_a_click(service: StandIn, open_page: Open) -> None:
    page = open_page()
    ready(page)
    assert page.locator("#review").is_hidden()
    chosen = side_of(page, RED)
    page.keyboard.press(ARROW[chosen])
    choose(page, "ArrowUp", "q2")
    ready(page, "q3")
    page.keyboard.press("h")
    past = page.locator(".past button")
    shows(page, ".past button:first-child span", "Equal")
    assert past.nth(1).inner_text() == f"{chosen.title()} is better"
    corner = """([canvas]) => Array.from(document.querySelectorAll(".past canvas")[canvas].getContext("2d")
        .getImageData(0, 0, 112, 112).data).reduce((sum, value, place) => (sum * 31 + value) % 1000003, 0)"""
    before = page.evaluate(corner, [3])
    until(page, f"({corner})([3]) !== {before}")
    page.keyboard.press("ArrowLeft")  # no answer while this is open
    past.nth(1).click()
    ready(page, "q1")
    page.keyboard.press(ARROW[side_of(page, GREEN)])
    seen(page, "q3")
    labels = service.wait_labels(4)
    assert [(label.query_id, label.verdict.value) for label in labels] == [
        ("q1", "prefer"),
        ("q2", "equal"),
        ("q1", "undo"),
        ("q1", "prefer"),
    ]
    assert [labels[0].preferred, labels[3].preferred] == ["q1-a", "q1-b"]


def test_a_reason_goes_with_its_answer_as_text_and_can_be_given_again_by_a_click(service: StandIn, open_page: Open) -> None:
    reason = "<b>falls</b> at once"
    page = open_page()
    ready(page)
    page.keyboard.press("r")
    until(page, "document.activeElement.matches('#why input')")
    page.keyboard.type(reason)
    page.keyboard.press("ArrowRight")  # in a field: no answer
    page.keyboard.press("Enter")
    page.wait_for_selector("#why", state="hidden")
    page.keyboard.press("b")
    ready(page, "q2")
    page.click("#reason")
    page.click(f".before button:has-text('{reason}')")
    page.wait_for_selector("#why", state="hidden")
    page.keyboard.press("ArrowUp")
    ready(page, "q3")
    page.click("#reason")
    page.locator("#why input").fill("half a thought")
    page.click("#left")  # the field does not stand in the way
    labels = service.wait_labels(3)
    assert [(label.verdict.value, label.reason) for label in labels] == [
        ("both_bad", reason),
        ("equal", reason),
        ("prefer", "half a thought"),
    ]
    page.click("#review")
    shows(page, ".past button:last-child span", f"Both bad · {reason}")
    page.reload()
    page.wait_for_selector("text=The first clips are on their way")
    assert page.evaluate("JSON.parse(localStorage['rltrainer.reasons.you'])") == ["half a thought", reason]


def test_keys_are_changed_refused_kept_and_switched_off(service: StandIn, open_page: Open) -> None:
    page = open_page()
    ready(page)
    page.click("#settings-open")
    page.click("#settings-keys")
    page.click("[aria-label^='←: left is better']")
    page.keyboard.press("Shift+T")
    shows(page, "#keys-error", "T is taken: trim handles. Choose another key.")
    page.keyboard.press("Escape")
    assert page.locator("#help[open]").count() == 1
    page.locator("[aria-label^='←: left is better']").press("Enter")
    page.keyboard.press("q")
    shows(page, "[aria-label^='Q: left is better']", "Q")
    page.keyboard.press("Escape")
    page.wait_for_selector("#help", state="hidden")
    shows(page, "#left kbd", "Q")
    assert service.labels == []
    page.reload()
    ready(page)
    page.keyboard.press("ArrowLeft")
    page.keyboard.press("q")
    ready(page, "q2")
    assert len(service.wait_labels(1)) == 1
    page.keyboard.press("?")
    page.uncheck("#keys-on")
    page.click("#help-close")
    page.wait_for_selector("#left kbd", state="hidden")
    page.keyboard.press("q")
    page.keyboard.press("ArrowRight")
    page.click("#right")
    seen(page, "q3")
    assert len(service.wait_labels(2)) == len(service.labels) == 2
    page.click("#help-open")
    page.check("#keys-on")
    page.click("#keys-reset")
    shows(page, "#left kbd", "←")


def test_training_is_paused_and_resumed_from_the_panel_and_the_page_says_so(service: StandIn, open_page: Open) -> None:
    service.status = training()
    page = open_page()
    ready(page)
    page.click("#insight-words")
    page.click("#rest")
    shows(page, "#resting", "Training pauses in a moment")
    service.status = service.status.model_copy(update={"phase": "paused"})
    service.send(service.status)
    shows(page, "#resting", "Training is paused")
    page.keyboard.press("ArrowLeft")
    assert len(service.wait_labels(1)) == 1  # labelling goes on
    service.send(wire.Withdrawn(query_ids=["q2", "q3"]))
    shows(page, "#words-title", "Training is paused")
    page.click("#resume")
    page.wait_for_selector("#resting", state="hidden")
    asked = [message.paused for message in service.received if isinstance(message, wire.PauseMessage)]
    assert asked == [True, False]
    service.send(service.status.model_copy(update={"phase": "training", "next_pair_seconds": 17.0}))
    page.wait_for_selector("text=the next pair comes in about 20 s.")
    page.click("#review-here")
    page.wait_for_selector("#history[open]")
    page.keyboard.press("Escape")


def test_fingers_choose_by_a_swipe_and_stop_by_a_tap(service: StandIn, open_page: Open) -> None:
    page = open_page(width=390)
    ready(page)
    fingers = page.context.new_cdp_session(page)
    box = page.locator(".right .screen").bounding_box()
    x, y = box["x"] + 20, box["y"] + box["height"] - 20

    def touch(kind: str, *points: float) -> None:
        at = [{"x": points[0], "y": points[1]}] if points else []
        fingers.send("Input.dispatchTouchEvent", {"type": kind, "touchPoints": at})

    touch("touchStart", x, y)
    touch("touchEnd")
    shows(page, "#pause-word", "Play")
    wanted = f"q1-{'a' if side_of(page, RED) == 'right' else 'b'}"
    touch("touchStart", x, y)
    for far in (30, 60, 90):
        touch("touchMove", x + far, y)
    touch("touchEnd")
    (label,) = service.wait_labels(1)
    assert (label.verdict, label.preferred) == (Verdict.PREFER, wanted)


def test_rules_hide_what_is_not_allowed_at_once(service: StandIn, open_page: Open) -> None:
    page = open_page()
    ready(page)
    page.click("#trim")
    for there in ("#equal", "#skip", "#settings-open", "#trim", ".left .first", ".right .end"):
        page.wait_for_selector(there)
    off = ("allow_ties", "allow_skipping", "allow_editing", "allow_reasons")
    service.rules |= {**dict.fromkeys(off, False), "config_restricted": True}
    service.send(wire.Rules(**service.rules))
    page.wait_for_selector("#equal", state="hidden")
    for gone in ("#both-bad", "#skip", "#reason", "#settings-open", "#trim", ".left .first", ".right .end"):
        assert page.locator(gone).is_hidden(), gone
    for key in ("ArrowUp", "b", "ArrowDown", "r", "ArrowLeft"):
        page.keyboard.press(key)
    assert service.wait_labels(1)[0].verdict is Verdict.PREFER


def test_a_refused_answer_leaves_the_outbox_with_a_sentence(service: StandIn, open_page: Open) -> None:
    service.refuse = lambda _: "ties are off in this run"
    page = open_page()
    choose(page, "ArrowUp")
    page.wait_for_selector("text=An answer was not taken: Ties are off in this run.")
    shows(page, "#saved", "0 saved")


# -------------------------------------------------------------------- nothing is lost


def test_a_reload_sends_what_was_not_acked_again_and_does_not_ask_twice(service: StandIn, open_page: Open) -> None:
    service.silent = True
    page = open_page()
    choose(page, "ArrowLeft", "q1")
    choose(page, "ArrowUp", "q2")
    first = service.wait_labels(2)
    shows(page, "#saved", "2 unsent")
    service.silent = False
    page.evaluate("history.replaceState(null, '', '/')")  # the token is remembered
    page.reload()
    again = service.wait_labels(4)[2:]
    assert [label.label_id for label in again] == [label.label_id for label in first]
    shows(page, "#saved", "2 saved")
    seen(page, "q3")
    assert len(service.stored) == 2


ALBUM = """async () => {
  const { Album } = await import("./album.js");
  const album = await Album.open();
  const pair = (queryId) => ({ queryId });
  const keep = async (owner, names, at) => {
    await album.load(owner, at);
    await album.follow(names.map(pair), () => ({ clips: [], videos: [] }), at);
  };
  const names = async (owner, now) => (await album.load(owner, now)).map((page) => page.pair.queryId);
  const after = (days) => Date.now() + days * 24 * 3600 * 1000; // the page itself forgets what is a month old today
  await keep("run/ada", ["q2", "q1"], after(0));
  await keep("run/ada2", ["q9"], after(20));
  return [await names("run/ada", after(29)), await names("run/ada", after(31)), await names("run/ada2", after(31))];
}"""


def test_past_answers_are_kept_for_a_month_each_labelers_apart_in_the_order_they_were_given(open_page: Open) -> None:
    assert open_page().evaluate(ALBUM) == [["q2", "q1"], [], ["q9"]]


def test_past_answers_are_there_after_a_reload_and_one_is_changed(service: StandIn, open_page: Open) -> None:
    page = open_page()
    choose(page, "ArrowLeft", "q1")
    choose(page, "ArrowUp", "q2")
    seen(page, "q3")
    shows(page, "#saved", "2 saved")
    page.reload()
    seen(page, "q3")
    page.keyboard.press("h")
    page.wait_for_selector("#history[open]")
    assert page.locator(".past button span").all_inner_texts() == ["Equal", "Left is better"]
    brightest = (
        "Math.max(...canvas.getContext('2d').getImageData(0, 0, canvas.width, canvas.height).data.filter((_, i) => i % 4 < 3))"
    )
    until(page, f"[...document.querySelectorAll('.past canvas')].every((canvas) => {brightest} > 40)")
    page.locator(".past button").last.click()
    seen(page, "q1")
    choose(page, "ArrowRight", "q1")
    seen(page, "q3")
    undo, changed = service.wait_labels(4)[2:]
    assert (undo.query_id, undo.verdict) == ("q1", Verdict.UNDO)
    assert (changed.query_id, changed.verdict) == ("q1", Verdict.PREFER)
    page.reload()
    seen(page, "q3")
    page.keyboard.press("Backspace")  # the newest answer, which is the changed one
    seen(page, "q1")


def test_a_restarted_service_gets_the_answers_given_meanwhile(service: StandIn, open_page: Open) -> None:
    page = open_page()
    choose(page, "ArrowLeft")
    service.wait_labels(1)
    shows(page, "#saved", "1 saved")
    service.stop()
    page.wait_for_selector("text=Connection lost.")
    shows(page, "#link-words", re.compile(r"^Reconnecting in \d+ s$"))
    choose(page, "ArrowUp", "q2")
    seen(page, "q3")
    page.keyboard.press("Backspace")
    choose(page, "ArrowDown", "q2")
    shows(page, "#saved", "1 saved, 3 unsent")
    service.start()
    labels = service.wait_labels(4)
    assert [label.verdict.value for label in labels] == ["prefer", "equal", "undo", "skip"]
    hellos = [message.holds for message in service.received if isinstance(message, wire.Hello)]
    assert hellos == [[], ["q3"]], "what it still has"
    shows(page, "#saved", "2 saved")
    seen(page, "q3")


def test_labels_of_another_run_at_the_same_address_stay_where_they_are(service: StandIn, open_page: Open) -> None:
    service.silent = True
    page = open_page()
    choose(page, "ArrowLeft")
    kept = service.wait_labels(1)[0]
    service.welcome["run"] = "run-2"
    page.reload()
    seen(page, "q1")
    assert len(service.labels) == 1
    service.welcome["run"] = "run-1"
    service.silent = False
    page.reload()
    assert service.wait_labels(2)[1] == kept


# -------------------------------------------------------------------- clips

WHOLE_CLIP = """async ([video, frames, rate]) => {
    const { decodeClip } = await import("/clips.js");
    const bytes = Uint8Array.from(atob(video), letter => letter.charCodeAt(0));
    const header = { segment_id: "s", bytes: bytes.length, frames, frame_rate: rate, width: 128, height: 128 };
    const pictures = await decodeClip(header, bytes);
    const brush = Object.assign(document.createElement("canvas"), { width: 128, height: 128 }).getContext("2d");
    return pictures.map(picture => {
        brush.drawImage(picture, 0, 0);
        const lit = bit => brush.getImageData(bit * 16 + 8, 8, 1, 1).data[0] > 128;
        return [0, 1, 2, 3, 4, 5].reduce((number, bit) => number + (lit(bit) << bit), 0);
    });
}"""


@pytest.mark.parametrize("way", ["WebCodecs", "video element"])
def test_frame_i_is_the_picture_of_step_i(way: str, service: StandIn, open_page: Open, videos: tuple[bytes, bytes]) -> None:
    page = open_page(script="" if way == "WebCodecs" else "delete window.VideoDecoder")
    seen(page)
    assert page.evaluate("'VideoDecoder' in window") == (way == "WebCodecs")
    shown = page.evaluate(WHOLE_CLIP, [base64.b64encode(videos[0]).decode(), FRAMES, RATE])
    assert shown == list(range(FRAMES))


A_DECODER_GOES = f"""
    let pictures = {2 * FRAMES};
    const make = createImageBitmap;
    const there = () => window.mended || pictures-- > 0;
    window.createImageBitmap = (...from) => (there() ? make(...from) : Promise.reject(new Error("gone")));
"""


def test_a_pair_that_could_not_be_played_comes_again_when_no_other_is_left(service: StandIn, open_page: Open) -> None:
    service.pairs = service.pairs[:2]
    page = open_page(script=A_DECODER_GOES)
    shows(page, "#remark", "A pair could not be played and was left out.")
    choose(page, "ArrowLeft")
    page.evaluate("window.mended = true")
    choose(page, "ArrowRight", "q2")
    assert [label.query_id for label in service.wait_labels(2)] == ["q1", "q2"]


def test_both_clips_play_on_one_clock_and_space_stops_them(open_page: Open) -> None:
    page = open_page()
    seen(page)
    until(page, f"({FRAME_SHOWN})('.left') > 0")
    page.keyboard.press("Space")
    page.wait_for_selector("#pause:has-text('Play')")
    stopped = [page.evaluate(FRAME_SHOWN, side) for side in (".left", ".right")]
    assert stopped[0] == stopped[1]
    page.evaluate("() => new Promise(resolve => setTimeout(resolve, 150))")  # three frames
    assert page.evaluate(FRAME_SHOWN, ".left") == stopped[0]
    page.keyboard.press("Space")
    until(page, f"({FRAME_SHOWN})('.left') !== {stopped[0]}")


def test_less_motion_starts_still(open_page: Open) -> None:
    page = open_page(motion="reduce")
    seen(page)
    assert page.evaluate(FRAME_SHOWN, ".left") == 0
    page.click("#pause")
    until(page, f"({FRAME_SHOWN})('.left') > 2")


def test_a_trim_loops_at_once_and_goes_with_the_label(service: StandIn, open_page: Open) -> None:
    page = open_page()
    ready(page)
    page.click("#trim")
    page.wait_for_selector(".right .first")
    side = side_of(page, RED)
    first, end = page.locator(f".{side} .first"), page.locator(f".{side} .end")
    for _ in range(5):
        first.press("ArrowRight")
    for _ in range(8):
        end.press("ArrowLeft")
    assert (first.input_value(), end.input_value()) == ("5", "12")
    assert service.labels == []  # the slider had the arrows
    until(page, f"({FRAME_SHOWN})('.{side}') === 5")
    assert {page.evaluate(FRAME_SHOWN, f".{side}") for _ in range(20)} <= set(range(5, 12))
    end.press("Escape")
    page.keyboard.press("ArrowUp")
    label = service.wait_labels(1)[0]
    assert label.trims == {"q1-a": (5, 12)}


def test_a_grip_that_is_dragged_leaves_the_arrow_keys_free(service: StandIn, open_page: Open) -> None:
    page = open_page()
    ready(page)
    page.click("#trim")
    page.wait_for_selector(".left .first")  # until it is laid out, the track lies elsewhere
    box = page.locator(".left .track").bounding_box()
    middle = box["y"] + box["height"] / 2
    page.mouse.move(box["x"] - 13, middle)
    page.mouse.down()
    page.mouse.move(box["x"] - 13 + box["width"] / 2, middle, steps=5)
    page.mouse.up()
    assert page.locator(".left .first").input_value() == "10"
    page.wait_for_selector(".left .reset:has-text('0.50 s')")
    page.keyboard.press("ArrowRight")
    assert list(service.wait_labels(1)[0].trims.values()) == [(10, 20)]


def test_reset_takes_a_trim_back(service: StandIn, open_page: Open) -> None:
    page = open_page()
    ready(page)
    page.click("#trim")
    page.wait_for_selector(".right .first")  # what is hidden takes no focus, and the key would be an answer
    page.locator(".right .first").press("ArrowRight")
    page.click(".right .reset")
    page.wait_for_selector(".right .reset", state="hidden")
    page.keyboard.press("ArrowLeft")
    assert service.wait_labels(1)[0].trims == {}


def test_t_brings_the_trim_handles_with_the_focus_on_the_first_and_takes_them_away(open_page: Open) -> None:
    page = open_page()
    ready(page)
    assert page.locator(".left .range").is_hidden()
    page.keyboard.press("t")
    until(page, "document.activeElement.matches('.left .first')")
    page.keyboard.press("Escape")
    page.keyboard.press("t")
    page.wait_for_selector(".left .first", state="hidden")


# -------------------------------------------------------------------- watching


def both(page: Page) -> list[int]:
    return [page.evaluate(FRAME_SHOWN, side) for side in (".left", ".right")]


def shows_frame(page: Page, number: int) -> None:
    for side in (".left", ".right"):
        until(page, f"({FRAME_SHOWN})('{side}') === {number}")


def test_comma_and_full_stop_step_both_clips_by_exactly_one_frame_round_the_loop(open_page: Open) -> None:
    page = open_page(motion="reduce")
    seen(page)
    for number in range(1, FRAMES):
        page.keyboard.press(".")
        shows_frame(page, number)
    page.click("#step-on")
    shows_frame(page, 0)
    page.keyboard.press(",")
    shows_frame(page, FRAMES - 1)
    page.click("#step-back")
    shows_frame(page, FRAMES - 2)


def test_a_step_stops_the_clips_where_they_are_and_0_plays_from_the_start(open_page: Open) -> None:
    page = open_page()
    seen(page)
    until(page, f"({FRAME_SHOWN})('.left') > 4")
    page.keyboard.press(".")
    shows(page, "#pause-word", "Play")
    stopped = both(page)
    assert stopped[0] == stopped[1] > 4
    page.keyboard.press("0")
    until(page, f"({FRAME_SHOWN})('.left') < 4")
    shows(page, "#pause-word", "Pause")
    until(page, f"({FRAME_SHOWN})('.left') > 4")


def test_the_scrub_bar_moves_both_clips_and_its_arrows_answer_nothing(service: StandIn, open_page: Open) -> None:
    page = open_page()
    ready(page)
    scrub = page.locator("#scrub")
    scrub.fill("7")
    shows_frame(page, 7)
    scrub.press("ArrowRight")
    shows_frame(page, 8)
    assert scrub.get_attribute("aria-valuetext") == "0.40 of 1.00 s, frame 9 of 20"
    assert service.labels == []
    scrub.press("Escape")
    page.keyboard.press("ArrowRight")
    assert service.wait_labels(1)[0].verdict is Verdict.PREFER


def test_speed_is_seen_and_kept_over_pairs_and_reloads(open_page: Open) -> None:
    page = open_page()
    seen(page)
    page.keyboard.press("-")
    page.click("#slower")
    page.keyboard.press("-")
    shows(page, "#speed", "0.25×")
    assert page.locator("#slower").is_disabled()
    choose(page, "ArrowUp")
    shows(page, "#saved", "1 saved")
    page.reload()
    seen(page, "q2")
    shows(page, "#speed", "0.25×")
    for _ in range(3):
        page.keyboard.press("+")  # with shift, where the keyboard has it there
    shows(page, "#speed", "1×")


def test_one_clip_fills_the_page_and_both_are_there_for_the_next_pair(service: StandIn, open_page: Open) -> None:
    page = open_page()
    ready(page)
    small = page.locator(".left canvas").bounding_box()["height"]
    page.keyboard.press("e")
    page.wait_for_selector(".right", state="hidden")
    assert page.locator(".left canvas").bounding_box()["height"] > 1.5 * small
    page.keyboard.press("e")
    page.wait_for_selector(".left", state="hidden")
    page.keyboard.press("Escape")
    page.click(".left .enlarge")
    page.wait_for_selector(".right", state="hidden")
    page.keyboard.press("ArrowRight")
    seen(page, "q2")
    page.wait_for_selector(".right")
    assert len(service.wait_labels(1)) == 1


# -------------------------------------------------------------------- around the clips


def test_help_lists_every_key_keeps_the_focus_and_closes_by_escape(service: StandIn, open_page: Open) -> None:
    service.welcome["task"] = "Which one runs better?\n\n## How\n- **far** <b>and</b> upright"
    service.rules["allow_ties"] = False
    page = open_page()
    ready(page)
    assert text(page, "#task") == "Which one runs better?"
    page.keyboard.press("?")
    page.wait_for_selector("#help[open]")
    assert page.locator("#help-instructions li").inner_html() == "<strong>far</strong> &lt;b&gt;and&lt;/b&gt; upright"
    keys = page.locator(".keys > div:visible kbd").all_text_contents()
    assert keys == [
        "←",
        "→",
        "A",
        "D",
        "Shift ←",
        "Shift →",
        "↓",
        "R",
        "Backspace",
        "H",
        "Space",
        ",",
        ".",
        "0",
        "−",
        "+",
        "E",
        "T",
        "?",
    ]
    for key in ("Tab", "Tab", "ArrowLeft", "Shift+Tab", "Shift+Tab", " "):
        assert page.evaluate("document.activeElement === document.body || !!document.activeElement.closest('#help')"), key
        page.keyboard.press(key)
    page.wait_for_selector("#help", state="hidden")  # space pressed Close
    page.click("#help-open")
    page.wait_for_selector("#help[open]")
    page.keyboard.press("Escape")
    page.wait_for_selector("#help", state="hidden")
    assert service.labels == []
    page.keyboard.press("ArrowLeft")
    assert len(service.wait_labels(1)) == 1


def test_hostile_text_shows_as_text(service: StandIn, open_page: Open) -> None:
    hostile = "<img src=x onerror=alert(1)><script>document.title='gone'</script>"
    service.welcome |= {"task": hostile, "env": hostile, "labeler": hostile, "notice": hostile}
    service.refuse = lambda _: hostile
    page = open_page()
    choose(page, "ArrowLeft")
    page.wait_for_selector("#remark:not([hidden])")
    assert text(page, "#task") == text(page, "#env") == text(page, "#notice") == hostile
    assert hostile in text(page, "#remark")
    assert hostile in text(page, "#who")
    assert page.locator("img, body script").count() == 0


def test_a_wrong_link_is_not_tried_again_but_a_new_one_is(service: StandIn, open_page: Open) -> None:
    page = open_page(service.url.replace("s3cret", "guessed"))
    page.wait_for_selector("text=This link is not allowed")
    assert text(page, "#link-words") == "Not allowed: ask for a new link"
    assert len(service.received) == 1
    page.evaluate("location.hash = '#token=s3cret'")
    seen(page)


def test_an_error_has_a_sentence_and_details_to_copy(open_page: Open) -> None:
    page = open_page(script="document.addEventListener('copy', () => window.copied = String(getSelection()))")
    seen(page)
    page.evaluate("dispatchEvent(new ErrorEvent('error', { message: 'a wheel came off' }))")
    page.wait_for_selector("text=Your answers are kept. Reload the page to go on.")
    page.click("#trouble summary")
    page.click("#trouble-copy")
    until(page, "window.copied === 'a wheel came off'")
    page.click("#retry")
    seen(page)


def test_settings_are_sent_as_changes_and_a_refusal_is_a_sentence(service: StandIn, open_page: Open) -> None:
    page = open_page()
    seen(page)
    page.click("#settings-open")
    page.wait_for_selector("#settings[open]")
    page.uncheck("[name=allow_ties]")
    page.fill("[name=speed]", "2")
    page.keyboard.press("ArrowLeft")  # in a field: no answer
    service.refuse = lambda _: "clips.speed is 2: not today"
    page.click("#settings-apply")
    page.wait_for_selector("text=clips.speed is 2: not today.")
    service.refuse = lambda _: None
    page.click("#settings-apply")
    page.wait_for_selector("#equal", state="hidden")
    page.wait_for_selector("#settings", state="hidden")
    sent = [message for message in service.received if isinstance(message, wire.SettingsMessage)]
    assert sent[-1].changes == {"labeling.allow_ties": False, "clips.speed": 2}
    assert service.labels == []


def test_an_oracle_is_watched_and_not_answered(service: StandIn, open_page: Open, pair: MakePair) -> None:
    service.welcome["mode"] = "watch"
    service.pairs = [pair("q1", answer=wire.AnswerHeader(verdict=Verdict.PREFER, preferred="q1-b", labeler="oracle"))]
    page = open_page()
    seen(page)
    assert text(page, "#task") == "The oracle is answering"
    assert page.locator(f".{side_of(page, GREEN)}.picked").count() == 1
    assert page.locator(".picked").count() == 1
    for gone in ("#left", "#right", "#equal", "#skip", "#undo"):
        assert page.locator(gone).is_hidden(), gone
    page.keyboard.press("ArrowLeft")
    service.push(pair("q2", answer=wire.AnswerHeader(verdict=Verdict.EQUAL, preferred=None, labeler="oracle")))
    until(page, "document.querySelectorAll('.picked').length === 2")
    assert service.labels == []


def test_the_state_of_the_run_is_said_in_words(service: StandIn, open_page: Open) -> None:
    service.status = training(verdict="More labels of this kind no longer change the ranking.")
    page = open_page(width=390)
    seen(page)
    assert text(page, "#budget-words") == "12 of 100 labels"
    assert text(page, "#ready") == "3 pairs ready"
    assert text(page, "#insight-words").endswith("82% right · More labels of this kind no longer change the ranking.")
    page.click("#insight-words")
    strip = page.locator("#insight-list").inner_text()
    for words in ("20,480 steps", "Of 200,000 to train", "82%", "version 4"):
        assert words in strip
    assert "return" not in strip
    assert page.locator(".spark:visible").count() == 0
    service.send(wire.Curves(points=[(4096, 0.6, None, 1), (8192, 0.7, None, 2)]))
    service.send(service.status.model_copy(update={"step": 24_576, "held_out_accuracy": 0.84}))
    page.wait_for_selector("[aria-label='Right on unseen answers: from 60% at step 4,096 to 84% at step 24,576']")
    assert page.evaluate("document.documentElement.scrollWidth <= innerWidth")
    service.pairs.clear()
    service.send(wire.Withdrawn(query_ids=["q1", "q2", "q3"]))
    page.wait_for_selector("text=You are up to date")
    service.send(service.status.model_copy(update={"phase": "finished", "message": "All done."}))
    page.wait_for_selector("text=Training has finished")


def test_what_the_reward_predicts_is_drawn_under_the_bar_while_the_panel_is_open_and_the_run_is_no_study(
    service: StandIn, open_page: Open
) -> None:
    service.status = training()
    page = open_page(motion="reduce")
    seen(page)
    assert page.locator("#foresight svg").is_hidden()
    page.click("#insight-words")
    shows(page, "#foresight .none", "not known of this pair")
    rising, flat = [number / 10 for number in range(FRAMES)], [-1.0] * FRAMES
    service.send(wire.Predicted(query_id="q1", version=4, rewards={"q1-a": rising, "q1-b": flat}))
    red = side_of(page, RED)
    green = "right" if red == "left" else "left"
    # on one scale, from -1 to 1.9
    page.wait_for_selector(f"#foresight polyline.{red}[points^='0,66 '][points$=' 1000,0']", state="attached")
    page.wait_for_selector(f"#foresight polyline.{green}[points^='0,100 '][points$=' 1000,100']", state="attached")
    page.keyboard.press(".")
    shows(page, f"#foresight b.{red}", f"{red.title()} 0.10")
    shows(page, f"#foresight b.{green}", f"{green.title()} -1.00")
    words = page.locator("#foresight svg").get_attribute("aria-label")
    assert f"{red} clip from 0.00 to 1.90" in words
    knob = "document.querySelector('#scrub').getBoundingClientRect()"
    head = "document.querySelector('#foresight .now').getBoundingClientRect().x"
    assert page.evaluate(f"Math.abs({head} - ({knob}.x + 9 + ({knob}.width - 18) / {FRAMES - 1}))") < 2
    service.rules["config_restricted"] = True
    service.send(wire.Rules(**service.rules))
    page.wait_for_selector("#foresight", state="hidden")


@pytest.mark.parametrize("width", [800, 390])
def test_the_longest_verdict_takes_no_room_from_the_clips(service: StandIn, open_page: Open, width: int) -> None:
    page = open_page(width=width)
    seen(page)
    heights = []
    for words in ("", "The reward does not foretell answers better than chance yet."):
        service.send(training(verdict=words))
        until(page, f"document.querySelector('#insight-words').textContent.endsWith('right · {words}')")
        heights.append(page.evaluate("document.documentElement.scrollHeight"))
    assert heights[0] == heights[1]


def test_the_page_weighs_little(service: StandIn, open_page: Open) -> None:
    page = open_page()
    seen(page)
    files = page.evaluate("performance.getEntries().filter(entry => entry.transferSize).map(entry => entry.toJSON())")
    assert sum(file["decodedBodySize"] for file in files) > 100_000  # all of it was counted
    assert 20_000 < sum(file["transferSize"] for file in files) <= 80_000  # over the wire, with headers; 100 KB are promised


# -------------------------------------------------------------------- admins


def test_only_an_admins_page_has_settings_and_a_report_that_opens_beside_it(service: StandIn, open_page: Open) -> None:
    page = open_page()
    ready(page)
    assert page.locator("#settings-open").is_visible()
    with page.expect_popup() as opened:
        page.click("#report")
    report = opened.value
    sync_api.expect(report.locator("h1")).to_have_text("Report")
    assert report.evaluate("getComputedStyle(document.querySelector('h1')).color") == "rgb(1, 2, 3)"
    report.close()
    service.welcome["admin"] = False
    page.reload()
    seen(page)
    assert [page.locator(name).is_visible() for name in ("#settings-open", "#report")] == [False, False]
