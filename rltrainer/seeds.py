"""One seed per run, one child for each component."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np


class Seeds(NamedTuple):
    """Independent seed sequences of one run (numpy.random.SeedSequence.spawn)."""

    queries: np.random.SeedSequence
    teacher: np.random.SeedSequence
    exploration: np.random.SeedSequence
    learner: np.random.SeedSequence
    envs: np.random.SeedSequence
    policy: np.random.SeedSequence
    diagnosis: np.random.SeedSequence

    @classmethod
    def of(cls, seed: int) -> Seeds:
        """The children of a run's seed."""
        return cls(*np.random.SeedSequence(seed).spawn(len(cls._fields)))


def number(sequence: np.random.SeedSequence) -> int:
    """A seed for libraries that take a plain number below 2³¹."""
    return int(sequence.generate_state(1)[0] >> 1)
