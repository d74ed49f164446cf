"""Transformers of one layer, M of them at once: rows of consecutive steps in, a reward for each step out."""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F
from torch import Tensor

from rltrainer.rewards.nets import FIRST_OUTPUT

WIDTH, HEADS = 32, 2
AGES = 16
"""How far back a step lies is told apart in so many classes: 0, 1 and 2 steps one by one, from there on ever more together."""


def ages(newest: int, steps: int) -> Tensor:
    """Class of how long before each of the newest steps all T lie, [newest, T]; what lies after one has class 0."""
    back = torch.arange(steps - newest, steps)[:, None] - torch.arange(steps)
    return (2 * torch.log2(1 + back.clamp(min=0).float())).floor().clamp(max=AGES - 1).long()


HIDDEN = -1e9
"""What is added to the attention for a step that cannot be seen."""


class Transformers(torch.nn.Module):
    """M transformers of one layer, each beside a linear function of the step, as one batched tensor per layer.

    What a step pays depends on the steps before it, which it attends to by what they were and by how long ago (causal
    attention). Where a stretch of steps begins makes no difference but by what cannot be seen any more.
    """

    def __init__(self, members: int, width: int, generator: torch.Generator) -> None:
        """width: D"""
        super().__init__()

        def drawn(fan_in: int, fan_out: int, share: float = 1.0) -> torch.nn.Parameter:
            bound = share / math.sqrt(fan_in)
            return torch.nn.Parameter(torch.empty(members, fan_in, fan_out).uniform_(-bound, bound, generator=generator))

        self.embedding = drawn(width, WIDTH)
        self.queries, self.keys, self.values = drawn(WIDTH, WIDTH), drawn(WIDTH, WIDTH), drawn(WIDTH, WIDTH)
        self.ages = torch.nn.Parameter(torch.zeros(members, HEADS, AGES))
        self.mixed = drawn(WIDTH, WIDTH)
        self.up, self.down = drawn(WIDTH, 2 * WIDTH), drawn(2 * WIDTH, WIDTH)
        self.shift = torch.nn.Parameter(torch.zeros(members, 1, 2 * WIDTH))
        self.head = drawn(WIDTH, 1, FIRST_OUTPUT)
        self.offset = torch.nn.Parameter(torch.zeros(members, 1, 1))
        self.linear = torch.nn.Parameter(torch.zeros(members, width, 1))

    def __len__(self) -> int:
        """M."""
        return len(self.embedding)

    def forward(self, rows: Tensor, newest: int, blank: Tensor | None = None, context: int | None = None) -> Tensor:
        """Rewards [M, B, n] of the newest n of the steps [M, B, T, D].

        blank: how many of the first steps never happened, [B]; context: how many steps a step sees, itself among them
        """
        members, count, steps, _ = rows.shape
        inputs = rows.flatten(1, 2)  # [M, B · T, D]
        embedded = inputs @ self.embedding
        seen = _normed(embedded)
        last = _newest(embedded, count, newest)  # [M, B · n, W]
        queries, keys = _heads(_normed(last) @ self.queries, count), _heads(seen @ self.keys, count)
        attention = queries / math.sqrt(WIDTH / HEADS) @ keys.transpose(-1, -2) + self._bias(newest, steps, blank, context)
        brought = attention.softmax(dim=-1) @ _heads(seen @ self.values, count)  # [M, B, heads, n, W / heads]
        inner = last + brought.transpose(2, 3).reshape(members, count * newest, WIDTH) @ self.mixed
        inner = inner + F.gelu(torch.baddbmm(self.shift, _normed(inner), self.up)) @ self.down
        rewards = torch.baddbmm(self.offset, _normed(inner), self.head) + _newest(inputs, count, newest) @ self.linear
        return rewards.reshape(members, count, newest)

    def _bias(self, newest: int, steps: int, blank: Tensor | None, context: int | None) -> Tensor:
        """What is added to the attention that each of the newest steps pays to each step, [M, B or 1, heads, n, T]."""
        bias = self.ages[:, :, ages(newest, steps)]  # [M, heads, n, T]
        back = torch.arange(steps - newest, steps)[:, None] - torch.arange(steps)
        hidden = (back < 0) | (back >= (context or steps))
        if blank is None:
            return bias.masked_fill(hidden, HIDDEN)[:, None]
        hidden = hidden | (torch.arange(steps) < blank[:, None, None])  # [B, n, T]
        hidden &= back != 0  # a step that never happened sees itself, for a sum of nothing is no number
        return bias[:, None].masked_fill(hidden[:, None], HIDDEN)

    def returns(self, rows: Tensor, mask: Tensor) -> Tensor:
        """Sums [M, B, 2] of the rewards of rows [M, B, 2, T, D], each times its mask [M, B, 2, T]."""
        rewards = self(rows.flatten(1, 2), rows.shape[3])
        summed: Tensor = (rewards.reshape(mask.shape) * mask).sum(dim=-1)
        return summed


def _normed(values: Tensor) -> Tensor:
    return F.layer_norm(values, values.shape[-1:])


def _newest(values: Tensor, count: int, newest: int) -> Tensor:
    """Of values [M, B · T, X] those of the newest n steps, [M, B · n, X]."""
    members, _, width = values.shape
    return values.reshape(members, count, -1, width)[:, :, -newest:].flatten(1, 2)


def _heads(values: Tensor, count: int) -> Tensor:
    """Values [M, B · T, W] as the heads see them, [M, B, heads, T, W / heads]."""
    return values.reshape(len(values), count, -1, HEADS, WIDTH // HEADS).transpose(2, 3)
