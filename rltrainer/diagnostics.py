"""Is the labelling helping? What held-out answers, repeated pairs and recent segments say of a reward model."""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np

from rltrainer.agreement import Judgement, consistency
from rltrainer.core import Array, Comparison, FitReport, Learner, RewardFunction, Segment, looks_back, rewards_along

ROWS = 800
"""Steps on which a reward is judged at most, so that it takes milliseconds: neighbours in an episode say much the same."""
LEAST_SEGMENTS = 6
Z = 1.96
"""Half-width of a 95% interval in standard deviations."""
BINS = 10
NEWEST_SHARE = 0.2
SETTLED = 0.95
REFITS = 3
LEAST_LABELS = 20


@dataclass(frozen=True)
class Diagnosis:
    """What was found after a refit. None stands where there is nothing to judge by.

    judged:             held-out answers that prefer a side
    accuracy:           share of them that the reward foretold; between `accuracy_low` and `accuracy_high` at 95%
    calibration_error:  expected calibration error of P(first is better) on held-out answers
    disagreement:       std of P(first is better) over the members, mean over recent pairs
    consistency:        agreement of a labeler's answers to one pair asked again, over `repeats` of them
    step_correlation:   Pearson, learned and true reward of recent steps
    return_correlation: Spearman, learned and true return of recent segments
    ranking_agreement:  Spearman, returns of recent segments now and before the newest fifth of the labels
    """

    labels: int
    judged: int = 0
    accuracy: float | None = None
    accuracy_low: float | None = None
    accuracy_high: float | None = None
    calibration_error: float | None = None
    disagreement: float | None = None
    consistency: float | None = None
    repeats: int = 0
    step_correlation: float | None = None
    return_correlation: float | None = None
    ranking_agreement: float | None = None
    verdict: str = ""


def diagnose(
    comparisons: Sequence[Comparison],
    report: FitReport,
    learner: Learner,
    recent: Sequence[Segment],
    history: RankingHistory | None = None,
) -> Diagnosis:
    """Everything that can be said after a fit of `comparisons`.

    recent:  segments of the newest policy, on which the reward is judged
    history: earlier rewards of the run, to which this one is added; without one nothing is said of the ranking
    """
    hits, judged = held_out_hits(report.held_out, comparisons)
    low, high = wilson(hits, judged) if report.held_out_accuracy is not None else (None, None)
    agreed, repeats = self_consistency(comparisons)
    few = recent[: max(LEAST_SEGMENTS, ROWS // len(recent[0]))] if recent else []
    steps = Steps.of(recent)
    reward = learner.snapshot()
    rewards = steps.rewards(reward) if steps else np.zeros(0)
    agreement = None if history is None else history.add(len(comparisons), reward, steps)
    return Diagnosis(
        labels=len(comparisons),
        judged=judged,
        accuracy=report.held_out_accuracy,
        accuracy_low=low,
        accuracy_high=high,
        calibration_error=calibration_error(report.held_out, np.array([c.target for c in comparisons])),
        disagreement=disagreement(learner.member_returns(few)) if len(few) > 1 else None,
        consistency=agreed,
        repeats=repeats,
        step_correlation=pearson(rewards, steps.env_rewards) if steps else None,
        return_correlation=spearman(steps.returns(rewards), steps.env_returns) if steps else None,
        ranking_agreement=agreement,
        verdict="" if history is None else verdict(len(comparisons), low, history.agreements),
    )


# ------------------------------------------------------------------ held-out answers


def held_out_hits(held_out: Array | None, comparisons: Sequence[Comparison]) -> tuple[int, int]:
    """(answers foretold, answers judged) among those that prefer a side and were held out."""
    if held_out is None:
        return 0, 0
    target = np.array([comparison.target for comparison in comparisons])
    judged = np.isfinite(held_out) & (target != 0.5)
    return int(((held_out > 0.5) == (target > 0.5))[judged].sum()), int(judged.sum())


def wilson(hits: float, count: int) -> tuple[float, float]:
    """The 95% score interval of a share of `hits` among `count` (Wilson 1927); (0, 1) for none."""
    if not count:
        return 0.0, 1.0
    share, spread = hits / count, Z**2 / count
    centre = (share + spread / 2) / (1 + spread)
    half = Z * math.sqrt(share * (1 - share) / count + spread / (4 * count)) / (1 + spread)
    return max(0.0, centre - half), min(1.0, centre + half)


def calibration_error(held_out: Array | None, target: Array) -> float | None:
    """Expected calibration error (Guo et al. 2017, eq. 3) over ten bins of the confidence in the side foretold, 0.5 to 1.

    held_out: P(first is better), [N], NaN where it is not held out; target: what was answered, [N]; a tie is half a hit.
    Which segment is called the first makes no difference. None without held-out answers.
    """
    if held_out is None or not np.isfinite(held_out).any():
        return None
    known = np.isfinite(held_out)
    p, y = held_out[known], target[known]
    confidence, hit = np.maximum(p, 1 - p), np.where(p >= 0.5, y, 1 - y)
    bins = np.minimum(((confidence - 0.5) * 2 * BINS).astype(int), BINS - 1)
    gaps = [abs((confidence - hit)[bins == index].sum()) for index in range(BINS)]  # |B| · |accuracy − confidence|
    return float(sum(gaps) / len(p))


# ------------------------------------------------------------------ ensemble and labelers


def disagreement(returns: Array) -> float:
    """Std over members of P(one is better than the next), mean over neighbours: returns [M, N] in logits."""
    probability = (1 + np.tanh((returns[:, :-1] - returns[:, 1:]) / 2)) / 2  # [M, N − 1]
    return float(probability.std(axis=0).mean())


def self_consistency(comparisons: Sequence[Comparison]) -> tuple[float | None, int]:
    """(agreement, repeats) of answers that one labeler gave to the same two segments, whichever came first."""
    return consistency(Judgement(c.labeler, c.first.id, c.second.id, c.target) for c in comparisons)


# ------------------------------------------------------------------ recent segments


@dataclass(frozen=True)
class Steps:
    """Every so-manieth step of several segments: observations [N, O], actions [N, *A], env_rewards [N]; where each begins.

    segments:    all of their steps, for a reward that looks back
    apart:       how many steps one of these stands for
    env_returns: of the whole segments, [S]
    """

    segments: Sequence[Segment]
    apart: int
    observations: Array
    actions: Array
    next_observations: Array
    env_rewards: Array
    begins: Array
    env_returns: Array

    @classmethod
    def of(cls, segments: Sequence[Segment]) -> Steps | None:
        """None without segments."""
        if not segments:
            return None
        apart = math.ceil(sum(len(segment.actions) for segment in segments) / ROWS)
        sizes = [math.ceil(len(segment.actions) / apart) for segment in segments]
        return cls(
            segments,
            apart,
            np.concatenate([segment.observations[:-1:apart] for segment in segments]),
            np.concatenate([segment.actions[::apart] for segment in segments]),
            np.concatenate([segment.observations[1::apart] for segment in segments]),
            np.concatenate([segment.env_rewards[::apart] for segment in segments]),
            np.cumsum([0, *sizes[:-1]]),
            np.array([segment.env_return for segment in segments]),
        )

    def rewards(self, reward: RewardFunction) -> Array:
        """Learned rewards [N] of the steps."""
        if looks_back(reward):
            return np.concatenate([rewards_along(reward, segment)[:: self.apart] for segment in self.segments])
        return reward(self.observations, self.actions, self.next_observations)

    def returns(self, rewards: Array) -> Array:
        """Learned returns [S]."""
        return np.asarray(np.add.reduceat(rewards, self.begins) * self.apart)


def pearson(one: Array, two: Array) -> float | None:
    """Correlation of two rows of numbers; None where either never changes or is infinite: there is nothing to correlate."""
    if not (np.isfinite(one).all() and np.isfinite(two).all()):
        return None
    a, b = one - one.mean(), two - two.mean()
    scale = math.sqrt(float(a @ a) * float(b @ b))
    return float(a @ b) / scale if scale > 1e-12 else None


def spearman(one: Array, two: Array) -> float | None:
    """Correlation of the ranks; equal numbers share the mean of theirs."""
    return pearson(_ranks(one), _ranks(two))


def _ranks(values: Array) -> Array:
    _, place, counts = np.unique(values, return_inverse=True, return_counts=True)
    return (np.cumsum(counts) - (counts - 1) / 2)[place.reshape(-1)]


# ------------------------------------------------------------------ the ranking, and the verdict


@dataclass
class RankingHistory:
    """How much the newest labels changed the ranking of recent segments.

    Each refit's reward is compared with the one that knew a fifth fewer labels, on the same segments of the newest policy.
    Not with the one before: a refit takes few steps from there, so neighbours always agree. Segments of today, because
    their order is what the policy learns from.
    """

    agreements: deque[float] = field(default_factory=lambda: deque(maxlen=REFITS))
    past: deque[tuple[int, RewardFunction]] = field(default_factory=deque)

    def add(self, labels: int, reward: RewardFunction, steps: Steps | None) -> float | None:
        """Spearman's ρ of the segments' returns, now and a fifth of the labels ago; None while there is no such reward."""
        self.past.append((labels, reward))
        while len(self.past) > 1 and self.past[1][0] <= (1 - NEWEST_SHARE) * labels:
            self.past.popleft()
        then, before = self.past[0]
        if steps is None or then > (1 - NEWEST_SHARE) * labels:
            return None
        agreement = spearman(*(steps.returns(steps.rewards(one)) for one in (before, reward)))
        if agreement is not None:
            self.agreements.append(agreement)
        return agreement


def verdict(labels: int, accuracy_low: float | None, agreements: Sequence[float]) -> str:
    """What to make of it, in words.

    More labels of this kind no longer change the ranking where, in each of the last three refits, the reward ordered recent
    segments as it did before the newest fifth of the labels (ρ ≥ 0.95), and foretells held-out answers better than chance:
    its 95% interval lies above one half. A reward that ignores its labels is steady too.
    """
    if labels < LEAST_LABELS or len(agreements) < REFITS or accuracy_low is None:
        return "Too few new labels to tell yet."
    if accuracy_low <= 0.5:
        return "The reward does not foretell answers better than chance yet."
    if min(agreements) >= SETTLED:
        return "More labels of this kind no longer change the ranking."
    return "New labels still change the ranking."
