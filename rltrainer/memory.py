"""What a part of a run remembers, in a form that can lie on a disk."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Self

from rltrainer.core import Array


@dataclass(frozen=True)
class Memory:
    """Named arrays, and facts that JSON can say."""

    arrays: Mapping[str, Array] = field(default_factory=dict)
    facts: Mapping[str, Any] = field(default_factory=dict)

    @classmethod
    def of(cls, parts: Mapping[str, Memory]) -> Self:
        """One of several, each under its name."""
        arrays = {f"{part}.{name}": array for part, memory in parts.items() for name, array in memory.arrays.items()}
        return cls(arrays, {part: memory.facts for part, memory in parts.items()})

    def part(self, name: str) -> Memory:
        """One of those that this was made of."""
        return Memory(within(self.arrays, name), self.facts[name])

    @property
    def size(self) -> int:
        """Bytes of the arrays."""
        return sum(array.nbytes for array in self.arrays.values())


def within(arrays: Mapping[str, Array], name: str) -> dict[str, Array]:
    """The arrays whose names begin with `name` and a dot, by what follows."""
    start = f"{name}."
    return {full.removeprefix(start): array for full, array in arrays.items() if full.startswith(start)}
