"""How long segments are."""

from __future__ import annotations

from rltrainer.config import Config
from rltrainer.core import UserError

LEAST_STEPS = 50


def segment_steps(config: Config, episode_limit: int | None, steps_per_second: float) -> int:
    """The configured length of a segment, or a second of the env's own time, of 50 steps or more.

    Christiano et al. 2017 (appendix A) show 1.5 s, of 15 to 60 steps.

    Raises UserError where no episode is long enough.
    """
    steps = config.segments.steps
    if steps is None:
        steps = max(LEAST_STEPS, round(steps_per_second))
        return steps if episode_limit is None else min(steps, episode_limit)
    if episode_limit is not None and steps > episode_limit:
        raise UserError(
            f"segments.steps is {steps}, and an episode of this env has at most {episode_limit} steps; "
            f"set {episode_limit} or fewer"
        )
    return steps
