"""Reward or labels → policy, by name. Add one: a file here and a line in the table."""

from rltrainer.methods.barrier import Barrier
from rltrainer.methods.callback import PreferenceCallback
from rltrainer.methods.cpl import make_cpl
from rltrainer.methods.direct import DirectCallback
from rltrainer.methods.ppo import make_ppo
from rltrainer.methods.relabelling import RelabellingCallback
from rltrainer.methods.sac import make_sac

METHODS = {"ppo": make_ppo, "sac": make_sac, "cpl": make_cpl}

__all__ = [
    "METHODS",
    "Barrier",
    "DirectCallback",
    "PreferenceCallback",
    "RelabellingCallback",
    "make_cpl",
    "make_ppo",
    "make_sac",
]
