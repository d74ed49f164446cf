"""The reward that a run has learned, to pay with in code of one's own."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from pydantic import ValidationError
from safetensors import SafetensorError, safe_open

from rltrainer.config import Reward
from rltrainer.core import Array, RewardFunction, UserError
from rltrainer.rewards import make_learner
from rltrainer.sizes import Sizes
from rltrainer.store import Store

FILE = "reward.safetensors"


def load_reward(run: Path | str, file: Path | str | None = None) -> RewardFunction:
    """What pays observations [N, O], actions [N, *A] and next observations [N, O] with rewards [N].

    file: what `rltrainer fit RUN` wrote; without one, the reward of the run as it ended
    Raises UserError where there is none.
    """
    store = Store.open(Path(run))
    try:
        sizes = Sizes.stored(store)
    finally:
        store.close()
    settings, arrays = _read(Path(run), Path(run) / FILE if file is None else Path(file))
    learner = make_learner(sizes, settings, np.random.SeedSequence(0))
    learner.restore(arrays)
    return learner.snapshot()


def _read(run: Path, place: Path) -> tuple[Reward, dict[str, Array]]:
    """A learner's settings and state."""
    try:
        with safe_open(place, framework="numpy") as opened:
            settings = Reward.model_validate_json((opened.metadata() or {})["reward"])
            return settings, {name: opened.get_tensor(name) for name in opened.keys()}  # noqa: SIM118 - it has no __iter__
    except FileNotFoundError:
        raise UserError(
            f"there is no {str(place)!r}; learn a reward from its labels, and pass the file that it names: rltrainer fit {run}"
        ) from None
    except (OSError, SafetensorError, KeyError, ValidationError) as error:
        what = str(error).splitlines()[0] or type(error).__name__
        raise UserError(
            f"{str(place)!r} cannot be read ({what}); learn it anew, and pass the file that it names: rltrainer fit {run}"
        ) from None
