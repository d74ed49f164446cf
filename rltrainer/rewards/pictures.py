"""Steps whose observations are pictures: rows (o', a), bytes until they go through the nets.

What a step led to, o', is what a labeler sees it do; what it began with, o, would cost as much again and says little more.
"""

from __future__ import annotations

import copy
import math
from collections.abc import Sequence
from typing import Any

import gymnasium as gym
import numpy as np
import torch
from torch import Tensor

from rltrainer.config import Reward
from rltrainer.core import Array, Comparison, Segment
from rltrainer.rewards.features import Scale, encode_actions
from rltrainer.rewards.nets import Nets, PictureNets

Shape = tuple[int, ...]
FLOAT = 4
"""Bytes of one number of an action."""


def packed(pictures: Array, actions: Array) -> Array:
    """Rows [N, O + 4 · A], uint8, of pictures [N, O] and encoded actions [N, A]: a quarter of their size in float32."""
    return np.concatenate((np.asarray(pictures, np.uint8), np.ascontiguousarray(actions, np.float32).view(np.uint8)), axis=1)


class PictureScale(Scale):
    """Scales the numbers of the action in each row as `Scale` does; a pixel stays the byte that it is."""

    def __call__(self, rows: Array) -> Array:
        pixels = rows.shape[1] - FLOAT * len(self.mean)
        return packed(rows[:, :pixels], self.actions(_actions(rows, pixels)))

    def actions(self, actions: Array) -> Array:
        """Raw actions [N, A], scaled."""
        return super().__call__(actions)


def _actions(rows: Array, pixels: int) -> Array:
    """The actions [N, A] in rows."""
    return np.ascontiguousarray(rows[:, pixels:]).view(np.float32)


class Pictures:
    """Rows for nets, and the reward of nets, where pictures are observed."""

    def __init__(self, shape: Shape, space: gym.Space[Any]) -> None:
        """shape: (H, W, C), or (C, H, W)"""
        self._shape, self._space = shape, space
        self._pixels = math.prod(shape)  # O
        self._width = gym.spaces.flatdim(space)  # A
        self.scale: Scale = PictureScale(np.zeros(self._width, np.float32), np.ones(self._width, np.float32))

    def nets(self, settings: Reward, generator: torch.Generator) -> PictureNets:
        """Of these rows, with random weights."""
        return PictureNets(settings.members, self._shape, self._width, settings.hidden, generator)

    def rows(self, segment: Segment) -> Array:
        """Rows [T, O + 4 · A] of a segment's steps, their actions raw."""
        return self.step_rows(segment.actions, segment.observations[1:])

    def step_rows(self, actions: Array, next_observations: Array) -> Array:
        """The same of any steps: actions [N, *A], next_observations [N, O]."""
        return packed(next_observations, encode_actions(self._space, actions))

    def stack(self, comparisons: Sequence[Comparison], reference: Sequence[Array]) -> tuple[PickedRows, Tensor]:
        """Scaled rows [N, 2, T, D] and their mask [N, 2, T]; the scale of actions becomes that of these and the reference's."""
        sides = [
            [
                (segment.observations[1:][part], encode_actions(self._space, segment.actions)[part])
                for segment, part in ((c.first, slice(*c.first_range)), (c.second, slice(*c.second_range)))
            ]
            for c in comparisons
        ]
        seen = [_actions(rows, self._pixels) for rows in reference]
        self.scale = scale = PictureScale.of([*seen, *(actions for pair in sides for _, actions in pair)])
        lengths = np.array([[len(actions) for _, actions in pair] for pair in sides])
        mask = np.arange(lengths.max()) < lengths[..., None]  # [N, 2, T]
        scaled = [[(pictures, scale.actions(actions)) for pictures, actions in pair] for pair in sides]
        width = self._pixels + FLOAT * self._width
        return PickedRows(scaled, (*mask.shape, width)), torch.from_numpy(mask).float()

    def reward(self, version: int, nets: Nets, zero: Array, gain: Array) -> PictureReward:
        """The mean of the members' rewards, each less its zero [M] and times its gain [M]."""
        return PictureReward(version, copy.copy(self), copy.deepcopy(nets).requires_grad_(requires_grad=False), zero, gain)


class PickedRows:
    """Scaled rows [N, 2, T, D] of comparisons, put together only for those that are picked: segments keep the only copy."""

    def __init__(self, sides: list[list[tuple[Array, Array]]], shape: tuple[int, ...]) -> None:
        """sides: for each comparison two times the pictures [T', O] and scaled actions [T', A] that were judged"""
        self._sides, self.shape = sides, shape

    def __getitem__(self, picked: Tensor | slice | tuple[Tensor, Tensor, Tensor]) -> Tensor:
        """Those of comparisons [...]: [..., 2, T, D]. Or, as of a tensor, of some steps of theirs."""
        if isinstance(picked, tuple):
            return self._steps(*picked)
        chosen = torch.arange(len(self._sides))[picked]
        rows = np.zeros((chosen.numel(), *self.shape[1:]), np.uint8)
        for place, index in zip(rows, chosen.flatten().tolist(), strict=True):
            for side, (pictures, actions) in zip(place, self._sides[index], strict=True):
                side[: len(actions)] = packed(pictures, actions)
        return torch.from_numpy(rows).reshape(*chosen.shape, *self.shape[1:])

    def _steps(self, picked: Tensor, sides: Tensor, at: Tensor) -> Tensor:
        """Steps `at` [..., 2, K] of the sides [2, 1] of comparisons [..., 1, 1]: [..., 2, K, D].

        Nothing where a side has no steps, as where only time after an episode's end was judged.
        """
        rows = np.zeros((picked.numel(), *at.shape[-2:], self.shape[-1]), np.uint8)
        for place, index, steps in zip(rows, picked.flatten().tolist(), at.flatten(0, -3).numpy(), strict=True):
            for side in sides.flatten().tolist():
                pictures, actions = self._sides[index][side]
                if len(actions):
                    place[side] = packed(pictures[steps[side]], actions[steps[side]])
        return torch.from_numpy(rows).reshape(*at.shape, self.shape[-1])


class PictureReward:
    """The mean of M nets, each of root mean square 1 on the reference batch of its refit."""

    def __init__(self, version: int, pictures: Pictures, nets: Nets, zero: Array, gain: Array) -> None:
        self.version = version
        self._pictures, self._nets = pictures, nets
        self._zero, self._gain = zero[:, None], gain[:, None]

    def __call__(self, observations: Array, actions: Array, next_observations: Array) -> Array:
        rewards = self._nets.rewards(self._pictures.scale(self._pictures.step_rows(actions, next_observations)))  # [M, N]
        return np.asarray(((rewards - self._zero) * self._gain).mean(axis=0))
