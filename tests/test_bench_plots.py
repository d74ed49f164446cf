"""What the plots of the benchmarks show."""

from __future__ import annotations

from pathlib import Path

from benchmarks.plots import score_plot
from benchmarks.scores import Estimate


def drawn(file: Path, low: float, high: float, *budgets: int) -> bytes:
    """The picture of scores that are the same but for their interval."""
    score_plot(file, {"Pendulum-v1": {"uniform": {labels: Estimate(0.5, low, high, 3) for labels in budgets}}})
    return file.read_bytes()


def test_a_plot_shows_the_interval_of_one_label_budget_as_of_several(tmp_path: Path) -> None:
    for budgets in ((100,), (50, 100)):
        narrow = drawn(tmp_path / "scores.png", 0.4, 0.6, *budgets)
        assert drawn(tmp_path / "scores.png", 0.4, 0.6, *budgets) == narrow  # the same scores, the same picture
        assert drawn(tmp_path / "scores.png", 0.2, 0.8, *budgets) != narrow
