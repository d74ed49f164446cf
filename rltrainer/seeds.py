"""One seed per run, one child for each component; where a generator stands, as an array."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from rltrainer.core import Array

WORD = 2**64


class Seeds(NamedTuple):
    """Independent seed sequences of one run (numpy.random.SeedSequence.spawn)."""

    queries: np.random.SeedSequence
    teacher: np.random.SeedSequence
    exploration: np.random.SeedSequence
    learner: np.random.SeedSequence
    envs: np.random.SeedSequence
    policy: np.random.SeedSequence
    diagnosis: np.random.SeedSequence
    barriers: np.random.SeedSequence

    @classmethod
    def of(cls, seed: int) -> Seeds:
        """The children of a run's seed."""
        return cls(*np.random.SeedSequence(seed).spawn(len(cls._fields)))


def number(sequence: np.random.SeedSequence) -> int:
    """A seed for libraries that take a plain number below 2³¹."""
    return int(sequence.generate_state(1)[0] >> 1)


def nth(sequence: np.random.SeedSequence, place: int) -> np.random.SeedSequence:
    """The child of that place, whichever were made before."""
    return np.random.SeedSequence(sequence.entropy, spawn_key=(*sequence.spawn_key, place))


def generator_state(rng: np.random.Generator) -> Array:
    """Where a PCG64 stands: its two 128-bit numbers, high word first, and the half word it has left, uint64 [6]."""
    found = rng.bit_generator.state
    numbers = found["state"]["state"], found["state"]["inc"]
    words = [word for number in numbers for word in divmod(number, WORD)]
    return np.array([*words, found["has_uint32"], found["uinteger"]], np.uint64)


def restore_generator(rng: np.random.Generator, state: Array) -> None:
    """The inverse of `generator_state`."""
    high, low, inc_high, inc_low, has_half, half = (int(word) for word in state)
    rng.bit_generator.state = {
        "bit_generator": "PCG64",
        "state": {"state": high * WORD + low, "inc": inc_high * WORD + inc_low},
        "has_uint32": has_half,
        "uinteger": half,
    }
