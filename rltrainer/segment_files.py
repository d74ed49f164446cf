"""A segment as a file named by its hash: safetensors, written once and never changed."""

from __future__ import annotations

import json
from functools import lru_cache
from pathlib import Path

import numpy as np
from safetensors import SafetensorError, safe_open
from safetensors.numpy import save

from rltrainer.core import Segment, UserError
from rltrainer.disk import write_beside

ARRAYS = ("observations", "actions", "env_rewards", "lead_in")


def write_segment(path: Path, segment: Segment) -> None:
    """A file of this name is whole; the folder is still to be synced."""
    if path.exists():
        return
    arrays = {name: np.ascontiguousarray(getattr(segment, name)) for name in ARRAYS}
    if segment.frames:
        arrays["frames"] = np.frombuffer(b"".join(segment.frames), dtype=np.uint8)
        arrays["frame_ends"] = np.cumsum([len(frame) for frame in segment.frames])
    about = {
        "episode_seed": segment.episode_seed,
        "terminated": segment.terminated,
        "truncated": segment.truncated,
        "after": segment.after,
        "policy_step": segment.policy_step,
    }
    write_beside(path, save(arrays, metadata={"segment": json.dumps(about)}))


def read_segment(path: Path) -> Segment:
    """The segment in a file. Raises UserError where it is damaged, or not the one that its name says."""
    try:
        with safe_open(path, framework="numpy") as file:
            about = json.loads(file.metadata()["segment"])
            arrays = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 - safe_open has no __iter__
        pictures, ends = arrays.pop("frames", None), arrays.pop("frame_ends", None)
        parts = [] if ends is None or pictures is None else np.split(pictures, ends[:-1])
        segment = Segment(**arrays, **about, frames=tuple(part.tobytes() for part in parts))
    except (OSError, SafetensorError, TypeError, KeyError, ValueError) as error:
        raise UserError(f"segment file {str(path)!r} cannot be read ({error}); restore it from a backup of the run") from None
    if segment.id != path.stem:
        raise UserError(f"segment file {str(path)!r} does not hold what its name says; restore it from a backup of the run")
    return segment


remembered_segment = lru_cache(maxsize=64)(read_segment)
"""`read_segment`, for those that are read again and again."""
