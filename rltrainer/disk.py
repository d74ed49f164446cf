"""Files that are whole whatever happens, and which file systems keep what they are told."""

from __future__ import annotations

import os
import re
import sys
from collections.abc import Iterator
from pathlib import Path

from rltrainer.core import UserError

MOUNTS = Path("/proc/mounts")
REMOTE = {"nfs", "nfs4", "cifs", "smb3", "smbfs", "afs", "fuse.sshfs", "fuse.rclone", "fuse.s3fs"}
"""Of other machines. 9p is not among them: sandboxes and virtual machines have their own disks by it."""


def write_whole(path: Path, content: bytes) -> None:
    """Write beside, fsync, rename, fsync the folder: a file of that name is whole, the old one or the new one."""
    write_beside(path, content)
    sync_folder(path.parent)


def write_beside(path: Path, content: bytes) -> None:
    """The same, but for the folder's fsync: for many files, with one `sync_folder` after them."""
    beside = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        with beside.open("wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        beside.replace(path)
    except OSError:  # on a full disk what was written of it is in the way
        beside.unlink(missing_ok=True)
        raise


def sync_folder(folder: Path) -> None:
    """Make the names in it durable. Windows opens no folder, and keeps names by itself."""
    if sys.platform == "win32":
        return
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def check_local(folder: Path) -> None:
    """Raises UserError where a folder, there already or not, lies on a network file system. Known on Linux only."""
    kind = file_system(folder)
    if kind in REMOTE:
        raise UserError(
            f"run is {str(folder)!r}, which is on a network file system ({kind}), where locks fail and an SQLite file may be "
            "ruined; keep the run on a disk of this machine (copies by `rltrainer backup RUN FOLDER` may lie here)"
        )


def file_system(path: Path, mounts: Path = MOUNTS) -> str | None:
    """The kind of file system that a path lies on, or None where the system doesn't say."""
    try:
        table = mounts.read_text(errors="surrogateescape")
    except OSError:
        return None
    place, deepest, kind = path.resolve(), -1, None
    for mounted, name in _mounted(table):
        if place.is_relative_to(mounted) and len(mounted.parts) >= deepest:  # a later mount hides an earlier one
            deepest, kind = len(mounted.parts), name
    return kind


def _mounted(table: str) -> Iterator[tuple[Path, str]]:
    """(where, what kind) of each line; blanks in a path stand there as octal numbers."""
    for line in table.splitlines():
        _, where, kind, *_ = line.split(" ")
        yield Path(re.sub(r"\\([0-7]{3})", lambda found: chr(int(found[1], 8)), where)), kind
