"""Preference data → reward function, by name. Add one: a file here and a line in the table."""

from rltrainer.rewards.ensemble import EnsembleLearner
from rltrainer.rewards.robust import RobustLearner
from rltrainer.rewards.surf import SurfLearner

LEARNERS = {"ensemble": EnsembleLearner, "robust": RobustLearner, "surf": SurfLearner}

__all__ = ["LEARNERS", "EnsembleLearner", "RobustLearner", "SurfLearner"]
