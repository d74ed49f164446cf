"""A run in figures: `gather` reads them from its store, `write` puts them in one HTML file that needs nothing else."""

from __future__ import annotations

from rltrainer.report.figures import Figures, gather
from rltrainer.report.page import write

__all__ = ["Figures", "gather", "write"]
