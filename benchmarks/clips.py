"""What one pair of clips costs: 2 x 50 frames of HalfCheetah-v5 at 256 x 256, replayed, rendered and encoded.

Targets: at most 1 s of one core and 250 KB a pair. The segments lie deep in an episode, since replay has to step there.
"""

from __future__ import annotations

import json
import time
from pathlib import Path
from statistics import median

import click
import numpy as np

from rltrainer.config import Clips
from rltrainer.core import Segment
from rltrainer.envs import flat_observation, make_env
from rltrainer.labeling.clips import ClipMaker
from rltrainer.labeling.gl import gl_backend

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


def measured(pairs: int) -> dict[str, float | str | int | None]:
    """CPU seconds and kilobytes of each of `pairs` pairs, after one that warms up."""
    maker = ClipMaker(ENV, {}, Clips(size=256))
    cut = segments(2 * (pairs + 1), seed=0)
    seconds, kilobytes = [], []
    for first, second in zip(cut[::2], cut[1::2], strict=True):
        start = time.process_time()
        clips = [maker.make(first), maker.make(second)]
        seconds.append(time.process_time() - start)
        kilobytes.append(sum(len(clip.video) for clip in clips) / 1000)
    maker.close()
    return {
        "env": ENV,
        "gl": gl_backend(),
        "pairs": pairs,
        "cpu_seconds_median": median(seconds[1:]),
        "cpu_seconds_max": max(seconds[1:]),
        "cpu_seconds_first": seconds[0],
        "kilobytes_median": median(kilobytes[1:]),
        "kilobytes_max": max(kilobytes),
        "target_cpu_seconds": TARGET_SECONDS,
        "target_kilobytes": TARGET_KB,
    }


@click.command(help=__doc__)
@click.option("--json", "file", type=click.Path(path_type=Path), help="Where the figures go as JSON.")
@click.option("--quick", is_flag=True, help="3 pairs instead of 20.")
def main(file: Path | None, quick: bool) -> None:  # noqa: FBT001 - click passes it by name
    found = measured(3 if quick else 20)
    print(
        f"{found['pairs']} pairs of 2 x {STEPS} frames, {ENV}, 256 x 256, GL {found['gl']}\n"
        f"CPU seconds a pair: median {found['cpu_seconds_median']:.2f}, most {found['cpu_seconds_max']:.2f}, "
        f"the first {found['cpu_seconds_first']:.2f} (target: at most {TARGET_SECONDS:g})\n"
        f"KB a pair: median {found['kilobytes_median']:.0f}, most {found['kilobytes_max']:.0f} "
        f"(target: at most {TARGET_KB:g})"
    )
    if file is not None:
        file.write_text(json.dumps(found, indent=2) + "\n")


if __name__ == "__main__":
    main()
