"""Reward nets: M of them at once."""

from __future__ import annotations

import math
from collections.abc import Sequence
from itertools import pairwise

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from rltrainer.core import Array

SLOPE = 0.01
FIRST_OUTPUT = 0.1
"""Share of the usual size that the last layer begins with: a step pays as any other until labels say otherwise. What a net
happens to begin with stays where no label contradicts it, and an agent that lives on it gives up what lies farther ahead."""
ROWS_AT_ONCE = 1600
"""Rows of each member that go through the nets together: what becomes of them stays in the processor's cache."""
NUMBERS_AT_ONCE = 2**22
"""Numbers in those rows, at most: of pictures there are far fewer, and what becomes of them stays below 200 MB."""
CONVOLUTIONS = ((7, 3), (5, 2), (3, 1), (3, 1))
"""Window and stride of each layer over pictures, as for Atari's 84 × 84 pixels in Christiano et al. 2017, appendix A.2."""
SMALL_CONVOLUTIONS = ((4, 2), (3, 2))
"""The same for pictures of less than half as many. With Atari's windows the reward of a spot's place in 24 × 24 pixels, learned
from 60 labels, has a correlation of 0.56, 0.63 and 0.62 with the true one (seeds 0 to 2); with these of 0.87, 0.78 and 0.73."""
FILTERS = 16
SIDE = 84
"""Pixels of a picture's shorter side; one of twice as many or more is made smaller by a whole number."""


GPU_TIMES = 32
"""What a GPU takes at once, beside a processor: with as little, starting each call would cost more than what it computes."""


def rows_at_once(width: int) -> int:
    """How many rows of this many numbers go through the nets together."""
    numbers = NUMBERS_AT_ONCE * (GPU_TIMES if torch.cuda.is_available() else 1)
    return max(1, min(ROWS_AT_ONCE, numbers // width))


class Nets(torch.nn.Module):
    """M multi-layer perceptrons, each beside a linear function of its inputs, as one batched tensor per layer."""

    def __init__(self, members: int, sizes: Sequence[int], generator: torch.Generator) -> None:
        super().__init__()
        self.weights = torch.nn.ParameterList()
        self.biases = torch.nn.ParameterList()
        for fan_in, fan_out in pairwise(sizes):
            bound = (FIRST_OUTPUT if fan_out == 1 else 1) / math.sqrt(fan_in)
            weight = torch.empty(members, fan_in, fan_out).uniform_(-bound, bound, generator=generator)
            self.weights.append(torch.nn.Parameter(weight))
            self.biases.append(torch.nn.Parameter(torch.zeros(members, 1, fan_out)))
        self.linear = torch.nn.Parameter(torch.zeros(members, sizes[0], 1))

    @property
    def members(self) -> int:
        return len(self.weights[0])

    @property
    def offset(self) -> Tensor:
        """What each member pays for every step alike, [M, 1, 1]."""
        offset: Tensor = self.biases[-1]
        return offset

    def forward(self, rows: Tensor) -> Tensor:
        """Rewards [M, N] of rows [M, N, D]."""
        inputs = self._inputs(rows)
        return (torch.baddbmm(self.biases[-1], self._hidden(inputs), self.weights[-1]) + inputs @ self.linear).squeeze(-1)

    def returns(self, rows: Tensor, mask: Tensor) -> Tensor:
        """Sums [M, B, 2] of the rewards of rows [M, B, 2, T, D], each times its mask [M, B, 2, T].

        What is linear is given the sum over the steps: T times fewer rows.
        """
        inputs = self._inputs(rows.flatten(1, 3))
        hidden = _summed(self._hidden(inputs), mask)  # [M, B · 2, H]
        bias = self.biases[-1] * mask.sum(dim=-1).flatten(1).unsqueeze(-1)
        returns = torch.baddbmm(bias, hidden, self.weights[-1]) + _summed(inputs, mask) @ self.linear
        return returns.reshape(mask.shape[:-1])

    @torch.no_grad()
    def rewards(self, rows: Array) -> Array:
        """Rewards [M, N] of rows [N, D] that all members see, some at a time."""
        parts = torch.split(torch.from_numpy(rows).expand(self.members, -1, -1), rows_at_once(rows.shape[1]), dim=1)
        return np.asarray(torch.cat([self(part) for part in parts], dim=1).double())

    def _inputs(self, rows: Tensor) -> Tensor:
        """What the first layer is given, [M, N, I], of rows [M, N, D]: here the rows."""
        return rows

    def _hidden(self, inputs: Tensor) -> Tensor:
        """What the last layer is given, [M, N, H], of inputs [M, N, I]."""
        for weight, bias in zip(self.weights[:-1], self.biases[:-1], strict=True):
            inputs = F.leaky_relu_(torch.baddbmm(bias, inputs, weight), SLOPE)
        return inputs


def _summed(values: Tensor, mask: Tensor) -> Tensor:
    """Sums [M, B · 2, X] over the steps of values [M, B · 2 · T, X], each times its mask [M, B, 2, T]."""
    return (values.reshape(*mask.shape, -1) * mask.unsqueeze(-1)).sum(dim=-2).flatten(1, 2)


class PictureNets(Nets):
    """The same behind convolutions, on the GPU where there is one. Rows are bytes: a picture, then an action in float32.

    A layer whose window does not fit into the picture twice is left out. Rows and results are on the CPU; moving them is
    the nets' own affair.
    """

    def __init__(
        self, members: int, shape: Sequence[int], actions: int, hidden: Sequence[int], generator: torch.Generator
    ) -> None:
        """shape: (H, W, C) or (C, H, W), in which the fewest are the channels; actions: A, the numbers of an action"""
        first = shape[0] < min(shape[1:])
        channels, height, width = shape if first else (shape[2], shape[0], shape[1])
        shrink = max(1, min(height, width) // SIDE)
        height, width = height // shrink, width // shrink
        layers: list[tuple[int, int, int]] = []  # channels in, window, stride
        for window, stride in CONVOLUTIONS if 2 * min(height, width) >= SIDE else SMALL_CONVOLUTIONS:
            if 2 * window <= min(height, width):
                layers.append((channels, window, stride))
                channels, height, width = FILTERS, (height - window) // stride + 1, (width - window) // stride + 1
        super().__init__(members, (channels * height * width + actions, *hidden, 1), generator)
        self.filters, self.shifts = torch.nn.ParameterList(), torch.nn.ParameterList()
        for fan, window, _ in layers:
            bound = 1 / (window * math.sqrt(fan))
            filters = torch.empty(members, FILTERS, fan, window, window).uniform_(-bound, bound, generator=generator)
            self.filters.append(torch.nn.Parameter(filters))
            self.shifts.append(torch.nn.Parameter(torch.zeros(members, FILTERS)))
        self._shape, self._channels_first, self._shrink = tuple(shape), first, shrink
        self._strides = [stride for *_, stride in layers]
        self.to("cuda" if torch.cuda.is_available() else "cpu")

    def forward(self, rows: Tensor) -> Tensor:
        return super().forward(rows.to(self.offset.device)).cpu()

    def returns(self, rows: Tensor, mask: Tensor) -> Tensor:
        return super().returns(rows.to(self.offset.device), mask.to(self.offset.device)).cpu()

    def _inputs(self, rows: Tensor) -> Tensor:
        pixels = math.prod(self._shape)
        actions = rows[..., pixels:].clone(memory_format=torch.contiguous_format).view(torch.float32)
        seen = torch.stack([self._see(member, part[:, :pixels]) for member, part in enumerate(rows)])  # [M, N, F]
        return torch.cat((seen, actions), dim=-1)

    def _see(self, member: int, pixels: Tensor) -> Tensor:
        """What a member's convolutions make of pictures [N, H · W · C]: [N, F]."""
        pictures = pixels.reshape(-1, *self._shape)
        pictures = (pictures if self._channels_first else pictures.permute(0, 3, 1, 2)).float() / 255
        if self._shrink > 1:
            pictures = F.avg_pool2d(pictures, self._shrink)
        for filters, shifts, stride in zip(self.filters, self.shifts, self._strides, strict=True):
            pictures = F.leaky_relu_(F.conv2d(pictures, filters[member], shifts[member], stride), SLOPE)
        return pictures.flatten(1)
