"""Scores over labels, and the probability of improvement, as pictures."""

from __future__ import annotations

import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from benchmarks.arms import ARMS, DEFAULT, TRUE
from benchmarks.scores import Estimate
from benchmarks.tables import Curves

COLOURS = {
    DEFAULT: "#0072b2",
    "uniform": "#e69f00",
    "information_gain": "#009e73",
    "sac": "#d55e00",
    "cpl": "#cc79a7",
    "mistakes_0.1": "#56b4e9",
    "mistakes_0.3": "#d55e00",
    "random_labels": "#7f7f7f",
    "constant_reward": "#7f7f7f",
}
"""Okabe and Ito's, which the colour-blind tell apart; controls are grey."""
SPARE = ["#cc79a7", "#d55e00", "#56b4e9", "#b8a600"]
STYLE: Any = {
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.edgecolor": "#888888",
    "axes.titlesize": 11,
    "axes.labelcolor": "#333333",
    "font.size": 9,
    "xtick.color": "#555555",
    "ytick.color": "#555555",
    "legend.frameon": False,
    "figure.dpi": 100,
    "savefig.dpi": 160,
}
LOWEST, HIGHEST = -0.25, 2.5
"""What a panel shows of the scores; what lies outside is in the table."""


def score_plot(file: Path, curves: Curves) -> None:
    """One panel an env: IQM over labels with its interval."""
    figure, panels = _grid(len(curves))
    budgets = sorted({n for by_arm in curves.values() for arm, curve in by_arm.items() if _varies(arm) for n in curve})
    for panel, (env, by_arm) in zip(panels, curves.items(), strict=False):
        _panel(panel, by_arm, budgets)
        panel.set_title(env, loc="left", fontweight="bold")
    for panel in panels[len(curves) :]:
        panel.set_visible(False)
    figure.supylabel("score: 0 random actions, 1 PPO on the true reward", fontsize=9, color="#333333")
    figure.supxlabel("labels", fontsize=9, color="#333333")
    _legend(figure, panels[: len(curves)])
    _save(figure, file)


def improvement_plot(file: Path, improvements: Mapping[tuple[str, int], Estimate]) -> None:
    """P(rltrainer as it stands is better) over each other arm, a bar an interval."""
    arms = list(dict.fromkeys(arm for arm, _ in improvements))
    lines = [(arm, labels) for arm in arms for labels in sorted(n for a, n in improvements if a == arm)]
    figure, axes = _subplots(1, 1, (6.4, 1.2 + 0.26 * len(lines)))
    for place, line in enumerate(lines):
        found, colour = improvements[line], _colour(line[0], arms)
        axes.barh(place, found.high - found.low, left=found.low, height=0.62, color=colour, alpha=0.35)
        axes.plot([found.value] * 2, [place - 0.31, place + 0.31], color=colour, linewidth=2)
    axes.axvline(0.5, color="#555555", linewidth=0.8, linestyle=(0, (4, 3)))
    axes.set_yticks(range(len(lines)), [f"{arm}, {labels} labels" for arm, labels in lines])
    axes.set_xlim(0, 1)
    axes.invert_yaxis()
    axes.set_xlabel(f"P({DEFAULT} scores higher)")
    _save(figure, file)


def _panel(panel: Any, by_arm: Mapping[str, Mapping[int, Estimate]], budgets: list[int]) -> None:
    panel.axhline(1, color="#333333", linewidth=0.9)
    panel.axhline(0.9, color="#999999", linewidth=0.8, linestyle=(0, (4, 3)))
    panel.axhline(0, color="#cccccc", linewidth=0.8)
    arms = list(by_arm)
    for arm in [name for name in arms if name != TRUE]:
        colour = _colour(arm, arms)
        if _varies(arm):
            labels = sorted(by_arm[arm])
            found = [by_arm[arm][n] for n in labels]
            style = {"linewidth": 2.2, "zorder": 5} if arm == DEFAULT else {"linewidth": 1.3, "zorder": 3}
            control = arm == "random_labels"
            lows, highs = [f.low for f in found], [f.high for f in found]
            if len(labels) > 1:
                panel.fill_between(labels, lows, highs, color=colour, alpha=0.14, linewidth=0)
            else:
                panel.vlines(labels, lows, highs, color=colour, alpha=0.4, linewidth=style["linewidth"])
            panel.plot(
                labels,
                [f.value for f in found],
                color=colour,
                marker="o",
                markersize=4,
                label=arm,
                linestyle="--" if control else "-",
                **style,
            )
        else:
            (one,) = by_arm[arm].values()
            panel.axhline(one.value, color=colour, linestyle=":", linewidth=1.5, label=arm)
    panel.set_xscale("log")
    panel.set_xticks(budgets, [str(n) for n in budgets])
    panel.minorticks_off()
    panel.set_xlim(budgets[0] * 0.85, budgets[-1] * 1.18)
    shown = [one for arm in by_arm.values() for one in arm.values()]
    low, high = min((one.low for one in shown), default=0.0), max((one.high for one in shown), default=1.0)
    panel.set_ylim(max(LOWEST, min(-0.05, low - 0.05)), min(HIGHEST, max(1.1, high + 0.05)))


def _varies(arm: str) -> bool:
    return arm not in ARMS or ARMS[arm].budget is None


def _colour(arm: str, arms: list[str]) -> str:
    others = [name for name in arms if name not in COLOURS and name != TRUE]
    return COLOURS.get(arm) or SPARE[others.index(arm) % len(SPARE)]


def _grid(count: int) -> tuple[Any, list[Any]]:
    columns = min(count, 4 if count > 6 else 3)
    rows = math.ceil(count / columns)
    figure, axes = _subplots(rows, columns, (max(4.6, 3.1 * columns), 2.5 * rows + 0.7))
    return figure, [
        panel for line in (axes if count > 1 else [[axes]]) for panel in (line if hasattr(line, "__iter__") else [line])
    ]


def _subplots(rows: int, columns: int, size: tuple[float, float]) -> tuple[Any, Any]:
    """A figure of its own, on no screen, and its panels."""
    import matplotlib as mpl
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    with mpl.rc_context(STYLE):
        figure = Figure(figsize=size, layout="constrained")
        FigureCanvasAgg(figure)
        return figure, figure.subplots(rows, columns)


def _legend(figure: Any, panels: list[Any]) -> None:
    named = {name: line for panel in panels for line, name in zip(*panel.get_legend_handles_labels(), strict=True)}
    if named:
        figure.legend(named.values(), named.keys(), loc="outside upper center", ncols=min(6, len(named)), frameon=False)


def _save(figure: Any, file: Path) -> None:
    figure.savefig(file, dpi=STYLE["savefig.dpi"])
