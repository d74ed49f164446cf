"""Stable-Baselines3's side of the loop for a method that learns from the labels themselves."""

from __future__ import annotations

from typing import cast

from rltrainer.methods.callback import PreferenceCallback
from rltrainer.methods.cpl import CPL


class DirectCallback(PreferenceCallback):
    """The same for CPL, for a `PreferenceLoop(..., learn_reward=False)`.

    At the end of a rollout the loop asks and takes what was answered, and the policy learns from all of it. Nobody is waited
    for.
    """

    def _on_training_start(self) -> None:
        cast(CPL, self.model).comparisons = lambda: self.loop.comparisons
        super()._on_training_start()

    def _on_rollout_end(self) -> None:
        self.loop.steps = self._steps
        self.loop.update()
