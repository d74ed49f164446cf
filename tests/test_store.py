"""Facts about the store: what is durable, what counts, what is refused; alone and with another process beside."""

from __future__ import annotations

import json
import sqlite3
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
import sqlalchemy as sa
import toys

from rltrainer.checkpoint import label_rows
from rltrainer.core import Answer, Forecast, Link, Query, Segment, Strength, UserError, Verdict
from rltrainer.store import FILE, VERSION, Store, journal_mode, newest_backup

EQUAL, SKIP, UNDO = Answer(Verdict.EQUAL), Answer(Verdict.SKIP), Answer(Verdict.UNDO)


def prefer(segment_id: str, **trims: tuple[int, int]) -> Answer:
    return Answer(Verdict.PREFER, segment_id, trims)


@pytest.fixture
def segments() -> list[Segment]:
    return toys.random_segments(8, np.random.default_rng(0))


@pytest.fixture
def queries(store: Store, segments: list[Segment]) -> list[Query]:
    return store.ask(list(zip(segments[::2], segments[1::2], strict=True)), asked_at=100, strategy="uniform")


# ------------------------------------------------------------------ runs


def test_what_the_run_is_can_be_read_again(store: Store) -> None:
    assert store.fact("env") == {"id": "Toy-v0"}
    assert store.fact("config") == {"steps": 3}
    assert store.fact("version") == VERSION
    with pytest.raises(KeyError):
        store.fact("weather")


def test_two_runs_have_two_names(tmp_path: Path, store: Store) -> None:
    other = Store.create(tmp_path / "other")
    assert other.fact("run") != store.fact("run")
    other.close()


def test_a_folder_without_a_store_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"is not a run folder: it holds no store\.db"):
        Store.open(tmp_path)
    assert not list(tmp_path.iterdir())  # looking made no file


@pytest.mark.parametrize("content", [b"", b"not a database " * 500])
def test_a_file_that_is_no_store_is_refused(tmp_path: Path, content: bytes) -> None:
    (tmp_path / FILE).write_bytes(content)
    with pytest.raises(UserError, match="is not a store of rltrainer; pass another run folder"):
        Store.open(tmp_path)
    assert (tmp_path / FILE).read_bytes() == content


def test_another_programs_database_is_refused(tmp_path: Path) -> None:
    connection = sqlite3.connect(tmp_path / FILE)
    connection.execute("CREATE TABLE meta (key TEXT, value TEXT)")
    connection.close()
    with pytest.raises(UserError, match="is not a store of rltrainer"):
        Store.open(tmp_path)


def test_a_store_of_another_version_is_refused_with_both_versions(store: Store) -> None:
    connection = sqlite3.connect(store.folder / FILE)
    connection.execute("UPDATE meta SET value = '99' WHERE key = 'version'")
    connection.commit()
    connection.close()
    with pytest.raises(UserError, match=rf"is a store of version 99 and this rltrainer reads version {VERSION}; "):
        Store.open(store.folder)


@pytest.mark.parametrize(
    ("version", "mode"),
    [((3, 51, 2), "DELETE"), ((3, 51, 3), "WAL"), ((3, 40, 1), "DELETE"), ((3, 52, 0), "WAL"), ((4, 0, 0), "WAL")],
)
def test_the_journal_is_wal_only_where_two_writers_are_sound(version: tuple[int, ...], mode: str) -> None:
    assert journal_mode(version) == mode


def test_the_file_has_the_journal_mode_of_the_version_that_runs(store: Store) -> None:
    connection = sqlite3.connect(store.folder / FILE)
    (found,) = connection.execute("PRAGMA journal_mode").fetchone()
    connection.close()
    assert found.upper() == journal_mode()


# ------------------------------------------------------------------ damage


def overwrite(folder: Path, at: int, content: bytes) -> None:
    with (folder / FILE).open("r+b") as file:
        file.seek(at)
        file.write(content)


def pages(folder: Path) -> tuple[int, int]:
    """(size, number) of the database's pages."""
    connection = sqlite3.connect(folder / FILE)
    (size,), (number,) = (connection.execute(f"PRAGMA {fact}").fetchone() for fact in ("page_size", "page_count"))
    connection.close()
    return size, number


def test_a_store_with_any_one_page_gone_is_refused_with_the_way_out(store: Store, queries: list[Query]) -> None:
    store.save_label("a", queries[0].id, "ada", prefer(queries[0].first))
    store.close()
    size, number = pages(store.folder)
    whole = (store.folder / FILE).read_bytes()
    assert number > 10
    for page in range(1, number):  # the first one makes the file a database
        overwrite(store.folder, page * size, bytes(size))
        with pytest.raises(UserError) as refusal:
            Store.open(store.folder)
        assert str(refusal.value).startswith(f"{str(store.folder / FILE)!r} is damaged (")
        assert "it has no backup in" in str(refusal.value)
        assert "\n" not in str(refusal.value)
        (store.folder / FILE).write_bytes(whole)
    Store.open(store.folder).close()


def test_a_damaged_schema_is_damage_and_not_another_programs_file(store: Store) -> None:
    store.close()
    overwrite(store.folder, 100, b"\xff" * 3996)  # all of the first page but the header
    with pytest.raises(UserError, match=r"is damaged \(.*malformed"):
        Store.open(store.folder)


def test_the_newest_backup_is_named_where_a_store_is_damaged(store: Store, queries: list[Query]) -> None:
    assert newest_backup(store.folder) is None
    for name in ("20260101-120000", "20260102-120000", "20260102-120000-1"):
        (store.folder / "backups" / name).mkdir(parents=True)
        store.copy(store.folder / "backups" / name / FILE)
    (store.folder / "backups" / "20260103-120000").mkdir()  # without a store
    store.close()
    newest = str(store.folder / "backups" / "20260102-120000-1")
    overwrite(store.folder, 0, bytes(100))  # not even a database any more
    with pytest.raises(UserError, match=r"is damaged .*; its newest backup is .*, a run folder to go on with") as refusal:
        Store.open(store.folder)
    assert repr(newest) in str(refusal.value)


def test_a_run_that_learned_a_reward_and_has_lost_its_store_names_its_newest_backup(tmp_path: Path) -> None:
    for name in ("policy.safetensors", "reward.safetensors"):
        (tmp_path / name).touch()
    (tmp_path / "backups" / "one").mkdir(parents=True)
    Store.create(tmp_path / "backups" / "one").close()
    with pytest.raises(UserError, match=r"holds no store\.db any more; go on with its newest backup, .*one'"):
        Store.open(tmp_path)


def test_only_the_thorough_look_compares_rows_with_what_they_name(store: Store, queries: list[Query]) -> None:
    connection = sqlite3.connect(store.folder / FILE)  # which does not enforce foreign keys by itself
    connection.execute("DELETE FROM segments WHERE id = ?", [queries[0].first])
    connection.commit()
    connection.close()
    assert store.damage() is None
    assert store.damage(thorough=True) == "row 1 of queries names one of segments that is not there"


# ------------------------------------------------------------------ segments and queries


def test_a_segment_comes_back_as_it_was(store: Store) -> None:
    rng = np.random.default_rng(1)
    whole = Segment(
        observations=rng.integers(0, 255, (4, 6)).astype(np.uint8),
        actions=np.array([2, 0, 1]),
        env_rewards=rng.normal(size=3),
        episode_seed=2**31 - 1,
        lead_in=np.array([1, 1]),
        terminated=True,
        policy_step=77,
        frames=(b"one", b"", b"three", b"four"),
    )
    other = toys.segment([[0.5, 1], [2, 3]], [[0.25]])
    store.ask([(whole, other)], 0, "uniform")
    back = store.segment(whole.id)
    for name in ("observations", "actions", "env_rewards", "lead_in"):
        np.testing.assert_array_equal(getattr(back, name), getattr(whole, name))
        assert getattr(back, name).dtype == getattr(whole, name).dtype
    assert (back.episode_seed, back.terminated, back.truncated, back.policy_step) == (2**31 - 1, True, False, 77)
    assert back.frames == whole.frames
    assert back.id == whole.id
    assert store.segment(other.id).frames == ()


def test_segments_are_on_disk_before_the_query_that_names_them(
    store: Store, segments: list[Segment], monkeypatch: pytest.MonkeyPatch
) -> None:
    def no_disk(*_: object, **__: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("rltrainer.segment_files.save", no_disk)
    with pytest.raises(OSError, match="No space"):
        store.ask([(segments[0], segments[1])], 0, "uniform")
    assert store.waiting() == []
    monkeypatch.undo()
    (query,) = store.ask([(segments[0], segments[1])], 0, "uniform")
    assert store.segment(query.first).id == segments[0].id


def test_queries_wait_in_the_order_they_were_asked(store: Store, queries: list[Query], segments: list[Segment]) -> None:
    later = store.ask([(segments[0], segments[3])], asked_at=200, strategy="disagreement")
    assert store.waiting() == [*queries, *later]
    assert store.query(later[0].id) == Query(later[0].id, segments[0].id, segments[3].id, 200, "disagreement")
    assert store.query("unheard-of") is None


def test_a_segment_asked_about_twice_is_stored_once(store: Store, queries: list[Query], segments: list[Segment]) -> None:
    store.ask([(segments[0], segments[2]), (segments[0], segments[3])], 1, "uniform")
    assert len(list((store.folder / "segments").iterdir())) == len(segments)
    assert store.counts()["asked"] == len(queries) + 2


def test_asking_nothing_is_nothing(store: Store) -> None:
    assert store.ask([], 0, "uniform") == []
    assert store.counts() == {"asked": 0, "waiting": 0, "labels": 0, "skipped": 0}


@pytest.mark.parametrize("damage", ["cut", "flipped", "emptied", "gone", "foreign"])
def test_a_damaged_segment_file_is_one_sentence(
    store: Store, queries: list[Query], segments: list[Segment], damage: str
) -> None:
    file = store.folder / "segments" / f"{queries[0].first}.safetensors"
    content = bytearray(file.read_bytes())
    if damage == "gone":
        file.unlink()
    elif damage == "foreign":
        file.write_bytes((store.folder / "segments" / f"{queries[0].second}.safetensors").read_bytes())
    else:
        content[-1] ^= 1
        file.write_bytes({"cut": bytes(content[: len(content) // 2]), "flipped": bytes(content), "emptied": b""}[damage])
    with pytest.raises(UserError, match=r"segment file '.*\.safetensors' .*; restore it from a backup of the run"):
        store.segment(queries[0].first)
    assert store.segment(queries[1].first).id == queries[1].first


def test_a_segment_file_of_another_kind_is_one_sentence(store: Store, queries: list[Query]) -> None:
    from safetensors.numpy import save

    file = store.folder / "segments" / f"{queries[0].first}.safetensors"
    for content in (
        save({"x": np.zeros(3)}),
        save({"x": np.zeros(3)}, metadata={"segment": "{"}),
        save({"x": np.zeros(3)}, metadata={"segment": "{}"}),
    ):
        file.write_bytes(content)
        with pytest.raises(UserError, match="segment file"):
            store.segment(queries[0].first)


# ------------------------------------------------------------------ labels


def test_the_same_label_id_again_is_the_same_label(store: Store, queries: list[Query]) -> None:
    first = store.save_label("id-1", queries[0].id, "ada", prefer(queries[0].first))
    resent = store.save_label("id-1", queries[0].id, "ada", prefer(queries[0].first))
    assert resent == first
    assert len(store.labels()) == 1
    assert store.labels()[0] == first


def test_a_changed_answer_is_a_new_revision_and_the_old_one_stays_on_record(store: Store, queries: list[Query]) -> None:
    query = queries[0]
    old = store.save_label("a", query.id, "ada", prefer(query.first))
    new = store.save_label("b", query.id, "ada", prefer(query.second))
    assert (old.revision, new.revision) == (0, 1)
    assert new.seq > old.seq
    assert store.labels() == [old, new]
    assert store.standing_labels() == [new]
    assert store.labels(since=old.seq) == [new]


def test_a_clock_that_jumps_changes_neither_what_is_news_nor_which_answer_stands(
    store: Store, queries: list[Query], monkeypatch: pytest.MonkeyPatch
) -> None:
    query, saved = queries[0], []
    for number, now in enumerate((2e9, 1e9, 3e9, 0.0)):
        monkeypatch.setattr(time, "time", lambda now=now: now)
        saved.append(store.save_label(str(number), query.id, "ada", prefer((query.first, query.second)[number % 2])))
        store.pause("ada", paused=number % 2 == 0)
        store.log("progress", number=number)
    assert [label.created_at for label in saved] == [2e9, 1e9, 3e9, 0.0]
    assert store.labels() == saved
    assert store.labels(since=saved[0].seq) == saved[1:]
    assert store.standing_labels() == [saved[-1]]
    assert store.paused() is False
    event = store.newest_event("progress")
    assert event is not None
    assert event["number"] == 3


def test_each_revision_says_how_much_better_its_segment_is(store: Store, queries: list[Query]) -> None:
    query = queries[0]
    said = [Answer(Verdict.PREFER, query.first, strength=strength) for strength in Strength]
    for number, answer in enumerate(said):
        store.save_label(str(number), query.id, "ada", answer)
    assert [label.answer for label in store.labels()] == said
    assert store.standing_labels()[0].answer.strength is Strength.MUCH


def test_a_reason_is_kept_as_it_was_written(store: Store, queries: list[Query]) -> None:
    said = Answer(Verdict.BOTH_BAD, reason="beide fallen um: <b>\u201enein\u201c</b>\n\u0000'; DROP TABLE labels")
    store.save_label("a", queries[0].id, "ada", said)
    assert store.standing_labels()[0].answer == said
    assert store.counts()["labels"] == 1


def test_a_pause_holds_until_it_is_ended(store: Store) -> None:
    found = [store.paused()]
    for paused in (True, True, False, True):
        store.pause("ada", paused=paused)
        found.append(store.paused())
    assert found == [False, True, True, False, True]


def test_a_forecast_takes_the_place_of_the_one_before_and_is_new_once(store: Store) -> None:
    assert store.forecast() is None
    for version in (1, 2):
        store.foretell(Forecast(version, {"a": [0.5, -1.0]}))
    found = store.forecast()
    assert found is not None
    assert (found.version, found.rewards, found.seq) == (2, {"a": [0.5, -1.0]}, 2)
    assert store.forecast(since=found.seq) is None


def test_an_undo_takes_the_label_back_and_the_query_waits_again(store: Store, queries: list[Query]) -> None:
    query = queries[0]
    store.save_label("a", query.id, "ada", prefer(query.first))
    assert query not in store.waiting()
    store.save_label("b", query.id, "ada", UNDO)
    assert store.standing_labels() == []
    assert query in store.waiting()
    again = store.save_label("c", query.id, "ada", EQUAL)
    assert again.revision == 2
    assert store.standing_labels() == [again]
    assert query not in store.waiting()


def test_two_labelers_of_one_query_have_a_label_each(store: Store, queries: list[Query]) -> None:
    query = queries[0]
    ada = store.save_label("a", query.id, "ada", prefer(query.first))
    bob = store.save_label("b", query.id, "bob", prefer(query.second))
    assert (ada.revision, bob.revision) == (0, 0)
    store.save_label("c", query.id, "ada", UNDO)
    assert store.standing_labels() == [bob]
    assert query not in store.waiting()  # bob's answer stands


def test_a_label_keeps_its_trims_its_source_and_its_time(store: Store, queries: list[Query]) -> None:
    query = queries[0]
    before = time.time()
    saved = store.save_label(
        "a", query.id, "ada", prefer(query.first, **{query.first: (2, 7), query.second: (0, 10)}), source="bot"
    )
    assert saved.answer.trims == {query.first: (2, 7), query.second: (0, 10)}
    assert saved.source == "bot"
    assert before <= saved.created_at <= time.time()


@pytest.mark.parametrize(("start", "end"), [(-1, 3), (3, 3), (5, 2), (0, 11), (10, 10)])
def test_a_trim_outside_the_segment_is_refused(store: Store, queries: list[Query], start: int, end: int) -> None:
    with pytest.raises(ValueError, match=rf"trim \[{start}, {end}\)"):
        store.save_label("a", queries[0].id, "ada", prefer(queries[0].first, **{queries[0].first: (start, end)}))
    assert store.labels() == []


def test_an_answer_about_another_querys_segment_is_refused(store: Store, queries: list[Query]) -> None:
    with pytest.raises(ValueError, match="is not in this query"):
        store.save_label("a", queries[0].id, "ada", prefer(queries[1].first))
    with pytest.raises(ValueError, match="is not in this query"):
        store.save_label("a", queries[0].id, "ada", Answer(Verdict.EQUAL, None, {queries[1].first: (0, 3)}))
    assert store.labels() == []


def test_an_answer_to_an_unknown_query_is_refused(store: Store) -> None:
    with pytest.raises(LookupError, match="no query 'nope'"):
        store.save_label("a", "nope", "ada", EQUAL)


def test_of_several_answers_all_are_saved_or_none(store: Store, queries: list[Query]) -> None:
    good, bad = ("a", queries[0].id, EQUAL), ("b", "nope", EQUAL)
    with pytest.raises(LookupError):
        store.save_labels("ada", [good, bad], "browser")
    assert store.labels() == []
    assert len(store.save_labels("ada", [good, ("c", queries[1].id, SKIP)], "browser")) == 2


def test_several_answers_at_once_are_what_they_are_one_by_one(store: Store, queries: list[Query]) -> None:
    first, other, again = ("a", queries[0].id, EQUAL), ("b", queries[1].id, SKIP), ("c", queries[0].id, SKIP)
    store.save_label(*first[:2], "ada", EQUAL)
    saved = store.save_labels("ada", [first, other, again, other], "browser")
    assert [(label.id, label.revision, label.answer) for label in saved] == [
        ("a", 0, EQUAL),
        ("b", 0, SKIP),
        ("c", 1, SKIP),
        ("b", 0, SKIP),
    ]
    assert store.labels() == saved[:3]


def test_skips_are_stored_and_counted_apart(store: Store, queries: list[Query]) -> None:
    store.save_label("a", queries[0].id, "ada", SKIP)
    store.save_label("b", queries[1].id, "ada", EQUAL)
    store.save_label("c", queries[2].id, "ada", prefer(queries[2].second))
    assert store.counts() == {"asked": 4, "waiting": 1, "labels": 2, "skipped": 1}


def test_a_withdrawn_query_is_asked_no_more_and_a_late_answer_is_kept(store: Store, queries: list[Query]) -> None:
    store.withdraw([queries[0].id])
    assert store.waiting() == queries[1:]
    assert store.counts()["asked"] == 3
    late = store.save_label("a", queries[0].id, "ada", EQUAL)
    assert store.standing_labels() == [late]


def test_nothing_is_withdrawn_when_nothing_is_named(store: Store, queries: list[Query]) -> None:
    store.withdraw([])
    assert store.waiting() == queries


def test_exported_rows_are_plain_json_and_hold_what_stands(store: Store, queries: list[Query]) -> None:
    store.save_label("a", queries[0].id, "ada", prefer(queries[0].first, **{queries[0].first: (1, 4)}))
    store.save_label("b", queries[1].id, "ada", EQUAL)
    store.save_label("c", queries[1].id, "ada", UNDO)
    (row,) = [json.loads(json.dumps(row)) for row in label_rows(store)]
    assert row["label_id"] == "a"
    assert row["segments"] == [queries[0].first, queries[0].second]
    assert (row["verdict"], row["preferred"], row["trims"]) == ("prefer", queries[0].first, {queries[0].first: [1, 4]})
    assert (row["asked_at_step"], row["strategy"], row["labeler"]) == (100, "uniform", "ada")


# ------------------------------------------------------------------ leases, settings, events


def test_a_lease_runs_out(store: Store, queries: list[Query]) -> None:
    store.lease([queries[0].id, queries[1].id], "ada", expires_at=1000.0)
    assert store.leased(999.0) == {queries[0].id: "ada", queries[1].id: "ada"}
    assert store.leased(1000.0) == {}
    store.lease([queries[0].id], "bob", expires_at=2000.0)
    assert store.leased(1500.0) == {queries[0].id: "bob"}
    store.release([queries[0].id])
    assert store.leased(1500.0) == {}


def test_the_newest_change_of_a_setting_counts(store: Store) -> None:
    store.change_settings({"labeling.queue_size": 3, "clips.speed": 2.0}, "ada")
    store.change_settings({"labeling.queue_size": 5}, "bob")
    assert store.settings() == {"labeling.queue_size": 5, "clips.speed": 2.0}


def test_events_are_read_by_kind_and_the_newest_first_asked(store: Store) -> None:
    store.log("progress", step=1)
    store.log("other", step=7)
    store.log("progress", step=2, accuracy=None)
    assert [event["step"] for event in store.events("progress")] == [1, 2]
    newest = store.newest_event("progress")
    assert newest is not None
    assert newest["step"] == 2
    assert abs(newest["at"] - time.time()) < 60
    assert store.newest_event("never") is None


def test_a_link_lets_its_labeler_in(store: Store) -> None:
    store.add_link("hash-1", Link("ada", admin=True))
    store.add_link("hash-2", Link("bob"))
    assert store.links() == {"hash-1": Link("ada", admin=True), "hash-2": Link("bob")}


def test_ended_links_let_nobody_in_and_stay_on_record(store: Store) -> None:
    for token_hash, name in (("hash-1", "ada"), ("hash-2", "bob"), ("hash-3", "ada")):
        store.add_link(token_hash, Link(name))
    assert (store.end_links("ada"), store.end_links("ada"), store.end_links("eve")) == (2, 0, 0)
    assert store.links() == {"hash-2": Link("bob")}
    with pytest.raises(sa.exc.IntegrityError):
        store.add_link("hash-1", Link("ada"))


# ------------------------------------------------------------------ another process


ANSWER = """
import sys, uuid
from pathlib import Path
from rltrainer.core import Answer, Verdict
from rltrainer.store import Store
store = Store.open(Path(sys.argv[1]))
waiting = store.waiting()
print("ready", flush=True)
sys.stdin.readline()
for query in waiting:
    store.save_label(f"{sys.argv[2]}-{query.id}", query.id, sys.argv[2], Answer(Verdict.PREFER, query.second))
store.close()
"""


def labeler(folder: Path, name: str) -> subprocess.Popen[str]:
    """A process that answers everything that waits once it is told to."""
    child = subprocess.Popen(
        [sys.executable, "-c", ANSWER, str(folder), name], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    assert child.stdout is not None
    assert child.stdout.readline() == "ready\n"
    return child


def test_two_processes_answer_while_a_third_asks_and_every_label_is_there_once(
    store: Store, segments: list[Segment], queries: list[Query]
) -> None:
    children = [labeler(store.folder, name) for name in ("ada", "bob")]
    for child in children:
        assert child.stdin is not None
        child.stdin.write("go\n")
        child.stdin.flush()
    for n in range(6):  # the trainer goes on asking and logging meanwhile
        store.log("progress", step=n)
        store.ask([(segments[n], segments[n + 1])], n, "uniform")
    assert [child.wait(30) for child in children] == [0, 0]
    for child in children:
        child.communicate()
    labels = store.labels()
    assert [label.seq for label in labels] == sorted({label.seq for label in labels})
    assert len({label.id for label in labels}) == len(labels)
    assert {(label.query_id, label.labeler) for label in labels} == {(q.id, name) for q in queries for name in ("ada", "bob")}
    assert all(label.answer.preferred == store.query(label.query_id).second for label in labels)  # type: ignore[union-attr]
    assert store.counts()["asked"] == 10


def test_what_another_store_object_wrote_is_seen_at_once(store: Store, queries: list[Query]) -> None:
    other = Store.open(store.folder)
    saved = other.save_label("a", queries[0].id, "ada", EQUAL)
    other.close()
    assert store.labels() == [saved]
    assert store.waiting() == queries[1:]
