"""Preference data → reward function, by name. Add one: a file here and a line in the table."""

from rltrainer.rewards.ensemble import EnsembleLearner

LEARNERS = {"ensemble": EnsembleLearner}

__all__ = ["LEARNERS", "EnsembleLearner"]
