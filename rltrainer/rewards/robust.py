"""Labels that look wrong are left out or turned round while the reward learns (RIME: Cheng et al. 2024)."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import replace

import numpy as np
import torch

from rltrainer.core import Array
from rltrainer.rewards.ensemble import Batch, EnsembleLearner, held_out_mean

TURNED = 3 * math.log(10)
"""Loss beyond which a label is turned round: the reward gives it one chance in a thousand."""
ALPHA = 0.5
BETAS = 3.0, 1.0
"""How many standard deviations of the losses are let through, at the first refit and from refit `LENIENT` on."""
LENIENT = 30
MOST_SLACK = 3.0


class RobustLearner(EnsembleLearner):
    """An ensemble that trusts a label as far as the members that did not learn from it do.

    Reports are on the labels as they were given.
    """

    _largest = math.log(2)
    """ρ, the largest loss that was trusted at the last refit; log 2 is that of knowing nothing."""

    def _learned_from(self, batch: Batch) -> Batch:
        """The batch without the labels that are not trusted, and with those turned round that are surely wrong."""
        target = batch.answers.target.numpy()
        logits = held_out_mean(np.asarray(self._logits(batch)), batch.bags)
        judged = np.isfinite(logits) & (target != 0.5)
        if self.version == 0 or not judged.any():
            return batch
        losses = np.full(len(batch), np.nan)  # −log P(that answer), by Bradley–Terry alone
        losses[judged] = np.logaddexp(0, np.where(target > 0.5, -logits, logits)[judged])
        left_out, turned = sorted_out(losses, self._largest, self.version)
        trusted = judged & ~left_out & ~turned
        if trusted.any():
            self._largest = float(losses[trusted].max())
        bags = batch.bags * ~left_out
        bags = np.where(bags.any(axis=1, keepdims=True), bags, batch.bags)
        right = torch.from_numpy(np.where(turned, 1 - target, target))
        return replace(batch, answers=replace(batch.answers, target=right), bags=bags)

    def state(self) -> dict[str, Array]:
        """The ensemble's, and how large a loss was trusted."""
        return super().state() | {"robust.largest": np.array([self._largest])}

    def restore(self, state: Mapping[str, Array]) -> None:
        """The inverse of `state`."""
        super().restore(state)
        self._largest = float(state["robust.largest"][0])


def sorted_out(losses: Array, largest: float, refits: int) -> tuple[Array, Array]:
    """(left out, turned round), each [N], of labels with these losses [N]; NaN, about which nothing is known, is trusted.

    largest: ρ, the largest loss that was trusted at the last refit; refits: how many there were
    """
    first, last = BETAS
    beta = max(last, first - (first - last) * refits / LENIENT)
    bound = -math.log(largest) + ALPHA * largest + min(beta * float(np.nanstd(losses)), MOST_SLACK)
    turned = losses > TURNED
    return (losses >= bound) & ~turned, turned
