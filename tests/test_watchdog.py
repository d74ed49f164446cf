"""Facts about envs in processes of their own: what is said of one that fails, what takes its place, what others notice."""

from __future__ import annotations

import multiprocessing
import os
import re
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import toys
from stable_baselines3.common.vec_env import DummyVecEnv

from rltrainer.core import Array, EnvFault, Segment
from rltrainer.envs import make_env
from rltrainer.watchdog import LOST, WatchedVecEnv
from rltrainer.wrapper import PreferenceRewardVecWrapper

FAULTS = {
    "die": "died of signal SIGSEGV",
    "exit": "ended with exit code 3",
    "raise": r"raised RuntimeError: the simulator exploded \(toys\.py:\d+\)",
    "observation": "gave an observation with NaN or infinity",
    "reward": "gave a reward that is NaN",
    "hang": r"has not answered for \d+ s",
}


@pytest.fixture(scope="module", autouse=True)
def quick_processes() -> None:
    """What an env's process imports is imported once, by the server that forks them."""
    multiprocessing.set_forkserver_preload(["rltrainer.watchdog", "rltrainer.envs", "toys"])


@pytest.fixture
def started() -> Iterator[Callable[..., WatchedVecEnv]]:
    """Makes watched envs, and ends them."""
    made = []

    def start(*makers: Any, say: Callable[[str], None] = print, **options: Any) -> WatchedVecEnv:
        made.append(WatchedVecEnv(makers, say, start_method="forkserver", **options))
        return made[-1]

    yield start
    for venv in made:
        venv.close()


ledger, drift = partial(make_env, "toys:ledger"), partial(make_env, "toys:drift")


def faulty(fault: str, at: int) -> partial[Any]:
    return partial(make_env, "toys:faulty", {"fault": fault, "at": at})


def pushes(venv: Any) -> Array:
    return np.full((venv.num_envs, 1), 0.5, np.float32)


def kill(venv: WatchedVecEnv, env: int) -> None:
    """As the system does where memory runs out."""
    process = venv.remotes[env]._process  # type: ignore[attr-defined]
    process.kill()
    process.join()


# ------------------------------------------------------------------ what is said, and what the others notice


def test_each_fault_is_named_and_a_fresh_env_takes_its_place(started: Callable[..., WatchedVecEnv]) -> None:
    """Every env but the first fails at its fifth step. What a Ledger shows is [episode, step], what it pays its action."""
    said: list[str] = []
    venv = started(ledger, *(faulty(fault, 5) for fault in FAULTS), say=said.append, hang_seconds=2.0)
    pids = [remote._process.pid for remote in venv.remotes]  # type: ignore[attr-defined]
    venv.seed(1)
    venv.reset()
    for _ in range(4):
        venv.step(pushes(venv))
    observations, rewards, dones, infos = venv.step(pushes(venv))
    np.testing.assert_array_equal(observations, [[0, 5]] + [[0, 0]] * 6)
    np.testing.assert_array_equal(rewards, [0.5] * 7)
    np.testing.assert_array_equal(dones, [False] + [True] * 6)
    for info in infos[1:]:
        np.testing.assert_array_equal(info.pop("terminal_observation"), [0, 4])
        assert info == {"TimeLimit.truncated": True, LOST: True}
    for line, (place, words) in zip(said, enumerate(FAULTS.values(), start=2), strict=True):
        pid = pids[place - 1]
        ending = r"A fresh one takes its place \(1 of 3\); its episode is dropped"
        assert re.fullmatch(rf"env {place} of 7 \(process {pid}\) {words} at its step 5\. {ending}", line)
    assert venv.restarts.tolist() == [0] + [1] * 6
    np.testing.assert_array_equal(venv.step(pushes(venv))[0], [[0, 6]] + [[0, 1]] * 6)


def test_an_env_that_begins_an_episode_with_nan_is_replaced(started: Callable[..., WatchedVecEnv]) -> None:
    said: list[str] = []
    venv = started(faulty("reset", 20), say=said.append)
    venv.reset()
    for _ in range(19):
        assert not venv.step(pushes(venv))[2].any()
    observations, *_, infos = venv.step(pushes(venv))
    np.testing.assert_array_equal(observations, [[0, 0]])
    assert infos[0][LOST]
    assert "began an episode with NaN or infinity at its step 20" in said[0]


def test_the_other_envs_do_as_if_nothing_had_happened(started: Callable[..., WatchedVecEnv]) -> None:
    watched, plain = started(drift, drift, drift), DummyVecEnv([drift, drift, drift])
    for venv in (watched, plain):
        venv.seed(17)
        venv.reset()
    others = [0, 2]
    for step in range(90):
        if step == 30:
            kill(watched, 1)
        ours, theirs = watched.step(pushes(watched)), plain.step(pushes(plain))
        np.testing.assert_array_equal(ours[0][others], theirs[0][others])
        np.testing.assert_allclose(ours[1][others], theirs[1][others], rtol=1e-6)
        np.testing.assert_array_equal(ours[2][others], theirs[2][others])


def test_an_env_that_is_gone_when_all_are_reset_is_replaced_too(started: Callable[..., WatchedVecEnv]) -> None:
    venv = started(ledger, ledger)
    venv.seed(1)
    kill(venv, 0)
    np.testing.assert_array_equal(venv.reset(), [[0, 0], [0, 0]])
    assert venv.restarts.tolist() == [1, 0]


def test_what_an_episode_paid_before_is_not_paid_in_the_one_after(started: Callable[..., WatchedVecEnv]) -> None:
    venv = started(ledger)
    venv.reset()
    for _ in range(20):
        _, (reward,), (done,), _ = venv.step(pushes(venv))
    assert (reward, done) == (0.5, True)
    kill(venv, 0)
    assert venv.step(pushes(venv))[1] == [0.0]


def test_fresh_seeds_follow_from_the_envs_own_and_from_how_often_it_was_replaced(started: Callable[..., WatchedVecEnv]) -> None:
    seeds = []
    for _ in range(2):
        venv = started(ledger, ledger)
        venv.seed(17)
        venv.reset()
        for env in (0, 1, 1):
            kill(venv, env)
            venv.step(pushes(venv))
            seeds.append(venv.reset_infos[env]["episode_seed"])
    assert seeds[:3] == seeds[3:]
    assert len({17, 18, *seeds}) == 5


# ------------------------------------------------------------------ what ends the run


def test_an_env_that_fails_once_more_than_it_is_replaced_ends_the_run(started: Callable[..., WatchedVecEnv]) -> None:
    said: list[str] = []
    venv = started(faulty("raise", 1), ledger, say=said.append)
    venv.reset()
    for _ in range(3):
        venv.step(pushes(venv))
    with pytest.raises(EnvFault, match=r"env 1 of 2 .* raised RuntimeError: .* at its step 1, and has been replaced 3 times"):
        venv.step(pushes(venv))
    assert [line.partition("place ")[2][:8] for line in said] == ["(1 of 3)", "(2 of 3)", "(3 of 3)"]


def test_an_env_that_cannot_be_made_ends_the_run_at_its_start(started: Callable[..., WatchedVecEnv]) -> None:
    with pytest.raises(EnvFault, match=r"env 2 of 2 .* raised FileNotFoundError: .* before its first step"):
        started(ledger, partial(open, "/no/model/there"))
    assert not multiprocessing.active_children()


def test_who_is_waiting_for_an_env_that_hangs_can_be_interrupted(started: Callable[..., WatchedVecEnv]) -> None:
    asked = False

    def interrupted() -> None:
        if asked:
            raise KeyboardInterrupt

    venv = started(ledger, faulty("hang", 2), meanwhile=interrupted)
    venv.reset()
    venv.step(pushes(venv))
    asked = True  # after the start, which may be slow
    with pytest.raises(KeyboardInterrupt):
        venv.step(pushes(venv))
    kill(venv, 1)  # or else `close` gives it five seconds
    venv.close()
    assert not multiprocessing.active_children()


PARENT = """
import sys, time
import test_watchdog
from rltrainer.watchdog import WatchedVecEnv
if __name__ == "__main__":
    venv = WatchedVecEnv([test_watchdog.ledger, test_watchdog.faulty("hang", 1)], print)
    venv.reset()
    venv.step_async(test_watchdog.pushes(venv))
    print(*(remote._process.pid for remote in venv.remotes), flush=True)
    time.sleep(3600)
"""


@pytest.mark.long
def test_envs_end_with_a_trainer_that_is_killed_even_one_that_hangs(tmp_path: Path) -> None:
    program = tmp_path / "parent.py"
    program.write_text(PARENT)
    here = os.pathsep.join([str(Path(__file__).parent), os.environ.get("PYTHONPATH", "")])
    with subprocess.Popen(
        [sys.executable, program], stdout=subprocess.PIPE, text=True, env=os.environ | {"PYTHONPATH": here}
    ) as parent:
        assert parent.stdout is not None
        pids = [int(pid) for pid in parent.stdout.readline().split()]
        assert len(pids) == 2
        parent.send_signal(signal.SIGKILL)
        assert parent.stdout.read() == ""  # envs hold its other end: there is an end to read when all are gone


# ------------------------------------------------------------------ what is recorded


def replayed(segment: Segment) -> Array:
    """What the env shows when the segment is played again, from its episode's seed on."""
    env = make_env("toys:drift")
    seen = [env.reset(seed=segment.episode_seed)[0]]
    seen += [env.step(action)[0] for action in (*segment.lead_in, *segment.actions)]
    return np.array(seen[len(segment.lead_in) :])


def test_segments_after_a_replacement_replay_exactly_and_none_is_of_the_episode_that_was_lost(
    started: Callable[..., WatchedVecEnv],
) -> None:
    venv = PreferenceRewardVecWrapper(started(drift, drift))
    venv.seat.reward = toys.Even(1, paid=2.0)
    venv.seed(3)
    venv.reset()
    rng = np.random.default_rng(5)
    lost_seeds, returns = [], []
    for step in range(200):
        if step in (57, 130):  # in the second episode, and in the second of the fresh env
            lost_seeds.append(venv.recorder._episodes[1][-1].seed)
            kill(venv.unwrapped, 1)  # type: ignore[arg-type]
        _, rewards, _, infos = venv.step(rng.uniform(-1, 1, (2, 1)).astype(np.float32))
        assert rewards.tolist() == [2.0, 2.0]
        returns += [info["learned_return"] for info in infos if "learned_return" in info]
    assert len(lost_seeds) == 2
    assert set(returns) == {80.0}
    found = {segment.id: segment for segment in venv.recorder.sample(400, 8, rng)}.values()
    assert not {segment.episode_seed for segment in found} & set(lost_seeds)
    assert len({segment.episode_seed for segment in found}) == 9  # 5 episodes of one env; of the other 1, 1 and 2
    for segment in found:
        np.testing.assert_array_equal(segment.observations, replayed(segment))
