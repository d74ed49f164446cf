"""How far a number of labels goes: the final true return with learned rewards over that of PPO on the true reward.

Oracle labels; the same PPO settings, env steps and seeds in all arms; every run is the command line that a user would type.
Score: (R - R_random) / (R_true - R_random) of the final policy, without exploration noise, over 20 episodes on seeds of
their own. Envs and arms stand in benchmarks/arms.py.

Each run is a line in FILE.jsonl as it ends, and one that is there is not run again, so that a call that was stopped goes on
where it was. FILE.json has the figures, FILE.md the tables, FILE-*.png the plots.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from benchmarks import reporting, study
from benchmarks.arms import BUDGETS, DEFAULT, METHODS, STANDARD, TASKS

FILE = Path("runs/bench/labels.json")
PROFILES: dict[str, dict[str, Any]] = {
    "first": {"envs": ["Pendulum-v1", "HalfCheetah-v5"], "arms": [DEFAULT], "labels": [100], "seeds": 3},
    "quick": {"envs": list(TASKS), "arms": [DEFAULT], "labels": [50, 350], "seeds": 2},
    "methods": {
        "envs": ["Pendulum-v1", "HalfCheetah-v5"],
        "arms": [DEFAULT, *METHODS],
        "labels": [100],
        "seeds": 10,
        "steps": 20_000,
    },
    "full": {"envs": list(TASKS), "arms": STANDARD, "labels": BUDGETS, "seeds": 10},
}


def main() -> None:
    """The command."""
    options = study.flags(__doc__, FILE)
    words = "; ".join(
        f"{name}: {len(p['envs'])} envs, {len(p['labels'])} budgets, {p['seeds']} seeds" for name, p in PROFILES.items()
    )
    options.add_argument(
        "--profile",
        choices=PROFILES,
        default="first",
        help=f"quick takes half an hour on 2 cores, full a day, methods has SAC and CPL; {words}",
    )
    named, _ = options.parse_known_args()
    options.set_defaults(**PROFILES[named.profile])
    chosen = options.parse_args()
    if chosen.quick:
        chosen.envs, chosen.seeds, chosen.steps = ["Pendulum-v1"], 1, 40_000
    study.write(chosen, "How far labels go", study.gather(chosen))


if __name__ == "__main__":
    reporting.run(main)
