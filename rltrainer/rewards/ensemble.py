"""An ensemble of reward nets under the Bradley–Terry model (Christiano et al. 2017, section 2.2 and appendix A)."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

import gymnasium as gym
import numpy as np
import torch
from torch import Tensor

from rltrainer.config import Reward
from rltrainer.core import Array, Comparison, FitReport, RewardFunction, Segment
from rltrainer.memory import within
from rltrainer.optimizers import optimizer_state, restore_optimizer
from rltrainer.rewards.likelihood import Answers, preference_loss, probabilities
from rltrainer.rewards.nets import rows_at_once
from rltrainer.rewards.pictures import PickedRows, Pictures, Shape
from rltrainer.rewards.reliability import foretold, noise_of
from rltrainer.rewards.thresholds import Thresholds
from rltrainer.rewards.vectors import Vectors
from rltrainer.seeds import generator_state, restore_generator

MAX_GRADIENT = 10.0
LINEAR_RATE = 10
"""The linear part learns so many times quicker than the layers: what it explains, they need not. Swimmer's forward speed is a
small part of how its joints swing about, and layers alone took hundreds of labels to tell the two apart."""
OFFSET_RATE = 100
"""The offset is what being alive pays over being over, one number that explains most of the labels on ends. It learns so many
times quicker than the layers, which else make up for it by paying some steps more than others. CartPole-v1, 100 labels, 100k
steps, seeds 100 to 103, with neither: 500, 500, 125, 500; with the smaller layer: 496, 500, 279, 500; with both: 500 each."""
THINNED = 10
"""Steps of a segment that one gradient step sees: neighbours say much the same, and more gradient steps say more."""
FIRST_FIT = 4
"""The first refit starts from nothing and may take this many times the steps."""
ID_BYTES = 16
"""Of a segment's id, which is written in hexadecimal digits."""
BYTES_AT_ONCE = 2**26
"""Observations of the segments that are judged together: of pictures a few dozen segments are as many."""


def _root_mean_square(values: Array) -> Array:
    """Over the last axis."""
    return np.asarray(np.sqrt(np.square(values).mean(axis=-1)))


@dataclass
class Batch:
    """All comparisons: rows [N, 2, T, D] (scaled), mask [N, 2, T], answers [N], noise [N], bags [M, N].

    noise is the share of such answers that is taken to be chance. The mask leaves out what was trimmed, and the time after an
    episode's end, which pays 0; `ends` says if there is any. Rows and mask may go on with pairs that have no answer.
    """

    rows: Tensor | PickedRows
    mask: Tensor
    answers: Answers
    noise: Array
    bags: Array
    ends: bool

    def __len__(self) -> int:
        return len(self.answers)

    def thinned(self, picked: Tensor, rng: np.random.Generator) -> tuple[Tensor, Tensor]:
        """K steps of each side of comparisons [...], and how many each stands for: [..., 2, K, D], [..., 2, K].

        One out of each K-th of the judged steps; what they sum up to is right on average.
        """
        first, lengths = (part[picked].unsqueeze(-1) for part in self._spans)  # [..., 2, 1]
        count = min(THINNED, self.mask.shape[-1])  # K
        jitter = torch.from_numpy(rng.random((*picked.shape, 1, count)))
        at = first + (torch.arange(count) + jitter) * lengths / count
        sides = torch.arange(2).unsqueeze(-1)
        return self.rows[picked[..., None, None], sides, at.long()], (lengths / count).expand(at.shape)

    @cached_property
    def _spans(self) -> tuple[Tensor, Tensor]:
        """The first judged step and how many there are, of each side, [N, 2]."""
        return self.mask.argmax(dim=-1), self.mask.sum(dim=-1)

    def at_once(self, steps: int) -> int:
        """Comparisons of which so many steps a side go through the nets together."""
        return max(1, rows_at_once(self.rows.shape[3]) // (2 * steps))


class EnsembleLearner:
    """Fits the ensemble. Each member learns from a bootstrap of the labels and is judged on those left out of it."""

    def __init__(
        self, observed: int | Shape, action_space: gym.Space[Any], settings: Reward, seed: np.random.SeedSequence
    ) -> None:
        """observed: O of flattened observations, or the shape of a picture: its rows go through convolutions"""
        self.version = 0
        self._settings = settings
        self._sight = self._seeing(observed, action_space)
        self._rng = np.random.default_rng(seed)
        generator = torch.Generator().manual_seed(int(self._rng.integers(2**63)))
        self._nets = self._sight.nets(settings, generator)
        linear, offset = self._nets.linear, self._nets.offset
        others = [weights for weights in self._nets.parameters() if weights is not offset and weights is not linear]
        groups: list[dict[str, Any]] = [
            {"params": others, "weight_decay": 1e-2},
            {"params": [linear], "lr": LINEAR_RATE * settings.learning_rate, "weight_decay": 0.0},
            # where no episode ends its gradient is rounding alone, which must not move it: hence eps
            {"params": [offset], "lr": OFFSET_RATE * settings.learning_rate, "weight_decay": 0.0, "eps": 1e-4},
        ]
        self._optimizer = torch.optim.AdamW(groups, settings.learning_rate, fused=True)
        self._output = (np.zeros(settings.members), np.ones(settings.members))  # offset and scale of each member
        self._overall = 1.0  # scale of the members' mean
        self._bags: dict[tuple[str, str], Array] = {}

    def _seeing(self, observed: int | Shape, action_space: gym.Space[Any]) -> Vectors | Pictures:
        """What makes the nets and their rows."""
        return Vectors(observed, action_space) if isinstance(observed, int) else Pictures(observed, action_space)

    # ------------------------------------------------------------------ learning

    @torch.backends.cudnn.flags(enabled=True, benchmark=False, deterministic=True)  # else a GPU sums up as it comes
    def fit(self, comparisons: Sequence[Comparison], reference: Sequence[Segment]) -> FitReport:
        """A bounded number of gradient steps on all comparisons so far, from where the last refit ended."""
        shown = reference or [segment for c in comparisons for segment in (c.first, c.second)]
        rows = [self._sight.rows(segment) for segment in shown]
        batch = self._batch(comparisons, rows)
        most = self._settings.fit_steps * (FIRST_FIT if self.version == 0 else 1)
        learned = self._learned_from(batch)
        for indices in self._minibatches(learned.bags, most):
            self._descend(learned, indices)
        self._anchor(rows, batch)
        self.version += 1
        return self._report(batch, comparisons)

    def _learned_from(self, batch: Batch) -> Batch:
        """What a refit learns from, of the batch that it reports on: for learners that don't take every answer as it is."""
        return batch

    def _batch(self, comparisons: Sequence[Comparison], reference: Sequence[Array]) -> Batch:
        """The comparisons, on a scale of their own and the reference's rows."""
        return self._answered(comparisons, *self._sight.stack(comparisons, reference))

    def _answered(self, comparisons: Sequence[Comparison], rows: Tensor | PickedRows, mask: Tensor) -> Batch:
        """The batch of these comparisons, each answer taken to be chance as often as those of its labeler are."""
        bags = np.array([self._bag(c) for c in comparisons]).T
        bags[~bags.any(axis=1)] = 1  # with few labels a bootstrap can be empty; that member learns from all of them
        noise = np.full(len(comparisons), self._settings.label_noise)
        thresholds = Thresholds.of(comparisons, self._settings.ties)
        ends = any(c.sees_end for c in comparisons)
        batch = Batch(rows, mask, Answers.of(comparisons, noise, thresholds), noise, bags, ends)
        labelers = [c.labeler for c in comparisons]
        if self.version == 0 or len(set(labelers)) == 1:
            return batch
        logits = held_out_mean(np.asarray(self._logits(batch)), bags)
        noise = noise_of(labelers, *probabilities(comparisons, logits, thresholds), self._settings.label_noise)
        return replace(batch, answers=Answers.of(comparisons, noise, thresholds), noise=noise)

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
        for picked in torch.split(torch.from_numpy(indices), batch.at_once(THINNED), dim=1):
            returns = self._nets.returns(*batch.thinned(picked, self._rng))  # [M, b, 2]
            loss = preference_loss(returns[..., 0] - returns[..., 1], batch.answers[picked])
            (loss.sum() / indices.shape[1]).backward()

    def _anchor(self, reference: Sequence[Array], batch: Batch) -> None:
        """Offset and scale of each member, and the scale of their mean: frozen until the next refit.

        Preferences between segments of one length leave the offset open, and PPO takes what an episode pays after its end
        for 0. So 0 is what being over pays, once a labeler has judged an end: an offset from elsewhere would pay for
        surviving, or for dying. Before that, and in envs without ends, 0 is the mean of the reference rows, each [T, D].
        """
        rewards = self._paid(reference)  # [M, sum of T]
        zero = np.zeros(len(rewards)) if batch.ends else rewards.mean(axis=1)
        rewards -= zero[:, None]
        scale = np.maximum(_root_mean_square(rewards), 1e-6)
        self._output = (zero, scale)
        self._overall = max(float(_root_mean_square((rewards / scale[:, None]).mean(axis=0))), 1e-6)

    @torch.no_grad()
    def _logits(self, batch: Batch) -> Tensor:
        """R₁ − R₂ of every comparison by each member, [M, N]."""
        members = self._settings.members
        found = []
        size = batch.at_once(batch.mask.shape[-1])
        for begin in range(0, len(batch), size):
            part = slice(begin, min(begin + size, len(batch)))
            rows, mask = batch.rows[part], batch.mask[part]  # [n, 2, T, D], [n, 2, T]
            found.append(self._nets.returns(rows.expand(members, *rows.shape), mask.expand(members, *mask.shape)))
        returns = torch.cat(found, dim=1)
        return returns[..., 0] - returns[..., 1]

    def _report(self, batch: Batch, comparisons: Sequence[Comparison]) -> FitReport:
        """Losses in and out of the bags; the weight decay follows their ratio (Christiano et al. 2017, appendix A)."""
        logits = self._logits(batch)
        losses = np.asarray(preference_loss(logits, batch.answers))
        inside = batch.bags > 0
        train = float(losses[inside].mean())
        held_out = float(losses[~inside].mean()) if (~inside).any() else None
        if held_out is not None and len(batch) >= 10:
            self._regularise(held_out / max(train, 1e-9))
        accuracy = _held_out_accuracy(np.asarray(logits), batch.bags, np.asarray(batch.answers.target))
        thresholds = Thresholds.of(comparisons, self._settings.ties)
        first = foretold(comparisons, held_out_mean(np.asarray(logits), batch.bags), thresholds)
        return FitReport(self.version, len(batch), train, held_out, accuracy, first)

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
        largest = max(segment.observations.nbytes for segment in segments)
        at_once = max(1, BYTES_AT_ONCE // largest)
        parts = [segments[begin : begin + at_once] for begin in range(0, len(segments), at_once)]
        return np.concatenate([self._returns(part) for part in parts], axis=1)

    def _returns(self, segments: Sequence[Segment]) -> Array:
        rows = [self._sight.rows(segment) for segment in segments]
        ends = np.cumsum([len(part) for part in rows])[:-1]
        return np.add.reduceat(self._paid(rows), np.concatenate(([0], ends)), axis=1)

    def _paid(self, rows: Sequence[Array]) -> Array:
        """What each member pays for every step of segments, [M, sum of T], of the rows [T, D] of each."""
        return self._nets.rewards(self._sight.scale(np.concatenate(rows)))

    def snapshot(self) -> RewardFunction:
        """The reward as it is now, for the wrapper."""
        zero, scale = self._output
        return self._sight.reward(self.version, self._nets, zero, 1 / (scale * self._overall))

    def state(self) -> dict[str, Array]:
        """Nets, scales, the optimiser's moments, each pair's place in the bootstraps, and the generator, as named arrays."""
        nets = {f"nets.{name}": value.detach().cpu().numpy().copy() for name, value in self._nets.state_dict().items()}
        moments = {f"optimizer.{name}": value for name, value in optimizer_state(self._optimizer).items()}
        pairs = b"".join(bytes.fromhex(name) for pair in self._bags for name in pair)
        return (
            nets
            | moments
            | {
                "scale.mean": self._sight.scale.mean,
                "scale.std": self._sight.scale.std,
                "output.mean": self._output[0],
                "output.std": self._output[1],
                "output.overall": np.array([self._overall]),
                "version": np.array([self.version]),
                "weight_decay": np.array([self.weight_decay]),
                "bags.pairs": np.frombuffer(pairs, np.uint8).reshape(-1, 2, ID_BYTES),
                "bags.counts": np.array([*self._bags.values()], np.int64).reshape(-1, self._settings.members),
                "rng": generator_state(self._rng),
            }
        )

    def restore(self, state: Mapping[str, Array]) -> None:
        """The inverse of `state`."""
        nets = {name.removeprefix("nets."): torch.tensor(value) for name, value in state.items() if name.startswith("nets.")}
        self._nets.load_state_dict(nets)
        self._sight.scale = type(self._sight.scale)(np.asarray(state["scale.mean"]), np.asarray(state["scale.std"]))
        self._output = (np.asarray(state["output.mean"]), np.asarray(state["output.std"]))
        self._overall = float(state["output.overall"][0])
        self.version = int(state["version"][0])
        self._optimizer.param_groups[0]["weight_decay"] = float(state["weight_decay"][0])
        restore_optimizer(self._optimizer, within(state, "optimizer"))
        restore_generator(self._rng, state["rng"])
        pairs = ((one.tobytes().hex(), two.tobytes().hex()) for one, two in state["bags.pairs"])
        self._bags = dict(zip(pairs, np.array(state["bags.counts"]), strict=True))


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
