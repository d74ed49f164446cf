"""Reward or labels → policy, by name. Add one: a file here and a line in the table."""

from rltrainer.methods.callback import PreferenceCallback
from rltrainer.methods.ppo import make_ppo

METHODS = {"ppo": make_ppo}

__all__ = ["METHODS", "PreferenceCallback", "make_ppo"]
