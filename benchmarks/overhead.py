"""What learning the reward costs PPO: env steps a second over plain PPO's on the env's own reward.

HalfCheetah-v5 with 8 envs and the same PPO settings in both arms, which take turns: a rollout and its optimisation of one,
then of the other, so that a machine that slows down slows both. The learned arm does all that `rltrainer train --labeler
oracle` does: three nets a step, recording, querying through the store, refits. Its random warm-up, which plain PPO has none of
and which is quicker than PPO, is left out of both its steps and its seconds; the labels asked in it are learned from
within the measured time.
"""

from __future__ import annotations

import statistics
import threading
import time
from collections.abc import Callable
from typing import Any

import torch
from stable_baselines3.common.callbacks import BaseCallback

from benchmarks import reporting
from rltrainer.config import Config
from rltrainer.loop import PreferenceLoop
from rltrainer.methods import PreferenceCallback, make_ppo
from rltrainer.training import make_vec_env, normalised
from rltrainer.wrapper import PreferenceRewardVecWrapper

TARGET = 0.95


class Turn(BaseCallback):
    """One arm's side of taking turns: it runs from one rollout's start to the next, and then lets the other arm run."""

    def __init__(self) -> None:
        super().__init__()
        self.mine = threading.Semaphore(0)
        self.other: Turn
        self.steps: list[int] = []
        self.wall: list[float] = []
        self.cpu: list[float] = []
        self._began = (0, 0.0, 0.0)

    def take(self) -> None:
        """Wait until the other arm has let go."""
        self.mine.acquire()
        self._began = (0 if self.model is None else self.num_timesteps, time.perf_counter(), time.process_time())

    def let_go(self) -> None:
        """Note what was done, and let the other arm run."""
        steps, wall, cpu = self._began
        self.wall.append(time.perf_counter() - wall)
        self.cpu.append(time.process_time() - cpu)
        self.steps.append(self.model.num_timesteps - steps)
        self.other.mine.release()

    def _on_step(self) -> bool:
        return True

    def _on_rollout_start(self) -> None:
        self.let_go()
        self.take()

    def rate(self, clock: str) -> float:
        """Env steps a second."""
        return float(sum(self.steps) / sum(getattr(self, clock)))


def plain(config: Config, turn: Turn) -> Callable[[], object]:
    """PPO on the env's own reward, ready to learn."""
    model = make_ppo(normalised(make_vec_env(config, config.seed), config), config, config.seed)
    turn.init_callback(model)
    return lambda: model.learn(config.steps, callback=turn)


def learned(config: Config, turn: Turn) -> Callable[[], object]:
    """PPO on the learned reward, after its warm-up."""
    venv = PreferenceRewardVecWrapper(make_vec_env(config, config.seed), config.segments.recent_steps)
    loop = PreferenceLoop(venv, config)
    model = make_ppo(normalised(venv, config), config, config.seed)
    loop.warm_up(model.get_env(), fit=False)
    turn.init_callback(model)

    def learn() -> None:
        loop.update()
        model.learn(config.steps, callback=[PreferenceCallback(loop), turn])
        print(f"{loop.progress().labels} labels, {loop.progress().reward_version} refits", flush=True)
        loop.close()

    return learn


def pair(config: Config) -> dict[str, Turn]:
    """Both arms, in turns."""
    turns = {"plain": Turn(), "learned": Turn()}
    turns["plain"].other, turns["learned"].other = turns["learned"], turns["plain"]
    arms = {"plain": plain(config, turns["plain"]), "learned": learned(config, turns["learned"])}
    threads = [threading.Thread(target=_run, args=(arms[name], turns[name])) for name in arms]
    for thread in threads:
        thread.start()
    turns["plain" if config.seed % 2 == 0 else "learned"].mine.release()
    for thread in threads:
        thread.join()
    return turns


def _run(learn: Callable[[], object], turn: Turn) -> None:
    torch.set_num_threads(1)  # a new thread begins with as many as there are cores
    turn.take()
    learn()
    turn.let_go()
    turn.other.mine.release(1000)  # the other arm may need no more turns from here


def main() -> None:
    """The command."""
    options = reporting.flags(__doc__)
    options.add_argument("--steps", type=int, default=100_000)
    options.add_argument("--pairs", type=int, default=5, help="runs of each arm")
    options.add_argument("--labels", type=int, default=50)
    chosen = options.parse_args()
    if chosen.quick:
        chosen.steps, chosen.labels, chosen.pairs = 30_000, 15, 2
    torch.set_num_threads(1)
    raw: list[dict[str, Any]] = []
    ratios: dict[str, list[float]] = {"wall": [], "cpu": []}
    plain_rates: list[float] = []
    for seed in range(chosen.pairs):
        turns = pair(Config(steps=chosen.steps, labels=chosen.labels, labeler="oracle", seed=seed))
        raw.append({"seed": seed})
        for name, turn in turns.items():
            raw[-1][name] = {"steps": turn.steps, "wall": _rounded(turn.wall), "cpu": _rounded(turn.cpu)}
        for clock, found in ratios.items():
            found.append(turns["learned"].rate(clock) / turns["plain"].rate(clock))
        plain_rates.append(turns["plain"].rate("cpu"))
        print(f"seed {seed}: {ratios['wall'][-1]:.3f}", flush=True)
    figures: dict[str, Any] = {}
    for clock, found in ratios.items():
        figures[f"steps/s over plain PPO's ({clock}), median"] = statistics.median(found)
        figures[f"steps/s over plain PPO's ({clock}), all"] = _rounded(found)
    figures["plain steps per CPU second"] = statistics.median(plain_rates)
    figures["target"] = TARGET
    reporting.write(chosen.json, figures, raw)


def _rounded(values: list[float]) -> list[float]:
    return [round(value, 4) for value in values]


if __name__ == "__main__":
    main()
