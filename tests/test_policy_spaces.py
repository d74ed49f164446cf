"""Facts about the spaces that policies take: what is let through trains, and what does not is refused before a run begins."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import toys
from gymnasium import Space, spaces
from stable_baselines3 import PPO

from rltrainer.config import Config
from rltrainer.core import UserError
from rltrainer.methods.spaces import check_policy_spaces
from rltrainer.training import resolved

PLACE = spaces.Box(-1, 1, (2,), np.float32)
DOOR = spaces.Discrete(3)


@pytest.mark.parametrize(
    ("observations", "actions", "words"),
    [
        (PLACE, spaces.Discrete(3, start=1), r"count them from 0; wrap the env to take Discrete\(3\)"),
        (PLACE, spaces.Box(-np.inf, np.inf, (1,)), "want a finite range for each"),
        (spaces.Tuple((PLACE, DOOR)), toys.PUSH, "see no Tuple inside"),
        (spaces.Dict({"eye": spaces.Box(0, 255, (7, 7, 3), np.uint8)}), toys.PUSH, "inside from 36 x 36 pixels on"),
        (spaces.Dict({"a": spaces.Dict({"b": PLACE})}), toys.PUSH, "see no Dict inside"),
        (spaces.Dict({"a": spaces.Tuple((PLACE,))}), toys.PUSH, "see no Tuple inside"),
        (spaces.Discrete(3, start=-1), toys.PUSH, "count from 0"),
        (spaces.MultiDiscrete([3, 2], start=[0, 1]), toys.PUSH, "count from 0"),
        (spaces.MultiDiscrete([[3, 2], [2, 2]]), toys.PUSH, "want one row of numbers"),
        (spaces.Box(-1, 1, ()), toys.PUSH, "want a row of numbers"),
    ],
    ids=str,
)
def test_what_no_policy_takes_is_refused_in_a_sentence(observations: Space[object], actions: Space[object], words: str) -> None:
    with pytest.raises(UserError, match=words):
        check_policy_spaces(observations, actions)


@pytest.mark.parametrize(
    ("observations", "actions"),
    [
        (PLACE, DOOR),
        (DOOR, spaces.Box(-2, 1, (2, 2))),
        (PLACE, spaces.Box(np.array([0.0, 1.0]), np.array([1.0, 1.0]), dtype=np.float64)),
        (spaces.Box(-np.inf, np.inf, (2, 3)), spaces.Box(-1, 1, ())),
        (spaces.Dict({"place": PLACE, "door": DOOR, "lights": spaces.MultiBinary(4)}), toys.PUSH),
        (spaces.MultiDiscrete([3, 2]), toys.PUSH),
        (spaces.MultiBinary(3), toys.PUSH),
        (spaces.Dict({"place": PLACE, "eye": spaces.Box(0, 255, (36, 40, 3), np.uint8)}), toys.PUSH),
        (spaces.Box(0, 255, (7, 7, 3), np.uint8), toys.PUSH),
    ],
    ids=str,
)
def test_what_is_let_through_trains(observations: Space[object], actions: Space[object]) -> None:
    check_policy_spaces(observations, actions)
    policy = "MultiInputPolicy" if isinstance(observations, spaces.Dict) else "MlpPolicy"
    PPO(policy, toys.Spaced(observations, actions), n_steps=8, batch_size=8, n_epochs=1, device="cpu").learn(8)


def odd() -> toys.Spaced:
    """For `env: test_policy_spaces:odd`."""
    return toys.Spaced(PLACE, spaces.Discrete(3, start=1))


@pytest.mark.parametrize("labeler", ["oracle", "none"])
def test_a_run_is_refused_before_it_has_a_folder(tmp_path: Path, labeler: str) -> None:
    with pytest.raises(UserError, match="count them from 0"):
        resolved(Config.of({"env": "test_policy_spaces:odd", "labeler": labeler}), tmp_path / "run")
    assert not list(tmp_path.iterdir())
