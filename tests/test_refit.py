"""Facts about fitting a stored run's labels again: from the store alone, on every label, as often as it takes."""

from __future__ import annotations

import uuid
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import gymnasium as gym
import numpy as np
import pytest
import toys

from rltrainer.config import Reward
from rltrainer.core import Answer, Array, FitReport, Segment, UserError, Verdict
from rltrainer.diagnostics import diagnose
from rltrainer.labels import inherit
from rltrainer.refit import EPOCHS, LEAST_FITS, fit_through, refit, table
from rltrainer.sizes import Sizes
from rltrainer.store import Store
from rltrainer.teachers import OracleTeacher

QUICK = Reward(hidden=(16,), fit_steps=10)


def told(done: int, fits: int, report: FitReport) -> None:
    """Somebody who does not listen."""


def make(folder: Path, segments: list[Segment], space: gym.Space[object] = toys.PUSH) -> Store:
    """The store of a run of an env that is long gone, labelled by an oracle."""
    sizes = Sizes.of(segments[0].observations.shape[1], space)
    store = Store.create(folder, env={"id": "gone/Gone-v9", "options": {}}, config={}, sizes=sizes.fact)
    answer_all(store, segments)
    return store


def answer_all(store: Store, segments: list[Segment]) -> None:
    """An oracle is asked about the first two, the next two, and so on."""
    pairs = list(zip(segments[::2], segments[1::2], strict=True))
    rng = np.random.default_rng(0)
    queries = store.ask(pairs, 0, "uniform")
    answers = [(uuid.uuid4().hex, q.id, OracleTeacher()(a, b, rng)) for q, (a, b) in zip(queries, pairs, strict=True)]
    store.save_labels("oracle", answers, "oracle")


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    made = make(tmp_path / "run", toys.random_segments(120, np.random.default_rng(0)))
    yield made
    made.close()


def test_a_reward_model_comes_from_the_store_with_no_env_at_hand(store: Store) -> None:
    found = refit(store, QUICK, 0, told)
    assert found.report.comparisons == 60
    assert found.diagnosis.accuracy is not None
    assert found.diagnosis.accuracy > 0.7
    assert found.diagnosis.step_correlation is not None
    assert found.diagnosis.step_correlation > 0.6
    reward = found.learner.snapshot()
    assert np.isfinite(reward(np.zeros((3, 2)), np.zeros((3, 1)), np.zeros((3, 2)))).all()


def test_the_same_seed_gives_the_same_model_and_other_settings_another(store: Store) -> None:
    def learned(settings: Reward, seed: int) -> Array:
        return refit(store, settings, seed, told).learner.snapshot()(np.ones((4, 2)), np.ones((4, 1)), np.ones((4, 2)))

    np.testing.assert_array_equal(learned(QUICK, 1), learned(QUICK, 1))
    assert not np.array_equal(learned(QUICK, 1), learned(QUICK, 2))
    assert not np.array_equal(learned(QUICK, 1), learned(QUICK.model_copy(update={"label_noise": 0.1}), 1))


def test_only_what_stands_is_learned_from(store: Store) -> None:
    first, second = (label.query_id for label in store.standing_labels()[:2])
    store.save_label("undo", first, "oracle", Answer(Verdict.UNDO))
    store.save_label("skip", second, "oracle", Answer(Verdict.SKIP))
    assert refit(store, QUICK, 0, told).report.comparisons == 58


def test_a_run_without_labels_is_one_sentence(tmp_path: Path) -> None:
    store = make(tmp_path / "empty", toys.random_segments(2, np.random.default_rng(0)))
    store.save_label("undo", store.standing_labels()[0].query_id, "oracle", Answer(Verdict.UNDO))
    with pytest.raises(UserError, match="holds no labels to learn from; label it first: rltrainer label"):
        refit(store, QUICK, 0, told)
    store.close()


def test_a_reward_is_judged_on_the_runs_own_newest_segments_whatever_it_inherited(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The old run's policy had taken more steps than this one."""
    old, own = (toys.random_segments(100, np.random.default_rng(seed)) for seed in (1, 2))
    old, own = ([replace(one, policy_step=step) for one in some] for some, step in ((old, 10**6), (own, 10)))
    make(tmp_path / "old", old).close()
    judged: list[str] = []

    def watched(*args: Any) -> Any:
        judged.extend(segment.id for segment in args[3])
        return diagnose(*args)

    monkeypatch.setattr("rltrainer.refit.diagnose", watched)
    new = Store.create(tmp_path / "new", env={}, config={}, sizes=Sizes(2, (1,)).fact)
    inherit(new, tmp_path / "old")
    answer_all(new, own)
    refit(new, QUICK, 0, told)
    assert set(judged) <= {segment.id for segment in own}
    new.close()


@pytest.mark.parametrize("stored", [True, False])
def test_discrete_actions_are_as_many_as_the_env_had(tmp_path: Path, stored: bool) -> None:
    """A run from before sizes were stored is read off its segments."""
    rng = np.random.default_rng(0)
    segments = [
        toys.segment(rng.normal(size=(9, 2)), np.append(rng.integers(0, 3, 7), 2), rng.normal(size=8), seed=n)
        for n in range(40)
    ]
    store = make(tmp_path / "run", segments, gym.spaces.Discrete(3))
    if not stored:
        with store._writer.begin() as connection:
            connection.exec_driver_sql("DELETE FROM meta WHERE key = 'sizes'")
    assert Sizes.stored(store) == Sizes(2, (), 3, 0)
    reward = refit(store, QUICK, 0, told).learner.snapshot()
    assert np.isfinite(reward(np.zeros((3, 2)), np.array([0, 1, 2]), np.zeros((3, 2)))).all()
    store.close()


@pytest.mark.parametrize("space", [toys.PUSH, gym.spaces.Box(0, 1, (2, 3)), gym.spaces.Discrete(4, start=-1)])
def test_sizes_are_kept_by_the_store_as_they_are(tmp_path: Path, space: gym.Space[object]) -> None:
    sizes = Sizes.of(7, space)
    store = Store.create(tmp_path / "run", sizes=sizes.fact)
    assert Sizes.stored(store) == sizes
    assert gym.spaces.flatdim(sizes.action_space) == gym.spaces.flatdim(space)
    store.close()


@pytest.mark.parametrize("count", [5, 300])
def test_every_label_is_gone_through_so_many_times(count: int) -> None:
    heard: list[tuple[int, int]] = []
    learner = toys.Remembering(2, toys.PUSH, None, None)
    segments = toys.random_segments(2, np.random.default_rng(0))
    comparisons = [toys.compare(*segments, name=str(n)) for n in range(count)]
    fit_through(learner, comparisons, segments, Reward(), lambda done, fits, report: heard.append((done, fits)))
    seen = sum(len(fit) > 0 for fit in learner.fits) * Reward().batch * Reward().fit_steps / count
    assert seen >= EPOCHS
    assert len(learner.fits) == LEAST_FITS or seen < EPOCHS + 1
    assert heard == [(n + 1, len(learner.fits)) for n in range(len(learner.fits))]


def test_the_table_says_what_is_known_and_leaves_out_what_is_not(store: Store) -> None:
    rows = dict(table(refit(store, QUICK, 0, told)))
    assert rows["labels"] == "60"
    assert "95%: " in rows["held-out accuracy"]
    assert rows.keys() >= {"held-out loss", "calibration error (ECE)", "correlation with the true reward"}
    assert "labeler's consistency" not in rows


def test_there_is_no_correlation_with_a_true_reward_that_is_none(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    segments = [toys.segment(rng.normal(size=(9, 2)), rng.normal(size=(8, 1)), seed=n) for n in range(20)]
    store = make(tmp_path / "run", segments)
    assert "correlation with the true reward" not in dict(table(refit(store, QUICK, 0, told)))
    store.close()
