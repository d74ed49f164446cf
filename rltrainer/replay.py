"""Verified replay: a segment is shown from an env that gives its recorded observations again, or not at all."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import gymnasium as gym
import numpy as np

from rltrainer.core import INNER_STEPS, EnvFault, InnerSteps, Segment, UserError
from rltrainer.envs import flat_observation, make_env, make_shown_env


class Mismatch(Exception):
    """A replay that went another way than what was recorded.

    step: row of the segment's observations that differs first; difference: the largest one in that row
    """

    def __init__(self, step: int, difference: float) -> None:
        super().__init__(step, difference)
        self.step = step
        self.difference = difference

    def __str__(self) -> str:
        return f"observation {self.step} of the replay differs by {self.difference:g} from the one recorded"


def replay(env: gym.Env[Any, Any], segment: Segment) -> Iterator[int]:
    """Take `env` (from `make_shown_env`) through a segment; at each number t yielded it stands where step t led.

    Raises Mismatch at the first observation that is not the recorded one. There is no tolerance: the same simulator on
    the same machine gives the same bits, and a small difference at the start of a clip is a large one at its end.
    """
    observation, _ = env.reset(seed=segment.episode_seed)
    for action in segment.lead_in:
        observation, *_ = env.step(action.copy())
    _compare(env, observation, segment, 0)
    for step, action in enumerate(segment.actions):
        observation, *_ = env.step(action.copy())  # a copy: some envs clip what they are given in place
        _compare(env, observation, segment, step + 1)
        yield step


def _compare(env: gym.Env[Any, Any], observation: Any, segment: Segment, row: int) -> None:
    found = flat_observation(env.observation_space, observation).astype(np.float32)
    recorded = segment.observations[row].astype(np.float32)
    if found.shape != recorded.shape:
        raise Mismatch(row, np.inf)
    if not np.array_equal(found, recorded, equal_nan=True):
        difference = np.abs(found - recorded)
        raise Mismatch(row, np.inf if np.isnan(difference).any() else float(difference.max()))


# ------------------------------------------------------------------ the self-test at the start of a run


def replays_exactly(env: str, options: Mapping[str, Any] | None, steps: int, seed: int) -> str | None:
    """None, or a sentence that says how episodes of this env come out differently when shown again.

    Two episodes of random actions, the second begun as training begins them (by a reset without a seed), are replayed
    in a second env in the other order, so that what one episode leaves behind for the next is found too.

    steps: how much of each episode is tried. Raises EnvFault where the env raises.
    """
    trained = make_env(env, options)
    shown = make_shown_env(env, options, size=32)
    try:
        episodes = [_rolled(trained, steps, seed), _rolled(trained, steps, None)]
        for episode in reversed(episodes):
            for _ in replay(shown, episode):
                pass
    except Mismatch as mismatch:
        return f"{env!r} cannot be shown again exactly: with the same seed and actions, {mismatch}"
    except UserError:
        raise
    except Exception as error:  # an env is foreign code and may raise anything
        raise EnvFault(f"the env raised {type(error).__name__} at random actions: {error}; mend the env") from error
    finally:
        trained.close()
        shown.close()
    return None


def _rolled(env: gym.Env[Any, Any], steps: int, seed: int | None) -> Segment:
    """The first `steps` recorded steps of an episode of random actions."""
    if seed is not None:
        env.action_space.seed(seed)
    taken: list[InnerSteps] = []
    while not any(len(part.actions) for part in taken):  # a black box can refuse a trajectory before its first step
        observation, info = env.reset(seed=seed)
        episode_seed, taken, done = info["episode_seed"], [], False
        while not done and sum(len(part.actions) for part in taken) < steps:
            action, before = env.action_space.sample(), observation
            observation, env_reward, terminated, truncated, info = env.step(action)
            single = InnerSteps([before, observation], np.array([action]), np.array([env_reward]))
            taken.append(info.get(INNER_STEPS, single))
            done = terminated or truncated
        seed = None
    rows = taken[0].observations[:1] + [row for part in taken for row in part.observations[1:]]
    actions = np.concatenate([part.actions for part in taken])
    space = env.get_wrapper_attr("recorded_observation_space")
    return Segment(
        observations=np.array([flat_observation(space, row) for row in rows[: steps + 1]]),
        actions=actions[:steps],
        env_rewards=np.concatenate([part.env_rewards for part in taken])[:steps],
        episode_seed=episode_seed,
        lead_in=actions[:0],
    )
