"""Facts about the nouns: what an answer means, what names a segment, how seeds and seams behave."""

from __future__ import annotations

import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import toys

from rltrainer.core import Answer, Comparison, Label, Query, Strength, UserError, Verdict
from rltrainer.queries import STRATEGIES, uniform
from rltrainer.seams import named
from rltrainer.seeds import Seeds, number

QUERY = Query("q", first="left-hand", second="right-hand")


def test_an_answer_names_a_segment_and_not_a_side() -> None:
    assert Answer(Verdict.PREFER, preferred="left-hand").target(QUERY) == 1.0
    assert Answer(Verdict.PREFER, preferred="right-hand").target(QUERY) == 0.0
    turned = Query("q", first="right-hand", second="left-hand")
    assert Answer(Verdict.PREFER, preferred="left-hand").target(turned) == 0.0


def test_a_tie_is_one_half_two_bad_ones_too_and_a_skip_and_an_undo_teach_nothing() -> None:
    assert Answer(Verdict.EQUAL).target(QUERY) == 0.5
    assert Answer(Verdict.BOTH_BAD).target(QUERY) == 0.5
    assert Answer(Verdict.SKIP).target(QUERY) is None
    assert Answer(Verdict.UNDO).target(QUERY) is None


@pytest.mark.parametrize(
    ("verdict", "preferred"), [("prefer", None), ("equal", "a"), ("both_bad", "a"), ("skip", "a"), ("undo", "a")]
)
def test_only_prefer_names_a_segment(verdict: str, preferred: str | None) -> None:
    with pytest.raises(ValueError, match="only 'prefer' names a segment"):
        Answer(Verdict(verdict), preferred)


@pytest.mark.parametrize("verdict", [Verdict.EQUAL, Verdict.BOTH_BAD, Verdict.SKIP, Verdict.UNDO])
def test_only_a_preference_has_a_strength(verdict: Verdict) -> None:
    with pytest.raises(ValueError, match="strength='much': only 'prefer' has one"):
        Answer(verdict, strength=Strength.MUCH)


def test_a_reason_is_short() -> None:
    assert Answer(Verdict.EQUAL, reason="x" * 200).reason == "x" * 200
    with pytest.raises(ValueError, match="a reason of 201 characters: at most 200"):
        Answer(Verdict.EQUAL, reason="x" * 201)


def test_a_comparison_knows_how_much_better_its_label_said() -> None:
    segments = {name: toys.segment([[0], [1]], [[0]]) for name in (QUERY.first, QUERY.second)}
    said = Answer(Verdict.PREFER, QUERY.first, strength=Strength.SLIGHTLY)
    found = Comparison.of(Label("l", "q", "ada", said), QUERY, lambda name: segments[name])
    assert found is not None
    assert found.strength is Strength.SLIGHTLY
    assert Answer(Verdict.PREFER, QUERY.first).strength is Strength.PLAIN


@pytest.mark.parametrize(("ranges", "teaches"), [(((1, 3), (1, 3)), False), (((1, 3), (0, 1)), True), (None, True)])
def test_what_is_cut_to_the_time_after_both_ends_teaches_nothing(ranges: Any, *, teaches: bool) -> None:
    pair = [replace(toys.segment([[0], [1]], [[0]], seed=seed), after=2) for seed in (1, 2)]
    query = Query("q", pair[0].id, pair[1].id, 0, "uniform")
    trims = {segment.id: part for segment, part in zip(pair, ranges or (), strict=ranges is not None)}
    find = {segment.id: segment for segment in pair}.__getitem__
    found = Comparison.of(Label("l", "q", "ada", Answer(Verdict.EQUAL, trims=trims)), query, find)
    assert (found is not None) is teaches


def test_the_answers_words_are_those_of_the_wire() -> None:
    assert [verdict.value for verdict in Verdict] == ["prefer", "equal", "both_bad", "skip", "undo"]
    assert [strength.value for strength in Strength] == ["slightly", "plain", "much"]


def test_a_segments_id_names_its_content() -> None:
    one = toys.segment([[0, 0], [1, 1], [2, 2]], [[0.5], [0.25]], [1, 2], seed=3)
    same = toys.segment([[0, 0], [1, 1], [2, 2]], [[0.5], [0.25]], [1, 2], seed=3)
    assert one.id == same.id
    others = [
        replace(one, episode_seed=4),
        replace(one, observations=one.observations + 1),
        replace(one, actions=one.actions + 1),
        replace(one, env_rewards=one.env_rewards + 1),
        replace(one, lead_in=one.actions),
    ]
    assert len({one.id, *(other.id for other in others)}) == 6


def test_a_segments_id_does_not_depend_on_how_its_arrays_lie_in_memory() -> None:
    one = toys.segment([[0, 0], [1, 1]], [[0.5]])
    assert replace(one, observations=np.asfortranarray(one.observations)).id == one.id


def test_a_segment_knows_its_length_and_its_true_return() -> None:
    one = toys.segment([[0, 0], [1, 1], [2, 2]], [[0.5], [0.25]], [1.5, 2.0])
    assert len(one) == 2
    assert one.whole == (0, 2)
    assert one.env_return == 3.5


def test_a_comparison_is_keyed_by_query_and_labeler() -> None:
    one = toys.segment([[0], [1]], [[0]])
    assert Comparison(one, one, 0.5, (0, 1), (0, 1), "q", "ada").key == ("q", "ada")


# ------------------------------------------------------------------ seams


def test_a_misspelt_name_is_answered_with_the_nearest_one() -> None:
    with pytest.raises(UserError) as refused:
        named(STRATEGIES, "unifrom", "queries.strategy")
    sentence = str(refused.value)
    assert sentence.startswith("queries.strategy is 'unifrom'; did you mean 'uniform'?")
    assert "package.module:name" in sentence
    assert all(name in sentence for name in STRATEGIES)


def test_a_users_own_implementation_is_found_by_module_and_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert named(STRATEGIES, "rltrainer.queries.uniform:uniform", "queries.strategy") is uniform
    (tmp_path / "my_strategies.py").write_text("def first(segments, learner, count, rng): ...\n")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("sys.path", ["/nowhere"])  # as under the console script, which isn't in the folder
    assert named(STRATEGIES, "my_strategies:first", "queries.strategy").__name__ == "first"  # type: ignore[attr-defined]


@pytest.mark.parametrize("name", ["no_such_package.module:x", "json:no_such_name", ":x", ".core:Segment", "a b:c", "json:"])
def test_what_cannot_be_imported_is_one_sentence(name: str) -> None:
    with pytest.raises(UserError, match=r"^queries\.strategy is '.*'"):
        named(STRATEGIES, name, "queries.strategy")


@pytest.mark.parametrize(
    ("code", "words"),
    [
        ("import math as first", "which is a module; name a class or a function"),
        ("def first(:", r"cannot be imported: .*line 1"),
        ("raise RuntimeError('no licence')", "cannot be imported: no licence"),
    ],
)
def test_a_module_of_ones_own_that_is_broken_is_one_sentence(
    code: str, words: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "my_broken.py").write_text(code)
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.delitem(sys.modules, "my_broken", raising=False)
    with pytest.raises(UserError, match=words):
        named(STRATEGIES, "my_broken:first", "queries.strategy")


# ------------------------------------------------------------------ seeds


def test_each_component_has_a_stream_of_its_own_and_the_same_one_each_time() -> None:
    first, again, other = (Seeds.of(seed) for seed in (7, 7, 8))
    draws = [np.random.default_rng(child).random() for child in first]
    assert len(set(draws)) == len(draws)
    assert draws == [np.random.default_rng(child).random() for child in again]
    assert not set(draws) & {np.random.default_rng(child).random() for child in other}


def test_seed_numbers_fit_what_other_libraries_take() -> None:
    numbers = [number(child) for seed in range(200) for child in Seeds.of(seed)]
    assert all(0 <= found < 2**31 for found in numbers)
    assert len(set(numbers)) > 0.99 * len(numbers)
