"""What learning the reward costs PPO: env steps a second over plain PPO's on the env's own reward.

HalfCheetah-v5 with 8 envs, the same PPO settings in both arms, in alternation within one run. The learned arm does all that
`rltrainer train --labeler oracle` does: three nets a step, recording, querying through the store, refits. Its random warm-up,
which plain PPO has none of and which is quicker than PPO, is left out of both its steps and its seconds; the labels
asked in it are learned from within the measured time.
"""

from __future__ import annotations

import statistics
import time
from typing import Any

import torch

from benchmarks import reporting
from rltrainer.config import Config
from rltrainer.loop import PreferenceLoop
from rltrainer.methods import PreferenceCallback, make_ppo
from rltrainer.training import make_vec_env, normalised
from rltrainer.wrapper import PreferenceRewardVecWrapper

TARGET = 0.95


def plain(config: Config) -> dict[str, float]:
    """PPO on the env's own reward."""
    model = make_ppo(normalised(make_vec_env(config, config.seed), config), config, config.seed)
    return _timed(config, lambda: model.learn(config.steps), model)


def learned(config: Config) -> dict[str, float]:
    """PPO on the learned reward."""
    venv = PreferenceRewardVecWrapper(make_vec_env(config, config.seed), config.segments.recent_steps)
    loop = PreferenceLoop(venv, config)
    model = make_ppo(normalised(venv, config), config, config.seed)
    loop.warm_up(model.get_env(), fit=False)

    def learn() -> None:
        loop.update()
        model.learn(config.steps, callback=PreferenceCallback(loop))

    figures = _timed(config, learn, model)
    figures["labels"] = loop.progress().labels
    figures["refits"] = loop.progress().reward_version
    loop.close()
    return figures


def _timed(config: Config, learn: Any, model: Any) -> dict[str, float]:
    wall, cpu = time.perf_counter(), time.process_time()
    learn()
    wall, cpu = time.perf_counter() - wall, time.process_time() - cpu
    return {"steps": model.num_timesteps, "wall": wall, "cpu": cpu}


def main() -> None:
    """The command."""
    options = reporting.flags(__doc__)
    options.add_argument("--steps", type=int, default=100_000)
    options.add_argument("--pairs", type=int, default=5, help="runs of each arm")
    options.add_argument("--labels", type=int, default=50)
    chosen = options.parse_args()
    if chosen.quick:
        chosen.steps, chosen.pairs = 30_000, 2
    torch.set_num_threads(1)
    raw: list[dict[str, Any]] = []
    for seed in range(chosen.pairs):
        config = Config(steps=chosen.steps, labels=chosen.labels, labeler="oracle", seed=seed)
        arms = {"plain": plain, "learned": learned}
        order = list(arms) if seed % 2 == 0 else list(arms)[::-1]
        raw.append({"seed": seed} | {name: arms[name](config) for name in order})
        print(raw[-1], flush=True)
    figures: dict[str, Any] = {}
    for clock in ("wall", "cpu"):
        ratios = [_rate(pair["learned"], clock) / _rate(pair["plain"], clock) for pair in raw]
        figures[f"steps/s over plain PPO's ({clock}), median"] = statistics.median(ratios)
        figures[f"steps/s over plain PPO's ({clock}), all"] = [round(ratio, 3) for ratio in ratios]
    figures["plain steps per CPU second"] = statistics.median(_rate(pair["plain"], "cpu") for pair in raw)
    figures["target"] = TARGET
    reporting.write(chosen.json, figures, raw)


def _rate(arm: dict[str, float], clock: str) -> float:
    return arm["steps"] / arm[clock]


if __name__ == "__main__":
    main()
