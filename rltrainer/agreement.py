"""How people label: how much, how fast, and how far they agree with themselves and with one another."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations, pairwise

from rltrainer.core import Label, Query, Strength, Verdict

BREAK_SECONDS = 60.0
"""Who answers nothing for longer is taken to be away."""


@dataclass(frozen=True)
class Judgement:
    """What a labeler said of two segments. target: P(the first is better)."""

    labeler: str
    first: str
    second: str
    target: float

    @property
    def pair(self) -> tuple[str, str]:
        """The two segments in an order that has nothing to do with how they were shown."""
        return min(self.first, self.second), max(self.first, self.second)

    @property
    def turned(self) -> float:
        """P(the first of `pair` is better)."""
        return self.target if self.first <= self.second else 1 - self.target


@dataclass(frozen=True)
class Work:
    """What one labeler did.

    verdicts:     standing answers by what they say: `much` and `slightly` are told from `prefer`
    taken_back:   answers that were undone, for good or for another one
    minutes:      time at work: between answers that follow each other within a minute
    per_minute:   answers in that time; None before the second answer
    consistency:  agreement of the answers to one pair asked again, over `repeats` of them
    """

    labeler: str
    labels: int
    skipped: int
    verdicts: Mapping[str, int]
    taken_back: int
    minutes: float
    per_minute: float | None
    consistency: float | None
    repeats: int


@dataclass(frozen=True)
class Agreement:
    """How far two labelers agree on the pairs that both judged. same: share of them that got the same answer."""

    one: str
    other: str
    pairs: int
    same: float
    kappa: float | None


def judgements(labels: Iterable[Label], queries: Mapping[str, Query]) -> list[Judgement]:
    """What standing labels say of their segments; what teaches nothing is left out."""
    found = []
    for label in labels:
        query = queries[label.query_id]
        target = label.answer.target(query)
        if target is not None:
            found.append(Judgement(label.labeler, query.first, query.second, target))
    return found


def work(labels: Sequence[Label], standing: Sequence[Label], queries: Mapping[str, Query]) -> list[Work]:
    """What each labeler did, those with most labels first.

    labels: all revisions, in the store's order; standing: those that stand
    """
    found = []
    for labeler in {label.labeler for label in labels}:
        revisions = [label for label in labels if label.labeler == labeler]
        stand = [label for label in standing if label.labeler == labeler]
        verdicts = Counter(_word(label) for label in stand)
        minutes, per_minute = pace([label.created_at for label in revisions if label.answer.verdict is not Verdict.UNDO])
        agreed, repeats = consistency(judgements(stand, queries))
        found.append(
            Work(
                labeler,
                labels=len(stand) - verdicts["skip"],
                skipped=verdicts["skip"],
                verdicts=dict(verdicts),
                taken_back=sum(label.answer.verdict is Verdict.UNDO for label in revisions),
                minutes=minutes,
                per_minute=per_minute,
                consistency=agreed,
                repeats=repeats,
            )
        )
    return sorted(found, key=lambda one: (-one.labels, one.labeler))


def _word(label: Label) -> str:
    answer = label.answer
    return answer.verdict.value if answer.strength is Strength.PLAIN else answer.strength.value


def pace(times: Sequence[float]) -> tuple[float, float | None]:
    """(minutes at work, answers a minute) of answers given at these times, in seconds. A longer gap is a break."""
    gaps = [after - before for before, after in pairwise(sorted(times)) if after - before <= BREAK_SECONDS]
    minutes = sum(gaps) / 60
    return minutes, len(gaps) / minutes if minutes else None


def consistency(judged: Iterable[Judgement]) -> tuple[float | None, int]:
    """(agreement, repeats) of answers that one labeler gave to the same two segments, whichever came first.

    The same answer agrees by 1, the opposite one by 0, a tie and a preference by 0.5.
    """
    answers: dict[tuple[str, tuple[str, str]], list[float]] = defaultdict(list)
    for one in judged:
        answers[one.labeler, one.pair].append(one.turned)
    agreements = [1 - abs(a - b) for given in answers.values() for a, b in pairwise(given)]
    return (sum(agreements) / len(agreements) if agreements else None), len(agreements)


def agreements(judged: Iterable[Judgement]) -> list[Agreement]:
    """Every two labelers who judged the same pairs; of several answers of one labeler to a pair the last counts."""
    said: dict[str, dict[tuple[str, str], float]] = defaultdict(dict)
    for judgement in judged:
        said[judgement.labeler][judgement.pair] = judgement.turned
    found = []
    for one, other in combinations(sorted(said), 2):
        answers = [(said[one][pair], said[other][pair]) for pair in said[one] if pair in said[other]]
        if answers:
            same = sum(a == b for a, b in answers) / len(answers)
            found.append(Agreement(one, other, len(answers), same, kappa(answers)))
    return found


def kappa(answers: Sequence[tuple[float, float]]) -> float | None:
    """Cohen's κ = (p_o − p_e) / (1 − p_e) of two labelers (Cohen 1960, eq. 1): 1 the same, 0 as by chance, below it worse.

    answers: P(the first is better) as each of the two said it, one row for each pair: 1, 0.5 or 0

    Which segment is called the first says nothing, so each pair counts in both orders. Each labeler then prefers the first as
    often as the second, and chance agrees by p_e = t₁ t₂ + (1 − t₁)(1 − t₂) / 2, where t is the share of ties. None at p_e = 1.
    """
    if not answers:
        return None
    count = len(answers)
    observed = sum(a == b for a, b in answers) / count
    one, other = (sum(row[side] == 0.5 for row in answers) / count for side in (0, 1))
    chance = one * other + (1 - one) * (1 - other) / 2
    return (observed - chance) / (1 - chance) if chance < 1 else None
