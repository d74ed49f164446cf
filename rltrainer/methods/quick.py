"""PPO as Stable-Baselines3 computes it, with less time spent beside the computing."""

from __future__ import annotations

from typing import Any

import torch
from stable_baselines3.common.distributions import CategoricalDistribution, DiagGaussianDistribution
from stable_baselines3.common.policies import ActorCriticPolicy
from torch import Tensor

from rltrainer.core import EnvFault

OPTIMIZER: dict[str, Any] = {"eps": 1e-5, "fused": True}
"""SB3's Adam in one kernel, not one operation after the other for each of the policy's tensors."""


class Gaussian(DiagGaussianDistribution):
    """SB3's, without looking for NaN at every step: `GuardedVecEnv` refuses actions that are not finite."""

    def proba_distribution(self, mean_actions: Tensor, log_std: Tensor) -> Gaussian:
        """The distribution of means [N, A] and log standard deviations [A]."""
        self.distribution = torch.distributions.Normal(mean_actions, log_std.exp().expand_as(mean_actions), validate_args=False)
        return self


class Categorical(CategoricalDistribution):
    """SB3's, without looking for NaN at every step: no action can be drawn by NaN. Looking took a tenth of CartPole's PPO."""

    def proba_distribution(self, action_logits: Tensor) -> Categorical:
        """The distribution of logits [N, A]."""
        self.distribution = torch.distributions.Categorical(logits=action_logits, validate_args=False)
        return self

    def sample(self) -> Tensor:
        """Actions [N]. Raises EnvFault where there are none."""
        try:
            return super().sample()
        except RuntimeError as error:
            raise EnvFault("the policy's actions were NaN; lower its learning rate") from error


def quicken(policy: ActorCriticPolicy) -> None:
    """Have the policy act by `Gaussian` or `Categorical`, where it acts by SB3's."""
    if isinstance(policy.action_dist, DiagGaussianDistribution):
        policy.action_dist = Gaussian(policy.action_dist.action_dim)
    if isinstance(policy.action_dist, CategoricalDistribution):
        policy.action_dist = Categorical(policy.action_dist.action_dim)
