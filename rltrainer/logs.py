"""The curves that TensorBoard shows, written as long as there is room for them."""

from __future__ import annotations

import contextlib
import shutil
from pathlib import Path
from typing import Any

from stable_baselines3.common.logger import TensorBoardOutputFormat

ROOM = 1_000_000
"""Bytes left on a disk below which nothing is logged: TensorBoard writes in a thread of its own, which a full disk ends."""


class Curves(TensorBoardOutputFormat):
    """Stable-Baselines3's, but a full disk costs points of curves, and never the training."""

    def __init__(self, folder: Path) -> None:
        super().__init__(str(folder))
        self._folder = folder

    def write(self, *points: Any, **more: Any) -> None:
        with contextlib.suppress(OSError):
            if shutil.disk_usage(self._folder).free >= ROOM:
                super().write(*points, **more)

    def close(self) -> None:
        with contextlib.suppress(OSError):
            super().close()
