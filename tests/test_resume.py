"""Facts about going on: a run that was ended and resumed is the run that was never ended, to the bit."""

from __future__ import annotations

import errno
import io
import os
import random
import shutil
import signal
import sqlite3
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import toys
from rich.console import Console
from safetensors.numpy import load_file

from rltrainer.checkpoint import RunFolder
from rltrainer.checkpoints import Checkpoint, Checkpoints, Damaged
from rltrainer.cli import group
from rltrainer.config import Config
from rltrainer.core import Answer, Array, Link, Segment, UserError, Verdict
from rltrainer.inspection import checkpoints as inspected
from rltrainer.lock import RunLock
from rltrainer.memory import Memory
from rltrainer.methods import barrier
from rltrainer.progress import Dashboard
from rltrainer.recording import Recorder
from rltrainer.seeds import generator_state, nth, restore_generator
from rltrainer.store import Store
from rltrainer.training import resume, train

SMALL: dict[str, Any] = {**toys.SMALL_RUN, "teacher.equal": 0.1}
OFTEN = 4.0
"""Share of a run's time: a checkpoint every hundred steps or so."""


@pytest.fixture(autouse=True, scope="module")
def _often() -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(barrier, "SHARE", OFTEN)
        patch.setattr(barrier, "EPISODES", 0)
        yield


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run that nobody stopped."""
    run = tmp_path_factory.mktemp("whole") / "run"
    train(Config().but(SMALL), run, dashboard()[0], announce=print)
    return run


@pytest.fixture
def stopped(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The same run, stopped at two thirds."""
    with monkeypatch.context() as patch:
        stop_at(700, patch)
        train(Config().but(SMALL), tmp_path / "stopped", dashboard()[0], announce=print)
    return tmp_path / "stopped"


def dashboard() -> tuple[Dashboard, io.StringIO]:
    said = io.StringIO()
    return Dashboard(1000, Console(file=said, width=400)), said


def learned(run: Path) -> dict[str, Array]:
    """Every number that a run has learned, of the names of segments none."""
    found = {file.name: load_file(file) for file in run.glob("*.safetensors")}
    return {f"{file}: {name}": array for file, arrays in found.items() for name, array in arrays.items()}


def assert_same(one: Path, two: Path) -> None:
    first, second = learned(one), learned(two)
    assert first.keys() == second.keys()
    for name, array in first.items():
        np.testing.assert_array_equal(array, second[name], name)


def stop_at(step: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """Somebody presses Ctrl-C once the run has come that far."""

    def on_step(self: barrier.Barrier) -> bool:
        if self.model.num_timesteps >= step:
            raise KeyboardInterrupt
        return True

    monkeypatch.setattr(barrier.Barrier, "_on_step", on_step)


# ------------------------------------------------------------------ the whole run


@pytest.mark.parametrize(
    "changes",
    [
        {"labeler": "none"},
        pytest.param({"method": "cpl"}, marks=pytest.mark.long),
        pytest.param({"reward.learner": "surf", "queries.strategy": "information_gain"}, marks=pytest.mark.long),
        pytest.param({"reward.learner": "robust", "teacher.mistake": 0.2}, marks=pytest.mark.long),
        pytest.param({"env": "toys:dict_env", "segments.steps": 4}, marks=pytest.mark.long),
    ],
    ids=lambda changes: " ".join(map(str, changes.values())),
)
def test_runs_of_every_kind_go_on_as_if_they_had_not_been_stopped(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, changes: dict[str, Any]
) -> None:
    config = Config().but(SMALL | changes)
    train(config, tmp_path / "whole", dashboard()[0], announce=print)
    with monkeypatch.context() as patch:
        stop_at(700, patch)
        train(config, tmp_path / "stopped", dashboard()[0], announce=print)
    resume(tmp_path / "stopped", dashboard()[0], announce=print)
    assert_same(tmp_path / "whole", tmp_path / "stopped")


def test_a_run_that_was_stopped_and_resumed_is_the_one_that_was_not(whole: Path, stopped: Path) -> None:
    with pytest.raises(AssertionError):
        assert_same(whole, stopped)
    screen, said = dashboard()
    resume(stopped, screen, announce=print)
    assert f"Goes on from checkpoint {Checkpoints(whole).numbers()[-1] - 3}, at step" in said.getvalue()
    assert_same(whole, stopped)
    counts = []
    for run in (whole, stopped):
        store = Store.open(run)
        counts.append(store.counts())
        store.close()
    assert counts[0] == counts[1]


def test_a_run_that_was_stopped_before_its_first_checkpoint_begins_again(whole: Path, stopped: Path) -> None:
    for file in (stopped / "checkpoints").iterdir():
        file.unlink()
    resume(stopped, dashboard()[0], announce=print)
    assert_same(whole, stopped)


def test_a_run_that_has_finished_is_not_wound_back_unless_it_was_killed_before_it_was_saved(
    whole: Path, tmp_path: Path
) -> None:
    with pytest.raises(UserError, match="which has finished: see it with rltrainer enjoy"):
        resume(whole, dashboard()[0], announce=print)
    killed = shutil.copytree(whole, tmp_path / "killed")
    with closing(sqlite3.connect(killed / "store.db")) as connection:
        connection.execute("DELETE FROM events WHERE kind = 'saved'")
        connection.commit()
    (killed / "policy.safetensors").unlink()
    resume(killed, dashboard()[0], announce=print)
    assert_same(whole, killed)


@pytest.mark.parametrize("left", ["the folders", "an empty store, too"])
def test_a_run_that_was_killed_while_its_store_was_made_begins_again(whole: Path, stopped: Path, left: str) -> None:
    for file in [*(stopped / "checkpoints").iterdir(), *(stopped / "segments").iterdir(), *stopped.glob("store.db*")]:
        file.unlink()
    if left == "an empty store, too":
        (stopped / "store.db").touch()
    resume(stopped, dashboard()[0], announce=print)
    assert_same(whole, stopped)


def test_what_people_answered_while_nothing_trained_is_learned_from(stopped: Path) -> None:
    store = Store.open(stopped)
    query_id = store.labels()[0].query_id
    store.save_label("person", query_id, "ann", Answer(Verdict.EQUAL))
    resume(stopped, dashboard()[0], announce=print)
    kept = Checkpoints(stopped)
    taken = kept.read(kept.numbers()[-1]).memory.facts["loop"]["taken"]
    assert "person" in {label.id for label in store.labels() if label.seq <= taken["cursor"]}
    assert taken["labels"] == len(store.labels(since=0)) - len(store.labels(since=taken["cursor"]))
    store.close()


def rests_where_it_goes_on(run: Path) -> str:
    """Resume a run that is paused; once it rests, somebody ends the pause. Gives its last phase."""
    (screen, _), told = dashboard(), []
    pause(run, paused=True)

    def show(facts: dict[str, Any]) -> None:
        told.append((facts["phase"], facts["step"]))
        if facts["phase"] == "paused":
            pause(run, paused=False)

    screen.show = show  # type: ignore[method-assign]
    resume(run, screen, announce=print)
    at = told[0][1]
    assert told[:2] == [("starting", at), ("paused", at)], "it rests where it goes on, before it trains"
    return str(told[-1][0])


def test_a_pause_outlives_the_trainer_as_links_do_and_costs_a_run_nothing(whole: Path, stopped: Path) -> None:
    store = Store.open(stopped)
    store.add_link("hash", Link("Ada"))
    store.close()
    rests_where_it_goes_on(stopped)
    assert_same(whole, stopped)
    store = Store.open(stopped)
    assert store.links() == {"hash": Link("Ada")}
    store.close()


@pytest.mark.parametrize(
    ("labeler", "goes_on_at"),
    [
        pytest.param("browser", 702, id="the step after the one that the signal came in"),
        pytest.param("oracle", 576, id="the last barrier: every 128 steps from 64 on"),
    ],
)
def test_a_run_that_people_label_goes_on_from_where_it_was_stopped_and_an_oracles_from_its_last_checkpoint(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, labeler: str, goes_on_at: int
) -> None:
    def on_step(self: barrier.Barrier) -> bool:
        if self.num_timesteps == 700:
            signal.raise_signal(signal.SIGTERM)
        return True

    run = tmp_path / "run"
    changes = {"labeler": labeler, "labeling.page": "off", "queries.warmup_labels": 0}
    with monkeypatch.context() as patch:
        patch.setattr(barrier.Barrier, "_on_step", on_step)
        train(Config().but(SMALL | changes), run, dashboard()[0], announce=print)
    resume(run, dashboard()[0], announce=print)
    store = Store.open(run)
    found = next(event["step"] for event in store.events("progress") if event["message"].startswith("Goes on from"))
    last = store.newest_event("progress")
    store.close()
    assert found == goes_on_at
    assert last is not None
    assert last["phase"] == "finished"


@pytest.mark.long
def test_a_run_of_sac_that_was_paused_and_stopped_rests_where_it_goes_on(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = tmp_path / "run"
    with monkeypatch.context() as patch:
        stop_at(500, patch)
        train(Config().but(SMALL | {"method": "sac", "steps": 600, "labels": 4}), run, dashboard()[0], announce=print)
    assert rests_where_it_goes_on(run) == "finished"


def test_no_checkpoint_is_written_while_a_run_is_paused_and_the_next_holds_what_it_took_then(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (screen, _), run, found = dashboard(), tmp_path / "run", []

    def show(facts: dict[str, Any]) -> None:
        if facts["phase"] == "warmup":
            pause(run, paused=True)

    def answer() -> None:
        store = Store.open(run)
        found.append(store.save_label("person", store.labels()[0].query_id, "ann", Answer(Verdict.EQUAL)).seq)
        store.close()

    def go_on() -> None:
        found.append(Checkpoints(run).numbers())
        pause(run, paused=False)

    meanwhile = iter([answer, go_on])
    screen.show = show  # type: ignore[method-assign]
    monkeypatch.setattr("rltrainer.loop.time.sleep", lambda _: next(meanwhile)())
    train(Config().but(SMALL | {"steps": 200, "labels": 4}), run, screen, announce=print)
    seq, written = found
    assert written == []
    assert Checkpoints(run).read(0).memory.facts["loop"]["taken"]["cursor"] == seq


def pause(run: Path, *, paused: bool) -> None:
    """As the label service does when an admin's page asks for it."""
    store = Store.open(run)
    store.pause("you", paused=paused)
    store.close()


def test_a_damaged_checkpoint_is_named_and_the_one_before_it_serves(whole: Path, stopped: Path) -> None:
    kept = Checkpoints(stopped)
    *_, before, newest = kept.numbers()
    spoil(kept.folder / f"{newest}.safetensors")
    screen, said = dashboard()
    resume(stopped, screen, announce=print)
    assert f"Checkpoint {newest} is damaged: its arrays are not those that its manifest names." in said.getvalue()
    assert f"Goes on from checkpoint {before}," in said.getvalue()
    assert_same(whole, stopped)


def test_on_a_full_disk_training_goes_on_and_says_so(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(path: Path, content: bytes) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    config, (screen, said) = Config().but(SMALL | {"steps": 400, "labels": 4}), dashboard()
    monkeypatch.setattr("rltrainer.checkpoints.write_whole", full)
    train(config, tmp_path / "run", screen, announce=print)
    assert "could not be written (No space left on device). Training goes on" in said.getvalue()
    assert (tmp_path / "run" / "policy.safetensors").exists()


def test_a_run_goes_on_with_its_own_settings(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="a run goes on with its own settings; leave --n-envs out"):
        group.main(["train", "--resume", str(tmp_path), "--n-envs", "3"], standalone_mode=False)


def test_a_run_may_go_on_at_another_address(stopped: Path) -> None:
    before = RunFolder.open(stopped).config
    group.main(["train", "--resume", str(stopped), "--host", "127.0.0.2", "--port", "0"], standalone_mode=False)
    after = RunFolder.open(stopped).config
    assert after == before.but({"labeling.host": "127.0.0.2", "labeling.port": 0})
    assert (stopped / "policy.safetensors").exists()


# ------------------------------------------------------------------ what others did meanwhile


def test_what_people_answered_since_a_checkpoint_stays_and_an_oracle_is_asked_again(
    store: Store, pairs: Callable[[int], list[tuple[Segment, Segment]]]
) -> None:
    queries = store.ask(pairs(4), 0, "uniform")
    prefer = [Answer(Verdict.PREFER, query.first) for query in queries]
    store.save_label("before", queries[0].id, "oracle", prefer[0], source="oracle")
    cursor, place = store.labels()[-1].seq, 1
    store.save_label("machine", queries[1].id, "oracle", prefer[1], source="oracle")
    store.save_label("person", queries[2].id, "ann", prefer[2])
    store.rewind(cursor, place)
    assert [label.id for label in store.labels()] == ["before", "person"]
    assert store.counts() == {"asked": 2, "waiting": 0, "labels": 2, "skipped": 0}
    store.save_label("late", queries[3].id, "ann", prefer[3])
    assert [label.id for label in store.labels(since=cursor)] == ["person", "late"]


@pytest.fixture
def pairs() -> Callable[[int], list[tuple[Segment, Segment]]]:
    """So many pairs of segments of one step."""

    def made(count: int) -> list[tuple[Segment, Segment]]:
        segments = [
            toys.segment(np.full((2, 2), n, np.float32), np.zeros((1, 1)), np.array([float(n)])) for n in range(2 * count)
        ]
        return list(zip(segments[::2], segments[1::2], strict=True))

    return made


# ------------------------------------------------------------------ its files


def spoil(file: Path) -> None:
    """Flip one bit in its middle."""
    content = bytearray(file.read_bytes())
    content[len(content) // 2] ^= 1
    file.write_bytes(content)


def made(number: int) -> Checkpoint:
    return Checkpoint(number, Memory({"x": np.array(number)}, {"step": number}))


def test_what_is_written_is_read_and_the_last_three_are_kept(tmp_path: Path) -> None:
    kept = Checkpoints(tmp_path)
    for number in range(5):
        (tmp_path / "checkpoints").mkdir(exist_ok=True)
        (tmp_path / "checkpoints" / f".{number}.safetensors.77.tmp").write_bytes(b"half")  # its writer was killed
        kept.write(made(number))
    assert kept.numbers() == [2, 3, 4]
    assert len(list(kept.folder.iterdir())) == 6
    found = kept.newest(pytest.fail)
    assert found is not None
    assert (found.number, found.memory.facts["step"], found.memory.arrays["x"]) == (4, 4, 4)
    assert found.memory.arrays["x"].shape == ()


@pytest.mark.parametrize("part", ["json", "safetensors"])
@pytest.mark.parametrize("spoiled", ["gone", "empty", "cut"])
def test_a_checkpoint_that_is_not_whole_is_never_read(tmp_path: Path, part: str, spoiled: str) -> None:
    kept = Checkpoints(tmp_path)
    kept.write(made(0))
    file = kept.folder / f"0.{part}"
    if spoiled == "gone":
        file.unlink()
    else:
        file.write_bytes(b"" if spoiled == "empty" else file.read_bytes()[:-20])
    with pytest.raises(Damaged):
        kept.read(0)


def test_where_all_are_damaged_the_way_out_is_named(tmp_path: Path) -> None:
    kept, said = Checkpoints(tmp_path), []
    assert kept.newest(said.append) is None
    for number in range(2):
        kept.write(made(number))
        spoil(kept.folder / f"{number}.safetensors")
    with pytest.raises(UserError, match=r"every checkpoint in .* is damaged; .* --labels-from"):
        kept.newest(said.append)
    assert [sentence[:23] for sentence in said] == ["Checkpoint 1 is damaged", "Checkpoint 0 is damaged"]


def test_the_doctor_compares_checkpoints_with_their_hashes_and_the_store(tmp_path: Path) -> None:
    train(Config().but(SMALL | {"steps": 400, "labels": 4}), tmp_path / "run", dashboard()[0], announce=print)
    store = Store.open(tmp_path / "run")
    assert inspected(tmp_path / "run", store).status == "ok"
    kept = Checkpoints(tmp_path / "run")
    newest = kept.numbers()[-1]
    cursor = kept.read(newest).memory.facts["loop"]["taken"]["cursor"]
    store.rewind(cursor - 1, 1000)
    found = inspected(tmp_path / "run", store)
    store.close()
    assert (found.status, found.found) == (
        "fail",
        f"{newest} learned from {cursor} labels, of which the store holds {cursor - 1}",
    )
    for number in kept.numbers():
        spoil(kept.folder / f"{number}.safetensors")
    assert inspected(tmp_path / "run", None).status == "fail"


def test_a_baseline_that_has_only_its_first_checkpoint_ends_as_one_that_was_never_stopped(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    config = Config().but(
        {"env": "toys:drift", "labeler": "none", "steps": 512, "n_envs": 2, "ppo.n_steps": 32, "ppo.n_epochs": 1}
    )
    monkeypatch.setattr(barrier, "EPISODES", 10)
    train(config, tmp_path / "whole", dashboard()[0], announce=print)
    with monkeypatch.context() as patch:
        stop_at(300, patch)
        train(config, tmp_path / "stopped", dashboard()[0], announce=print)
    assert Checkpoints(tmp_path / "stopped").numbers() == [0]
    resume(tmp_path / "stopped", dashboard()[0], announce=print)
    assert_same(tmp_path / "whole", tmp_path / "stopped")


def test_checkpoints_are_as_far_apart_as_their_cost_asks_for() -> None:
    """At a share of 4: 0.04 s and 6 MB at 100 MB/s are 0.1 s, so 0.025 s of training, which is 250 steps of 0.1 ms."""
    assert barrier.interval(6_000_000, 1e-4, 0) == 250


def test_between_two_checkpoints_each_env_gets_through_two_episodes(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(barrier, "EPISODES", 2)
    assert barrier.interval(6_000_000, 1e-4, 300) == 600
    assert barrier.interval(6_000_000, 1e-4, 100) == 250


# ------------------------------------------------------------------ what a memory is made of


def test_a_generator_goes_on_where_it_stood() -> None:
    rng = np.random.default_rng(3)
    rng.integers(2**31, dtype=np.int32)  # leaves half a word
    other = np.random.default_rng(4)
    restore_generator(other, generator_state(rng))
    assert rng.integers(2**31, size=9, dtype=np.int32).tolist() == other.integers(2**31, size=9, dtype=np.int32).tolist()


def test_the_nth_child_is_the_one_that_spawn_gives() -> None:
    assert nth(np.random.SeedSequence(5), 2).generate_state(1) == np.random.SeedSequence(5).spawn(3)[2].generate_state(1)


def test_a_recorder_cuts_the_same_segments_after_a_trip_to_disk() -> None:
    recorders = [Recorder(2, np.zeros(2, np.float32), toys.PUSH, 60, 10) for _ in range(2)]
    first, second = recorders
    for env in range(2):
        first.begin(env, env, np.zeros(2, np.float32), b"reset")
    for step in range(100):
        for env in range(2):
            shown = np.array([env, step], np.float32)
            first.add_to(env, np.array([step], np.float32), float(step), shown, f"{env} {step}".encode())
            if step % 7 == 6:
                first.end(env, terminated=env == 0, truncated=env == 1)
                first.begin(env, step, shown, b"reset")
    second.restore(first.state())
    for recorder in recorders:
        recorder.begin(0, 9, np.ones(2, np.float32), b"reset")
        recorder.begin(1, 9, np.ones(2, np.float32), b"reset")
    cut = [recorder.sample(20, 4, np.random.default_rng(0)) for recorder in recorders]
    assert [segment.id for segment in cut[0]] == [segment.id for segment in cut[1]]
    assert [segment.frames for segment in cut[0]] == [segment.frames for segment in cut[1]]
    assert first.steps == second.steps == 200


# ------------------------------------------------------------------ two trainers


def test_a_second_trainer_of_a_run_is_refused_and_told_who_is_there(tmp_path: Path) -> None:
    with RunLock(tmp_path):
        holder = rf"process {os.getpid()} on {os.uname().nodename} is training; stop that one first"
        with pytest.raises(UserError, match=holder), RunLock(tmp_path):
            pass
    with RunLock(tmp_path):
        pass


# ------------------------------------------------------------------ killed for good

CHILD = f"""
import rltrainer.methods.barrier as barrier
from rltrainer.cli import main
barrier.SHARE, barrier.EPISODES = {OFTEN}, 0
main()
"""
KILLED = SMALL | {"steps": 5000, "labels": 40}


def start(*words: str) -> subprocess.Popen[str]:
    """`rltrainer train` in a process of its own, and its envs' with it in a group."""
    places = os.pathsep.join([str(Path(__file__).parent), *sys.path])
    return subprocess.Popen(
        [sys.executable, "-c", CHILD, "train", *words],
        env=os.environ | {"PYTHONPATH": places, "OMP_NUM_THREADS": "1"},
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )


def await_checkpoint(process: subprocess.Popen[str], run: Path, number: int) -> None:
    kept, deadline = Checkpoints(run), time.monotonic() + 60
    while process.poll() is None and max(kept.numbers(), default=-1) < number:
        assert time.monotonic() < deadline
        time.sleep(0.01)


@pytest.mark.long
@pytest.mark.parametrize(
    "changes",
    [{}, {"subprocesses": "on"}, {"method": "sac", "sac.exploration_steps": 100, "steps": 1200}],
    ids=["ppo, DummyVecEnv", "ppo, SubprocVecEnv", "sac"],
)
def test_a_run_that_is_killed_again_and_again_ends_as_one_that_was_not(tmp_path: Path, changes: dict[str, Any]) -> None:
    settings = KILLED | changes
    words = [word for name, value in settings.items() for word in (f"--{name.replace('_', '-')}", str(value))]
    train(Config().but(settings), tmp_path / "whole", dashboard()[0], announce=print)
    last, rng = max(Checkpoints(tmp_path / "whole").numbers()), random.Random(0)
    process = start(*words, "--run", str(tmp_path / "killed"))
    for number in sorted(rng.sample(range(last), 2)):
        await_checkpoint(process, tmp_path / "killed", number)
        time.sleep(rng.uniform(0, 0.05))
        os.killpg(process.pid, signal.SIGKILL)
        process.communicate()
        assert process.returncode == -signal.SIGKILL
        process = start("--resume", str(tmp_path / "killed"))
    _, said = process.communicate()
    assert process.returncode == 0, said
    assert_same(tmp_path / "whole", tmp_path / "killed")


@pytest.mark.long
def test_sigterm_ends_a_run_within_ten_seconds_and_it_can_be_resumed(tmp_path: Path) -> None:
    words = [word for name, value in KILLED.items() for word in (f"--{name.replace('_', '-')}", str(value))]
    train(Config().but(KILLED), tmp_path / "whole", dashboard()[0], announce=print)
    process = start(*words, "--run", str(tmp_path / "stopped"))
    await_checkpoint(process, tmp_path / "stopped", 5)
    with pytest.raises(UserError, match=f"process {process.pid} on {os.uname().nodename} is training"):
        resume(tmp_path / "stopped", dashboard()[0], announce=print)
    began = time.monotonic()
    process.send_signal(signal.SIGTERM)
    _, said = process.communicate(timeout=10)
    assert time.monotonic() - began < 10
    assert process.returncode == 0
    _, said = (resumed := start("--resume", str(tmp_path / "stopped"))).communicate()
    assert resumed.returncode == 0, said
    assert_same(tmp_path / "whole", tmp_path / "stopped")
