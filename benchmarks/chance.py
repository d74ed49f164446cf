"""True returns of uniformly random actions, printed as `rltrainer evaluate --json` prints those of a policy."""

from __future__ import annotations

import json
import sys
from typing import Any

import numpy as np

from rltrainer.envs import make_env

EPISODES = 20


def random_returns(env_id: str, options: dict[str, Any], episodes: int = EPISODES) -> list[float]:
    """One return for each of the episodes, on seeds 0, 1, …"""
    env = make_env(env_id, options)
    env.action_space.seed(0)
    returns = []
    for episode in range(episodes):
        env.reset(seed=episode)
        total, over = 0.0, False
        while not over:
            _, reward, terminated, truncated, _ = env.step(env.action_space.sample())
            total, over = total + float(reward), terminated or truncated
        returns.append(total)
    env.close()
    return returns


if __name__ == "__main__":
    found = random_returns(sys.argv[1], json.loads(sys.argv[2]))
    mean, std = float(np.mean(found)), float(np.std(found))
    print(json.dumps({"mean_return": mean, "std_return": std, "episodes": len(found), "returns": found}))
