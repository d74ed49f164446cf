"""A copy of a run to go on with, taken while trainer and label service write."""

from __future__ import annotations

import contextlib
import os
import shutil
import time
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import count
from pathlib import Path

from rltrainer.checkpoints import Checkpoints
from rltrainer.core import UserError
from rltrainer.disk import sync_folder, write_beside
from rltrainer.segment_files import read_segment
from rltrainer.store import BACKUPS, FILE, Store, way_out

LEARNED = ("config.yaml", "labels.jsonl", "*.safetensors")


@dataclass(frozen=True)
class Backup:
    """What was copied.

    folder:  where to: a run folder of its own
    labels, segments: how many
    damaged: ids of segments whose files are damaged or gone, and were left out
    """

    folder: Path
    labels: int
    segments: int
    damaged: tuple[str, ...]


def back_up(run: Path, to: Path | None = None) -> Backup:
    """Copy a run's store, the segments that it names, what was learned and the newest checkpoint; logs stay behind.

    to: a new folder; without one, RUN/backups/TIME, which messages about a damaged store name

    Raises UserError where there is no sound store, or `to` cannot be made.
    """
    place = to or next(_names(run / BACKUPS))
    if place.exists():
        raise UserError(f"folder is {str(place)!r}, which exists already; pass another FOLDER")
    store = Store.open(run)
    beside = place.with_name(f".{place.name}.{os.getpid()}.tmp")
    try:
        (beside / "segments").mkdir(parents=True)
        done = _fill(beside, store, place)
        sync_folder(beside / "segments")
        sync_folder(beside)
        beside.rename(place)
        sync_folder(place.parent)
    except OSError as error:
        raise UserError(f"folder is {str(place)!r}, which cannot be written: {error.strerror}; pass another FOLDER") from None
    finally:
        store.close()
        shutil.rmtree(beside, ignore_errors=True)
    return done


def _names(folder: Path) -> Iterator[Path]:
    """Free names for now, in alphabetical order those of later times after those of earlier ones."""
    now = time.strftime("%Y%m%d-%H%M%S")
    return (place for n in count() if not (place := folder / (f"{now}-{n}" if n else now)).exists())


def _fill(folder: Path, store: Store, place: Path) -> Backup:
    """The checkpoint before the store, whose labels it counts, and that before the segments, which its rows name.

    Raises UserError where the copy is not sound.
    """
    _copy_checkpoint(store.folder, folder)
    store.copy(folder / FILE)
    copy = Store(folder)
    try:
        damage = copy.damage(thorough=True)
        if damage is not None:
            raise UserError(f"{str(store.folder / FILE)!r} is damaged ({damage}); {way_out(store.folder)}")
        names, labels = copy.segments(), len(copy.labels())
    finally:
        copy.close()
    _sync(folder / FILE)
    damaged = tuple(name for name in names if not _copy_segment(name, store.folder / "segments", folder / "segments"))
    for pattern in LEARNED:
        for file in store.folder.glob(pattern):
            write_beside(folder / file.name, file.read_bytes())
    return Backup(place, labels, len(names) - len(damaged), damaged)


def _copy_checkpoint(here: Path, there: Path) -> None:
    """The newest one that is whole, if there is any."""
    with contextlib.suppress(UserError):
        checkpoint = Checkpoints(here).newest(lambda damaged: None)
        if checkpoint is not None:
            Checkpoints(there).write(checkpoint)


def _copy_segment(name: str, here: Path, there: Path) -> bool:
    """Copy one segment's file and read the copy. Gives whether it is what its name says."""
    file = there / f"{name}.safetensors"
    try:
        write_beside(file, (here / file.name).read_bytes())
        read_segment(file)
    except FileNotFoundError:
        return False
    except UserError:
        file.unlink()
        return False
    return True


def _sync(file: Path) -> None:
    with file.open("rb") as handle:
        os.fsync(handle.fileno())
