"""How far each labeler is to be trusted, when several people label.

A labeler l answers by chance at a rate of their own: P̃ = (1 − ε_l) P + ε_l · share (Dawid & Skene 1979; of paired comparisons
Chen et al. 2013). The rates are estimated by expectation and maximisation, from what the reward foretold of answers that it
has not learned from.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from rltrainer.core import Array, Comparison
from rltrainer.rewards.likelihood import first_is_better, probabilities
from rltrainer.rewards.thresholds import Thresholds

PRIOR = 3.0
"""Answers' worth of belief that a labeler is like all of them together: who gave fewer is judged by the others, mostly."""
ROUNDS = 50
"""Of expectation and maximisation: they stand still to two digits, after less than a millisecond."""


def noise_of(labelers: Sequence[str], meant: Array, share: Array, noise: float) -> Array:
    """The rate of chance to learn each answer with, [N]: `noise` for the best labeler's, and more for the others'.

    What the reward does not know yet looks like chance in everybody's answers. What counts is therefore how much worse than
    the best one somebody is: 1 − ε' = (1 − noise) (1 − ε_l) / (1 − ε_best).

    meant: P(that answer) if it is meant, [N], NaN where nothing can be said; share: if it is chance, [N]
    """
    rates = _by_chance(labelers, meant, share)
    return np.asarray(1 - (1 - noise) * (1 - rates) / (1 - rates.min()))


def foretold(comparisons: Sequence[Comparison], logits: Array, thresholds: Thresholds) -> Array:
    """P̃(the first is better) of each, [N], at R₁ − R₂ = logits [N] that did not learn from it; NaN where these are.

    With each labeler's rate of chance as it seems to be, what the reward does not know among it: answers are learned from as
    chance more often than they are, so that wrong ones do no harm, and with that rate nothing would be called sure.
    """
    rates = _by_chance([c.labeler for c in comparisons], *probabilities(comparisons, logits, thresholds))
    return first_is_better(logits, rates, thresholds)


def _by_chance(labelers: Sequence[str], meant: Array, share: Array) -> Array:
    """The rate of chance of whoever gave each answer, [N]; 0 where nothing can be said of any."""
    names, which = np.unique(np.asarray(labelers), return_inverse=True)
    judged = np.isfinite(meant)
    if not judged.any():
        return np.zeros(len(which))
    return np.asarray(chance_rates(which[judged], meant[judged], share[judged], len(names))[which])


def chance_rates(which: Array, meant: Array, share: Array, count: int) -> Array:
    """ε of each of `count` labelers, [L]; of one without answers, what it is over all.

    which: whose answer it is, [N]; meant: P(that answer) if it is meant, [N]; share: if it is chance, [N]
    """
    answers = np.bincount(which, minlength=count)
    rates = np.full(count, 0.5)
    for _ in range(ROUNDS):
        joint = rates[which] * share
        chance = joint / (joint + (1 - rates[which]) * meant)  # P(chance | the answer), [N]
        overall = (chance.sum() + 1) / (len(chance) + 2)  # Laplace's rule: of few answers neither all nor none are chance
        rates = (np.bincount(which, chance, count) + PRIOR * overall) / (answers + PRIOR)
    return rates
