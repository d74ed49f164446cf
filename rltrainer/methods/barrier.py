"""Where a run can be taken up again."""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np
from stable_baselines3.common.base_class import BaseAlgorithm
from stable_baselines3.common.callbacks import BaseCallback

from rltrainer.checkpoints import Checkpoint, Checkpoints
from rltrainer.loop import PreferenceLoop
from rltrainer.memory import Memory
from rltrainer.methods.callback import PreferenceCallback
from rltrainer.methods.remembering import begin_anew, recall, remembered
from rltrainer.seeds import nth, number

SHARE = 0.01
"""Of a run's time, which checkpoints may cost."""
LEAST_SECONDS = 0.04
EPISODES = 2
"""Each env gets through so many between two checkpoints: a reset ends those that are under way, and with more envs sooner."""
BYTES_PER_SECOND = 1e8
"""What it takes at most to make a checkpoint durable, on a disk that is nothing special."""


class Barrier(BaseCallback):
    """Between two rollouts now and then: a checkpoint, and then all that is random, the envs included, begins anew.

    The seeds are of the run and of the checkpoint's number, and every run begins anew there, whether it will be killed or not:
    one that is taken up from a checkpoint goes on as one that never ended. Where the barriers are, the env steps decide, and
    never the clock. Put it behind the `PreferenceCallback`, whose updates are over when a rollout begins.
    """

    def __init__(
        self,
        model: BaseAlgorithm,
        preferences: PreferenceCallback | None,
        checkpoints: Checkpoints,
        seeds: np.random.SeedSequence,
        apart: Callable[[int], int],
        say: Callable[[str], None],
    ) -> None:
        """
        apart: env steps from a checkpoint of so many bytes to the next: `interval`
        say: told where a checkpoint could not be written
        """
        super().__init__()
        self.model = model
        self._preferences, self._checkpoints, self._seeds, self._apart, self._say = preferences, checkpoints, seeds, apart, say
        self._number, self._next, self._reached = -1, 0, 0

    @property
    def _loop(self) -> PreferenceLoop | None:
        return None if self._preferences is None else self._preferences.loop

    def take_up(self, checkpoint: Checkpoint | None) -> None:
        """Before `learn`: go on from there. Without one the run begins, whatever a killed trainer left of it."""
        if self._loop is not None:
            self._loop.recall(None if checkpoint is None else checkpoint.memory.part("loop"))
        if checkpoint is not None:
            recall(self.model, checkpoint.memory.part("model"))
            self._begin(checkpoint.number, checkpoint.memory)

    def stop(self) -> None:
        """A checkpoint out of turn, for a run that ends before its time, between two env steps, and is to go on from here.

        The steps of the rollout that is under way count, and nothing is learned from them.
        """
        if self._settled and self._number >= 0 and self.model.num_timesteps > self._reached:
            self._write(Checkpoint(self._number + 1, self._memory()), "The run ends")

    @property
    def _settled(self) -> bool:
        return self._preferences is None or self._preferences.settled

    def _on_rollout_start(self) -> None:
        if self._settled and self.model.num_timesteps >= self._next:
            memory = self._memory()
            self._write(Checkpoint(self._number + 1, memory), "Training goes on")
            self._begin(self._number + 1, memory)

    def _on_step(self) -> bool:
        return True

    def _memory(self) -> Memory:
        parts = {"model": remembered(self.model)}
        if self._loop is not None:
            parts["loop"] = self._loop.remember()
        return Memory.of(parts)

    def _write(self, checkpoint: Checkpoint, then: str) -> None:
        """A full disk is no reason to stop: the checkpoints before stay, and the next one may find room."""
        try:
            self._checkpoints.write(checkpoint)
        except OSError as error:
            self._say(
                f"Checkpoint {checkpoint.number} at step {self.model.num_timesteps:,} could not be written ({error.strerror}). "
                f"{then}; the checkpoints before it stay"
            )

    def _begin(self, reached: int, memory: Memory) -> None:
        """What follows a checkpoint, in a run that wrote it and in one that read it."""
        self._number, self._reached = reached, self.model.num_timesteps
        self._next = self.model.num_timesteps + self._apart(memory.size)
        begin_anew(self.model, number(nth(self._seeds, reached)))


def interval(size: int, step_seconds: float, episodes_steps: int) -> int:
    """Env steps from a checkpoint of `size` bytes to the next, so that one costs at most `SHARE` of the time.

    step_seconds:   what an env step takes at least, learning from it included
    episodes_steps: env steps in which each env gets through an episode, however long; 0 where they are endless
    """
    affordable = math.ceil((LEAST_SECONDS + size / BYTES_PER_SECOND) / SHARE / step_seconds)
    return max(affordable, EPISODES * episodes_steps)
