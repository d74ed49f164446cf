"""One run of imitation's preference_comparisons, with the flags of `rltrainer train`: the peer's side of benchmarks.peers.

Env, seeds, PPO with its running scales, labels and env steps are what ours gets. All else is imitation's, as its own command
line `train_preference_comparisons` has it, but for two things. Its 5 iterations ("arbitrary", it says) are as many as its
tutorial's 60 where the run is long enough: an iteration in which no episode ends has it play whole ones for nothing but
questions. And it counts the steps of learning alone, so here it learns for what those questions leave of the steps.
Its PPO has no pull of actions to the middle, which is a part of how ours learns from a learned reward.
"""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

import click
import numpy as np
import torch
from stable_baselines3.common.vec_env import VecEnv, VecEnvWrapper
from stable_baselines3.common.vec_env.base_vec_env import VecEnvObs, VecEnvStepReturn
from threadpoolctl import threadpool_limits  # type: ignore[import-untyped]  # it has no types

from benchmarks import reporting
from benchmarks.runs import COUNTS
from rltrainer.checkpoint import RunFolder
from rltrainer.cli import SettingsCommand, changed
from rltrainer.config import Config
from rltrainer.core import UserError
from rltrainer.envs import episode_limit, make_env
from rltrainer.methods.ppo import make_ppo, rollout_steps
from rltrainer.seeds import Seeds, number
from rltrainer.training import make_vec_env, normalised, resolved

FRAGMENT = 100
FIRST_SHARE = 0.1
EPOCHS = 3
MOST_ITERATIONS = 60


class Counted(VecEnvWrapper):
    """Counts every step of every env, whoever takes it and for whatever."""

    def __init__(self, venv: VecEnv) -> None:
        super().__init__(venv)
        self.steps = 0

    def reset(self) -> VecEnvObs:
        return self.venv.reset()

    def step_wait(self) -> VecEnvStepReturn:
        taken = self.venv.step_wait()
        self.steps += self.num_envs
        return taken


class Paced:
    """imitation's trajectory generator, which learns for equal shares of the env steps that are left.

    Whole rollouts each time, the last of which reaches the number, as that of ours does.
    """

    def __init__(self, generator: Any, counted: Counted, steps: int, shares: int, rollout: int) -> None:
        self._generator, self._counted = generator, counted
        self._steps, self._shares, self._rollout = steps, shares, rollout

    @property
    def logger(self) -> Any:
        return self._generator.logger

    @logger.setter
    def logger(self, logger: Any) -> None:
        self._generator.logger = logger

    def sample(self, steps: int) -> Any:
        return self._generator.sample(steps)

    def train(self, steps: int) -> None:
        """A share of what is left, whatever number is asked for."""
        left = max(0, self._steps - self._counted.steps) / self._rollout
        rollouts = math.ceil(left) if self._shares == 1 else round(left / self._shares)
        self._shares -= 1
        if rollouts:
            self._generator.train(rollouts * self._rollout)


def first_share(config: Config) -> float:
    """The share of the labels that is asked for before training: imitation cannot do without a single one."""
    return max(FIRST_SHARE, 1 / max(1, config.labels))


def iterations(config: Config, longest: int) -> int:
    """How often labels are asked for after the first: two at a time or more, and an episode of each env ends in between.

    longest: steps of an episode
    """
    rollout = rollout_steps(config) * config.n_envs
    least = math.ceil(longest * config.n_envs / rollout) * rollout
    later = config.labels - int(config.labels * first_share(config))
    fitting = (config.steps - longest * config.n_envs) // least - 1
    return max(1, min(MOST_ITERATIONS, later // 2, fitting))


def train(config: Config, folder: RunFolder) -> dict[str, int]:
    """Train, save the policy, and give what was counted: labels and env steps."""
    from imitation.algorithms import preference_comparisons as pc
    from imitation.rewards.reward_nets import BasicRewardNet, NormalizedRewardNet
    from imitation.util.logger import configure
    from imitation.util.networks import RunningNorm

    seeds = Seeds.of(config.seed)
    rng = np.random.default_rng(seeds.learner)
    told = {"custom_logger": configure(folder.logs, [])}
    env = make_env(config.env, config.env_options)
    longest = episode_limit(env) or FRAGMENT
    env.close()

    counted = Counted(make_vec_env(config, number(seeds.envs)))
    model = make_ppo(normalised(counted, config), config.but({"labeler": "none"}), number(seeds.policy))  # no pull
    plain = BasicRewardNet(counted.observation_space, counted.action_space, normalize_input_layer=RunningNorm)
    net = NormalizedRewardNet(plain, RunningNorm)
    generator = pc.AgentTrainer(model, net, counted, rng, **told)
    model.set_env(normalised(generator.venv, config))  # the scales stand around the learned reward, as ours do
    count = iterations(config, longest)
    learning = pc.PreferenceComparisons(
        Paced(generator, counted, config.steps, count + 1, rollout_steps(config) * config.n_envs),
        net,
        num_iterations=count,
        fragmenter=pc.RandomFragmenter(rng, warning_threshold=0, **told),
        preference_gatherer=pc.SyntheticGatherer(_temperature(config), rng=rng, **told),
        reward_trainer=pc.BasicRewardTrainer(pc.PreferenceModel(net), pc.CrossEntropyRewardLoss(), rng, epochs=EPOCHS, **told),
        fragment_length=min(FRAGMENT, longest),
        initial_comparison_frac=first_share(config),
        allow_variable_horizon=True,
        **told,
    )
    learning.train(config.steps, config.labels)
    folder.save_policy(model)
    counted.close()
    return {"labels_given": len(learning.dataset), "env_steps": counted.steps}


def _temperature(config: Config) -> float:
    """Its oracle's; 0 never errs."""
    beta = config.teacher.beta
    if beta == 0:
        raise UserError("teacher.beta is 0, a coin, which imitation's oracle has no temperature for; set more")
    return 0.0 if beta is None else 1 / beta


@click.command(cls=SettingsCommand)
@click.option("--run", "run", type=click.Path(path_type=Path), required=True, help="folder for the run")
def main(run: Path, **flags: str | None) -> None:
    """Train with imitation in place of ours; `rltrainer evaluate RUN` plays the result."""
    reporting.require_imitation()
    torch.set_num_threads(1)
    threadpool_limits(1)
    config = resolved(changed(Config(), flags), run)
    folder = RunFolder.create(run, config)
    folder.write(COUNTS, json.dumps(train(config, folder)).encode())


if __name__ == "__main__":
    reporting.run(main)
