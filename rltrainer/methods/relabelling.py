"""Stable-Baselines3's side of the loop for off-policy methods: PEBBLE (Lee et al. 2021)."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, cast

import torch
from stable_baselines3.common.off_policy_algorithm import OffPolicyAlgorithm

from rltrainer.core import UserError, looks_back
from rltrainer.loop import PreferenceLoop
from rltrainer.methods.callback import PreferenceCallback
from rltrainer.methods.exploration import ParticleEntropy
from rltrainer.methods.replay import LOOKS_BACK, Kept, Replay

GROWTH = 1.1
"""While exploring, states are compared anew each time the buffer has grown by a tenth: all of them cost P² distances."""

RESET_STEPS = 100
"""Gradient steps that a critic which began again takes at once, as in PEBBLE's code."""


class RelabellingCallback(PreferenceCallback):
    """The same for SAC, TD3 and DDPG: `model.learn(total, callback=RelabellingCallback(loop))`.

    The warm-up's random steps stay in the replay buffer. After `sac.exploration_steps` of looking for new states the first
    labels are asked and the critic, which knows only the reward for that, begins again. The loop updates every
    `update_every` env steps, at the end of a round of env steps, and a new reward pays the whole buffer anew.
    """

    def __init__(self, loop: PreferenceLoop) -> None:
        super().__init__(loop)
        self._entropy: ParticleEntropy | None = None
        self._explored_at = 0

    @property
    def settled(self) -> bool:
        """Not while it explores: what it pays for then is not remembered."""
        return self._entropy is None

    def _on_training_start(self) -> None:
        model = cast(OffPolicyAlgorithm, self.model)
        if looks_back(self.loop.learner.snapshot()):
            raise UserError(LOOKS_BACK)
        self._replay = Replay(model, self.loop.env.seat)
        if self.loop.steps:
            self._count_on()
            self._paying_anew(self.loop.rest)
            return
        model.num_timesteps += self.loop.act_at_random(Kept(model))
        self._explored_at = model.num_timesteps + self.loop.config.sac.exploration_steps
        if model.num_timesteps < self._explored_at:
            self._explore()
        else:
            self._ask_first()

    def _on_rollout_start(self) -> None:
        """A paused run rested within the update."""

    def _on_rollout_end(self) -> None:
        self._record()
        steps = self._steps
        if self._entropy is None:
            self._paying_anew(lambda: self.loop.step(steps - self.loop.steps))
        elif steps < self._explored_at:
            if len(self._replay) > GROWTH * len(self._entropy.particles):
                self._explore()
        else:
            self.loop.steps = steps
            self._ask_first()
            reset_critic(self.model)
            model = cast(OffPolicyAlgorithm, self.model)
            model.train(RESET_STEPS, model.batch_size)

    def _paying_anew(self, update: Callable[[], object]) -> None:
        """Where the reward is another one after it, the buffer is paid by that one, also where the run was stopped in it."""
        before = self.loop.env.seat.reward
        try:
            update()
        finally:
            if self.loop.env.seat.reward is not before:
                self._replay.relabel()

    def _explore(self) -> None:
        """Pay for states unlike those in the buffer."""
        if self._entropy is None:
            self._entropy = ParticleEntropy(self._replay.observations)
        self._entropy.particles = self._replay.observations
        self.loop.env.seat.reward = self._entropy
        self._replay.relabel()

    def _ask_first(self) -> None:
        self._entropy = self.loop.env.seat.reward = None
        self.loop.first_answers()
        self._replay.relabel()


def reset_critic(model: Any) -> None:
    """Fresh weights for a model's critic and its target, and an optimiser that remembers nothing."""
    for layer in model.critic.modules():
        if isinstance(layer, torch.nn.Linear):
            layer.reset_parameters()
    model.critic_target.load_state_dict(model.critic.state_dict())
    model.critic.optimizer.state.clear()
