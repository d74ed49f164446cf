"""Facts about backups: each is a run of its own, and whoever writes while one is made loses nothing."""

from __future__ import annotations

import resource
import threading
from pathlib import Path

import numpy as np
import pytest
import toys

from rltrainer.backup import back_up
from rltrainer.core import Answer, Query, Segment, UserError, Verdict
from rltrainer.inspection import inspect
from rltrainer.store import BACKUPS, FILE, Store, database, newest_backup

EQUAL = Answer(Verdict.EQUAL)


@pytest.fixture
def segments() -> list[Segment]:
    return toys.random_segments(40, np.random.default_rng(0))


@pytest.fixture
def queries(store: Store, segments: list[Segment]) -> list[Query]:
    return store.ask(list(zip(segments[:8:2], segments[1:8:2], strict=True)), asked_at=100, strategy="uniform")


def test_a_backup_is_a_run_of_its_own(store: Store, queries: list[Query], segments: list[Segment]) -> None:
    store.save_label("a", queries[0].id, "ada", EQUAL)
    for name in ("config.yaml", "reward.safetensors", "label-service.log"):
        (store.folder / name).write_text(name)
    done = back_up(store.folder)
    assert (done.labels, done.segments, done.damaged) == (1, 8, ())
    assert done.folder == newest_backup(store.folder)
    store.save_label("b", queries[1].id, "ada", EQUAL)
    copy = Store.open(done.folder)
    assert copy.fact("run") == store.fact("run")
    assert copy.labels() == store.labels()[:1]
    assert copy.segment(queries[0].first).id == queries[0].first
    copy.close()
    assert {file.name for file in done.folder.iterdir()} == {FILE, "segments", "config.yaml", "reward.safetensors"}


def test_backups_of_one_second_have_names_in_their_order(store: Store) -> None:
    made = [back_up(store.folder).folder for _ in range(3)]
    assert made == sorted(made)
    assert newest_backup(store.folder) == made[-1]


def test_a_backup_that_is_half_made_is_no_way_out(store: Store) -> None:
    half = store.folder / BACKUPS / ".2099-01-01.7.tmp"
    half.mkdir(parents=True)
    (half / FILE).touch()
    assert newest_backup(store.folder) is None
    assert back_up(store.folder).folder == newest_backup(store.folder)


def test_a_backup_goes_where_it_is_told_and_over_nothing(store: Store, tmp_path: Path) -> None:
    assert back_up(store.folder, tmp_path / "a" / "b").folder == tmp_path / "a" / "b"
    with pytest.raises(UserError, match="exists already; pass another FOLDER"):
        back_up(store.folder, tmp_path / "a" / "b")
    (tmp_path / "file").touch()
    with pytest.raises(UserError, match=r"which cannot be written: .*; pass another FOLDER"):
        back_up(store.folder, tmp_path / "file" / "b")
    assert sorted(file.name for file in tmp_path.iterdir()) == ["a", "file", "run"]


def test_a_backup_that_does_not_fit_on_the_disk_is_one_sentence_and_leaves_nothing(store: Store, tmp_path: Path) -> None:
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (20_000, hard))  # bytes of a file: fewer than an empty store has
    try:
        with pytest.raises(UserError, match=r"folder is '.*copy', which cannot be written: .*; pass another FOLDER"):
            back_up(store.folder, tmp_path / "copy")
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert [file.name for file in tmp_path.iterdir()] == ["run"]


def test_a_damaged_segment_is_left_out_and_told(store: Store, queries: list[Query]) -> None:
    flipped, gone = queries[0].first, queries[1].second
    (store.folder / "segments" / f"{gone}.safetensors").unlink()
    file = store.folder / "segments" / f"{flipped}.safetensors"
    file.write_bytes(file.read_bytes()[:-1] + b"!")
    done = back_up(store.folder)
    assert set(done.damaged) == {flipped, gone}
    assert {file.stem for file in (done.folder / "segments").iterdir()} == set(store.segments()) - {flipped, gone}


@pytest.mark.parametrize("mode", ["DELETE", "WAL"])
def test_backups_made_while_others_write_are_whole_and_cost_the_writers_nothing(
    tmp_path: Path, segments: list[Segment], monkeypatch: pytest.MonkeyPatch, mode: str
) -> None:
    monkeypatch.setattr(database, "journal_mode", lambda: mode)
    store = Store.create(tmp_path / "run", env={"id": "Toy-v0"}, config={})
    done = threading.Event()
    failures: list[Exception] = []

    def train() -> None:
        trainer = Store.open(store.folder)
        try:
            for number in range(0, 40, 2):
                (query,) = trainer.ask([(segments[number], segments[number + 1])], number, "uniform")
                trainer.save_label(f"label-{number}", query.id, "ada", EQUAL)
        except Exception as error:  # noqa: BLE001 - whatever it is, the test says it
            failures.append(error)
        finally:
            trainer.close()
            done.set()

    writer = threading.Thread(target=train)
    writer.start()
    made = []
    while not done.is_set() or not made:
        made.append(back_up(store.folder))
    writer.join()
    last = back_up(store.folder)
    assert (failures, last.labels, last.segments) == ([], 20, 40)
    for backup in [*made, last]:
        assert backup.damaged == ()
        assert sorted(file.name for file in backup.folder.iterdir()) == ["segments", FILE]
        found = {check.name: check.status for check in inspect(backup.folder)}
        assert (found["store"], found["segments"], found["labels"]) == ("ok", "ok", "ok")
        copy = Store.open(backup.folder)
        assert [label.id for label in copy.labels()] == [f"label-{2 * number}" for number in range(backup.labels)]
        copy.close()
    store.close()
