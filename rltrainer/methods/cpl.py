"""Contrastive preference learning (Hejna et al. 2023), online: from labelled segments to a policy with no reward between."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any, cast

import gymnasium as gym
import numpy as np
import torch
import torch.nn.functional as F
from stable_baselines3 import PPO
from stable_baselines3.common.distributions import Distribution, kl_divergence
from stable_baselines3.common.on_policy_algorithm import OnPolicyAlgorithm
from stable_baselines3.common.vec_env import VecEnv
from torch import Tensor

from rltrainer.config import CPL as Settings
from rltrainer.config import Config
from rltrainer.core import Array, Comparison, UserError
from rltrainer.fancy import is_black_box_id
from rltrainer.methods.judged import Judged, log_probability, unflattened
from rltrainer.methods.ppo import rollout_steps, scale_noise

BATCH = 32
EPOCHS = 10
MAX_KL = 0.05
KL_ROWS = 512
MAX_GRADIENT = 0.5
ENTROPY = 0.0


def contrastive_loss(advantages: Tensor, target: Tensor, bias: float) -> Tensor:
    """Cross-entropy of the answers under P(first) = σ(A₁ − λ A₂), and σ(A₂ − λ A₁) for the second (Hejna et al. 2023, eq. 6).

    advantages: A of both segments, [B, 2]; target: P(first is better), [B]; bias: λ, below 1 prefers what was seen
    """
    first, second = advantages.unbind(dim=1)
    return -(target * F.logsigmoid(first - bias * second) + (1 - target) * F.logsigmoid(second - bias * first)).mean()


class CPL(OnPolicyAlgorithm):
    """x"""

    policy_aliases = PPO.policy_aliases

    def __init__(self, policy: str, env: VecEnv, settings: Settings, n_steps: int, seed: int | None, **policy_kwargs: Any) -> None:
        super().__init__(
            policy,
            env,
            learning_rate=settings.learning_rate,
            n_steps=n_steps,
            gamma=0.0,
            gae_lambda=0.0,
            ent_coef=ENTROPY,
            vf_coef=0.0,
            max_grad_norm=MAX_GRADIENT,
            use_sde=False,
            sde_sample_freq=-1,
            policy_kwargs=policy_kwargs,
            seed=seed,
            device="cpu",
            supported_action_spaces=(gym.spaces.Box, gym.spaces.Discrete),
        )
        self.settings = settings
        self.comparisons: Callable[[], Sequence[Comparison]] = list
        self._references: dict[str, Array] = {}
        self._rng = np.random.default_rng(seed)

    def train(self) -> None:
        """A bounded number of gradient steps on all comparisons so far, fewer where the policy has moved far enough."""
        comparisons = self.comparisons()
        if not comparisons:
            return
        self.policy.set_training_mode(True)
        self._refer(comparisons)
        seen = next(self.rollout_buffer.get(KL_ROWS)).observations
        with torch.no_grad():
            before = self.policy.get_distribution(cast(Any, seen))
        facts = []
        for indices in self._minibatches(len(comparisons)):
            facts.append(self._descend(Judged.of([comparisons[i] for i in indices], self._references)))
            with torch.no_grad():
                kl = float(_kl(before, self.policy.get_distribution(cast(Any, seen))))
            if kl > MAX_KL:
                break
        for name, value in zip(("loss", "cloning_loss", "agreement"), np.mean(facts, axis=0), strict=True):
            self.logger.record(f"cpl/{name}", float(value))
        self.logger.record("cpl/kl", kl)
        self.logger.record("cpl/steps", len(facts))
        self.logger.record("cpl/comparisons", len(comparisons))
        if hasattr(self.policy, "log_std"):
            self.logger.record("cpl/std", float(self.policy.log_std.exp().mean()))

    def _refer(self, comparisons: Sequence[Comparison]) -> None:
        for comparison in comparisons:
            for segment in (comparison.first, comparison.second):
                if segment.id not in self._references:
                    with torch.no_grad():
                        _, found = self._act(segment.observations[:-1], segment.actions)
                    self._references[segment.id] = found.numpy()

    def _act(self, observations: Array, actions: Array) -> tuple[Distribution, Tensor]:
        """raw flattened observations"""
        env = self.get_env()
        raw = unflattened(env.observation_space if False else _space(env), observations)
        scaled = self.get_vec_normalize_env()
        if scaled is not None:
            raw = scaled.normalize_obs(raw)
        distribution = self.policy.get_distribution(self.policy.obs_to_tensor(raw)[0])
        return distribution, log_probability(distribution, actions, self.action_space)

    def _minibatches(self, count: int) -> list[Array]:
        parts = math.ceil(count / BATCH)
        return [part for _ in range(EPOCHS) for part in np.array_split(self._rng.permutation(count), parts)]

    def _descend(self, judged: Judged) -> tuple[float, float, float]:
        distribution, found = self._act(judged.observations, judged.actions)
        advantages = self.settings.alpha * judged.sums(found - torch.from_numpy(judged.reference))  # [B, 2]
        contrast = contrastive_loss(advantages, judged.target, self.settings.bias)
        weights = torch.stack((judged.target, 1 - judged.target), dim=1).flatten()[judged.side]
        cloning = -(weights * found).sum() / weights.sum().clamp(min=1)
        loss = contrast + self.settings.cloning * cloning
        if ENTROPY:
            loss = loss - ENTROPY * distribution.entropy().mean()
        self.policy.optimizer.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(self.policy.parameters(), self.max_grad_norm)
        self.policy.optimizer.step()
        with torch.no_grad():
            decided = judged.target != 0.5
            agree = ((advantages[:, 0] > advantages[:, 1]) == (judged.target > 0.5))[decided].float().mean() if decided.any() else torch.tensor(0.5)
        return float(contrast), float(cloning), float(agree)


def _kl(before: Distribution, after: Distribution) -> Tensor:
    kl = kl_divergence(before, after)
    return kl.flatten(1).sum(dim=1).mean() if kl.dim() > 1 else kl.mean()


def _space(env: VecEnv) -> gym.Space[Any]:
    return env.unwrapped.observation_space


def make_cpl(env: VecEnv, config: Config, seed: int | None) -> CPL:
    check_cpl(config, env.action_space)
    options: dict[str, Any] = {"net_arch": {"pi": [64, 64], "vf": []}}
    if isinstance(env.action_space, gym.spaces.Box):
        options["log_std_init"] = config.ppo.log_std_init
    policy = "MultiInputPolicy" if isinstance(env.observation_space, gym.spaces.Dict) else "MlpPolicy"
    model = CPL(policy, env, config.cpl, rollout_steps(config), seed, **options)
    scale_noise(model.policy, env.action_space)
    return model


def check_cpl(config: Config, action_space: gym.Space[Any]) -> None:
    """Raises UserError for envs whose segments hold other actions than the policy's."""
    if is_black_box_id(config.env):
        raise UserError("x")
