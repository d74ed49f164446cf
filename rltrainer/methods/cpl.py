"""Contrastive preference learning (Hejna et al. 2023), online: from labelled segments to a policy with no reward between."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any, NoReturn, cast

import gymnasium as gym
import numpy as np
import torch
import torch.nn.functional as F
from stable_baselines3 import PPO
from stable_baselines3.common.on_policy_algorithm import OnPolicyAlgorithm
from stable_baselines3.common.vec_env import VecEnv
from torch import Tensor
from torch.distributions import kl_divergence

from rltrainer.config import Config
from rltrainer.core import Array, Comparison, UserError
from rltrainer.fancy import is_black_box_id
from rltrainer.memory import within
from rltrainer.methods.judged import Judged, log_probability, unflattened
from rltrainer.methods.ppo import actor, rollout_steps, scale_noise
from rltrainer.methods.quick import quicken
from rltrainer.seeds import generator_state, restore_generator

BATCH = 32
EPOCHS = 2
"""Passes over all comparisons after each rollout. With ten it foretold 98% of its answers on CartPole, and acted no better."""
MAX_KL = 0.05
"""In nats a step: the passes end where the policy has moved this far from the one that acted, on which labels say most."""
SEEN = 512
"""Observations of the last rollout on which that is measured."""
MAX_GRADIENT = 0.5


def contrastive_loss(advantages: Tensor, target: Tensor) -> Tensor:
    """Cross-entropy of the answers under P(first is better) = σ(A₁ − A₂) (Hejna et al. 2023, eq. 5).

    advantages: A = α Σ (log π(a|s) − log π_b(a|s)) of both segments, π_b being the policy of the time of the answer, [B, 2]
    target:     P(first is better), [B]

    The paper's λ is 1 here: below 1 it also favours what was done in the worse segment, and offline that keeps the policy to
    what was seen. Online that is seen to by π_b, by cloning and by `MAX_KL`, and λ = 0.5 kept CartPole from learning.
    """
    first, second = advantages.unbind(dim=1)
    return F.binary_cross_entropy_with_logits(first - second, target)


class CPL(OnPolicyAlgorithm):
    """After each rollout the policy learns from all comparisons so far; a rollout is only something to ask about.

    comparisons: gives what the labels teach; `DirectCallback` sets it to the loop's
    """

    policy_aliases = PPO.policy_aliases

    def __init__(self, policy: str, env: VecEnv, config: Config, seed: int | None, policy_kwargs: dict[str, Any]) -> None:
        super().__init__(
            policy,
            env,
            learning_rate=config.cpl.learning_rate,
            n_steps=rollout_steps(config),
            gamma=0.0,
            gae_lambda=0.0,
            ent_coef=0.0,
            vf_coef=0.0,
            max_grad_norm=MAX_GRADIENT,
            use_sde=False,
            sde_sample_freq=-1,
            policy_kwargs=policy_kwargs,
            seed=seed,
            device="cpu",
            supported_action_spaces=(gym.spaces.Box, gym.spaces.Discrete),
        )
        self.settings = config.cpl
        self.comparisons: Callable[[], Sequence[Comparison]] = list
        self._references: dict[str, Array] = {}
        self._rng = np.random.default_rng(seed)

    def state(self) -> dict[str, Array]:
        """What it remembers beside its policy, as named arrays: how likely segments were at first, and its generator."""
        return {f"references.{name}": found for name, found in self._references.items()} | {"rng": generator_state(self._rng)}

    def restore(self, state: Mapping[str, Array]) -> None:
        """The inverse of `state`."""
        self._references = within(state, "references")
        restore_generator(self._rng, state["rng"])

    def train(self) -> None:
        """`EPOCHS` passes over all comparisons so far, fewer where the policy has moved far enough."""
        comparisons = self.comparisons()
        if not comparisons:
            return
        self.policy.set_training_mode(True)
        self._refer(comparisons)
        seen = next(self.rollout_buffer.get(SEEN)).observations
        before = self._action_distribution(seen)
        facts = []
        for indices in self._minibatches(len(comparisons)):
            facts.append(self._descend(Judged.of([comparisons[i] for i in indices], self._references)))
            kl = divergence(before, self._action_distribution(seen))
            if kl > MAX_KL:
                break
        self._record(np.mean(facts, axis=0), {"kl": kl, "steps": len(facts), "comparisons": len(comparisons)})

    def _refer(self, comparisons: Sequence[Comparison]) -> None:
        """Keep how likely the policy of now finds the steps of segments that are new."""
        for segment in (segment for comparison in comparisons for segment in (comparison.first, comparison.second)):
            if segment.id not in self._references:
                with torch.no_grad():
                    self._references[segment.id] = self._log_probability(segment.observations[:-1], segment.actions).numpy()

    def _minibatches(self, count: int) -> list[Array]:
        """Indices of the comparisons in each gradient step."""
        parts = math.ceil(count / BATCH)
        return [part for _ in range(EPOCHS) for part in np.array_split(self._rng.permutation(count), parts)]

    def _descend(self, judged: Judged) -> tuple[float, float, float]:
        """One gradient step. Gives the contrastive loss, the cloning loss, and the share of preferences foretold."""
        found = self._log_probability(judged.observations, judged.actions)  # [R]
        advantages = self.settings.alpha * judged.sums(found - torch.from_numpy(judged.reference))  # [B, 2]
        contrast = contrastive_loss(advantages, judged.target)
        cloning = judged.cloned(found)
        self.policy.optimizer.zero_grad()
        (contrast + self.settings.cloning * cloning).backward()  # type: ignore[no-untyped-call]
        torch.nn.utils.clip_grad_norm_(self.policy.parameters(), self.max_grad_norm)
        self.policy.optimizer.step()
        return contrast.item(), cloning.item(), judged.agreement(advantages.detach())

    def _log_probability(self, observations: Array, actions: Array) -> Tensor:
        """The log π(a|s), [R], of raw flattened observations [R, O] and actions as the env got them [R, *A]."""
        env, scale = self.get_env(), self.get_vec_normalize_env()
        assert env is not None  # a model that learns has one
        raw = unflattened(env.unwrapped.observation_space, observations)
        shown = self.policy.obs_to_tensor(raw if scale is None else scale.normalize_obs(raw))[0]
        return log_probability(self.policy.get_distribution(shown), actions, self.action_space)

    def _action_distribution(self, observations: Any) -> torch.distributions.Distribution:
        """PyTorch's own: SB3's is one object, in which the next call puts the next policy."""
        with torch.no_grad():
            return cast(Any, self.policy.get_distribution(observations)).distribution  # type: ignore[no-any-return]

    def _record(self, means: Array, facts: dict[str, float]) -> None:
        """To the log, under `cpl/`."""
        facts |= dict(zip(("loss", "cloning_loss", "agreement"), means.tolist(), strict=True))
        if hasattr(self.policy, "log_std"):
            facts["std"] = self.policy.log_std.exp().mean().item()
        for name, value in facts.items():
            self.logger.record(f"cpl/{name}", value)


def divergence(before: torch.distributions.Distribution, after: torch.distributions.Distribution) -> float:
    """KL(before ‖ after), the mean over N distributions of an action or of the independent parts of one."""
    kl = kl_divergence(before, after)  # [N], or [N, A]
    return float(kl.sum() / len(kl))


def make_cpl(env: VecEnv, config: Config, seed: int | None) -> CPL:
    """An untrained CPL with the settings of the config's `cpl` section. Raises UserError as `check_cpl` does."""
    check_cpl(config)
    policy, options = actor(env, config)
    options |= {"optimizer_kwargs": {"fused": True}, "net_arch": {"pi": [64, 64], "vf": []}}
    model = CPL(policy, env, config, seed, options)
    quicken(model.policy)
    scale_noise(model.policy, env.action_space)
    return model


def check_cpl(config: Config) -> None:
    """Raises UserError where there are no labels to learn from, or where they speak of other actions than the policy's."""
    if not config.learns_reward:
        _refuse(config, "learns from labels alone, and labeler is 'none'; set labeler to browser or oracle, or labels_from")
    if is_black_box_id(config.env):
        _refuse(
            config,
            f"learns from single steps, and an action of {config.env!r} is a whole trajectory of them; "
            "set method to ppo, or choose another env",
        )


def _refuse(config: Config, why: str) -> NoReturn:
    raise UserError(f"method is {config.method!r}, which {why}")
