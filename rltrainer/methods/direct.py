"""Stable-Baselines3's side of the loop for methods that learn from the labels themselves."""

from __future__ import annotations

from typing import cast

from rltrainer.methods.callback import PreferenceCallback
from rltrainer.methods.cpl import CPL


class DirectCallback(PreferenceCallback):
    """The same for CPL, which learns from every answer that the store holds at the end of a rollout."""

    def _on_training_start(self) -> None:
        cast(CPL, self.model).comparisons = lambda: self.loop.comparisons
        super()._on_training_start()

    def _on_rollout_end(self) -> None:
        super()._on_rollout_end()
        assert self._beside is not None
        self._beside.wait()  # optimising the policy takes what was answered

    def _record(self) -> None:
        """No reward is learned: the model logs what it does."""
