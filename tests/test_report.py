"""Facts about `rltrainer report`: what it says, and that it says it safely, to everybody, in light and in dark."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import toys
from axe_playwright_python.sync_playwright import Axe
from chromium import chromium

from rltrainer.config import Config
from rltrainer.core import Answer, Strength, UserError, Verdict
from rltrainer.report import Figures, gather, write
from rltrainer.report.figures import MOST_POINTS, curve, interval, thinned, went
from rltrainer.report.page import page
from rltrainer.store import Store

HOSTILE = '<script>document.title = "broken in"</script>$x^2$'
AA = {"runOnly": ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "wcag22aa"], "resultTypes": ["violations"]}


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run that two labelers answered, on two pairs both of them, and whose names and texts are hostile."""
    folder = tmp_path_factory.mktemp("report") / "<i>run"
    config = Config.of({"env": "Pendulum-v1", "labels": 10, "labeling": {"task": HOSTILE}})
    store = Store.create(folder, config=config.model_dump(mode="json"), env={"id": "Pendulum-v1", "options": {}})
    segments = toys.random_segments(8, np.random.default_rng(0))
    queries = store.ask(zip(segments[::2], segments[1::2], strict=True), 0, "uniform")
    for number, query in enumerate(queries):
        verdict = Answer(Verdict.PREFER, query.first, strength=Strength.MUCH if number else Strength.PLAIN)
        store.save_label(f"ada-{number}", query.id, HOSTILE, verdict)
    store.save_label("bob-0", queries[0].id, "Bob", Answer(Verdict.PREFER, queries[0].first))
    store.save_label("bob-1", queries[1].id, "Bob", Answer(Verdict.PREFER, queries[1].second))
    store.save_label("bob-2", queries[2].id, "Bob", Answer(Verdict.SKIP))
    store.change_settings({"labeling.allow_ties": False}, HOSTILE)
    for step, accuracy in enumerate([None, 0.5, 0.5, 0.75]):
        found = {"accuracy_low": 0.4, "accuracy_high": 0.9, "verdict": "Too few."} if accuracy else None
        facts = {
            "step": 100 * step,
            "steps": 1000,
            "held_out_accuracy": accuracy,
            "diagnosis": found,
            "true_return": -5.0 * step,
        }
        store.log("progress", phase="training", message=HOSTILE, **facts)
    store.close()
    return folder


@pytest.fixture(scope="module")
def figures(run: Path) -> Figures:
    return gather(run)


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    with chromium() as started:
        yield started


def test_what_a_run_did_after_the_checkpoint_that_it_went_back_to_is_told_once() -> None:
    steps = [0, 100, 100, 200, 300, 150, 250]
    assert [event["step"] for event in went({"step": step} for step in steps)] == [0, 100, 100, 150, 250]


def test_the_figures_are_those_of_the_store(figures: Figures) -> None:
    assert (figures.env, figures.folder) == ("Pendulum-v1", "<i>run")
    assert (figures.counts["labels"], figures.counts["skipped"]) == (6, 1)
    assert [(one.labeler, one.labels, one.skipped) for one in figures.labelers] == [(HOSTILE, 4, 0), ("Bob", 2, 1)]
    assert figures.labelers[0].verdicts == {"prefer": 1, "much": 3}
    (agreement,) = figures.agreements
    assert (agreement.pairs, agreement.same, agreement.kappa) == (2, 0.5, 0.0)  # one of two the same, as by chance
    assert figures.accuracy == [(100.0, 0.5), (300.0, 0.75)]
    assert figures.accuracy_range == [(100.0, 0.4, 0.9)]
    assert figures.returns == [(0.0, 0.0), (100.0, -5.0), (200.0, -10.0), (300.0, -15.0)]
    assert [count for _, count in figures.given[HOSTILE]] == [1, 2, 3, 4]
    assert [change["changes"] for change in figures.changes] == [{"labeling.allow_ties": False}]
    assert figures.chosen == ["env", "labeling.task", "labels"]


def test_what_is_no_number_is_no_point_and_long_curves_keep_their_ends() -> None:
    events = [
        {"step": 1, "true_return": float("nan")},
        {"step": 2},
        {"step": 3, "true_return": 1.0},
        {"step": 4, "true_return": 1},
    ]
    assert curve(events, "true_return") == [(3.0, 1.0)]
    assert interval([{"step": 1, "diagnosis": None}, {"step": 2, "diagnosis": {"accuracy_low": None}}]) == []
    long = thinned(list(range(10 * MOST_POINTS)))
    assert (len(long), long[0], long[-1]) == (MOST_POINTS, 0, 10 * MOST_POINTS - 1)
    assert thinned([1, 2, 3]) == [1, 2, 3]


def test_it_is_one_file_that_asks_for_nothing_and_runs_nothing(run: Path, figures: Figures) -> None:
    text = write(figures, run).read_text()
    assert not re.findall(r"<(script|link|iframe|img|object|embed|base)\b|javascript:|\son\w+=|url\((?!#)|@import", text)
    assert set(re.findall(r'https?://[^\s"<]+', text)) <= {
        "http://www.w3.org/2000/svg",
        "http://www.w3.org/1999/xlink",
    }
    assert "document.title" in text, "what is hostile shows as text"
    assert text.count("<svg") == 4, "the mark and three plots"
    assert len(text) < 100_000


def test_a_run_that_nobody_answered_says_so(tmp_path: Path) -> None:
    store = Store.create(tmp_path / "run", config=Config().model_dump(mode="json"), env={"id": "HalfCheetah-v5", "options": {}})
    store.close()
    figures = gather(tmp_path / "run")
    text = page(figures)
    assert "Nobody has answered yet." in text
    assert text.count("Nothing to draw yet.") == 3
    assert "Every setting has its default." in text
    with pytest.raises(UserError, match="is not a run folder"):
        gather(tmp_path)


@pytest.mark.parametrize(("scheme", "width"), [("light", 1280), ("dark", 390)])
def test_people_can_read_it_in_light_and_in_dark(run: Path, figures: Figures, browser: Any, scheme: str, width: int) -> None:
    sheet = browser.new_page(color_scheme=scheme, viewport={"width": width, "height": 800})
    try:
        sheet.goto(write(figures, run).as_uri())
        assert sheet.title() == "<i>run · rltrainer"
        assert sheet.locator("tbody th").first.text_content() == HOSTILE
        assert sheet.evaluate("document.documentElement.scrollWidth") == width, "nothing hangs over"
        sheet.click("summary")
        found = Axe().run(sheet, options=AA).response["violations"]
        assert [(rule["id"], [node["html"] for node in rule["nodes"]]) for rule in found] == []
    finally:
        sheet.close()


def test_figures_are_plain_json(figures: Figures) -> None:
    said = json.loads(json.dumps(asdict(figures), allow_nan=False))
    assert said["agreements"] == [{"one": HOSTILE, "other": "Bob", "pairs": 2, "same": 0.5, "kappa": 0.0}]
    assert said["given"]["Bob"][-1][1] == 3
