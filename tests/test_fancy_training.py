"""Facts about training in fancy_gym's envs: what is recorded, asked and shown is the inner steps."""

from __future__ import annotations

import importlib.util
import io
import json
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from rich.console import Console

from rltrainer import envs, training
from rltrainer.config import Config
from rltrainer.core import Query, Segment, Verdict
from rltrainer.labeling.clips import ClipMaker
from rltrainer.progress import Dashboard
from rltrainer.store import Store

HAS_FANCY = sys.version_info < (3, 12) and importlib.util.find_spec("fancy_gym") is not None
HAS_AIRHOCKEY = HAS_FANCY and all(importlib.util.find_spec(name) for name in ("mushroom_rl", "dm_control"))
pytestmark = pytest.mark.skipif(not HAS_FANCY, reason="fancy_gym needs Python 3.11, where mujoco 2.3.3 has a wheel")
needs_airhockey = pytest.mark.skipif(not HAS_AIRHOCKEY, reason="the extra is not installed: pip install -e '.[airhockey]'")

T = 20
LABELS, WARM_UP = 4, 2


def trained(run: Path, name: str, steps: int, n_steps: int, **changes: Any) -> list[dict[str, Any]]:
    """Train with an oracle for `steps` env steps, `n_steps` of them a rollout of each of two envs. Gives the labels."""
    settings = {"env": name, "labeler": "oracle", "labels": LABELS, "steps": steps, "n_envs": 2, "segments.steps": T}
    settings |= {"ppo.n_steps": n_steps, "ppo.n_epochs": 1, "queries.batch": 1, "queries.warmup_share": WARM_UP / LABELS}
    config = Config().but(settings | changes)
    training.train(config, run, Dashboard(steps, Console(file=io.StringIO())), print)
    return [json.loads(line) for line in (run / "labels.jsonl").read_text().splitlines()]


def asked(run: Path) -> tuple[list[Query], dict[str, Segment]]:
    """The queries that were answered, and their segments."""
    store = Store.open(run)
    queries = [query for label in store.labels(since=0) if (query := store.query(label.query_id)) is not None]
    segments = {name: store.segment(name) for query in queries for name in (query.first, query.second)}
    store.close()
    return queries, segments


@pytest.mark.parametrize(
    ("name", "steps", "n_steps", "frame_rate"),
    [
        pytest.param("fancy/Reacher5d-v0", 500, 64, 50, marks=pytest.mark.long),
        ("fancy/SimpleReacher-v0", 500, 64, 100),  # drawn
        ("fancy_ProMP/Reacher5d-v0", 16, 4, 50),  # movement primitives: a step is a trajectory
        pytest.param("fancy_ProDMP/BoxPushingDenseReplan-v0", 40, 8, 50, marks=pytest.mark.long),  # four to an episode
    ],
)
def test_labels_speak_of_inner_steps_whose_clips_show_what_was_recorded(
    tmp_path: Path, name: str, steps: int, n_steps: int, frame_rate: float
) -> None:
    run = tmp_path / "run"
    labels = trained(run, name, steps, n_steps)
    queries, segments = asked(run)
    assert WARM_UP < len(labels) == len(queries)
    env = envs.make_env(name)
    space, actions = (env.get_wrapper_attr(f"recorded_{kind}_space") for kind in ("observation", "action"))
    for segment in segments.values():
        assert segment.actions.shape == (T, *actions.shape)
        assert segment.observations.shape == (T + 1, *space.shape)
        assert np.ptp(segment.env_rewards) > 0
    maker = ClipMaker(name, {}, 48)
    clips = [maker.make(segments[side]) for side in (queries[0].first, queries[-1].second)]  # a Mismatch fails the test
    maker.close()
    assert [(clip.frames, clip.steps, clip.frame_rate, clip.width) for clip in clips] == [(T, T, frame_rate, 48)] * 2
    assert len(training.evaluate(training.RunFolder.open(run), 1, seed=0)) == 1


def test_segments_of_a_replanned_episode_cross_from_one_trajectory_to_the_next(tmp_path: Path) -> None:
    trained(tmp_path / "run", "fancy_ProDMP/BoxPushingDenseReplan-v0", 48, 4, **{"segments.steps": 60})
    _, segments = asked(tmp_path / "run")
    assert {len(segment) for segment in segments.values()} == {60}  # a trajectory has 25


@pytest.mark.parametrize(
    "name",
    [
        "fancy/TableTennis4D-v0",  # pays for what the ball does, and random actions miss it
        pytest.param("fancy/AirHockey-3dof-hit-v0", marks=needs_airhockey),  # never pays
    ],
)
def test_a_run_where_all_answers_are_ties_ends_well(tmp_path: Path, name: str) -> None:
    labels = trained(tmp_path / "run", name, 500, 64)
    assert {label["verdict"] for label in labels} == {Verdict.EQUAL}
    assert len(labels) > WARM_UP
