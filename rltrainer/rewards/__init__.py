"""Preference data → reward function, by name. Add one: a file here and a line in the table."""

from __future__ import annotations

from typing import Any

import numpy as np

from rltrainer.config import Reward
from rltrainer.core import Learner
from rltrainer.rewards.bayes import BayesLearner
from rltrainer.rewards.ensemble import EnsembleLearner
from rltrainer.rewards.robust import RobustLearner
from rltrainer.rewards.surf import SurfLearner
from rltrainer.rewards.transformer import TransformerLearner
from rltrainer.seams import named
from rltrainer.sizes import Sizes

LEARNERS = {
    "bayes": BayesLearner,
    "ensemble": EnsembleLearner,
    "robust": RobustLearner,
    "surf": SurfLearner,
    "transformer": TransformerLearner,
}

MOST_OBSERVED = 2000
"""Numbers in an observation up to which `bayes` is quick: with 7,056 and ten labels a refit takes 5 s and 1.6 GB."""

__all__ = [
    "LEARNERS",
    "BayesLearner",
    "EnsembleLearner",
    "RobustLearner",
    "SurfLearner",
    "TransformerLearner",
    "make_learner",
]


def make_learner(sizes: Sizes, settings: Reward, seed: np.random.SeedSequence) -> Learner:
    """What `reward.learner` names; unset, what suits what is observed. Raises UserError."""
    name = settings.learner or ("ensemble" if sizes.image or sizes.observation > MOST_OBSERVED else "bayes")
    made: Any = named(LEARNERS, name, "reward.learner")
    learner: Learner = made(sizes.observed, sizes.action_space, settings, seed)
    return learner
