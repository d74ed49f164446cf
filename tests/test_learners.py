"""Facts about learners: the contract that each of them keeps."""

from __future__ import annotations

import math
from dataclasses import replace

import gymnasium as gym
import numpy as np
import pytest
import torch
import toys
from learners import accuracy, make, oracle_pairs, reference, rows
from safetensors.numpy import load, save

from rltrainer.config import Reward
from rltrainer.core import Comparison, Segment
from rltrainer.rewards import LEARNERS


class LearnerContract:
    """What holds for a learner of any name."""

    def test_a_reward_is_there_before_anything_was_learned(self, name: str) -> None:
        learner = make(name)
        assert learner.snapshot()(*rows()).shape == (50,)
        assert np.isfinite(learner.snapshot()(*rows())).all()
        assert learner.snapshot().version == 0

    def test_each_fit_raises_the_version_and_reports_what_it_saw(self, name: str) -> None:
        learner = make(name)
        for version in (1, 2, 3):
            report = learner.fit(oracle_pairs(5 * version), reference())
            assert report.version == version == learner.snapshot().version
            assert report.comparisons == 5 * version
            assert math.isfinite(report.train_loss)
            assert report.held_out_loss is None or math.isfinite(report.held_out_loss)
            assert report.held_out_accuracy is None or 0 <= report.held_out_accuracy <= 1

    def test_one_comparison_is_enough_to_begin_with(self, name: str) -> None:
        learner = make(name)
        learner.fit(oracle_pairs(1), reference())
        assert np.isfinite(learner.snapshot()(*rows())).all()

    def test_only_ties_teach_no_direction_and_break_nothing(self, name: str) -> None:
        learner = make(name)
        report = learner.fit([replace(pair, target=0.5) for pair in oracle_pairs(12)], reference())
        assert report.held_out_accuracy is None
        assert np.isfinite(learner.snapshot()(*rows())).all()

    def test_member_returns_are_one_number_for_each_member_and_segment(self, name: str) -> None:
        learner = make(name, members=4)
        segments = toys.random_segments(7, np.random.default_rng(0), steps=9) + toys.random_segments(
            2, np.random.default_rng(1), steps=3
        )
        for _ in range(2):
            returns = learner.member_returns(segments)
            assert returns.shape[1] == 9
            assert np.isfinite(returns).all()
            np.testing.assert_allclose(learner.member_returns(segments[4:6]), returns[:, 4:6], rtol=1e-4, atol=1e-5)
            learner.fit(oracle_pairs(10), reference())

    def test_a_snapshot_is_frozen(self, name: str) -> None:
        learner = make(name)
        learner.fit(oracle_pairs(10), reference())
        snapshot = learner.snapshot()
        before = snapshot(*rows())
        learner.fit(oracle_pairs(40, seed=3), reference(7))
        np.testing.assert_array_equal(snapshot(*rows()), before)
        assert snapshot.version == 1
        assert not np.array_equal(learner.snapshot()(*rows()), before)

    def test_a_reward_does_not_depend_on_the_steps_beside_it(self, name: str) -> None:
        learner = make(name)
        learner.fit(oracle_pairs(10), reference())
        reward, (observations, actions, after) = learner.snapshot(), rows()
        together = reward(observations, actions, after)
        alone = [reward(observations[i : i + 1], actions[i : i + 1], after[i : i + 1])[0] for i in range(10)]
        np.testing.assert_allclose(together[:10], alone, rtol=1e-4, atol=1e-5)

    def test_the_arrays_that_are_handed_in_stay_as_they_are(self, name: str) -> None:
        learner = make(name)
        pairs, batch = oracle_pairs(6), reference()
        seen = [array for pair in pairs for array in (pair.first.observations, pair.second.actions)] + [
            s.observations for s in batch
        ]
        before = [array.copy() for array in seen]
        inputs = rows()
        copies = [part.copy() for part in inputs]
        learner.fit(pairs, batch)
        learner.snapshot()(*inputs)
        for now, then in zip([*seen, *inputs], [*before, *copies], strict=True):
            np.testing.assert_array_equal(now, then)

    def test_the_same_seed_and_labels_give_the_same_reward(self, name: str) -> None:
        learners = [make(name, seed) for seed in (4, 4, 5)]
        for learner in learners:
            learner.fit(oracle_pairs(15), reference())
            learner.fit(oracle_pairs(20), reference())
        first, same, other = (learner.snapshot()(*rows()) for learner in learners)
        np.testing.assert_array_equal(first, same)
        assert not np.array_equal(first, other)

    def test_no_other_generator_is_used_or_moved(self, name: str) -> None:
        torch_state, numpy_state = torch.get_rng_state(), toys.global_draws()
        make(name).fit(oracle_pairs(5), reference())
        assert torch.equal(torch.get_rng_state(), torch_state)
        np.testing.assert_array_equal(toys.global_draws(), numpy_state)

    def test_the_true_reward_is_never_looked_at(self, name: str) -> None:
        pairs, batch = oracle_pairs(15), reference()
        noise = np.random.default_rng(8)

        def blind(segment: Segment) -> Segment:
            return replace(segment, env_rewards=noise.normal(size=len(segment)))

        learners = [make(name), make(name)]
        learners[0].fit(pairs, batch)
        learners[1].fit([replace(p, first=blind(p.first), second=blind(p.second)) for p in pairs], [blind(s) for s in batch])
        for key, value in learners[0].state().items():
            if key != "bags.pairs":  # segments' names, which hold the true reward
                np.testing.assert_array_equal(value, learners[1].state()[key])

    def test_what_lies_outside_a_trim_is_never_looked_at(self, name: str) -> None:
        pairs = [replace(pair, first_range=(2, 6), second_range=(0, 9)) for pair in oracle_pairs(12)]

        def scribbled(pair: Comparison) -> Comparison:
            first, second = pair.first.observations.copy(), pair.second.observations.copy()
            first[:2], first[7:], second[10:] = 200, 100, 200  # step t is of rows t and t + 1
            actions = pair.first.actions.copy()
            actions[:2], actions[6:] = 50, -50
            return replace(
                pair,
                first=replace(pair.first, observations=first, actions=actions),
                second=replace(pair.second, observations=second),
            )

        learners = [make(name), make(name)]
        learners[0].fit(pairs, reference())
        learners[1].fit([scribbled(pair) for pair in pairs], reference())
        np.testing.assert_array_equal(*(learner.snapshot()(*rows()) for learner in learners))

    def test_a_trim_is_the_same_as_a_shorter_segment(self, name: str) -> None:
        def cut(segment: Segment, start: int, end: int) -> Segment:
            return toys.segment(
                segment.observations[start : end + 1], segment.actions[start:end], segment.env_rewards[start:end]
            )

        pairs = oracle_pairs(12)
        trimmed = [replace(pair, first_range=(3, 7), second_range=(1, 9)) for pair in pairs]
        shorter = [
            replace(
                pair,
                first=cut(pair.first, 3, 7),
                first_range=(0, 4),
                second=cut(pair.second, 1, 9),
                second_range=(0, 8),
            )
            for pair in pairs
        ]
        learners = [make(name), make(name)]
        learners[0].fit(trimmed, reference())
        learners[1].fit(shorter, reference())
        np.testing.assert_array_equal(*(learner.snapshot()(*rows()) for learner in learners))

    def test_what_was_judged_may_be_but_the_time_after_an_episode_ended(self, name: str) -> None:
        pairs = oracle_pairs(8)
        ended = replace(pairs[-1].second, terminated=True, after=6)
        learner = make(name)
        for known in (pairs[:-1], []):  # beside others and alone
            learner.fit([*known, replace(pairs[-1], second=ended, second_range=(11, 16))], reference())
            assert np.isfinite(learner.snapshot()(*rows())).all()
        assert np.isfinite(learner.member_returns([ended])).all()

    def test_the_side_on_which_a_segment_stood_does_not_matter(self, name: str) -> None:
        pairs = oracle_pairs(60)
        turned = [
            replace(
                p,
                first=p.second,
                second=p.first,
                target=1 - p.target,
                first_range=p.second_range,
                second_range=p.first_range,
            )
            for p in pairs
        ]
        learners = [make(name), make(name)]
        learners[0].fit(pairs, reference())
        learners[1].fit(turned, reference())
        np.testing.assert_allclose(*(learner.snapshot()(*rows()) for learner in learners), rtol=0.05, atol=0.02)

    def test_what_was_learned_survives_a_trip_to_disk(self, name: str) -> None:
        learner = make(name, members=2)
        learner.fit(oracle_pairs(15), reference())
        learner.fit(oracle_pairs(18), reference())
        on_disk = save({key: np.asarray(value, order="C") for key, value in learner.state().items()})
        other = make(name, seed=77, members=2)
        other.restore(load(on_disk))
        np.testing.assert_array_equal(other.snapshot()(*rows()), learner.snapshot()(*rows()))
        assert other.snapshot().version == 2
        segments = reference()
        np.testing.assert_array_equal(other.member_returns(segments), learner.member_returns(segments))

    def test_a_learner_that_was_restored_goes_on_as_the_one_that_was_kept(self, name: str) -> None:
        kept, restored = make(name), make(name, seed=77)
        kept.fit(oracle_pairs(15), reference())
        kept.fit(oracle_pairs(18), reference())
        restored.restore(load(save({key: np.asarray(value, order="C") for key, value in kept.state().items()})))
        reports = [learner.fit(oracle_pairs(30), reference()) for learner in (kept, restored)]
        assert reports[0] == reports[1]
        for key, value in kept.state().items():
            np.testing.assert_array_equal(value, restored.state()[key])

    def test_the_state_that_was_given_does_not_change_later(self, name: str) -> None:
        learner = make(name)
        learner.fit(oracle_pairs(10), reference())
        state = learner.state()
        before = {key: value.copy() for key, value in state.items()}
        learner.fit(oracle_pairs(20), reference())
        for key, value in state.items():
            np.testing.assert_array_equal(value, before[key])

    def test_discrete_actions_and_bytes_are_taken(self, name: str) -> None:
        space = gym.spaces.Discrete(3, start=-1)
        rng = np.random.default_rng(0)
        segments = [toys.segment(rng.integers(0, 255, (6, 2)), rng.integers(-1, 2, 5), seed=n) for n in range(12)]
        segments = [replace(s, observations=s.observations.astype(np.uint8)) for s in segments]
        pairs = [
            toys.compare(a, b, float(a.actions.sum() > b.actions.sum()))
            for a, b in zip(segments[::2], segments[1::2], strict=True)
        ]
        learner = make(name, space=space)
        learner.fit(pairs, segments)
        observations, actions, after = rows(space=space)
        assert np.isfinite(learner.snapshot()(observations.astype(np.uint8), actions, after.astype(np.uint8))).all()

    def test_a_linear_reward_is_found_from_sixty_oracle_labels(self, name: str) -> None:
        learner = make(name, seed=1, **Reward().model_dump())
        pairs = oracle_pairs(60)
        for known in (20, 30, 40, 50, 60):  # as they come in during a run
            report = learner.fit(pairs[:known], reference(count=64))
        assert accuracy(learner, oracle_pairs(400, seed=1234)) > 0.85
        assert report.held_out_accuracy is not None
        assert report.held_out_accuracy > 0.6


@pytest.mark.parametrize("name", LEARNERS)
class TestLearner(LearnerContract):
    """Registering a learner in LEARNERS is testing it."""
