"""Curves as SVG that takes its colours from the page around it: one drawing for light and for dark."""

from __future__ import annotations

import io
import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import matplotlib as mpl
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, MaxNLocator, PercentFormatter

from rltrainer.report.figures import Point

INCHES = (6.0, 2.7)
COLOURS = 6
"""The page has so many colours for curves: --c0, --c1 and so on."""
INK = {"#010101": "--ink", "#010102": "--muted", "#010103": "--line"} | {f"#0102{n:02}": f"--c{n}" for n in range(COLOURS)}
"""What is drawn with is no colour but a mark for one that the page has."""
MARKS = {name: mark for mark, name in INK.items()}
RC: Any = {"svg.fonttype": "none", "svg.hashsalt": "rltrainer", "font.size": 10.0, "axes.linewidth": 0.8}
NAMES = "figure|axes|patch|line2d|text|[xy]tick|matplotlib.axis|FillBetween"
HIDDEN = re.compile(rf'\s*<metadata>.*?</metadata>|\sid="(?:{NAMES})[^"]*"', re.DOTALL)
"""Who made it, and names that would stand in a page more than once."""


@dataclass(frozen=True)
class Curve:
    """A line through points, or steps where the value holds until the next. colour: which of the page's, 0 to COLOURS − 1"""

    points: Sequence[Point]
    colour: int = 0
    steps: bool = False


def draw(
    curves: Sequence[Curve],
    along: str,
    *,
    band: Sequence[tuple[float, float, float]] = (),
    share: bool = False,
    chance: float | None = None,
) -> str:
    """An `<svg>` element. No word of a user's is in it: names stand in the page around it.

    along:  what the horizontal axis counts
    band:   (x, low, high) in the first curve's colour
    share:  whether values are shares, drawn from 0 to 100%
    chance: a value to compare with
    """
    with mpl.rc_context(RC):
        figure = Figure(INCHES, layout="constrained")
        axes = figure.subplots()
        for curve in curves:
            x, y = zip(*curve.points, strict=True)
            colour = MARKS[f"--c{curve.colour}"]
            axes.plot(x, y, color=colour, linewidth=1.8, drawstyle="steps-post" if curve.steps else "default")
            axes.plot(x[-1], y[-1], "o", color=colour, markersize=4.5)
        if band:
            x, low, high = zip(*band, strict=True)
            axes.fill_between(x, low, high, color=MARKS["--c0"], alpha=0.16, linewidth=0)
        if chance is not None:
            axes.axhline(chance, color=MARKS["--muted"], linewidth=1, linestyle=(0, (4, 4)))
        _dress(axes, along, share=share)
        file = io.StringIO()
        figure.savefig(file, format="svg", transparent=True, metadata={"Date": None})
    return _inline(file.getvalue())


def _dress(axes: Axes, along: str, *, share: bool) -> None:
    """Scales and lines around the curves."""
    if share:
        axes.set_ylim(0, 1.02)
        axes.yaxis.set_major_formatter(PercentFormatter(1.0))
    else:
        axes.yaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:,.9g}"))
    axes.yaxis.set_major_locator(MaxNLocator(5, steps=[1, 2, 2.5, 5, 10]))
    axes.xaxis.set_major_locator(MaxNLocator(6, steps=[1, 2, 5, 10]))
    axes.xaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:,.9g}"))
    axes.set_xlabel(along, color=MARKS["--muted"])
    axes.set_xlim(left=0)
    axes.grid(axis="y", color=MARKS["--line"], linewidth=0.8)
    axes.set_axisbelow(True)
    axes.tick_params(colors=MARKS["--line"], labelcolor=MARKS["--muted"], length=3)
    axes.spines[["top", "right", "left"]].set_visible(False)
    axes.spines["bottom"].set_color(MARKS["--line"])


def _inline(document: str) -> str:
    """The drawing as part of a page: without prolog and size, and with the page's colours."""
    svg = HIDDEN.sub("", document[document.index("<svg") :])
    svg = re.sub(r'<svg [^>]*?viewBox="([^"]*)"[^>]*>', r'<svg viewBox="\1" aria-hidden="true">', svg, count=1)
    return re.sub("|".join(INK), lambda mark: f"var({INK[mark.group()]})", svg)
