"""What is compared: the envs with their PPO settings, and the arms. Add one: a line in its table."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from benchmarks import reporting
from rltrainer.config import Config


@dataclass(frozen=True)
class Task:
    """An env with what every arm gets in it alike: env steps and settings."""

    env: str
    steps: int = 200_000
    settings: Mapping[str, Any] = field(default_factory=dict)


RL_ZOO3_SWIMMER = {
    "n_envs": 4,
    "ppo.n_steps": 1024,
    "ppo.gamma": 0.9999,
    "ppo.gae_lambda": 0.98,
    "ppo.log_std_init": 0,
}
"""With the defaults' gamma of 0.98 Swimmer is not solved on its own reward either."""

TASKS = {
    "Pendulum-v1": Task("Pendulum-v1"),
    "CartPole-v1": Task("CartPole-v1", 100_000),
    "CartPole-v1-fixed-horizon": Task("CartPole-v1", 100_000, {"env_options": {"fixed_horizon": True}}),
    "HalfCheetah-v5": Task("HalfCheetah-v5"),
    "Swimmer-v5": Task("Swimmer-v5", settings=RL_ZOO3_SWIMMER),
    "Hopper-v5": Task("Hopper-v5"),
    "fancy/Reacher5d-v0": Task("fancy/Reacher5d-v0"),
}
"""Hopper and CartPole end early, as Gymnasium has it, for training and for the score; the fixed horizon is the other way."""


@dataclass(frozen=True)
class Arm:
    """A way to train. `budget` of None: one run for every label budget; a number: labels have no part in it.

    trainer: the module, with its command, that takes the settings as flags
    """

    settings: Mapping[str, Any]
    what: str
    budget: int | None = None
    headline: bool = False
    trainer: tuple[str, ...] = ("rltrainer", "train")

    @property
    def ours(self) -> bool:
        """Whether it is rltrainer that trains."""
        return self.trainer == Arm.trainer


TRUE, CHANCE, DEFAULT = "true_reward", "random_policy", "disagreement"
IMITATED = ("benchmarks.imitated",)

ARMS = {
    TRUE: Arm({"labeler": "none"}, "PPO on the env's own reward: score 1", 0, headline=True),
    CHANCE: Arm({}, "actions drawn uniformly: score 0", 0, headline=True),
    DEFAULT: Arm({}, "rltrainer as it stands", headline=True),
    "uniform": Arm({"queries.strategy": "uniform"}, "pairs drawn at random"),
    "near_on_policy": Arm({"queries.strategy": "near_on_policy"}, "pairs of the newest policy, at random (QPA)"),
    "information_gain": Arm({"queries.strategy": "information_gain"}, "pairs whose answer tells most (BALD)"),
    "random_labels": Arm({"teacher.mistake": 0.5}, "every answer a coin's: what is learned without information"),
    "constant_reward": Arm(
        {"reward.learner": "benchmarks.constant:ConstantLearner", "labels": 10}, "1 a step, whatever the labels say", 0
    ),
    "mistakes_0.1": Arm({"teacher.mistake": 0.1}, "one preference in ten turned round"),
    "mistakes_0.3": Arm({"teacher.mistake": 0.3}, "three preferences in ten turned round"),
    "sac": Arm({"method": "sac"}, "SAC in PPO's place, its replay buffer paid anew at each refit"),
    "cpl": Arm({"method": "cpl"}, "a policy from the labels themselves (contrastive preference learning)"),
    "imitation": Arm(
        {"teacher.beta": 1},
        "imitation's preference_comparisons with its own oracle, right with probability sigmoid(difference of returns)",
        headline=True,
        trainer=IMITATED,
    ),
    "imitation_exact": Arm({}, "the same with an oracle that is always right, as ours is", headline=True, trainer=IMITATED),
}
PEERS = [name for name, arm in ARMS.items() if not arm.ours]
METHODS = [name for name, arm in ARMS.items() if "method" in arm.settings]
STANDARD = [name for name in ARMS if not name.startswith("mistakes") and name not in [*PEERS, *METHODS]]
BUDGETS = [25, 50, 100, 200, 350, 700]


@dataclass(frozen=True)
class Job:
    """One run."""

    env: str
    arm: str
    labels: int
    steps: int
    seed: int

    @property
    def settings(self) -> dict[str, Any]:
        """All that is set for it, by the dotted names of the config."""
        task = task_of(self.env)
        shared = {"env": task.env, "labeler": "oracle", "labels": self.labels, "steps": self.steps, "seed": self.seed}
        return shared | dict(task.settings) | dict(ARMS[self.arm].settings)

    def check(self) -> None:
        """Raises UserError where the config refuses its settings, or its trainer is missing."""
        if not ARMS[self.arm].ours:
            reporting.require_imitation()
        if self.arm != CHANCE:
            Config().but(self.settings, where=f"{self.arm} in {self.env}")


def task_of(name: str) -> Task:
    """The env of that name in the table, or any other at the defaults."""
    return TASKS.get(name) or Task(name)


def jobs(envs: list[str], arms: list[str], budgets: list[int], seeds: list[int], steps: int | None = None) -> list[Job]:
    """Every run of a benchmark, those of the headline first and seed by seed, so that what is there early says something.

    steps: instead of each env's own number
    """
    wanted = [
        Job(env, arm, labels, steps or task_of(env).steps if arm != CHANCE else 0, seed)
        for env in envs
        for arm in dict.fromkeys([TRUE, CHANCE, *arms])
        for labels in (budgets if ARMS[arm].budget is None else [0])
        for seed in (seeds if arm != CHANCE else [0])
    ]
    return sorted(dict.fromkeys(wanted), key=lambda job: (not ARMS[job.arm].headline, job.seed if job.arm != CHANCE else -1))
