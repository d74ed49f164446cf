"""The benchmarks beside imitation: equal steps, counted; who is compared with whom; what each made of what."""

from __future__ import annotations

import io
import json
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console

from benchmarks import BENCHMARKS, peers, reporting
from benchmarks.arms import CHANCE, DEFAULT, PEERS, STANDARD, TRUE, Job, jobs
from benchmarks.imitated import Counted, Paced, iterations
from benchmarks.learner import figures_of
from benchmarks.peers import ratios, section, spent
from benchmarks.rows import DONE, FAILED, Row
from benchmarks.runs import COUNTS, Runner, commands, counts
from rltrainer import training
from rltrainer.config import Config
from rltrainer.core import UserError
from rltrainer.progress import Dashboard

# ------------------------------------------------------------------ env steps


class Generator:
    """imitation's side of `Paced`: takes the steps that it is told to."""

    def __init__(self, counted: Any) -> None:
        self.counted, self.logger = counted, "none"
        self.learned: list[int] = []

    def sample(self, steps: int) -> str:
        self.counted.steps += steps
        return "trajectories"

    def train(self, steps: int) -> None:
        self.counted.steps += steps
        self.learned.append(steps)


class Count:
    steps = 0


def test_steps_taken_for_questions_are_taken_off_those_of_learning() -> None:
    count = Count()
    generator = Generator(count)
    paced: Any = Paced(generator, count, steps=10_000, shares=4, rollout=100)  # type: ignore[arg-type]
    for _ in range(4):
        assert paced.sample(1_000) == "trajectories"
        paced.train(123)  # imitation's own number, which counts none of them
    # a share of what is left each time: 9000 / 4, (9000 − 2200 − 1000) / 3, (5800 − 1900 − 1000) / 2, and the rest
    assert generator.learned == [2_200, 1_900, 1_400, 500]
    assert count.steps == 10_000


def test_the_last_rollout_reaches_the_number_of_steps_and_none_comes_after_it() -> None:
    count = Count()
    generator = Generator(count)
    paced: Any = Paced(generator, count, steps=1_050, shares=2, rollout=100)  # type: ignore[arg-type]
    paced.sample(1_000)
    paced.train(0)
    paced.train(0)
    assert generator.learned == [100]
    paced.sample(0)
    assert count.steps == 1_100


def test_the_logger_is_handed_on() -> None:
    count = Count()
    generator = Generator(count)
    paced: Any = Paced(generator, count, steps=1, shares=1, rollout=1)  # type: ignore[arg-type]
    paced.logger = "theirs"
    assert generator.logger == paced.logger == "theirs"


@pytest.mark.parametrize(
    ("changes", "longest", "expected"),
    [
        ({"labels": 100}, 1000, 22),  # 4 rollouts of 2048 hold an episode of 8 envs: (200,000 − 8,000) // 8,192 − 1
        ({"labels": 100}, 200, 45),  # 90 labels after the first, two each time
        ({"labels": 700}, 200, 60),  # as many as its tutorial has
        ({"labels": 3}, 200, 1),
        ({"labels": 700, "steps": 2_000}, 1000, 1),
    ],
)
def test_an_iteration_has_labels_to_ask_for_and_an_episode_to_ask_about(
    changes: dict[str, Any], longest: int, expected: int
) -> None:
    assert iterations(Config().but({"steps": 200_000, **changes}), longest) == expected


def test_the_env_steps_of_a_run_of_ours_are_those_that_its_envs_were_stepped(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    envs: list[Counted] = []
    make = training.make_vec_env

    def counted(*settings: Any, **more: Any) -> Counted:
        envs.append(Counted(make(*settings, **more)))
        return envs[-1]

    monkeypatch.setattr(training, "make_vec_env", counted)
    small = {"env": "toys:drift", "labeler": "oracle", "steps": 500, "labels": 8, "n_envs": 2, "ppo.n_steps": 32}
    run = tmp_path / "run"
    dashboard = Dashboard(500, Console(file=io.StringIO()))
    training.train(Config().but(small | {"segments.steps": 8}), run, dashboard, print)
    assert counts(run) == {"labels_given": 8, "env_steps": envs[0].steps}
    assert 500 <= envs[0].steps < 500 + 64


def test_what_was_counted_elsewhere_is_taken_from_there(tmp_path: Path) -> None:
    assert counts(tmp_path) == {"labels_given": 0}
    (tmp_path / COUNTS).write_text('{"labels_given": 7, "env_steps": 2048}', "utf-8")
    assert counts(tmp_path) == {"labels_given": 7, "env_steps": 2048}


# ------------------------------------------------------------------ arms


def test_a_peer_gets_the_settings_that_ours_gets() -> None:
    ours, exact, default = (Job("Swimmer-v5", arm, 700, 200_000, 10) for arm in (DEFAULT, "imitation_exact", "imitation"))
    assert exact.settings == ours.settings
    assert default.settings == {**ours.settings, "teacher.beta": 1}  # its own oracle errs
    train, evaluate = commands(exact, Path("run"))
    assert train == ["-m", "benchmarks.imitated", *commands(ours, Path("run"))[0][3:]]
    assert evaluate == commands(ours, Path("run"))[1]


def test_peers_take_turns_with_ours_and_are_no_part_of_the_labels_benchmark() -> None:
    found = [job.arm for job in jobs(["HalfCheetah-v5"], [DEFAULT, *PEERS], [100], [10, 11])]
    assert found == [CHANCE, *[TRUE, DEFAULT, "imitation", "imitation_exact"] * 2]
    assert not {*PEERS} & {*STANDARD}


def test_without_imitation_a_sentence_says_what_to_do(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(reporting, "installed", lambda package: None)
    Job("Pendulum-v1", DEFAULT, 10, 1_000, 10).check()
    with pytest.raises(UserError, match=r"pip install --no-deps -r .*peers\.txt"):
        Job("Pendulum-v1", "imitation", 10, 1_000, 10).check()


def test_what_is_to_be_installed_is_written_down() -> None:
    lines = (reporting.ROOT / "benchmarks" / "peers.txt").read_text("utf-8").splitlines()
    assert "imitation==1.0.1" in lines
    assert "--no-deps -r benchmarks/peers.txt" in str(peers.__doc__)


@pytest.mark.skipif(reporting.installed("imitation") is None, reason="imitation is not installed; see benchmarks/peers.py")
def test_imitation_takes_as_many_labels_and_steps_as_ours() -> None:
    job = Job("Pendulum-v1", "imitation_exact", 8, 6_000, 10)
    row = Runner().run(job)
    assert row["status"] == DONE, row
    assert row["labels_given"] == 8
    assert 6_000 <= row["env_steps"] < 6_000 + 2_048


# ------------------------------------------------------------------ what was made of what


def row(arm: str, value: float, cpu: float = 0.0, seed: int = 10, **more: Any) -> Row:
    labels = 0 if arm in (TRUE, CHANCE) else 100
    found: Row = {"env": "HalfCheetah-v5", "arm": arm, "labels": labels, "steps": 200_000, "seed": seed, "settings": {}}
    found |= {"status": DONE, "mean_return": value, "commit": "c", "machine": "m", **more}
    if arm == CHANCE:
        return found | {"steps": 0, "seed": 0}
    return found | {"cpu_seconds": cpu, "labels_given": labels}


ROWS = [
    row(CHANCE, -200.0),
    row(TRUE, 3_800.0, 40.0),
    row(DEFAULT, 3_700.0, 50.0, env_steps=200_000),
    row(DEFAULT, 3_900.0, 50.0, seed=11, env_steps=200_000),
    row("imitation", 1_800.0, 100.0, env_steps=202_000),
]


def test_the_gain_over_random_actions_is_shared_out_over_labels_steps_and_seconds() -> None:
    ours = spent(ROWS)["HalfCheetah-v5"][DEFAULT, 100]
    assert (ours.runs, ours.true_return, ours.gain, ours.env_steps) == (2, 3_800.0, 4_000.0, 200_000)
    written = section(ROWS)
    assert "| disagreement | 100 | 2 | 3800.0 | 200,000 | 50.0 | 40.00 | 20.00 | 80.00 |" in written
    assert "| true_reward |  | 1 | 3800.0 |  | 40.0 |  |  | 100.00 |" in written


def test_ours_is_set_against_each_other_arm() -> None:
    found = ratios(ROWS)
    name = "HalfCheetah-v5, 100 labels: ours over imitation's"
    assert found[f"{name}, CPU seconds"] == 0.5
    assert found[f"{name}, env steps"] == pytest.approx(200 / 202)
    assert found[f"{name}, score (IQM)"] == pytest.approx(2.0)  # 1.0 over (1800 + 200) / 4000
    assert found["HalfCheetah-v5, 100 labels: ours over true_reward's, CPU seconds"] == 1.25


def test_runs_that_failed_make_no_means() -> None:
    failed = row("imitation_exact", 0.0) | {"status": FAILED}
    assert spent([*ROWS, failed]) == spent(ROWS)


def test_rates_and_ratios_of_the_learners_are_those_of_their_turns() -> None:
    raw = {
        "length": 50,
        "labels": 100,
        "ours": {"refits_in_a_turn": 5, "learn": [0.5, 1.0, 0.5], "choose": [0.02, 0.02, 0.01]},
        "our nets": {"refits_in_a_turn": 5, "comparisons_in_a_turn": 800, "learn": [0.2, 0.4, 0.2], "choose": [0.02] * 3},
        "imitation's": {
            "refits_in_a_turn": 1,
            "comparisons_in_a_turn": 300,
            "learn": [1.0, 1.0, 1.5],
            "choose": [0.2, 0.3, 0.2],
        },
    }
    found = figures_of(raw)
    where = "length 50, 100 labels"
    assert found[f"{where}: ours CPU ms a refit"] == 100
    assert found[f"{where}: a refit, times quicker"] == pytest.approx(10)  # of 10, 5 and 15 the middle one
    assert found[f"{where}: a refit, times quicker, least of the turns"] == pytest.approx(5)
    assert found[f"{where}: our nets comparisons a CPU second"] == 4_000
    assert found[f"{where}: imitation's comparisons a CPU second"] == 300
    assert found[f"{where}: our nets over imitation's"] == pytest.approx(4_000 / 300)  # of 13.3, 6.7 and 20 the middle one
    assert found[f"{where}: our nets over imitation's, least of the turns"] == pytest.approx(2_000 / 300)
    assert found[f"{where}: ours CPU ms a batch of 10 queries"] == 20
    assert found[f"{where}: a batch of queries, times quicker"] == pytest.approx(15)


# ------------------------------------------------------------------ the list of benchmarks


def test_every_benchmark_in_the_list_is_a_command_and_every_results_file_has_one() -> None:
    folder = reporting.ROOT / "benchmarks"
    for name in BENCHMARKS:
        assert "def main() -> None:" in (folder / f"{name}.py").read_text("utf-8")
    for file in (folder / "results").glob("*.json"):
        assert json.loads(file.read_text("utf-8"))["command"].split(".")[1].split()[0] in BENCHMARKS
