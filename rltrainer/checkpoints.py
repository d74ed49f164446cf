"""Checkpoints of a run: written beside, synced and renamed, the last three kept, and read only where they are whole."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from safetensors import SafetensorError, safe_open
from safetensors.numpy import save

from rltrainer.core import UserError
from rltrainer.disk import write_whole
from rltrainer.memory import Memory

FOLDER = "checkpoints"
VERSION = 2
KEPT = 3


class Damaged(Exception):
    """A checkpoint is not what was written: why, in words."""


@dataclass(frozen=True)
class Checkpoint:
    """All that a run remembers at its barrier of that number."""

    number: int
    memory: Memory


class Checkpoints:
    """`checkpoints/NUMBER.safetensors`, and beside each `NUMBER.json`, which has its hash and makes it count."""

    def __init__(self, run: Path) -> None:
        self.folder = run / FOLDER

    def write(self, checkpoint: Checkpoint) -> None:
        """Make it durable, and drop those that are too old. Raises OSError where there is no room; the others stay then."""
        self.folder.mkdir(exist_ok=True)
        arrays = {name: np.asarray(array, order="C") for name, array in checkpoint.memory.arrays.items()}
        content = save(arrays, {"facts": json.dumps(checkpoint.memory.facts)})
        manifest = {
            "version": VERSION,
            "number": checkpoint.number,
            "bytes": len(content),
            "sha256": hashlib.sha256(content).hexdigest(),
            "facts": checkpoint.memory.facts,
        }
        write_whole(self._arrays(checkpoint.number), content)
        write_whole(self._manifest(checkpoint.number), json.dumps(manifest, indent=1).encode())
        self.prune(KEPT, checkpoint.number)

    def numbers(self) -> list[int]:
        """Of those that are there, damaged or not, oldest first."""
        return sorted(int(file.stem) for file in self.folder.glob("*.json") if file.stem.isdecimal())

    def read(self, number: int) -> Checkpoint:
        """One of them. Raises Damaged where it is not what was written, or of another version."""
        try:
            manifest = json.loads(self._manifest(number).read_bytes())
            version, sha256 = manifest["version"], manifest["sha256"]
        except (OSError, ValueError, TypeError, KeyError) as error:
            raise Damaged(f"its manifest cannot be read ({error})") from None
        if version != VERSION:
            raise Damaged(f"it is of version {version}, and this rltrainer reads version {VERSION}")
        try:
            found = _sha256(self._arrays(number))
        except OSError as error:
            raise Damaged(f"its arrays cannot be read ({error.strerror})") from None
        if found != sha256:
            raise Damaged("its arrays are not those that its manifest names")
        try:
            return Checkpoint(number, _memory(self._arrays(number)))
        except (OSError, SafetensorError, ValueError, TypeError, KeyError) as error:
            raise Damaged(f"its arrays cannot be read ({error})") from None

    def newest(self, say: Callable[[str], None]) -> Checkpoint | None:
        """The newest that is whole; None where none was ever written.

        say: told of each newer one that is damaged
        Raises UserError where all of them are.
        """
        numbers = self.numbers()
        for number in reversed(numbers):
            try:
                return self.read(number)
            except Damaged as damage:
                say(f"Checkpoint {number} is damaged: {damage}. Trying the one before it")
        if numbers:
            raise UserError(
                f"every checkpoint in {str(self.folder)!r} is damaged; restore them from a backup of the run, or learn from "
                f"its labels in a new one: rltrainer train --labels-from {self.folder.parent}"
            )
        return None

    def prune(self, kept: int, newest: int) -> None:
        """Drop all but the last `kept` up to the newest, and what a killed trainer left half-written."""
        for number in [number for number in self.numbers() if number <= newest][:-kept]:
            self._manifest(number).unlink(missing_ok=True)
        named = {str(number) for number in self.numbers()}
        for file in self._files():
            if file.stem not in named:
                file.unlink(missing_ok=True)

    def _files(self) -> Iterator[Path]:
        """Arrays, and files that were not whole when their writer ended."""
        yield from self.folder.glob("*.safetensors")
        yield from self.folder.glob(".*.tmp")

    def _arrays(self, number: int) -> Path:
        return self.folder / f"{number}.safetensors"

    def _manifest(self, number: int) -> Path:
        return self.folder / f"{number}.json"


def _sha256(file: Path) -> str:
    with file.open("rb") as opened:
        return hashlib.file_digest(opened, "sha256").hexdigest()


def _memory(file: Path) -> Memory:
    with safe_open(file, framework="numpy") as opened:
        facts: Any = json.loads(opened.metadata()["facts"])
        return Memory({name: opened.get_tensor(name) for name in opened.keys()}, facts)  # noqa: SIM118 - it has no __iter__
