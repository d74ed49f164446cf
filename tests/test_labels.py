"""Facts about labels that come from elsewhere: out of a file, out of another run."""

from __future__ import annotations

import json
import shutil
import sqlite3
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import toys

from rltrainer.checkpoint import RunFolder, label_rows
from rltrainer.core import INHERITED, Answer, Query, Strength, UserError, Verdict
from rltrainer.labels import check_heritage, import_labels, inherit
from rltrainer.sizes import Sizes
from rltrainer.store import FILE, Store

EQUAL, SKIP, UNDO = Answer(Verdict.EQUAL), Answer(Verdict.SKIP), Answer(Verdict.UNDO)


@pytest.fixture
def stores() -> Iterator[Callable[[Path], Store]]:
    """Opens stores, and closes them."""
    opened: list[Store] = []

    def get(folder: Path) -> Store:
        opened.append(Store.open(folder) if (folder / FILE).exists() else Store.create(folder))
        return opened[-1]

    yield get
    for store in opened:
        store.close()


def labelled(store: Store) -> list[Query]:
    """Five pairs, answered in every way: changed, tied, skipped, taken back, and trimmed by two people."""
    segments = toys.random_segments(10, np.random.default_rng(0))
    queries = store.ask(list(zip(segments[::2], segments[1::2], strict=True)), 100, "uniform")
    changed, tied, skipped, undone, shared = queries
    store.save_label("a", changed.id, "ada", Answer(Verdict.PREFER, changed.first))
    store.save_label("b", tied.id, "ada", EQUAL)
    store.save_label("c", skipped.id, "ada", SKIP)
    store.save_label("d", undone.id, "ada", EQUAL)
    store.save_label("e", undone.id, "ada", UNDO)
    store.save_label(
        "f", shared.id, "ada", Answer(Verdict.PREFER, shared.second, {shared.first: (2, 7)}, reason="\u201eruhig\u201c")
    )
    store.save_label("g", shared.id, "bob", Answer(Verdict.PREFER, shared.first))
    store.save_label("h", changed.id, "ada", Answer(Verdict.PREFER, changed.second, strength=Strength.MUCH))
    return queries


def exported(store: Store, file: Path) -> Path:
    file.write_text("".join(json.dumps(row) + "\n" for row in label_rows(store)))
    return file


def without_labels(run: Path, copy: Path, *, queries: bool = True) -> Path:
    """A copy of a run that has its segments still, but no labels, and, where asked, no queries."""
    shutil.copytree(run, copy)
    connection = sqlite3.connect(copy / FILE)
    connection.execute("DELETE FROM labels")
    if not queries:
        connection.execute("DELETE FROM queries")
    connection.commit()
    connection.close()
    return copy


# ------------------------------------------------------------------ from a file


@pytest.mark.parametrize("queries", [True, False])
def test_exported_imported_and_exported_again_is_the_same_file(
    stores: Callable[[Path], Store], tmp_path: Path, queries: bool
) -> None:
    store = stores(tmp_path / "run")
    labelled(store)
    file = exported(store, tmp_path / "one.jsonl")
    copy = stores(without_labels(tmp_path / "run", tmp_path / "copy", queries=queries))
    assert import_labels(copy, file) == (5, 5)
    assert exported(copy, tmp_path / "two.jsonl").read_bytes() == file.read_bytes()
    assert [label.answer for label in copy.standing_labels()] == [label.answer for label in store.standing_labels()]


def test_a_parquet_file_has_the_labels_and_all_of_the_steps_that_they_are_about(
    stores: Callable[[Path], Store], tmp_path: Path
) -> None:
    store, file = stores(tmp_path / "run"), tmp_path / "labels.parquet"
    labelled(store)
    assert RunFolder(tmp_path / "run").export_labels(store, file) == 5
    rows = pd.read_parquet(file).to_dict("records")
    for row, label in zip(rows, label_rows(store), strict=True):
        assert (row["label_id"], row["reason"], row["preferred"]) == (label["label_id"], label["reason"], label["preferred"])
        for side, name in enumerate(label["segments"]):
            segment = store.segment(name)
            assert np.array_equal(np.stack(row["observations"][side]), segment.observations)
            assert np.array_equal(np.stack(row["actions"][side]), segment.actions.reshape(len(segment.actions), -1))
            assert np.array_equal(row["env_rewards"][side], segment.env_rewards.astype(np.float32))
    copy = stores(without_labels(tmp_path / "run", tmp_path / "copy"))
    assert import_labels(copy, file) == (5, 5)
    assert list(label_rows(copy)) == list(label_rows(store))


def test_what_is_no_parquet_file_of_ours_is_refused_in_a_sentence(
    stores: Callable[[Path], Store], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    store, file = stores(tmp_path / "run"), tmp_path / "labels.parquet"
    with pytest.raises(UserError, match=r"cannot be read from .*labels\.parquet"):
        import_labels(store, file)
    file.write_bytes(b"PAR1 but not really")
    with pytest.raises(UserError, match=r"cannot be read from .*labels\.parquet"):
        import_labels(store, file)
    pd.DataFrame({"label_id": ["a"], "colour": ["blue"]}).to_parquet(file)
    with pytest.raises(UserError, match=r"row 1: query_id is no part of a label: field required"):
        import_labels(store, file)
    with pytest.raises(UserError, match=r"cannot be written to .*pass another FILE"):
        RunFolder(tmp_path / "run").export_labels(store, tmp_path / "nowhere" / "labels.parquet")
    monkeypatch.setitem(sys.modules, "pyarrow", None)
    with pytest.raises(UserError, match=r"pip install -e '\.\[parquet\]'"):
        import_labels(store, file)


def test_importing_twice_is_importing_once(stores: Callable[[Path], Store], tmp_path: Path) -> None:
    store = stores(tmp_path / "run")
    labelled(store)
    file = exported(store, tmp_path / "one.jsonl")
    copy = stores(without_labels(tmp_path / "run", tmp_path / "copy"))
    import_labels(copy, file)
    before = copy.labels()
    assert import_labels(copy, file) == (5, 0)
    assert copy.labels() == before
    assert import_labels(store, file) == (5, 0)  # nor does a run take its own labels twice


def test_an_answer_that_was_changed_or_taken_back_since_the_export_stays_so(
    stores: Callable[[Path], Store], tmp_path: Path
) -> None:
    store = stores(tmp_path / "run")
    queries = labelled(store)
    file = exported(store, tmp_path / "one.jsonl")
    store.save_label("i", queries[1].id, "ada", UNDO)
    store.save_label("j", queries[0].id, "ada", EQUAL)
    import_labels(store, file)
    standing = {label.query_id: label.answer for label in store.standing_labels() if label.labeler == "ada"}
    assert queries[1].id not in standing
    assert standing[queries[0].id] == EQUAL


def test_an_older_answer_of_the_file_does_not_win_over_one_given_in_the_copy(
    stores: Callable[[Path], Store], tmp_path: Path
) -> None:
    store = stores(tmp_path / "run")
    queries = labelled(store)
    file = exported(store, tmp_path / "one.jsonl")
    copy = stores(without_labels(tmp_path / "run", tmp_path / "copy"))
    copy.save_label("mine", queries[1].id, "ada", SKIP)
    assert import_labels(copy, file) == (5, 4)
    assert next(label for label in copy.standing_labels() if label.query_id == queries[1].id).id == "mine"


def test_imported_labels_are_news_to_who_reads_by_cursor(stores: Callable[[Path], Store], tmp_path: Path) -> None:
    store = stores(tmp_path / "run")
    labelled(store)
    file = exported(store, tmp_path / "one.jsonl")
    copy = stores(without_labels(tmp_path / "run", tmp_path / "copy"))
    (query,) = copy.ask([toys.random_segments(2, np.random.default_rng(1))], 0, "uniform")  # type: ignore[list-item]
    cursor = copy.save_label("first", query.id, "ada", EQUAL).seq
    import_labels(copy, file)
    assert len(copy.labels(since=cursor)) == 5


def test_labels_about_foreign_segments_are_refused_with_their_number_and_nothing_is_taken(
    stores: Callable[[Path], Store], tmp_path: Path
) -> None:
    store, other = stores(tmp_path / "run"), stores(tmp_path / "other")
    queries = labelled(store)
    kept = {segment: store.segment(segment) for query in queries[1:2] for segment in (query.first, query.second)}
    other.ask([(kept[queries[1].first], kept[queries[1].second])], 0, "uniform")
    file = exported(store, tmp_path / "one.jsonl")
    with pytest.raises(UserError, match=r"holds 4 labels about segments that '.*other' lacks"):
        import_labels(other, file)
    assert other.labels() == []


def line(**changes: Any) -> dict[str, Any]:
    return {
        "label_id": "x",
        "query_id": "q",
        "segments": ["one", "two"],
        "verdict": "equal",
        "preferred": None,
        "trims": {},
        "labeler": "ada",
        "source": "browser",
        "revision": 0,
        "created_at": 1.5,
        "asked_at_step": 3,
        "strategy": "uniform",
    } | changes


BAD = {
    "no JSON": ("{", "line 2 is not JSON"),
    "no object": ("3", "line 2"),
    "a number of too many digits": ("1" * 5000, "line 2 is not JSON"),
    "a revision that no store holds": (json.dumps(line(revision=10**30)), "line 2: revision"),
    "a verdict that is none": (json.dumps(line(verdict="better")), "line 2: verdict"),
    "a field that is none": (json.dumps(line(note="nice")), "line 2: note"),
    "one segment": (json.dumps(line(segments=["one"])), "line 2: segments"),
    "a strength that is none": (json.dumps(line(strength="hugely")), "line 2: strength"),
    "a reason too long": (json.dumps(line(reason="x" * 201)), "a reason of 201 characters"),
    "a strong tie": (json.dumps(line(strength="much")), "only 'prefer' has one"),
    "a preference for nothing": (json.dumps(line(verdict="prefer")), "only 'prefer' names a segment"),
    "a preference for another segment": (json.dumps(line(verdict="prefer", preferred="three")), "is not in this query"),
    "a trim that is too long": (json.dumps(line(trims={"one": [0, 999]})), r"trim \[0, 999\)"),
    "another pair's query": (json.dumps(line(query_id="known")), "query 'known' asks about other segments"),
}
"""A second line → what the sentence holds."""


@pytest.mark.parametrize("case", BAD)
def test_a_file_with_one_bad_line_is_one_sentence_and_nothing_is_taken(
    stores: Callable[[Path], Store], tmp_path: Path, case: str
) -> None:
    store = stores(tmp_path / "run")
    one, two, three, four = toys.random_segments(4, np.random.default_rng(0))
    query, _ = store.ask([(one, two), (three, four)], 0, "uniform")
    text, sentence = BAD[case]
    for name, real in (("one", one.id), ("two", two.id), ("known", store.waiting()[1].id)):
        text, sentence = text.replace(f'"{name}"', f'"{real}"'), sentence.replace(f"'{name}'", f"'{real}'")
    good = json.dumps(line(label_id="good", query_id=query.id, segments=[one.id, two.id]))
    (tmp_path / "bad.jsonl").write_text(f"{good}\n{text}\n")
    with pytest.raises(UserError, match=sentence):
        import_labels(store, tmp_path / "bad.jsonl")
    assert store.labels() == []
    assert len(store.waiting()) == 2


def test_a_file_may_begin_with_a_byte_order_mark_and_have_any_characters_in_a_reason(
    stores: Callable[[Path], Store], tmp_path: Path
) -> None:
    store = stores(tmp_path / "run")
    one, two = toys.random_segments(2, np.random.default_rng(0))
    (query,) = store.ask([(one, two)], 0, "uniform")
    said = json.dumps(line(query_id=query.id, segments=[one.id, two.id], reason="limps\u2028a little"), ensure_ascii=False)
    (tmp_path / "labels.jsonl").write_text(f"{said}\r\n", encoding="utf-8-sig")
    assert import_labels(store, tmp_path / "labels.jsonl") == (1, 1)
    assert store.labels()[0].answer.reason == "limps\u2028a little"


def test_a_file_that_is_not_there_or_no_text_is_one_sentence(stores: Callable[[Path], Store], tmp_path: Path) -> None:
    store = stores(tmp_path / "run")
    with pytest.raises(UserError, match="cannot be read from"):
        import_labels(store, tmp_path / "none.jsonl")
    (tmp_path / "bytes").write_bytes(b"\xff\xfe\x00")
    with pytest.raises(UserError, match="is not UTF-8"):
        import_labels(store, tmp_path / "bytes")


# ------------------------------------------------------------------ from another run


def test_inherited_labels_keep_their_ids_and_name_the_run_that_they_are_from(
    stores: Callable[[Path], Store], tmp_path: Path
) -> None:
    old, new = stores(tmp_path / "old"), stores(tmp_path / "new")
    queries = labelled(old)
    assert inherit(new, tmp_path / "old") == 4  # what is skipped teaches nothing
    taught = [label for label in old.standing_labels() if label.answer.verdict is not Verdict.SKIP]
    assert [(label.id, label.answer) for label in new.labels()] == [(label.id, label.answer) for label in taught]
    assert {label.source for label in new.labels()} == {INHERITED + old.fact("run")}
    assert all(label.inherited for label in new.labels())
    assert new.query(queries[0].id) == queries[0]
    np.testing.assert_array_equal(new.segment(queries[0].first).actions, old.segment(queries[0].first).actions)


def test_inherited_labels_count_once_and_not_as_the_new_runs(stores: Callable[[Path], Store], tmp_path: Path) -> None:
    old, new = stores(tmp_path / "old"), stores(tmp_path / "new")
    labelled(old)
    inherit(new, tmp_path / "old")
    assert inherit(new, tmp_path / "old") == 0
    assert new.counts() == {"asked": 0, "waiting": 0, "labels": 0, "skipped": 0}
    (query,) = new.ask([toys.random_segments(2, np.random.default_rng(1))], 0, "uniform")  # type: ignore[list-item]
    new.save_label("mine", query.id, "ada", EQUAL)
    assert new.counts() == {"asked": 1, "waiting": 0, "labels": 1, "skipped": 0}


def test_labels_handed_down_twice_name_the_run_where_they_were_given(stores: Callable[[Path], Store], tmp_path: Path) -> None:
    old, middle, new = (stores(tmp_path / name) for name in ("old", "middle", "new"))
    labelled(old)
    inherit(middle, tmp_path / "old")
    inherit(new, tmp_path / "middle")
    assert {label.source for label in new.labels()} == {INHERITED + old.fact("run")}


def test_a_run_of_other_sizes_or_without_labels_is_refused(stores: Callable[[Path], Store], tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"^labels_from: '.*nowhere' is not a run folder"):
        check_heritage(tmp_path / "nowhere", Sizes(2, (1,)))
    old = stores(tmp_path / "old")
    (query,) = old.ask([toys.random_segments(2, np.random.default_rng(1))], 0, "uniform")  # type: ignore[list-item]
    old.save_label("skipped", query.id, "ada", SKIP)
    with pytest.raises(UserError, match=r"labels_from is '.*old', which holds no labels to learn from"):
        check_heritage(tmp_path / "old", Sizes(2, (1,)))
    labelled(old)
    check_heritage(tmp_path / "old", Sizes(2, (1,)))
    for other in (Sizes(3, (1,)), Sizes(2, (2,)), Sizes(2, (), choices=2)):
        with pytest.raises(UserError, match=r"2 observed numbers and actions of shape \(1,\), and this env has "):
            check_heritage(tmp_path / "old", other)
