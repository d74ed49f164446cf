"""Stable-Baselines3's side of the loop."""

from __future__ import annotations

from collections import deque
from dataclasses import asdict
from typing import Any, cast

import numpy as np
from stable_baselines3.common.callbacks import BaseCallback
from stable_baselines3.common.off_policy_algorithm import OffPolicyAlgorithm

from rltrainer.core import UserError
from rltrainer.diagnostics import Diagnosis
from rltrainer.loop import PreferenceLoop


class PreferenceCallback(BaseCallback):
    """`model.learn(total, callback=PreferenceCallback(loop))`: warms up, then updates the loop after each rollout.

    The reward changes between rollouts: no rollout sees two. An update is done before the policy is optimised, not in a thread
    beside it: two threads that each compute on small arrays hand Python's lock to and fro, and take more CPU time together
    than one after the other, and no less wall time (docs/what-helped.md). The warm-up's random steps count as env steps of
    the model, so that `total` is what the env was stepped in all.
    """

    def __init__(self, loop: PreferenceLoop) -> None:
        super().__init__()
        self.loop = loop
        self._learned_returns: deque[float] = deque(maxlen=100)
        self._verdict = ""
        self._before = 0  # the loop's steps that the model no longer counts: those of an earlier `learn`

    @property
    def settled(self) -> bool:
        """Whether the loop, the model and its env remember all there is, between two rollouts."""
        return True

    def _on_training_start(self) -> None:
        if isinstance(self.model, OffPolicyAlgorithm):
            raise UserError(f"{type(self.model).__name__} learns from a replay buffer; pass RelabellingCallback(loop) instead")
        if self.loop.steps:
            self._count_on()
            return
        env = self.training_env
        self.model.num_timesteps += self.loop.warm_up(env)
        self.model._last_obs = cast(Any, env.reset())  # SB3 resets before this call, and the warm-up stepped since
        self.model._last_episode_starts = np.ones(env.num_envs, dtype=bool)

    def _count_on(self) -> None:
        """SB3 counts each `learn` from 0, and the loop counts all there were."""
        self._before = max(0, self.loop.steps - self.model.num_timesteps)

    @property
    def _steps(self) -> int:
        """Env steps of the loop's whole life."""
        return self._before + self.model.num_timesteps

    def _on_rollout_start(self) -> None:
        """A paused run rests before it."""
        self.loop.rest()

    def _on_step(self) -> bool:
        if any(self.locals["dones"]):
            self._learned_returns.extend(info["learned_return"] for info in self.locals["infos"] if "learned_return" in info)
        return True

    def _on_rollout_end(self) -> None:
        self._record()
        self.loop.steps = self._steps
        self.loop.learn()

    def _record(self) -> None:
        """What was learned so far, to the model's log."""
        fit = self.loop.last_fit
        record = self.logger.record
        if self._learned_returns:
            record("rollout/ep_learned_rew_mean", float(np.mean(self._learned_returns)))
        if fit is not None:
            record("reward/version", fit.version)
            record("reward/comparisons", fit.comparisons)
            record("reward/train_loss", fit.train_loss)
            if fit.held_out_loss is not None:
                record("reward/held_out_loss", fit.held_out_loss)
            if fit.held_out_accuracy is not None:
                record("reward/held_out_accuracy", fit.held_out_accuracy)
        if self.loop.diagnosis is not None:
            self._record_diagnosis(self.loop.diagnosis)

    def _record_diagnosis(self, found: Diagnosis) -> None:
        """Whether the labelling helps; the verdict where it is a new one."""
        told = ("labels", "judged", "accuracy", "verdict")  # in other words already
        for name, value in asdict(found).items():
            if value is not None and name not in told:
                self.logger.record(f"reward/{name}", value)
        if found.verdict != self._verdict:
            self._verdict = found.verdict
            self.logger.record("reward/verdict", found.verdict, exclude=("stdout", "csv"))
