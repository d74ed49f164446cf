"""An ensemble of reward nets under the Bradley–Terry model (Christiano et al. 2017, section 2.2 and appendix A)."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import pairwise
from typing import Any

import gymnasium as gym
import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from rltrainer.config import Reward
from rltrainer.core import Array, Comparison, FitReport, Segment
from rltrainer.rewards.features import Scale, features, segment_features
from rltrainer.rewards.likelihood import Answers, first_is_better, preference_loss, probabilities
from rltrainer.rewards.reliability import noise_of

SLOPE = 0.01
MAX_GRADIENT = 10.0
FIRST_OUTPUT = 0.1
"""Share of the usual size that the last layer begins with: a step pays as any other until labels say otherwise. What a net
happens to begin with stays where no label contradicts it, and an agent that lives on it gives up what lies farther ahead."""
OFFSET_RATE = 30
"""The offset is what being alive pays over being over, one number that explains most of the labels on ends. It learns so many
times quicker than the weights, which else make up for it by paying some steps more than others. CartPole-v1, 100 labels, 100k
steps, seeds 100 to 103, with neither: 500, 500, 125, 500; with the smaller layer: 496, 500, 279, 500; with both: 500 each."""
FIRST_FIT = 4
"""The first refit starts from nothing and may take this many times the steps."""
ROWS_AT_ONCE = 1600
"""Rows of each member that go through the nets together: what becomes of them stays in the processor's cache."""


class EnsembleReward:
    """The mean of M nets, each of root mean square 1 on the reference batch of its refit.

    In NumPy and with few calls: for the few rows of one step that is several times quicker than torch.
    """

    def __init__(
        self,
        version: int,
        action_space: gym.Space[Any],
        scale: Scale,
        layers: Sequence[tuple[Array, Array]],
    ) -> None:
        """layers: (weight [M, in, out], bias [M, 1, out]) of each layer, the last one to [M, in, 1]"""
        self.version = version
        self._space = action_space
        self._low, self._high = scale.bounds
        weights, biases = [weight for weight, _ in layers], [bias for _, bias in layers]
        weights[0] = weights[0] / scale.std[:, None]
        biases[0] = biases[0] - scale.mean @ weights[0][:, None]
        weights[-1], biases[-1] = weights[-1] / len(weights[-1]), biases[-1].mean()  # the mean of the members is linear, too
        self._layers = [
            (np.ascontiguousarray(w, np.float32), np.asarray(b, np.float32)) for w, b in zip(weights, biases, strict=True)
        ]

    def __call__(self, observations: Array, actions: Array, next_observations: Array) -> Array:
        rows = features(self._space, observations, actions, next_observations)
        np.maximum(rows, self._low, out=rows)
        np.minimum(rows, self._high, out=rows)
        *hidden, (weight, bias) = self._layers
        for inner, offset in hidden:
            rows = rows @ inner  # [M, N, H]
            rows += offset
            np.maximum(rows, SLOPE * rows, out=rows)
        rewards: Array = (rows @ weight).sum(axis=0)[:, 0].astype(np.float64)  # [N]
        return rewards + bias


def _root_mean_square(values: Array) -> Array:
    """Over the last axis."""
    return np.asarray(np.sqrt(np.square(values).mean(axis=-1)))


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


@dataclass
class Batch:
    """All comparisons as tensors: rows [N, 2, T, D] (scaled), mask [N, 2, T], answers [N], noise [N], bags [M, N].

    noise is the share of such answers that is taken to be chance. The mask leaves out what was trimmed, and the time after an
    episode's end, which pays 0; `ends` says if there is any. Rows and mask may go on with pairs that have no answer.
    """

    rows: Tensor
    mask: Tensor
    answers: Answers
    noise: Array
    bags: Array
    ends: bool

    def __len__(self) -> int:
        return len(self.answers)

    @property
    def at_once(self) -> int:
        """Comparisons whose rows go through the nets together."""
        return max(1, ROWS_AT_ONCE // (2 * self.rows.shape[2]))


class EnsembleLearner:
    """Fits the ensemble. Each member learns from a bootstrap of the labels and is judged on those left out of it."""

    def __init__(
        self, observation_size: int, action_space: gym.Space[Any], settings: Reward, seed: np.random.SeedSequence
    ) -> None:
        self.version = 0
        self._settings = settings
        self._space = action_space
        self._rng = np.random.default_rng(seed)
        sizes = (2 * observation_size + gym.spaces.flatdim(action_space), *settings.hidden, 1)
        generator = torch.Generator().manual_seed(int(self._rng.integers(2**63)))
        self._nets = Nets(settings.members, sizes, generator)
        *others, offset = self._nets.parameters()
        groups: list[dict[str, Any]] = [
            {"params": others, "weight_decay": 1e-2},
            # where no episode ends its gradient is rounding alone, which must not move it: hence eps
            {"params": [offset], "lr": OFFSET_RATE * settings.learning_rate, "weight_decay": 0.0, "eps": 1e-4},
        ]
        self._optimizer = torch.optim.AdamW(groups, settings.learning_rate, fused=True)
        self._scale = Scale(np.zeros(sizes[0], np.float32), np.ones(sizes[0], np.float32))
        self._output = (np.zeros(settings.members), np.ones(settings.members))  # offset and scale of each member
        self._overall = 1.0  # scale of the members' mean
        self._bags: dict[tuple[str, str], Array] = {}

    # ------------------------------------------------------------------ learning

    def fit(self, comparisons: Sequence[Comparison], reference: Sequence[Segment]) -> FitReport:
        """A bounded number of gradient steps on all comparisons so far, from where the last refit ended."""
        shown = reference or [segment for c in comparisons for segment in (c.first, c.second)]
        rows = [segment_features(self._space, segment) for segment in shown]
        batch = self._batch(comparisons, rows)
        most = self._settings.fit_steps * (FIRST_FIT if self.version == 0 else 1)
        learned = self._learned_from(batch)
        for indices in self._minibatches(learned.bags, most):
            self._descend(learned, indices)
        self._anchor(np.concatenate(rows), batch)
        self.version += 1
        return self._report(batch)

    def _learned_from(self, batch: Batch) -> Batch:
        """What a refit learns from, of the batch that it reports on: for learners that don't take every answer as it is."""
        return batch

    def _batch(self, comparisons: Sequence[Comparison], reference: Sequence[Array]) -> Batch:
        """The comparisons as tensors, on a scale of their own and the reference's rows."""
        return self._answered(comparisons, *self._stacked(comparisons, reference))

    def _stacked(self, comparisons: Sequence[Comparison], reference: Sequence[Array]) -> tuple[Tensor, Tensor]:
        """Rows and mask of a batch; the scale becomes that of these and the reference's rows."""
        sides = [
            [
                segment_features(self._space, c.first)[slice(*c.first_range)],
                segment_features(self._space, c.second)[slice(*c.second_range)],
            ]
            for c in comparisons
        ]
        shown = np.concatenate([rows for pair in sides for rows in pair])
        self._scale = Scale.of([*reference, shown])
        lengths = np.array([[len(rows) for rows in pair] for pair in sides])
        mask = np.arange(lengths.max()) < lengths[..., None]  # [N, 2, T]
        data = np.zeros((*mask.shape, shown.shape[1]), np.float32)
        data[mask] = self._scale(shown)
        return torch.from_numpy(data), torch.from_numpy(mask).float()

    def _answered(self, comparisons: Sequence[Comparison], rows: Tensor, mask: Tensor) -> Batch:
        """The batch of these comparisons, each answer taken to be chance as often as those of its labeler are."""
        bags = np.array([self._bag(c) for c in comparisons]).T
        bags[~bags.any(axis=1)] = 1  # with few labels a bootstrap can be empty; that member learns from all of them
        noise, ties = np.full(len(comparisons), self._settings.label_noise), self._settings.ties
        ends = any(c.first_range[1] > len(c.first.actions) or c.second_range[1] > len(c.second.actions) for c in comparisons)
        batch = Batch(rows, mask, Answers.of(comparisons, noise, ties), noise, bags, ends)
        labelers = [c.labeler for c in comparisons]
        if self.version == 0 or len(set(labelers)) == 1:
            return batch
        logits = held_out_mean(np.asarray(self._logits(batch)), bags)
        noise = noise_of(labelers, *probabilities(comparisons, logits, ties), self._settings.label_noise)
        return replace(batch, answers=Answers.of(comparisons, noise, ties), noise=noise)

    def _bag(self, comparison: Comparison) -> Array:
        """How often each member's bootstrap holds a label, [M]: drawn once for a pair, so what is held out stays held out.

        A pair asked again, or of two labelers, is in a bootstrap with all of its answers or with none.
        """
        one, two = comparison.first.id, comparison.second.id
        key = (min(one, two), max(one, two))
        if key not in self._bags:
            counts = self._rng.poisson(1.0, self._settings.members)
            if not counts.any():
                counts[self._rng.integers(len(counts))] = 1
            self._bags[key] = counts
        return self._bags[key]

    def _minibatches(self, bags: Array, steps: int) -> Array:
        """Indices [steps, M, B]: each member goes through its own bootstrap in a new order each time."""
        size = min(self._settings.batch, max(1, bags.shape[1]))
        columns = []
        for counts in bags:
            bag = np.repeat(np.arange(len(counts)), counts)
            rounds = math.ceil(steps * size / len(bag))
            order = np.concatenate([self._rng.permutation(bag) for _ in range(rounds)])
            columns.append(order[: steps * size].reshape(steps, size))
        return np.stack(columns, axis=1)

    def _descend(self, batch: Batch, indices: Array) -> None:
        """One gradient step on each member's comparisons [M, B]."""
        self._optimizer.zero_grad()
        self._backward(batch, indices)
        torch.nn.utils.clip_grad_norm_(self._nets.parameters(), MAX_GRADIENT)
        self._optimizer.step()

    def _backward(self, batch: Batch, indices: Array) -> None:
        """The gradients of what a step lessens: the mean loss of each member's comparisons [M, B]."""
        for picked in torch.split(torch.from_numpy(indices), batch.at_once, dim=1):
            returns = self._nets.returns(batch.rows[picked], batch.mask[picked])  # [M, b, 2]
            loss = preference_loss(returns[..., 0] - returns[..., 1], batch.answers[picked])
            (loss.sum() / indices.shape[1]).backward()

    def _anchor(self, reference: Array, batch: Batch) -> None:
        """Offset and scale of each member, and the scale of their mean: frozen until the next refit.

        Preferences between segments of one length leave the offset open, and PPO takes what an episode pays after its end
        for 0. So 0 is what being over pays, once a labeler has judged an end: an offset from elsewhere would pay for
        surviving, or for dying. Before that, and in envs without ends, 0 is the mean of the reference batch [N, D].
        """
        rewards = self._rewards(self._scale(reference))  # [M, N]
        zero = np.zeros(len(rewards)) if batch.ends else rewards.mean(axis=1)
        rewards -= zero[:, None]
        scale = np.maximum(_root_mean_square(rewards), 1e-6)
        self._output = (zero, scale)
        self._overall = max(float(_root_mean_square((rewards / scale[:, None]).mean(axis=0))), 1e-6)

    def _rewards(self, rows: Array) -> Array:
        """Raw rewards [M, N] of scaled rows [N, D]."""
        with torch.no_grad():
            parts = torch.split(torch.from_numpy(rows).expand(self._settings.members, -1, -1), ROWS_AT_ONCE, dim=1)
            return np.asarray(torch.cat([self._nets(part) for part in parts], dim=1).double())

    @torch.no_grad()
    def _logits(self, batch: Batch) -> Tensor:
        """R₁ − R₂ of every comparison by each member, [M, N]."""
        members = self._settings.members
        found = []
        for begin in range(0, len(batch), batch.at_once):
            part = slice(begin, min(begin + batch.at_once, len(batch)))
            rows, mask = batch.rows[part], batch.mask[part]  # [n, 2, T, D], [n, 2, T]
            found.append(self._nets.returns(rows.expand(members, *rows.shape), mask.expand(members, *mask.shape)))
        returns = torch.cat(found, dim=1)
        return returns[..., 0] - returns[..., 1]

    def _report(self, batch: Batch) -> FitReport:
        """Losses in and out of the bags; the weight decay follows their ratio (Christiano et al. 2017, appendix A)."""
        logits = self._logits(batch)
        losses = np.asarray(preference_loss(logits, batch.answers))
        inside = batch.bags > 0
        train = float(losses[inside].mean())
        held_out = float(losses[~inside].mean()) if (~inside).any() else None
        if held_out is not None and len(batch) >= 10:
            self._regularise(held_out / max(train, 1e-9))
        accuracy = _held_out_accuracy(np.asarray(logits), batch.bags, np.asarray(batch.answers.target))
        held_out_logits = held_out_mean(np.asarray(logits), batch.bags)
        foretold = first_is_better(held_out_logits, batch.noise, self._settings.ties)
        return FitReport(self.version, len(batch), train, held_out, accuracy, self.weight_decay, foretold)

    @property
    def weight_decay(self) -> float:
        """The regularisation in force."""
        return float(self._optimizer.param_groups[0]["weight_decay"])

    def _regularise(self, ratio: float) -> None:
        """Hold the held-out loss between 1.1 and 1.5 times the training loss."""
        factor = 1.5 if ratio > 1.5 else 1 / 1.5 if ratio < 1.1 else 1.0
        self._optimizer.param_groups[0]["weight_decay"] = min(max(self.weight_decay * factor, 1e-4), 1.0)

    # ------------------------------------------------------------------ what it learned

    def member_returns(self, segments: Sequence[Segment]) -> Array:
        """Predicted return of each segment by each member, [M, N], in logits."""
        rows = [segment_features(self._space, segment) for segment in segments]
        ends = np.cumsum([len(part) for part in rows])[:-1]
        rewards = self._rewards(self._scale(np.concatenate(rows)))  # [M, sum of T]
        return np.add.reduceat(rewards, np.concatenate(([0], ends)), axis=1)

    def snapshot(self) -> EnsembleReward:
        """The reward as it is now, for the wrapper: normalisation folded into the last layer."""
        weights = [np.asarray(weight.detach().clone()) for weight in self._nets.weights]
        biases = [np.asarray(bias.detach().clone()) for bias in self._nets.biases]
        zero, scale = self._output
        gain = 1 / (scale * self._overall)
        weights[-1] = (weights[-1] * gain[:, None, None]).astype(np.float32)
        biases[-1] = ((biases[-1] - zero[:, None, None]) * gain[:, None, None]).astype(np.float32)
        return EnsembleReward(self.version, self._space, self._scale, list(zip(weights, biases, strict=True)))

    def state(self) -> dict[str, Array]:
        """Nets, scales and the regularisation, as named arrays."""
        nets = {f"nets.{name}": value.detach().numpy().copy() for name, value in self._nets.state_dict().items()}
        return nets | {
            "scale.mean": self._scale.mean,
            "scale.std": self._scale.std,
            "output.mean": self._output[0],
            "output.std": self._output[1],
            "output.overall": np.array([self._overall]),
            "version": np.array([self.version]),
            "weight_decay": np.array([self.weight_decay]),
        }

    def restore(self, state: Mapping[str, Array]) -> None:
        """The inverse of `state`."""
        nets = {name.removeprefix("nets."): torch.tensor(value) for name, value in state.items() if name.startswith("nets.")}
        self._nets.load_state_dict(nets)
        self._scale = Scale(np.asarray(state["scale.mean"]), np.asarray(state["scale.std"]))
        self._output = (np.asarray(state["output.mean"]), np.asarray(state["output.std"]))
        self._overall = float(state["output.overall"][0])
        self.version = int(state["version"][0])
        self._optimizer.param_groups[0]["weight_decay"] = float(state["weight_decay"][0])


def _held_out_accuracy(logits: Array, bags: Array, target: Array) -> float | None:
    """Share of decided answers foretold by the members that did not learn from them; None below five of those.

    logits: [M, N]; bags: [M, N]; target: [N]. Ties say nothing about direction and are left out.
    """
    outside = bags == 0
    judged = outside.any(axis=0) & (target != 0.5)
    if judged.sum() < 5:
        return None
    votes = (logits * outside).sum(axis=0)[judged]
    return float(((votes > 0) == (target[judged] > 0.5)).mean())


def held_out_mean(logits: Array, bags: Array) -> Array:
    """Mean of logits [M, N] over the members that did not learn from the label, [N]; NaN where all did."""
    outside = bags == 0
    count = outside.sum(axis=0)
    return np.where(count > 0, (logits * outside).sum(axis=0) / np.maximum(count, 1), np.nan)
