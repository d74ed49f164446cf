"""What learning the reward costs PPO: env steps a second over those of PPO on the env's own reward.

Eight envs of one id and the same PPO settings in three arms, which take turns: a rollout and its optimisation of one,
then of the next, so that a machine that slows down slows all of them.

    sb3      PPO as Stable-Baselines3 has it: its own make_vec_env, Monitor and VecNormalize around the env
    none     `rltrainer train --labeler none`: envs that hand SB3 shorter infos to copy, and a PPO with its Adam in one kernel
    learned  `rltrainer train --labeler oracle`: a learned reward, recording, querying through the store, refits

The learned arm's random warm-up, which the others have none of and which is quicker than PPO, is left out of both its steps and
its seconds; the labels asked in it are learned from within the measured time.
"""

from __future__ import annotations

import statistics
import threading
import time
from collections import defaultdict
from collections.abc import Callable
from typing import Any

import torch
from stable_baselines3 import PPO
from stable_baselines3.common.callbacks import BaseCallback
from stable_baselines3.common.env_util import make_vec_env as sb3_envs
from stable_baselines3.common.vec_env import VecNormalize
from threadpoolctl import threadpool_limits  # type: ignore[import-untyped]  # it has no types

from benchmarks import reporting
from rltrainer.config import Config
from rltrainer.loop import PreferenceLoop
from rltrainer.methods import PreferenceCallback, make_ppo
from rltrainer.methods.ppo import ppo_settings
from rltrainer.training import make_vec_env, normalised
from rltrainer.wrapper import PreferenceRewardVecWrapper

TARGET = 0.95


class Turn(BaseCallback):
    """One arm's side of taking turns: it runs from one rollout's start to the next, and then lets the next arm run."""

    def __init__(self) -> None:
        super().__init__()
        self.mine = threading.Semaphore(0)
        self.next: Turn
        self.steps: list[int] = []
        self.wall: list[float] = []
        self.cpu: list[float] = []
        self._began = (0, 0.0, 0.0)

    def take(self) -> None:
        """Wait until the arm before has let go."""
        self.mine.acquire()
        self._began = (0 if self.model is None else self.num_timesteps, time.perf_counter(), time.process_time())

    def let_go(self) -> None:
        """Note what was done, and let the next arm run."""
        steps, wall, cpu = self._began
        self.wall.append(time.perf_counter() - wall)
        self.cpu.append(time.process_time() - cpu)
        self.steps.append(self.model.num_timesteps - steps)
        self.next.mine.release()

    def _on_step(self) -> bool:
        return True

    def _on_rollout_start(self) -> None:
        self.let_go()
        self.take()

    def rate(self, clock: str) -> float:
        """Env steps a second."""
        return float(sum(self.steps) / sum(getattr(self, clock)))


def sb3(config: Config, turn: Turn) -> Callable[[], object]:
    """PPO on the env's own reward with nothing of ours in it, ready to learn."""
    venv = VecNormalize(sb3_envs(config.env, config.n_envs, seed=config.seed), gamma=config.ppo.gamma)
    kept = {"log_std_init": config.ppo.log_std_init}
    settings = ppo_settings(config, config.n_envs)
    return _ready(PPO("MlpPolicy", venv, seed=config.seed, policy_kwargs=kept, device="cpu", **settings), config, turn)


def none(config: Config, turn: Turn) -> Callable[[], object]:
    """PPO on the env's own reward in our envs."""
    return _ready(make_ppo(normalised(make_vec_env(config, config.seed), config), config, config.seed), config, turn)


def _ready(model: PPO, config: Config, turn: Turn) -> Callable[[], object]:
    turn.init_callback(model)
    return lambda: model.learn(config.steps, callback=turn)


def learned(config: Config, turn: Turn) -> Callable[[], object]:
    """PPO on the learned reward, after its warm-up."""
    venv = PreferenceRewardVecWrapper(make_vec_env(config, config.seed, checked=False), config.segments.recent_steps)
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


ARMS = {"sb3": sb3, "none": none, "learned": learned}


def in_turns(config: Config) -> dict[str, Turn]:
    """One run of each arm."""
    turns = {name: Turn() for name in ARMS}
    order = list(turns.values())
    for turn, after in zip(order, order[1:] + order[:1], strict=True):
        turn.next = after
    learns = {name: arm(config, turns[name]) for name, arm in ARMS.items()}
    threads = [threading.Thread(target=_run, args=(learns[name], turns[name])) for name in ARMS]
    for thread in threads:
        thread.start()
    order[config.seed % len(order)].mine.release()
    for thread in threads:
        thread.join()
    return turns


def _run(learn: Callable[[], object], turn: Turn) -> None:
    torch.set_num_threads(1)  # a new thread begins with as many as there are cores
    turn.take()
    learn()
    turn.let_go()


def main() -> None:
    """The command."""
    options = reporting.flags(__doc__)
    options.add_argument("--env", default="HalfCheetah-v5", help="Gymnasium or fancy_gym id")
    options.add_argument("--steps", type=int, default=100_000)
    options.add_argument("--runs", type=int, default=5, help="runs of each arm")
    options.add_argument("--labels", type=int, default=50)
    chosen = options.parse_args()
    if chosen.quick:
        chosen.steps, chosen.labels, chosen.runs = 30_000, 15, 2
    torch.set_num_threads(1)  # as `rltrainer train` does, for torch and for NumPy
    threadpool_limits(1)
    raw: list[dict[str, Any]] = []
    ratios: dict[str, list[float]] = defaultdict(list)
    for seed in range(chosen.runs):
        turns = in_turns(Config(env=chosen.env, steps=chosen.steps, labels=chosen.labels, labeler="oracle", seed=seed))
        raw.append({"seed": seed})
        for name, turn in turns.items():
            raw[-1][name] = {"steps": turn.steps, "wall": _rounded(turn.wall), "cpu": _rounded(turn.cpu)}
        for clock in ("wall", "cpu"):
            for base in ("sb3", "none"):
                ratios[f"steps/s of learned over {base} ({clock})"].append(
                    turns["learned"].rate(clock) / turns[base].rate(clock)
                )
        print(f"seed {seed}:", {name: found[-1] for name, found in ratios.items()}, flush=True)
    figures: dict[str, Any] = {"target over sb3 (wall)": TARGET}
    for name, found in ratios.items():
        figures[f"{name}, median"] = statistics.median(found)
        figures[f"{name}, all"] = _rounded(found)
    reporting.write(chosen.json, figures, raw)


def _rounded(values: list[float]) -> list[float]:
    return [round(value, 4) for value in values]


if __name__ == "__main__":
    main()
