"""Preference data → reward function, by name. Add one: a file here and a line in the table."""

from rltrainer.rewards.ensemble import EnsembleLearner
from rltrainer.rewards.robust import RobustLearner

LEARNERS = {"ensemble": EnsembleLearner, "robust": RobustLearner}

__all__ = ["LEARNERS", "EnsembleLearner", "RobustLearner"]
