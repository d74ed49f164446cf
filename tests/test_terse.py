"""Facts about Terse: what an env says beside its step, and what of it goes on."""

from __future__ import annotations

from rltrainer.envs import make_env
from rltrainer.terse import Terse


def test_only_what_training_reads_of_an_info_goes_on() -> None:
    env = Terse(make_env("HalfCheetah-v5"))
    _, first = env.reset(seed=3)
    *_, info = env.step(env.action_space.sample())
    assert first == {"episode_seed": 3}
    assert info == {}
    assert "x_velocity" in env.env.step(env.action_space.sample())[4]
