"""Facts about what a learner sees of a step, and its scale."""

from __future__ import annotations

import gymnasium as gym
import numpy as np
import pytest
import toys
from learners import PUSH

from rltrainer.rewards.features import CLIP, Scale, encode_actions, features, segment_features


def test_discrete_actions_become_one_hot_rows() -> None:
    np.testing.assert_array_equal(encode_actions(gym.spaces.Discrete(3), np.array([2, 0])), [[0, 0, 1], [1, 0, 0]])
    np.testing.assert_array_equal(encode_actions(gym.spaces.Discrete(3, start=5), np.array([5, 7])), [[1, 0, 0], [0, 0, 1]])


def test_box_actions_are_flattened() -> None:
    actions = np.arange(12.0).reshape(2, 2, 3)
    np.testing.assert_array_equal(
        encode_actions(gym.spaces.Box(-1, 1, (2, 3)), actions), [[0, 1, 2, 3, 4, 5], [6, 7, 8, 9, 10, 11]]
    )


def test_a_step_is_seen_as_before_action_and_after() -> None:
    one = toys.segment([[1, 2], [3, 4], [5, 6]], [[0.5], [0.25]])
    expected = [[1, 2, 0.5, 3, 4], [3, 4, 0.25, 5, 6]]
    np.testing.assert_array_equal(segment_features(PUSH, one), expected)
    np.testing.assert_array_equal(features(PUSH, one.observations[:-1], one.actions, one.observations[1:]), expected)


def test_what_comes_after_an_end_is_no_step() -> None:
    one = toys.segment([[1, 2], [3, 4]], [[0.5]], terminated=True, after=2)
    assert len(one) == 3
    np.testing.assert_array_equal(segment_features(PUSH, one), [[1, 2, 0.5, 3, 4]])


def test_a_scale_gives_mean_zero_and_std_one_on_its_own_rows() -> None:
    data = np.random.default_rng(0).normal(3, 7, (500, 4)).astype(np.float32)
    scaled = Scale.of([data[:100], data[100:]])(data)
    np.testing.assert_allclose(scaled.mean(axis=0), 0, atol=1e-5)
    np.testing.assert_allclose(scaled.std(axis=0), 1, atol=1e-4)


def test_a_feature_that_never_changes_is_left_unscaled() -> None:
    scale = Scale.of([np.array([[2.0, 1.0], [2.0, 3.0]], np.float32)])
    np.testing.assert_allclose(scale(np.array([[2.0, 2.0], [2.5, 4.0]], np.float32)), [[0.0, 0.0], [0.5, 2.0]])


@pytest.mark.parametrize("constant", [0.3, 9.81, -900.0])
def test_a_constant_is_told_from_what_varies_over_many_rows(constant: float) -> None:
    """Summed in float32, 9.81 seems to vary by 1e-4, and a step of 1% to lie a hundred deviations off."""
    scale = Scale.of([np.full((20_000, 4), constant, np.float32)])
    np.testing.assert_allclose(scale(np.full((1, 4), constant * 1.01, np.float32)), constant * 0.01, rtol=1e-2)


def test_a_solvers_residue_is_no_feature() -> None:
    residue = np.random.default_rng(0).normal(0, 1e-17, (100, 1)).astype(np.float32)
    assert np.abs(Scale.of([residue])(residue)).max() < 1e-15


@pytest.mark.parametrize(("offset", "size"), [(1e5, 1.0), (0.0, 1e-7), (0.0, 1e30)])
def test_what_varies_is_scaled_however_far_off_or_large_or_small_it_is(offset: float, size: float) -> None:
    rows = (offset + size * np.random.default_rng(0).normal(0, 1, (70_000, 4))).astype(np.float32)
    scaled = Scale.of([rows])(rows)
    np.testing.assert_allclose(scaled.mean(axis=0, dtype=float), 0, atol=1e-2)
    np.testing.assert_allclose(scaled.std(axis=0, dtype=float), 1, atol=1e-2)


def test_what_is_far_off_the_scale_is_clipped() -> None:
    scale = Scale.of([np.array([[-1.0], [1.0]], np.float32)])
    np.testing.assert_array_equal(scale(np.array([[1e9], [-1e9], [5.0]], np.float32)), [[CLIP], [-CLIP], [5.0]])
