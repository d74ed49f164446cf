"""A reward that looks back: an ensemble of transformers over the steps so far (Kim et al. 2023, "Preference Transformer")."""

from __future__ import annotations

import copy
from collections.abc import Mapping, Sequence
from typing import Any

import gymnasium as gym
import numpy as np
import torch
from torch import Tensor
from torch.nn.utils.rnn import pad_sequence

from rltrainer.config import Reward
from rltrainer.core import Array, History, UserError
from rltrainer.rewards.attention import Transformers
from rltrainer.rewards.ensemble import Batch, EnsembleLearner
from rltrainer.rewards.likelihood import preference_loss
from rltrainer.rewards.nets import rows_at_once
from rltrainer.rewards.pictures import Shape
from rltrainer.rewards.vectors import Vectors


class Steps(Vectors):
    """Rows for transformers."""

    def nets(self, settings: Reward, generator: torch.Generator) -> Transformers:  # type: ignore[override]  # as alike as it takes
        """Of these rows, with random weights."""
        return Transformers(settings.members, self.width, generator)


class TransformerLearner(EnsembleLearner):
    """An ensemble of transformers. What a segment is worth is the sum of what its steps pay, each by those before it.

    The paper weighs the steps of a segment by a second attention, which sees those after them too. An agent is paid as soon as
    a step is done: here there is no such weight, and what is learned from labels is what is paid.
    """

    _sight: Steps
    _nets: Transformers  # type: ignore[assignment]  # as above
    _context = 1

    def _seeing(self, observed: int | Shape, action_space: gym.Space[Any]) -> Steps:
        if not isinstance(observed, int):
            raise UserError("reward.learner is 'transformer', which cannot see pictures; leave it unset, or say ensemble")
        return Steps(observed, action_space)

    def _learned_from(self, batch: Batch) -> Batch:
        """All of it: a step will see as many as the longest judged stretch has."""
        self._context = max(self._context, batch.mask.shape[-1])
        return batch

    def _backward(self, batch: Batch, indices: Array) -> None:
        """As the ensemble, of every step: which are left out would be missed by those after them."""
        for picked in torch.split(torch.from_numpy(indices), batch.at_once(batch.mask.shape[-1]), dim=1):
            returns = self._nets.returns(batch.rows[picked], batch.mask[picked])  # [M, b, 2]
            loss = preference_loss(returns[..., 0] - returns[..., 1], batch.answers[picked])
            (loss.sum() / indices.shape[1]).backward()

    @torch.no_grad()
    def _paid(self, rows: Sequence[Array]) -> Array:
        at_once = max(1, rows_at_once(self._sight.width) // max(map(len, rows)))
        parts = [rows[begin : begin + at_once] for begin in range(0, len(rows), at_once)]
        return np.asarray(torch.cat([self._paid_at_once(part) for part in parts], dim=1).double())

    def _paid_at_once(self, rows: Sequence[Array]) -> Tensor:
        """The shorter stretches are padded behind their steps, where none of these sees it."""
        padded = pad_sequence([torch.from_numpy(self._sight.scale(part)) for part in rows], batch_first=True)  # [N, T, D]
        paid = self._nets(padded.expand(len(self._nets), -1, -1, -1), padded.shape[1])  # [M, N, T]
        return torch.cat([paid[:, n, : len(part)] for n, part in enumerate(rows)], dim=1)

    def snapshot(self) -> TransformerReward:
        """The reward as it is now, for the wrapper."""
        zero, scale = self._output
        sight, nets = copy.copy(self._sight), copy.deepcopy(self._nets)
        return TransformerReward(self.version, self._context, sight, nets, zero, 1 / (scale * self._overall))

    def state(self) -> dict[str, Array]:
        """The ensemble's, and how far a step sees."""
        return super().state() | {"context": np.array([self._context])}

    def restore(self, state: Mapping[str, Array]) -> None:
        """The inverse of `state`."""
        super().restore(state)
        self._context = int(state["context"][0])


class TransformerReward:
    """The mean of M transformers, each of root mean square 1 on the reference batch of its refit. It looks back."""

    def __init__(self, version: int, context: int, sight: Steps, nets: Transformers, zero: Array, gain: Array) -> None:
        self.version, self.context = version, context
        self._sight, self._nets = sight, nets.requires_grad_(requires_grad=False)
        self._zero, self._gain = zero[:, None, None], gain[:, None, None]

    def __call__(self, observations: Array, actions: Array, next_observations: Array) -> Array:
        rows = self._sight.step_rows(observations, actions, next_observations)
        return self._paid(rows[:, None], 1)[:, 0]

    def after(self, history: History, newest: int = 1) -> Array:
        """Rewards [N, newest] of the newest steps of each env."""
        count, steps = history.actions.shape[:2]
        before, after = history.observations[:, :-1], history.observations[:, 1:]
        flat = (part.reshape(count * steps, *part.shape[2:]) for part in (before, history.actions, after))
        rows = self._sight.step_rows(*flat).reshape(count, steps, -1)
        return self._paid(rows, newest, torch.from_numpy(history.blank) if history.blank.any() else None)

    def _paid(self, rows: Array, newest: int, blank: Tensor | None = None) -> Array:
        """Of raw rows [N, L, D]: [N, newest]."""
        scaled = torch.from_numpy(self._sight.scale(rows)).expand(len(self._nets), -1, -1, -1)
        rewards = np.asarray(self._nets(scaled, newest, blank, self.context).double())  # [M, N, newest]
        return np.asarray(((rewards - self._zero) * self._gain).mean(axis=0))
