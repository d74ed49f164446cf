"""Facts about the command line: what it prints, how it ends, and what it leaves behind when it is used wrongly."""

from __future__ import annotations

import json
import os
import re
import shutil
import signal
import socket
import sqlite3
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pytest
import toys
from safetensors import safe_open

from rltrainer import bench, cli
from rltrainer.config import Config, Reward, settings_of
from rltrainer.core import Answer, Link, Verdict
from rltrainer.learned import load_reward
from rltrainer.store import Store

TESTS = Path(__file__).parent


class Result(NamedTuple):
    """How a command ended."""

    code: int
    out: str
    err: str


Command = Callable[..., Result]


@pytest.fixture
def rltrainer(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Command:
    """Runs a command line in this process, in an empty working directory."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("DISPLAY", raising=False)
    monkeypatch.delenv("WAYLAND_DISPLAY", raising=False)

    def run(*words: object) -> Result:
        monkeypatch.setattr(sys, "argv", ["rltrainer", *map(str, words)])
        code = 0
        try:
            cli.main()
        except SystemExit as end:
            code = int(end.code or 0)
        return Result(code, *capsys.readouterr())

    return run


def refused(result: Result, *words: str) -> None:
    """Exit code 2, one sentence on stderr that holds the words, nothing on stdout, no traceback."""
    assert result.code == 2, result
    assert result.out == ""
    assert result.err.startswith("rltrainer: ")
    assert result.err.endswith("\n")
    assert result.err.count("\n") == 1, result.err
    assert "Traceback" not in result.err
    for word in words:
        assert word in result.err, (word, result.err)


SMALL = [
    *("--steps", "800", "--labels", "12", "--n-envs", "2", "--segments.steps", "8", "--queries.batch", "2"),
    *(
        "--reward.hidden",
        "8",
        "--reward.fit-steps",
        "3",
        "--ppo.n-steps",
        "32",
        "--ppo.batch-size",
        "64",
        "--ppo.n-epochs",
        "1",
    ),
]


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a run that an oracle labelled, made by a real process as a script would make it."""
    folder = tmp_path_factory.mktemp("runs") / "oracle"
    command = [
        sys.executable,
        "-m",
        "rltrainer",
        "train",
        "--env",
        "toys:drift",
        "--labeler",
        "oracle",
        "--seed",
        "3",
        "--run",
        str(folder),
    ]
    done = subprocess.run(
        [*command, *SMALL],
        cwd=TESTS,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=100,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout == ""
    assert str(folder) in done.stderr
    assert "Traceback" not in done.stderr
    return folder


# ------------------------------------------------------------------ what scripts rely on


def test_train_with_an_oracle_leaves_a_run_folder(finished: Path) -> None:
    found = {file.name for file in finished.iterdir()}
    assert {"config.yaml", "policy.safetensors", "reward.safetensors", "store.db", "labels.jsonl", "logs"} <= found
    settings = Config.read(finished / "config.yaml")
    assert (settings.env, settings.labeler, settings.seed, settings.labels) == ("toys:drift", "oracle", 3, 12)


def test_train_without_a_labeler_is_the_baseline(rltrainer: Command, tmp_path: Path) -> None:
    result = rltrainer("train", "--env", "toys:drift", "--labeler", "none", "--run", tmp_path / "run", *SMALL)
    assert result.code == 0, result.err
    assert not (tmp_path / "run" / "store.db").exists()
    measured = rltrainer("evaluate", tmp_path / "run", "--episodes", 2, "--json")
    assert json.loads(measured.out)["episodes"] == 2


def test_evaluate_prints_one_json_object(rltrainer: Command, finished: Path) -> None:
    result = rltrainer("evaluate", finished, "--episodes", 3, "--json")
    assert result.code == 0
    assert result.err == ""
    measured = json.loads(result.out)
    assert measured.keys() == {"mean_return", "std_return", "episodes", "returns"}
    assert sum(measured["returns"]) / 3 == pytest.approx(measured["mean_return"])
    assert measured["episodes"] == 3
    assert measured["std_return"] >= 0
    assert rltrainer("evaluate", finished, "--episodes", 3, "--json").out == result.out


def test_evaluate_without_json_is_a_sentence(rltrainer: Command, finished: Path) -> None:
    assert "over 2 episodes" in rltrainer("evaluate", finished, "--episodes", 2).out


def test_export_writes_the_labels_where_it_is_told(rltrainer: Command, finished: Path, tmp_path: Path) -> None:
    result = rltrainer("export", finished, tmp_path / "mine.jsonl")
    assert (result.code, result.err) == (0, "")
    assert "12 labels" in result.out
    rows = [json.loads(line) for line in (tmp_path / "mine.jsonl").read_text().splitlines()]
    assert len({row["label_id"] for row in rows}) == 12
    assert rltrainer("export", finished).code == 0
    assert (finished / "labels.jsonl").read_text() == (tmp_path / "mine.jsonl").read_text()


@pytest.mark.long
def test_a_run_starts_from_the_labels_of_another(rltrainer: Command, finished: Path, tmp_path: Path) -> None:
    old = ("train", "--env", "toys:drift", "--labels-from", finished, *SMALL)
    alone = rltrainer(*old, "--labeler", "none", "--seed", "4", "--run", "alone")
    assert alone.code == 0, alone.err
    assert "12 pairs" in alone.err
    assert "for the scale of its reward" in alone.err
    assert "labels 0/" not in alone.err, "as if labels were waited for"
    rows = [json.loads(line) for line in (tmp_path / "alone" / "labels.jsonl").read_text().splitlines()]
    assert len(rows) == 12
    assert all(row["source"].startswith("run:") for row in rows)
    assert (tmp_path / "alone" / "reward.safetensors").is_file()
    assert rltrainer("evaluate", "alone", "--episodes", 1).code == 0
    more = rltrainer(*old, "--labeler", "oracle", "--run", "more")
    assert more.code == 0, more.err
    assert len((tmp_path / "more" / "labels.jsonl").read_text().splitlines()) == 24


def test_labels_of_other_sizes_are_refused_and_leave_nothing_behind(rltrainer: Command, finished: Path, tmp_path: Path) -> None:
    pendulum = ("train", "--env", "Pendulum-v1", "--labeler", "oracle", "--run", "run")
    refused(
        rltrainer(*pendulum, "--labels-from", finished),
        f"labels_from is '{finished}'",
        "2 observed numbers",
        "this env has 3 observed numbers",
    )
    refused(rltrainer(*pendulum, "--labels-from", "nowhere"), "labels_from: 'nowhere' is not a run folder")
    assert not list(tmp_path.iterdir())


def test_fit_learns_anew_with_other_settings_and_leaves_what_was_trained(rltrainer: Command, finished: Path) -> None:
    trained = (finished / "reward.safetensors").read_bytes()
    for number in (1, 2):
        result = rltrainer("fit", finished, "--reward.label-noise", "0.2")
        assert result.code == 0, result.err
        assert "labels" in result.out
        assert f"reward-fit-{number}.safetensors" in result.out
    assert (finished / "reward.safetensors").read_bytes() == trained
    with safe_open(finished / "reward-fit-1.safetensors", framework="numpy") as file:
        settings = Reward.model_validate_json(file.metadata()["reward"])
    assert (settings.label_noise, settings.hidden, settings.fit_steps) == (
        0.2,
        (8,),
        3,
    )  # the run's, and the one that was changed
    assert load_reward(finished, finished / "reward-fit-1.safetensors").version > 0


def test_fit_writes_where_it_is_told_and_over_nothing(rltrainer: Command, finished: Path, tmp_path: Path) -> None:
    assert rltrainer("fit", finished, "--out", tmp_path / "mine.safetensors").code == 0
    before = (tmp_path / "mine.safetensors").read_bytes()
    for file in (tmp_path / "mine.safetensors", finished / "reward.safetensors"):
        refused(rltrainer("fit", finished, "--seed", 9, "--out", file), str(file), "exists already", "--out FILE")
    assert (tmp_path / "mine.safetensors").read_bytes() == before
    refused(rltrainer("fit", finished, "--out", tmp_path / "no" / "x.safetensors"), "cannot be written")


def test_fit_says_whose_its_unset_settings_are(rltrainer: Command) -> None:
    text = rltrainer("fit", "--help").out
    assert "--reward.members N" in text
    assert "[the run's]" in text
    assert "--env" not in text
    assert "\n  RUN" not in text, "an argument is no option"


def test_import_takes_back_what_export_wrote(rltrainer: Command, finished: Path, tmp_path: Path) -> None:
    assert rltrainer("export", finished, tmp_path / "mine.jsonl").code == 0
    shutil.copytree(finished, tmp_path / "copy")
    connection = sqlite3.connect(tmp_path / "copy" / "store.db")
    connection.execute("DELETE FROM labels")
    connection.commit()
    connection.close()
    result = rltrainer("import", tmp_path / "copy", tmp_path / "mine.jsonl")
    assert (result.code, result.err) == (0, "")
    assert "12 labels" in result.out
    assert "12 of them new" in result.out
    assert rltrainer("export", tmp_path / "copy", tmp_path / "again.jsonl").code == 0
    assert (tmp_path / "again.jsonl").read_bytes() == (tmp_path / "mine.jsonl").read_bytes()
    refused(rltrainer("import", tmp_path / "copy", tmp_path / "none.jsonl"), "none.jsonl", "pass another FILE")


def test_a_backup_of_a_finished_run_can_be_gone_on_with(rltrainer: Command, finished: Path, tmp_path: Path) -> None:
    done = rltrainer("backup", finished, tmp_path / "copy")
    labels = len((finished / "labels.jsonl").read_text().splitlines())
    assert (done.code, done.err) == (0, "")
    assert done.out.startswith(f"{tmp_path / 'copy'}: {labels} labels, ")
    examined = rltrainer("doctor", tmp_path / "copy")
    assert (examined.code, examined.err) == (0, "")
    assert [line.split()[0] for line in examined.out.splitlines()] == ["ok"] * 8
    assert rltrainer("evaluate", tmp_path / "copy", "--episodes", 1).code == 0


def test_what_is_wrong_with_a_run_ends_the_doctor_and_the_backup_with_1(
    rltrainer: Command, finished: Path, tmp_path: Path
) -> None:
    shutil.copytree(finished, tmp_path / "run")
    next((tmp_path / "run" / "segments").iterdir()).unlink()
    examined = rltrainer("doctor", tmp_path / "run")
    assert examined.code == 1
    assert [line.split()[:2] for line in examined.out.splitlines() if line.startswith("fail")] == [["fail", "segments"]]
    copied = rltrainer("backup", tmp_path / "run", tmp_path / "copy")
    assert copied.code == 1
    assert copied.err == f"1 segment files are damaged and left out; see rltrainer doctor {tmp_path / 'run'}\n"


def test_export_works_while_somebody_labels(rltrainer: Command, finished: Path, tmp_path: Path) -> None:
    store = Store.create(tmp_path / "run")
    first, second = toys.random_segments(2, np.random.default_rng(0))
    (query,) = store.ask([(first, second)], 0, "uniform")
    store.save_label("a", query.id, "ada", Answer(Verdict.EQUAL))
    assert "1 labels" in rltrainer("export", tmp_path / "run", tmp_path / "x.jsonl").out
    store.close()


def test_a_config_file_is_read_and_flags_win_over_it(rltrainer: Command, tmp_path: Path) -> None:
    (tmp_path / "my.yaml").write_text(
        "env: toys:drift\nlabeler: none\nsteps: 200\nseed: 4\nn_envs: 2\nallowTies: 'off'\nppo: {n_steps: 32, batch_size: 64}\n"
    )
    result = rltrainer(
        "train", "--config", "my.yaml", "--seed", "9", "--ppo.n-epochs", "1", "--reward.hidden", "8,4", "--run", "run"
    )
    assert result.code == 0, result.err
    settings = Config.read(tmp_path / "run" / "config.yaml")
    assert (settings.seed, settings.ppo.n_steps, settings.ppo.n_epochs, settings.reward.hidden) == (9, 32, 1, (8, 4))
    assert settings.labeling.allow_ties is False


def test_without_a_folder_named_the_run_goes_below_runs(rltrainer: Command, tmp_path: Path) -> None:
    assert rltrainer("train", "--env", "toys:drift", "--labeler", "none", *SMALL, "--steps", "100").code == 0
    (folder,) = (tmp_path / "runs").iterdir()
    assert folder.name.startswith("toys-drift-")


def test_env_options_are_yaml(rltrainer: Command, tmp_path: Path) -> None:
    result = rltrainer(
        "train",
        "--env",
        "toys:drift",
        "--env-options",
        "{length: 12}",
        "--labeler",
        "none",
        "--run",
        "run",
        *SMALL,
        "--steps",
        "100",
    )
    assert result.code == 0, result.err
    assert Config.read(tmp_path / "run" / "config.yaml").env_options == {"length": 12}


# ------------------------------------------------------------------ help


def test_help_teaches(rltrainer: Command) -> None:
    overview = rltrainer("--help")
    assert overview.code == 0
    for command in ("train", "label", "bot", "evaluate", "enjoy", "fit", "export", "import", "bench", "doctor"):
        assert command in overview.out
        assert rltrainer(command, "--help").code == 0
    assert "\n  Start here:\n    rltrainer train  " in overview.out


def test_every_setting_is_a_flag_with_its_line_and_its_default(rltrainer: Command) -> None:
    text = rltrainer("train", "--help").out
    flat = " ".join(text.split())
    for name, field in settings_of():
        assert f"--{name.replace('_', '-')}" in text
        assert " ".join(str(field.description).split()) in flat
    assert "[on]" in text


def test_bench_has_a_line_for_each_benchmark_and_hands_flags_on(rltrainer: Command) -> None:
    overview = rltrainer("bench", "--help").out
    for name in ("labels", "teachers", "peers", "learner", "overhead", "labeler", "clips"):
        assert f"  {name} " in overview
    asked = rltrainer("bench", "clips", "--help")
    assert asked.code == 0
    assert "--json FILE" in asked.out


def test_bench_without_a_checkout_is_one_sentence(rltrainer: Command, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(bench, "__file__", str(tmp_path / "site-packages" / "rltrainer" / "bench.py"))
    ended = rltrainer("bench", "labels", "--quick")
    assert ended.code == 2
    assert (
        ended.err == "rltrainer: bench is 'labels', and there is no folder benchmarks here; run it in a checkout of rltrainer\n"
    )


def test_without_a_command_there_is_the_overview(rltrainer: Command) -> None:
    ended = rltrainer()
    assert ended.code == 2
    assert ended.err.startswith("Usage:")
    assert "\n  Start here:\n    rltrainer train " in ended.err


def test_the_version_is_told(rltrainer: Command) -> None:
    assert "0.1" in rltrainer("--version").out


# ------------------------------------------------------------------ bad input


TRAIN = ("train", "--labeler", "oracle")

BAD = {
    "a wrong env id": ([*TRAIN, "--env", "HalfCheeta-v5"], ["env is 'HalfCheeta-v5'", "did you mean 'HalfCheetah"]),
    "an env of no namespace": ([*TRAIN, "--env", "nowhere/Thing-v0"], ["env is 'nowhere/Thing-v0'"]),
    "an env in a module that is not there": (
        [*TRAIN, "--env", "no_such_module:make"],
        ["env is 'no_such_module:make'"],
    ),
    "a factory that is not there": ([*TRAIN, "--env", "toys:drfit"], ["env is 'toys:drfit'", "did you mean 'drift'"]),
    "a factory of no env": (
        [*TRAIN, "--env", "toys:Even", "--env-options", "{version: 1}"],
        ["must return a gymnasium.Env"],
    ),
    "options the env does not take": (
        [*TRAIN, "--env", "toys:drift", "--env-options", "{wind: 3}"],
        ["env_options is {'wind': 3}"],
    ),
    "options that are no mapping": ([*TRAIN, "--env-options", "3"], ["env_options is 3"]),
    "options that say one twice": ([*TRAIN, "--env-options", "{a: 1, a: 2}"], ["env_options", "'a' is set twice"]),
    "options that are no YAML": ([*TRAIN, "--env-options", "{a: ["], ["env_options", "{a: ["]),
    "no env": ([*TRAIN, "--env", ""], ["env is ''"]),
    "a flag that is none": ([*TRAIN, "--stesp", "3"], ["--stesp"]),
    "a word too much": ([*TRAIN, "now"], ["now"]),
    "a number that is none": ([*TRAIN, "--steps", "many"], ["steps is 'many'", "integer"]),
    "a negative number": ([*TRAIN, "--labels", "-3"], ["labels is '-3'"]),
    "a labeler that is none": (["train", "--labeler", "orakle"], ["labeler is 'orakle'", "did you mean 'oracle'"]),
    "a strategy that is none": (
        [*TRAIN, "--queries.strategy", "disagreemnt"],
        ["queries.strategy is 'disagreemnt'; did you mean 'disagreement'?"],
    ),
    "a learner that is none": (
        [*TRAIN, "--reward.learner", "ensembel"],
        ["reward.learner is 'ensembel'; did you mean 'ensemble'?"],
    ),
    "a method that is none": ([*TRAIN, "--method", "pppo"], ["method is 'pppo'; did you mean 'ppo'?"]),
    "a method of the user's that is not there": ([*TRAIN, "--method", "toys:nothing"], ["method is 'toys:nothing'"]),
    "a segment longer than the episodes": (
        [*TRAIN, "--env", "Pendulum-v1", "--segments.steps", "201"],
        ["segments.steps is 201", "at most 200 steps"],
    ),
    "observations of a kind we cannot take": (
        [*TRAIN, "--env", "toys:text_env"],
        ["observations are Text", "wrap the env"],
    ),
    "actions of a kind we cannot take": (
        [*TRAIN, "--env", "toys:tuple_action_env"],
        ["actions are Tuple", "wrap the env"],
    ),
    "actions the baseline cannot take": (
        ["train", "--labeler", "none", "--env", "toys:tuple_action_env"],
        ["actions are Tuple"],
    ),
    "an env that cannot be shown": (
        ["train", "--env", "toys:dict_env", "--segments.steps", "8", "--port", "0"],
        ["toys:dict_env", "cannot be shown"],
    ),
    "an env that takes no render_mode where its factory takes anything": (
        ["train", "--env", "toys:ledger", "--segments.steps", "8", "--port", "0"],
        ["toys:ledger", "render_mode"],
    ),
    "a config that is not there": ([*TRAIN, "--config", "none.yaml"], ["cannot read the config 'none.yaml'"]),
    "a minibatch of one": (
        [*TRAIN, "--env", "Pendulum-v1", "--ppo.batch-size", "1"],
        ["ppo.batch_size is '1'", "greater than or equal to 2"],
    ),
    "a rollout of one step": (
        [*TRAIN, "--env", "Pendulum-v1", "--ppo.n-steps", "1", "--n-envs", "1"],
        ["ppo.n_steps is '1'", "greater than or equal to 2"],
    ),
    "a page host that is none": (
        ["train", "--labeler", "oracle", "--page", "on", "--host", "no.such.host.invalid", "--env", "Pendulum-v1"],
        ["no.such.host.invalid"],
    ),
    "a run that is not there, to evaluate": (["evaluate", "nowhere"], ["'nowhere' is not a run folder"]),
    "a run that is not there, to enjoy": (["enjoy", "nowhere"], ["'nowhere' is not a run folder"]),
    "a run that is not there, to export": (["export", "nowhere"], ["'nowhere' is not a run folder"]),
    "a run that is not there, to fit": (["fit", "nowhere"], ["'nowhere' is not a run folder"]),
    "a run that is not there, to import into": (["import", "nowhere", "x.jsonl"], ["'nowhere' is not a run folder"]),
    "a run that is not there, to back up": (["backup", "nowhere"], ["'nowhere' is not a run folder"]),
    "a run that is not there, to the doctor": (["doctor", "nowhere"], ["'nowhere' is not a run folder"]),
    "a run that is not there, to label": (["label", "nowhere"], ["'nowhere' is not a run folder"]),
    "a run that is not there, to a bot": (["bot", "nowhere"], ["'nowhere' is not a run folder"]),
    "no episodes": (["evaluate", ".", "--episodes", "0"], ["--episodes"]),
    "no command of ours": (["trian"], ["trian"]),
}
"""What is typed → what the sentence holds. `browser` and `--page on` are refused before a service is started."""


@pytest.mark.parametrize("case", BAD)
def test_bad_input_is_one_sentence_and_leaves_nothing_behind(rltrainer: Command, tmp_path: Path, case: str) -> None:
    words, expected = BAD[case]
    refused(rltrainer(*words, *(["--run", tmp_path / "run"] if words[0] == "train" else [])), *expected)
    assert not list(tmp_path.iterdir())


def test_a_typo_in_the_config_is_told_with_the_files_name(rltrainer: Command, tmp_path: Path) -> None:
    (tmp_path / "my.yaml").write_text("stps: 3\n")
    refused(rltrainer("train", "--config", "my.yaml"), "my.yaml: there is no setting 'stps'; did you mean 'steps'?")
    (tmp_path / "my.yaml").write_text("steps: 3\nsteps: 4\n")
    refused(rltrainer("train", "--config", "my.yaml"), "'steps' is set twice")
    assert [file.name for file in tmp_path.iterdir()] == ["my.yaml"]


def test_a_run_folder_that_exists_is_left_alone(rltrainer: Command, finished: Path) -> None:
    before = {file: file.stat().st_mtime_ns for file in finished.rglob("*")}
    refused(
        rltrainer(*TRAIN, "--env", "toys:drift", "--run", finished),
        f"run is '{finished}', which exists already",
        "--run DIR",
    )
    assert {file: file.stat().st_mtime_ns for file in finished.rglob("*")} == before


def test_a_run_folder_that_cannot_be_made_is_one_sentence(rltrainer: Command, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("x")
    for path in ("file", "file/run"):
        refused(
            rltrainer(*TRAIN, "--env", "toys:drift", "--segments.steps", 8, "--run", path),
            f"run is '{path}'",
            "--run DIR",
        )
    assert [file.name for file in tmp_path.iterdir()] == ["file"]


@pytest.mark.parametrize("command", ["export", "label"])
def test_a_store_of_another_version_is_refused(rltrainer: Command, tmp_path: Path, command: str) -> None:
    Store.create(tmp_path / "run", env={"id": "Pendulum-v1", "options": {}}, config=Config().model_dump(mode="json")).close()
    connection = sqlite3.connect(tmp_path / "run" / "store.db")
    connection.execute("UPDATE meta SET value = '9' WHERE key = 'version'")
    connection.commit()
    connection.close()
    refused(rltrainer(command, tmp_path / "run"), "is a store of version 9 and this rltrainer reads version ")
    assert not (tmp_path / "run" / "labels.jsonl").exists()


def test_a_run_that_saved_no_policy_is_one_sentence(rltrainer: Command, tmp_path: Path) -> None:
    (tmp_path / "run").mkdir()
    (tmp_path / "run" / "config.yaml").write_text(Config(env="toys:drift").dump())
    refused(rltrainer("evaluate", "run"), "holds no policy.safetensors")


def test_labels_that_cannot_be_written_are_one_sentence(rltrainer: Command, finished: Path, tmp_path: Path) -> None:
    refused(rltrainer("export", finished, tmp_path / "no" / "folder.jsonl"), "folder.jsonl", "pass another FILE")


@pytest.fixture
def taken_port() -> Iterator[int]:
    with socket.socket() as listening:
        listening.bind(("127.0.0.1", 0))
        listening.listen()
        yield listening.getsockname()[1]


def test_a_port_in_use_is_refused_and_leaves_nothing_behind(rltrainer: Command, tmp_path: Path, taken_port: int) -> None:
    result = rltrainer(*TRAIN, "--env", "Pendulum-v1", "--page", "on", "--port", taken_port, "--run", "run", "--n-envs", 1)
    assert result.code == 2
    assert "Traceback" not in result.err
    assert result.err.splitlines()[-1].startswith("rltrainer: ")
    assert str(taken_port) in result.err.splitlines()[-1]
    assert not list(tmp_path.iterdir())


def test_a_run_cannot_be_labelled_at_a_port_in_use(rltrainer: Command, tmp_path: Path, taken_port: int) -> None:
    Store.create(tmp_path / "run", env={"id": "Pendulum-v1", "options": {}}, config=Config().model_dump(mode="json")).close()
    refused(rltrainer("label", "run", "--port", taken_port, "--no-open"), str(taken_port), "--port")


def test_nobody_is_invited_to_a_run_that_nobody_serves(rltrainer: Command, finished: Path) -> None:
    refused(rltrainer("invite", finished, "--name", "Ada"), "no label service", f"rltrainer label {finished}")


def test_a_guest_is_invited_by_a_link_alone_on_its_line_and_put_out_again(
    rltrainer: Command, finished: Path, taken_port: int
) -> None:
    store = Store.open(finished)
    store.log("service", host="127.0.0.1", port=taken_port)
    invited = rltrainer("invite", finished, "--name", "Ada", "--admin")
    assert re.fullmatch(rf"http://127\.0\.0\.1:{taken_port}/#token=[\w-]{{43}}\n", invited.out)
    assert "It opens on this machine, and on others through a tunnel" in invited.err
    assert list(store.links().values()) == [Link("Ada", admin=True)]
    ended = rltrainer("revoke", finished, "--name", "Ada")
    assert ended.out == "1 link of Ada ended\n"
    assert store.links() == {}
    refused(rltrainer("revoke", finished, "--name", "Ada"), "--name is 'Ada'", "nobody has one")
    store.close()


def test_a_report_is_a_file_and_the_same_figures_as_json(rltrainer: Command, finished: Path, tmp_path: Path) -> None:
    made = rltrainer("report", finished)
    assert made.out == f"{finished / 'report.html'}\n"
    assert (finished / "report.html").read_text().startswith("<!doctype html>")
    figures = json.loads(rltrainer("report", finished, "--json").out)
    assert [one["labeler"] for one in figures["labelers"]] == ["oracle"]
    assert figures["labelers"][0]["labels"] == figures["counts"]["labels"] == 12
    assert figures["given"]["oracle"][-1][1] == 12
    refused(rltrainer("report", tmp_path), "is not a run folder")


def test_a_bot_says_where_it_found_no_label_service(rltrainer: Command, finished: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as listening:
        port = listening.getsockname()[1]
    refused(rltrainer("bot", finished, "--port", port), f"labeling.port is {port}", "`rltrainer label RUN`")


@pytest.mark.parametrize("labeler", ["oracle", "none"])
def test_an_env_that_gives_nan_ends_the_run_in_a_sentence_with_everything_saved(
    rltrainer: Command, tmp_path: Path, labeler: str
) -> None:
    fault = ["--env", "toys:faulty", "--env-options", "{fault: observation, at: 450}"]
    result = rltrainer("train", *fault, "--labeler", labeler, "--run", "run", *SMALL, "--steps", "2000", "--labels", "8")
    assert result.code == 2
    assert result.err.splitlines()[-1].startswith("rltrainer: the env gave an observation with NaN")
    assert "Traceback" not in result.err
    assert (tmp_path / "run" / "policy.safetensors").is_file()
    assert (tmp_path / "run" / "labels.jsonl").exists() == (labeler == "oracle")


def test_a_film_for_a_folder_that_is_not_there_is_refused(rltrainer: Command, finished: Path, tmp_path: Path) -> None:
    refused(rltrainer("enjoy", finished, "--out", tmp_path / "no" / "x.mp4"), "there is no folder", "--out FILE")


@pytest.mark.parametrize("name", ["x.gif", "x.webm", "x"])
def test_a_film_of_another_kind_is_refused_before_it_is_played(
    rltrainer: Command, finished: Path, tmp_path: Path, name: str
) -> None:
    refused(rltrainer("enjoy", finished, "--out", tmp_path / name), "films are .mp4, .mkv, .mov; pass another --out FILE")


def test_an_env_that_cannot_be_filmed_is_one_sentence(rltrainer: Command, finished: Path) -> None:
    refused(rltrainer("enjoy", finished), "toys:drift", "render_mode")
    assert not (finished / "enjoy.mp4").exists()


# ------------------------------------------------------------------ Ctrl-C


@pytest.mark.parametrize("asked", [signal.SIGINT, signal.SIGTERM])
@pytest.mark.long
def test_a_signal_ends_a_run_cleanly_and_keeps_everything(tmp_path: Path, asked: signal.Signals) -> None:
    run = tmp_path / "run"
    command = [
        sys.executable,
        "-m",
        "rltrainer",
        "train",
        "--env",
        "toys:drift",
        "--labeler",
        "oracle",
        "--run",
        str(run),
        *SMALL,
    ]
    with subprocess.Popen(
        [*command, "--steps", "100000000", "--labels", "2000000", "--queries.warmup-share", "0.00001"],
        cwd=TESTS,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env={**os.environ, "PYTHONWARNINGS": "default"},
    ) as process:
        assert process.stderr is not None
        said = []
        for line in process.stderr:  # the first news comes with the first rollout
            said.append(line)
            if line.startswith("training: "):
                break
        process.send_signal(asked)
        try:
            _, rest = process.communicate(timeout=60)
        finally:
            process.kill()
    text = "".join(said) + rest
    assert process.returncode == 0, text
    assert "Traceback" not in text
    assert "Saved in" in text
    found = {file.name for file in run.iterdir()}
    assert {"config.yaml", "policy.safetensors", "reward.safetensors", "store.db", "labels.jsonl"} <= found
    assert not [name for name in found if name.endswith(".tmp")]
    store = Store.open(run)
    last = store.newest_event("progress")
    labels = store.counts()["labels"]
    store.close()
    assert labels == len((run / "labels.jsonl").read_text().splitlines()) > 0
    assert last is not None
    assert last["phase"] == "stopped"
