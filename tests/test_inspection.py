"""Facts about `rltrainer doctor RUN`: every kind of damage is found, named, and comes with a way to mend it."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import toys
from safetensors.numpy import save_file

from rltrainer.backup import back_up
from rltrainer.checkpoint import RunFolder
from rltrainer.config import Config
from rltrainer.core import Answer, UserError, Verdict
from rltrainer.doctor import Check, healthy
from rltrainer.inspection import inspect
from rltrainer.loop import PreferenceLoop
from rltrainer.store import FILE, ORACLE, Store
from rltrainer.wrapper import PreferenceRewardWrapper

ALL = ["config.yaml", "store", "segments", "labels", "labels.jsonl", "checkpoints", "policy.safetensors", "reward.safetensors"]


@pytest.fixture
def run(tmp_path: Path) -> Path:
    """A run that ended, with two pairs of which one was judged twice."""
    folder = RunFolder.create(tmp_path / "run", Config())
    store = Store.create(tmp_path / "made", config={}, env={})
    store.close()
    (tmp_path / "made" / FILE).rename(folder.path / FILE)
    (tmp_path / "made" / "segments").rename(folder.path / "segments")
    store = Store.open(folder.path)
    segments = toys.random_segments(4, np.random.default_rng(0))
    first, _ = store.ask([(segments[0], segments[1]), (segments[2], segments[3])], 0, "uniform")
    store.save_label("old", first.id, "ada", Answer(Verdict.EQUAL))
    store.save_label("new", first.id, "ada", Answer(Verdict.PREFER, first.second, {first.second: (1, 3)}))
    store.log("progress", phase="finished")
    folder.export_labels(store)
    store.close()
    for name in ("policy", "reward"):
        save_file({"weights": np.ones(3)}, folder.path / f"{name}.safetensors")
    return folder.path


def wrong(run: Path) -> dict[str, Check]:
    return {check.name: check for check in inspect(run) if check.status != "ok"}


def sql(run: Path, statement: str) -> None:
    connection = sqlite3.connect(run / FILE)
    connection.execute(statement)
    connection.commit()
    connection.close()


def test_a_whole_run_is_healthy_and_looking_changes_nothing(run: Path) -> None:
    before = {file: file.read_bytes() for file in run.rglob("*") if file.is_file()}
    found = inspect(run)
    assert [check.name for check in found] == ALL
    assert [(check.status, check.mend) for check in found] == [("ok", "")] * 8
    assert {file: file.read_bytes() for file in run.rglob("*") if file.is_file()} == before


def cut_page(run: Path) -> None:
    with (run / FILE).open("r+b") as file:
        file.seek(3 * 4096)
        file.write(bytes(4096))


def flip_key(run: Path) -> None:
    """One bit of one of the places where a pair's id stands: a row, or an index."""
    store = Store.open(run)
    key = store.waiting()[0].id.encode()
    store.close()
    content = (run / FILE).read_bytes()
    (run / FILE).write_bytes(content.replace(key, bytes([key[0] ^ 1]) + key[1:], 1))


def flip(name: str) -> Callable[[Path], None]:
    def damage(run: Path) -> None:
        file = next(run.glob(name))
        file.write_bytes(file.read_bytes()[:-1] + b"\xff")

    return damage


def cut(name: str) -> Callable[[Path], None]:
    def damage(run: Path) -> None:
        file = next(run.glob(name))
        file.write_bytes(file.read_bytes()[:20])

    return damage


DAMAGE: dict[str, tuple[Callable[[Path], None], str, str, str]] = {
    "a page": (cut_page, "store", "store.db' is damaged (", ".recover"),
    "a lost row": (
        lambda run: sql(run, "DELETE FROM segments"),
        "store",
        "names one of segments that is not there",
        "go on with",
    ),
    "a flipped bit in a key": (flip_key, "store", "is damaged (", "go on with"),
    "a flipped bit in a segment": (flip("segments/*"), "segments", "1 of 4 are gone or not what", "segments/"),
    "a segment that is gone": (lambda run: next(run.glob("segments/*")).unlink(), "segments", "1 of 4 are gone", "segments/"),
    "a label without its query": (
        lambda run: sql(run, "UPDATE labels SET query_id = 'x' WHERE id = 'new'"),
        "labels",
        "1 of 2 do not fit a query: new",
        "go on with",
    ),
    "a label on another pair's segment": (
        lambda run: sql(run, "UPDATE labels SET preferred = 'x' WHERE id = 'new'"),
        "labels",
        "1 of 2 do not fit a query: new",
        "go on with",
    ),
    "a label on steps that are not there": (
        lambda run: sql(run, "UPDATE labels SET trims = replace(trims, '3]', '3000]')"),
        "labels",
        "1 of 2 do not fit a query: new",
        "go on with",
    ),
    "an answer that is none": (
        lambda run: sql(run, "UPDATE labels SET verdict = 'pregfr'"),
        "labels",
        "a row cannot be read ('pregfr' is not a valid Verdict)",
        "go on with",
    ),
    "a label that the store lacks": (
        lambda run: sql(run, "DELETE FROM labels WHERE id = 'new'"),
        "labels.jsonl",
        "holds 1 labels that the store lacks",
        "rltrainer import ",
    ),
    "half of the exported labels": (cut("labels.jsonl"), "labels.jsonl", "line 1 is not JSON", "rltrainer export "),
    "a policy that is gone": (
        lambda run: (run / "policy.safetensors").unlink(),
        "policy.safetensors",
        "gone, though the run ended",
        "policy.safetensors",
    ),
    "half a policy": (cut("policy.safetensors"), "policy.safetensors", "cannot be read (", "policy.safetensors"),
    "a reward that is not a number": (
        lambda run: save_file({"weights": np.array([np.nan])}, run / "reward.safetensors"),
        "reward.safetensors",
        "not finite: weights",
        "reward.safetensors",
    ),
    "a config that is none": (
        lambda run: (run / "config.yaml").write_text("stps: 3"),
        "config.yaml",
        "there is no setting 'stps'",
        "config.yaml",
    ),
    "no store": (
        lambda run: (run / FILE).unlink(),
        "store",
        "holds no store.db",
        "go on with a copy of the run made elsewhere",
    ),
}


@pytest.mark.parametrize("case", DAMAGE)
def test_damage_is_found_named_and_comes_with_a_way_to_mend_it(run: Path, case: str) -> None:
    damage, name, found, mend = DAMAGE[case]
    damage(run)
    checks = wrong(run)
    assert not healthy(list(checks.values()))
    assert checks[name].status == "fail"
    assert found in checks[name].found
    assert mend in checks[name].mend


def test_a_file_that_a_backup_holds_is_mended_by_the_line_that_is_shown(run: Path) -> None:
    back_up(run)
    next(run.glob("segments/*")).unlink()
    command, source, target = wrong(run)["segments"].mend.split()
    assert command == "cp"
    Path(target).write_bytes(Path(source).read_bytes())
    assert wrong(run) == {}


def test_labels_given_since_the_export_and_a_run_still_in_training_are_no_damage(run: Path) -> None:
    (run / "policy.safetensors").unlink()
    store = Store.open(run)
    store.log("progress", phase="training")
    (query,) = store.waiting()
    store.save_label("later", query.id, "ada", Answer(Verdict.EQUAL))
    store.close()
    checks = wrong(run)
    assert {name: check.status for name, check in checks.items()} == {"labels.jsonl": "warn", "policy.safetensors": "warn"}
    assert checks["labels.jsonl"].found == "older than the store: 1 labels are not in it"


def test_what_an_oracle_is_asked_anew_after_a_resume_is_not_lost(run: Path) -> None:
    store = Store.open(run)
    (query,) = store.waiting()
    (label,) = store.save_labels("oracle", [("since the checkpoint", query.id, Answer(Verdict.EQUAL))], ORACLE)
    RunFolder(run).export_labels(store)
    store.rewind(label.seq - 1, 99)
    store.close()
    checks = wrong(run)
    assert {name: check.status for name, check in checks.items()} == {"labels.jsonl": "warn"}
    assert checks["labels.jsonl"].found == "older than the store: 0 labels are not in it, and 1 stand no more"
    assert checks["labels.jsonl"].mend.startswith("rltrainer export ")


def test_a_loop_in_code_of_ones_own_writes_no_config(tmp_path: Path) -> None:
    env = PreferenceRewardWrapper(toys.drift())
    settings = Config(env="toys:drift", labeler="oracle", labels=4, steps=400)
    loop = PreferenceLoop(env, settings, run=tmp_path / "run", update_every=100)
    loop.warm_up()
    loop.close()
    found = {check.name: check for check in inspect(tmp_path / "run")}
    assert found["config.yaml"].found == "not there, as where code of one's own trains; the store has the settings"
    assert {name: check.status for name, check in found.items() if check.status != "ok"} == {
        "policy.safetensors": "warn",
        "reward.safetensors": "warn",
    }


def test_a_run_that_learns_no_reward_lacks_none(run: Path) -> None:
    (run / "reward.safetensors").unlink()
    (run / "config.yaml").write_text(Config(method="cpl").dump())
    assert [check.name for check in inspect(run)] == ALL[:-1]
    assert wrong(run) == {}


def test_a_baseline_needs_no_store(tmp_path: Path) -> None:
    folder = RunFolder.create(tmp_path / "run", Config(labeler="none"))
    assert [(check.name, check.status) for check in inspect(folder.path)] == [
        ("config.yaml", "ok"),
        ("checkpoints", "ok"),
        ("policy.safetensors", "warn"),
    ]


def test_a_folder_that_is_not_there_is_one_sentence(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"'.*none' is not a run folder; pass the folder"):
        inspect(tmp_path / "none")
