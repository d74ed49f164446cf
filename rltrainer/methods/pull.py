"""What keeps a policy near the middle of its actions, less and less as the reward grows up.

The reward of a few labels also pays for what nobody meant, a posture for instance, and that is learned before anything else: a
swimmer curls up until its joints are at their limits, where what it then does moves it so little that not even the env's own
reward leads out again. So PPO's loss has KL(π ‖ π₀) beside it, as where a language model learns from preferences (Ziegler et
al. 2019, eq. 2). Here π₀ acts in the middle of each action's range, and half of that range is the noise of both, whatever the
noise of π is. Its weight falls to nothing by the end of a run.
"""

from __future__ import annotations

from stable_baselines3 import PPO
from torch import Tensor

from rltrainer.methods.quick import Gaussian

STRENGTH = 0.1
"""Of the pull at first, beside advantages whose standard deviation is 1."""


class PulledGaussian(Gaussian):
    """Each time that its means are learned from, `pull` times the gradient of KL(π ‖ π₀) is added to theirs.

    The KL is the mean over N states of Σ (mean − middle)² / (2 half²) over actions, each in halves of its range.
    """

    pull = 0.0

    def __init__(self, middle: Tensor, half: Tensor) -> None:
        """middle, half: of the ranges of actions, each [A]"""
        super().__init__(len(middle))
        self._middle, self._half = middle, half

    def proba_distribution(self, mean_actions: Tensor, log_std: Tensor) -> PulledGaussian:
        """The distribution of means [N, A] and log standard deviations [A]."""
        if self.pull and mean_actions.requires_grad:
            away = (mean_actions.detach() - self._middle) / self._half**2
            mean_actions.register_hook(lambda slope: slope + self.pull * away / len(away))  # type: ignore[no-untyped-call]
        super().proba_distribution(mean_actions, log_std)
        return self


class PulledPPO(PPO):
    """PPO whose pull falls to nothing through a run. Where actions are discrete it is plain PPO."""

    def train(self) -> None:
        """As Stable-Baselines3's."""
        if isinstance(self.policy.action_dist, PulledGaussian):
            self.policy.action_dist.pull = STRENGTH * self._current_progress_remaining
        super().train()
