"""Reward nets: M of them at once, as one batched tensor per layer."""

from __future__ import annotations

import math
from collections.abc import Sequence
from itertools import pairwise

import torch
import torch.nn.functional as F
from torch import Tensor

SLOPE = 0.01
FIRST_OUTPUT = 0.1
"""Share of the usual size that the last layer begins with: a step pays as any other until labels say otherwise. What a net
happens to begin with stays where no label contradicts it, and an agent that lives on it gives up what lies farther ahead."""


class Nets(torch.nn.Module):
    """M multi-layer perceptrons as one batched tensor per layer."""

    def __init__(self, members: int, sizes: Sequence[int], generator: torch.Generator) -> None:
        super().__init__()
        self.weights = torch.nn.ParameterList()
        self.biases = torch.nn.ParameterList()
        for fan_in, fan_out in pairwise(sizes):
            bound = (FIRST_OUTPUT if fan_out == 1 else 1) / math.sqrt(fan_in)
            weight = torch.empty(members, fan_in, fan_out).uniform_(-bound, bound, generator=generator)
            self.weights.append(torch.nn.Parameter(weight))
            self.biases.append(torch.nn.Parameter(torch.zeros(members, 1, fan_out)))

    def forward(self, rows: Tensor) -> Tensor:
        """Rewards [M, N] of rows [M, N, D]."""
        return torch.baddbmm(self.biases[-1], self._hidden(rows), self.weights[-1]).squeeze(-1)

    def returns(self, rows: Tensor, mask: Tensor) -> Tensor:
        """Sums [M, B, 2] of the rewards of rows [M, B, 2, T, D], each times its mask [M, B, 2, T].

        The last layer is linear, so it is given the sum over the steps: T times fewer rows.
        """
        hidden = self._hidden(rows.flatten(1, 3)).reshape(*mask.shape, -1)  # [M, B, 2, T, H]
        summed = (mask.unsqueeze(-2) @ hidden).squeeze(-2).flatten(1, 2)  # [M, B · 2, H]
        bias = self.biases[-1] * mask.sum(dim=-1).flatten(1).unsqueeze(-1)
        return torch.baddbmm(bias, summed, self.weights[-1]).reshape(mask.shape[:-1])

    def _hidden(self, rows: Tensor) -> Tensor:
        """What the last layer is given, [M, N, H], of rows [M, N, D]."""
        for weight, bias in zip(self.weights[:-1], self.biases[:-1], strict=True):
            rows = F.leaky_relu_(torch.baddbmm(bias, rows, weight), SLOPE)
        return rows
