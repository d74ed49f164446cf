"""Benchmarks that go on where they were stopped: real processes, real files."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from benchmarks.arms import ARMS, CHANCE, DEFAULT, METHODS, STANDARD, TRUE, Job, jobs
from benchmarks.rows import DONE, FAILED, RowFile, key, key_of, newest, read
from benchmarks.runs import Runner, Stopped, run_all
from rltrainer.core import UserError

pytestmark = pytest.mark.long

ROOT = Path(__file__).parents[1]
TINY = ["--envs", "Pendulum-v1", "--seeds", "1", "--steps", "2000", "--labels", "4", "--jobs", "2"]


def bench(*words: object) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "benchmarks.labels", *map(str, words)], cwd=ROOT, capture_output=True, text=True, check=False
    )


def rows_of(file: Path) -> list[dict[str, Any]]:
    return read(file.with_suffix(".jsonl"))


# ------------------------------------------------------------------ one study, and going on with it


@pytest.fixture(scope="module")
def study(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, subprocess.CompletedProcess[str]]:
    """A study of three runs that ended."""
    file = tmp_path_factory.mktemp("study") / "labels.json"
    return file, bench(*TINY, "--json", file)


def test_every_run_is_a_row_with_what_it_returned(study: tuple[Path, subprocess.CompletedProcess[str]]) -> None:
    file, done = study
    assert done.returncode == 0, done.stderr
    rows = rows_of(file)
    assert sorted(row["arm"] for row in rows) == sorted([TRUE, CHANCE, DEFAULT])
    assert {row["status"] for row in rows} == {DONE}
    assert all(-2000 < row["mean_return"] < 0 for row in rows)
    ours = next(row for row in rows if row["arm"] == DEFAULT)
    assert ours["labels_given"] == 4
    assert ours["cpu_seconds"] > 0
    assert "Pendulum-v1" in file.with_suffix(".md").read_text("utf-8")
    assert json.loads(file.read_text("utf-8"))["figures"]["failed runs"] == 0


def test_a_row_names_no_folder_of_the_machine(study: tuple[Path, subprocess.CompletedProcess[str]]) -> None:
    file, _ = study
    assert str(ROOT) not in file.with_suffix(".jsonl").read_text("utf-8")
    for written in (file, file.with_suffix(".md"), file.with_suffix(".jsonl")):
        assert str(file.parent) not in written.read_text("utf-8")


def test_what_has_ended_is_not_run_again(study: tuple[Path, subprocess.CompletedProcess[str]]) -> None:
    file, _ = study
    before = file.with_suffix(".jsonl").read_bytes()
    again = bench(*TINY, "--json", file)
    assert again.returncode == 0
    assert "0 to go" in again.stderr
    assert file.with_suffix(".jsonl").read_bytes() == before
    report = bench(*TINY, "--json", file, "--report")
    assert report.returncode == 0
    assert file.with_suffix(".jsonl").read_bytes() == before


def test_ctrl_c_ends_all_trainings_and_leaves_whole_rows(tmp_path: Path) -> None:
    file = tmp_path / "labels.json"
    words = [sys.executable, "-m", "benchmarks.labels", "--envs", "Pendulum-v1", "--seeds", "1", "--json", str(file)]
    with subprocess.Popen([*words, "--jobs", "2"], cwd=ROOT, stderr=subprocess.PIPE, text=True) as process:
        assert process.stderr is not None
        assert "3 to go" in process.stderr.readline()
        wait_until(lambda: len(children(process.pid)) >= 2)
        trainings = children(process.pid)
        process.send_signal(signal.SIGINT)
        assert process.wait(20) == 130
    wait_until(lambda: not any(Path(f"/proc/{pid}").exists() for pid in trainings))
    assert all(row["status"] == DONE for row in rows_of(file))


def test_ctrl_c_while_jobs_are_handed_out_ends_those_that_began(monkeypatch: pytest.MonkeyPatch) -> None:
    submit, handed, kept = ThreadPoolExecutor.submit, [], []

    def interrupted(pool: ThreadPoolExecutor, *call: Any) -> Any:
        if handed:
            raise KeyboardInterrupt
        handed.append(call)
        return submit(pool, *call)

    monkeypatch.setattr(ThreadPoolExecutor, "submit", interrupted)
    with pytest.raises(KeyboardInterrupt):
        next(run_all([job(), job(seed=11)], 2, kept.append))
    assert handed
    assert not kept


def children(pid: int) -> list[int]:
    """Processes that a process has started and that live, by Linux's own list."""
    listed = (Path(entry) for entry in (Path(f"/proc/{pid}/task")).iterdir())
    return [int(child) for task in listed for child in (task / "children").read_text().split()]


def wait_until(reached: Any, seconds: float = 20) -> None:
    end = time.monotonic() + seconds
    while not reached():
        assert time.monotonic() < end
        time.sleep(0.02)


# ------------------------------------------------------------------ jobs and rows


def job(env: str = "Pendulum-v1", seed: int = 10) -> Job:
    return Job(env, DEFAULT, 50, 2_000, seed)


def test_a_study_runs_what_tells_most_first_and_no_run_twice() -> None:
    found = jobs(["Pendulum-v1"], [DEFAULT, "uniform", TRUE], [50, 100], [10, 11])
    assert len(found) == len(set(found)) == 2 + 1 + 4 + 4
    assert [job.arm for job in found][-4:] == ["uniform"] * 4
    assert found[0].arm == CHANCE


@pytest.mark.parametrize("arm", [name for name, arm in ARMS.items() if arm.ours and name != CHANCE])
def test_what_an_arm_sets_the_command_line_takes(arm: str) -> None:
    Job("Pendulum-v1", arm, 10, 1_000, 10).check()


def test_other_methods_are_run_where_they_are_named_and_not_for_a_day() -> None:
    assert METHODS == ["sac", "cpl"]
    assert [ARMS[name].settings for name in METHODS] == [{"method": name} for name in METHODS]
    assert not {*METHODS} & {*STANDARD}


def test_a_row_that_was_cut_off_does_not_count_and_is_written_over(tmp_path: Path) -> None:
    file = tmp_path / "rows.jsonl"
    one = {"env": "a", "arm": DEFAULT, "labels": 1, "steps": 1, "seed": 1, "settings": {}, "status": FAILED}
    with RowFile(file) as rows:
        rows.add(one)
    with file.open("ab") as torn:
        torn.write(b'{"env": "a", "ar')
    assert read(file) == [one]
    with RowFile(file) as rows:
        rows.add(one | {"status": DONE})
    assert read(file) == [one, one | {"status": DONE}]
    assert newest(read(file)) == {key(one): one | {"status": DONE}}  # the later of two runs of the same


def test_a_file_has_one_writer(tmp_path: Path) -> None:
    file = tmp_path / "rows.jsonl"
    with RowFile(file), pytest.raises(UserError, match="written by another benchmark"), RowFile(file):
        pass


def test_a_job_and_its_row_have_one_key() -> None:
    one = job()
    row = {"env": one.env, "arm": one.arm, "labels": 50, "steps": 2_000, "seed": 10, "settings": one.settings}
    assert key_of(one) == key(json.loads(json.dumps(row)))
    assert key_of(job(seed=11)) != key_of(one)


def test_a_run_that_fails_is_a_row_that_says_why(tmp_path: Path) -> None:
    kept: list[dict[str, Any]] = []
    (row,) = run_all([job("NoSuchEnv-v0")], 1, kept.append)
    assert kept == [row]
    assert row["status"] == FAILED
    assert "NoSuchEnv" in row["error"]


def test_a_runner_that_was_stopped_begins_nothing() -> None:
    runner = Runner()
    runner.stop()
    with pytest.raises(Stopped):
        runner.run(job())


# ------------------------------------------------------------------ bad input


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["--labels", "0"], "from 1 on"),
        (["--seeds", "0"], "from 1 on"),
        (["--arms", "magic"], "invalid choice"),
        (["--json", "rows.jsonl"], "where the rows go"),
        (["--report", "--json", "none/there.json"], "holds no runs yet"),
    ],
)
def test_bad_input_is_one_sentence(words: list[str], said: str, tmp_path: Path) -> None:
    environment = os.environ | {"PYTHONPATH": str(ROOT)}
    command = [sys.executable, "-m", "benchmarks.labels", *words]
    ended = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True, check=False)
    assert ended.returncode == 2
    assert said in ended.stderr
    assert "Traceback" not in ended.stderr
    assert not list(tmp_path.iterdir())


def test_bench_names_the_benchmarks_that_there_are() -> None:
    ended = subprocess.run(
        [sys.executable, "-m", "rltrainer", "bench", "lables"], cwd=ROOT, capture_output=True, text=True, check=False
    )
    assert ended.returncode == 2
    assert "labels" in ended.stderr
    assert "overhead" in ended.stderr
