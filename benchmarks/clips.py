"""What one pair of clips costs: 2 x 50 frames of HalfCheetah-v5 at 256 x 256, replayed, rendered and encoded.

Targets: at most 1 s of one core and 250 KB a pair. The segments lie deep in an episode, since replay has to step there.
"""

from __future__ import annotations

import time
from statistics import median
from typing import Any

import numpy as np

from benchmarks import reporting
from rltrainer.config import Clips
from rltrainer.core import Segment
from rltrainer.envs import flat_observation, make_env
from rltrainer.labeling.clips import make_clip
from rltrainer.labeling.gl import use_gl

ENV = "HalfCheetah-v5"
STEPS = 50
DEEPEST = 900
TARGET_SECONDS = 1.0
TARGET_KB = 250.0


def segments(count: int, seed: int) -> list[Segment]:
    """Segments of `STEPS` steps of one episode of random actions, from its middle to its end."""
    env = make_env(ENV)
    env.action_space.seed(seed)
    observation, info = env.reset(seed=seed)
    observations, actions = [flat_observation(env.observation_space, observation)], []
    for _ in range(DEEPEST + STEPS):
        actions.append(env.action_space.sample())
        observation, *_ = env.step(actions[-1])
        observations.append(flat_observation(env.observation_space, observation))
    env.close()
    return [
        Segment(
            observations=np.array(observations[start : start + STEPS + 1]),
            actions=np.array(actions[start : start + STEPS]),
            env_rewards=np.zeros(STEPS),
            episode_seed=info["episode_seed"],
            lead_in=np.array(actions[:start]),
        )
        for start in np.linspace(DEEPEST // 2, DEEPEST, count).astype(int)
    ]


def measured(pairs: int) -> list[dict[str, float]]:
    """CPU seconds and kilobytes of each pair, the one that makes the env and its GL context first."""
    settings, cut = Clips(size=256), segments(2 * (pairs + 1), seed=0)
    raw = []
    for first, second in zip(cut[::2], cut[1::2], strict=True):
        start = time.process_time()
        clips = [make_clip(ENV, {}, settings, segment) for segment in (first, second)]
        spent = time.process_time() - start
        raw.append({"cpu_seconds": spent, "kilobytes": sum(len(clip.video) for clip in clips) / 1000})
    return raw


def main() -> None:
    chosen = reporting.flags(__doc__).parse_args()
    backend = use_gl()
    raw = measured(3 if chosen.quick else 20)
    seconds, kilobytes = ([pair[what] for pair in raw[1:]] for what in ("cpu_seconds", "kilobytes"))
    figures: dict[str, Any] = {
        "GL": backend,
        "pairs": len(seconds),
        "CPU seconds a pair, median": median(seconds),
        "CPU seconds a pair, max": max(seconds),
        "CPU seconds of the first pair": raw[0]["cpu_seconds"],
        "target CPU seconds a pair": TARGET_SECONDS,
        "KB a pair, median": median(kilobytes),
        "KB a pair, max": max(kilobytes),
        "target KB a pair": TARGET_KB,
    }
    reporting.write(chosen.json, figures, raw)


if __name__ == "__main__":
    main()
