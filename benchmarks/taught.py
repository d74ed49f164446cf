"""What agents learn from judges who remember: the judges of `benchmarks.history`, answering while PPO trains.

Each run has the default settings and as many labels; what is compared is what the judge makes of clips of the final policy,
and their true return beside it.
"""

from __future__ import annotations

import sys
from statistics import mean
from typing import Any

import numpy as np
import torch
from stable_baselines3 import PPO
from stable_baselines3.common.vec_env import VecNormalize

from benchmarks import reporting
from benchmarks.history import JUDGES, LEARNERS, MOMENT
from rltrainer import Config, PreferenceCallback, PreferenceLoop, PreferenceRewardVecWrapper
from rltrainer.core import Answer, Array, Segment, Verdict
from rltrainer.envs import make_env
from rltrainer.methods.ppo import make_ppo
from rltrainer.training import make_vec_env, normalised

JUDGE = "the best moment and the end"
LABELS, STEPS, EPISODES, FIRST_SEED = 100, 100_000, 20, 10_000


class Judge:
    """A teacher who judges as one of `JUDGES`."""

    def __init__(self, name: str) -> None:
        self._worth = JUDGES[name]

    def __call__(self, first: Segment, second: Segment, rng: np.random.Generator) -> Answer:
        if min(len(first.env_rewards), len(second.env_rewards)) < MOMENT:
            return Answer(Verdict.SKIP)
        lead = self._worth(first.env_rewards) - self._worth(second.env_rewards)
        return Answer(Verdict.PREFER, (first if lead > 0 else second).id) if lead else Answer(Verdict.EQUAL)


def measured(env: str, judge: str, learner: str, seed: int, steps: int) -> dict[str, Any]:
    """One run, and what its policy does."""
    settings = {"env": env, "seed": seed, "labels": LABELS, "steps": steps, "labeler": "oracle", "reward.learner": learner}
    config = Config().but(settings)
    venv = PreferenceRewardVecWrapper(make_vec_env(config, seed), config.segments.recent_steps)
    loop = PreferenceLoop(venv, config, teacher=Judge(judge))
    scaled = normalised(venv, config)
    model = make_ppo(scaled, config, seed)
    model.learn(steps, callback=PreferenceCallback(loop))
    played = [_played(model, scaled, env, FIRST_SEED + n) for n in range(EPISODES)]
    loop.close()
    length = loop.segment_steps
    clips = [rewards[begin : begin + length] for rewards in played for begin in range(0, len(rewards) - length + 1, length)]
    return {
        "env": env,
        "judge": judge,
        "learner": learner,
        "labels": LABELS,
        "steps": steps,
        "seed": seed,
        "judged": round(mean(JUDGES[judge](clip) for clip in clips), 3),
        "true_return": round(mean(float(rewards.sum()) for rewards in played), 1),
    }


def _played(model: PPO, scaled: VecNormalize, name: str, seed: int) -> Array:
    """The true rewards of an episode, without exploration noise."""
    env = make_env(name)
    observation, _ = env.reset(seed=seed)
    rewards, over = [], False
    while not over:
        action, _ = model.predict(scaled.normalize_obs(observation), deterministic=True)
        observation, reward, terminated, truncated, _ = env.step(action)
        rewards.append(float(reward))
        over = terminated or truncated
    env.close()
    return np.array(rewards)


def table(rows: list[dict[str, Any]]) -> str:
    """Markdown, a line for each seed: what the judge makes of each learner's policy, and its true return."""
    lines = ["| env | judged by | seed | " + " | ".join(LEARNERS) + " |", "|---|---|---|" + "---|" * len(LEARNERS)]
    for group in dict.fromkeys((row["env"], row["judge"], row["seed"]) for row in rows):
        found = {row["learner"]: row for row in rows if (row["env"], row["judge"], row["seed"]) == group}
        cells = [f"{found[name]['judged']:.2f} ({found[name]['true_return']:.0f})" for name in LEARNERS]
        lines.append("| " + " | ".join([*map(str, group), *cells]) + " |")
    return "\n".join(lines)


def main() -> None:
    """The command."""
    options = reporting.flags(__doc__)
    options.add_argument("--envs", nargs="+", metavar="ENV", default=["Pendulum-v1"])
    options.add_argument("--judges", nargs="+", choices=JUDGES, default=[JUDGE])
    options.add_argument("--steps", type=int, default=STEPS)
    options.add_argument("--seeds", type=int, default=3)
    chosen = options.parse_args()
    if chosen.quick:
        chosen.steps, chosen.seeds = 8_000, 1
    torch.set_num_threads(1)
    rows = []
    for env, judge, seed in ((e, j, s) for e in chosen.envs for j in chosen.judges for s in range(chosen.seeds)):
        for learner in LEARNERS:
            rows.append(measured(env, judge, learner, seed, chosen.steps))
            print(f"{env}: {judge}, seed {seed}, {learner}: {rows[-1]['judged']:.2f}", file=sys.stderr)
    print(table(rows))
    reporting.write(chosen.json, {}, rows)


if __name__ == "__main__":
    reporting.run(main)
