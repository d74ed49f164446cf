"""What all tests share: one thread for torch, and off-screen rendering, in this process and its children."""

from __future__ import annotations

import os

os.environ.setdefault("OMP_NUM_THREADS", "1")  # read when torch is imported

from rltrainer.labeling.gl import use_gl

use_gl()
