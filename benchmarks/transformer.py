"""A judge that reads a segment from its beginning to its end: the preference transformer (Kim et al. 2023, section 4)."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import gymnasium as gym
import numpy as np
import torch
from torch import Tensor, nn

from rltrainer.config import Reward
from rltrainer.core import Array, Comparison, Segment
from rltrainer.rewards.features import Scale, segment_features
from rltrainer.rewards.likelihood import Answers, preference_loss

WIDTH, HEADS, DROPOUT = 32, 4, 0.1
MEMBERS = 2
"""Transformers whose scores are averaged."""
LEARNING_RATE, WEIGHT_DECAY = 1e-3, 1e-2
BATCH = 16
"""Comparisons in one gradient step."""


class PreferenceTransformer(nn.Module):
    """Scores segments [N, T, D] as a whole: [N].

    What a step is worth depends on the steps before it (causal attention), and how much it counts on all steps: weights that
    sum to T (the paper's preference attention layer, eq. 7 and 8).
    """

    def __init__(self, steps: int, width: int) -> None:
        """steps: T; width: D"""
        super().__init__()
        self.embedding = nn.Linear(width, WIDTH)
        self.places = nn.Parameter(0.02 * torch.randn(steps, WIDTH))
        self.layer = nn.TransformerEncoderLayer(WIDTH, HEADS, 2 * WIDTH, DROPOUT, "gelu", batch_first=True, norm_first=True)
        self.norm = nn.LayerNorm(WIDTH)
        self.query, self.key, self.value = nn.Linear(WIDTH, WIDTH), nn.Linear(WIDTH, WIDTH), nn.Linear(WIDTH, 1)
        self.later = nn.Transformer.generate_square_subsequent_mask(steps)

    def forward(self, rows: Tensor) -> Tensor:
        inner = self.layer(self.embedding(rows) + self.places, src_mask=self.later, is_causal=True)
        steps = self.norm(inner)  # [N, T, W]
        attention = self.query(steps) @ self.key(steps).transpose(1, 2) / math.sqrt(WIDTH)  # [N, T, T]
        weights = attention.softmax(dim=2).mean(dim=1)  # [N, T]
        scores: Tensor = rows.shape[1] * (weights * self.value(steps).squeeze(2)).sum(dim=1)
        return scores


class TransformerJudge:
    """Learns to score segments of one length from preferences. It judges only: none of it is paid to an agent step by step."""

    def __init__(self, space: gym.Space[Any], settings: Reward, seed: int, steps: int) -> None:
        """space: of actions; steps: of gradient descent, for each member"""
        self._space, self._settings, self._steps = space, settings, steps
        self._seed = seed
        self._members: list[PreferenceTransformer] = []
        self._scale = Scale(np.zeros(0), np.zeros(0))

    def fit(self, comparisons: Sequence[Comparison]) -> None:
        """From nothing, of all comparisons. Trims are not looked at."""
        sides = [[segment_features(self._space, side) for side in (c.first, c.second)] for c in comparisons]
        self._scale = Scale.of([rows for pair in sides for rows in pair])
        rows = torch.from_numpy(np.array([[self._scale(part) for part in pair] for pair in sides], np.float32))  # [N, 2, T, D]
        answers = Answers.of(comparisons, self._settings.label_noise, self._settings.ties)
        with torch.random.fork_rng():
            torch.manual_seed(self._seed)
            self._members = [self._fitted(rows, answers) for _ in range(MEMBERS)]

    def _fitted(self, rows: Tensor, answers: Answers) -> PreferenceTransformer:
        net = PreferenceTransformer(rows.shape[2], rows.shape[3])
        optimizer = torch.optim.AdamW(net.parameters(), LEARNING_RATE, weight_decay=WEIGHT_DECAY)
        for _ in range(self._steps):
            picked = torch.randperm(len(rows))[:BATCH]
            scores = net(rows[picked].flatten(0, 1)).reshape(-1, 2)
            loss = preference_loss(scores[:, 0] - scores[:, 1], answers[picked]).mean()
            optimizer.zero_grad()
            loss.backward()  # type: ignore[no-untyped-call]
            optimizer.step()
        return net.eval()

    @torch.no_grad()
    def member_returns(self, segments: Sequence[Segment]) -> Array:
        """Score of each segment by each member, [M, N]."""
        rows = torch.from_numpy(np.array([self._scale(segment_features(self._space, s)) for s in segments], np.float32))
        return np.stack([net(rows).numpy() for net in self._members])
