"""Which pairs to ask, by name. Plain functions; they never label or store. Add one: a file here and a line in the table."""

from rltrainer.core import Strategy
from rltrainer.queries.disagreement import disagreement
from rltrainer.queries.information_gain import information_gain
from rltrainer.queries.near_on_policy import near_on_policy
from rltrainer.queries.uniform import uniform

STRATEGIES: dict[str, Strategy] = {
    "disagreement": disagreement,
    "information_gain": information_gain,
    "near_on_policy": near_on_policy,
    "uniform": uniform,
}

__all__ = ["STRATEGIES", "disagreement", "information_gain", "near_on_policy", "uniform"]
