"""Facts about a whole run: what it leaves in its folder, what its arms share, how it ends when something goes wrong."""

from __future__ import annotations

import io
import json
import multiprocessing
import os
import re
import shutil
import signal
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import toys
from rich.console import Console
from stable_baselines3.common.vec_env import DummyVecEnv, VecNormalize
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from rltrainer.checkpoint import RunFolder
from rltrainer.config import Config
from rltrainer.core import Answer, Array, EnvFault, UserError, Verdict
from rltrainer.env_process import EnvProcess
from rltrainer.guard import GuardedVecEnv
from rltrainer.interrupts import Interrupts
from rltrainer.learned import load_reward
from rltrainer.progress import Dashboard, words
from rltrainer.store import Store
from rltrainer.training import Run, evaluate, load_policy, make_vec_env, normalised, train
from rltrainer.wrapper import PreferenceRewardWrapper


def config(**changes: Any) -> Config:
    """A run of a second: two Drifts, 16 labels of an oracle."""
    return Config().but(toys.SMALL_RUN | {name.replace("__", "."): value for name, value in changes.items()})


def dashboard() -> tuple[Dashboard, io.StringIO]:
    said = io.StringIO()
    return Dashboard(1000, Console(file=said)), said


def trained(path: Path, **changes: Any) -> RunFolder:
    return train(config(**changes), path, dashboard()[0], announce=print)


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> RunFolder:
    """One run that has ended."""
    return trained(tmp_path_factory.mktemp("finished") / "run")


# ------------------------------------------------------------------ what a run leaves


def test_a_run_folder_holds_all_that_was_learned_and_nothing_half_written(finished: RunFolder) -> None:
    found = {file.name for file in finished.path.iterdir()}
    assert found == {
        "config.yaml",
        "policy.safetensors",
        "reward.safetensors",
        "store.db",
        "segments",
        "labels.jsonl",
        "logs",
        "checkpoints",
        "trainer.lock",
    }
    assert list((finished.path / "logs").glob("events.out.tfevents.*"))


def test_the_config_is_kept_as_resolved(finished: RunFolder) -> None:
    assert finished.config == config()


def test_the_labels_are_exported_as_json_lines(finished: RunFolder) -> None:
    rows = [json.loads(line) for line in (finished.path / "labels.jsonl").read_text().splitlines()]
    assert len(rows) == 16
    assert all(row["verdict"] in ("prefer", "equal") and row["labeler"] == row["source"] == "oracle" for row in rows)
    assert all(row["preferred"] in row["segments"] for row in rows if row["verdict"] == "prefer")


def test_the_store_tells_how_the_run_went(finished: RunFolder) -> None:
    store = Store.open(finished.path)
    assert store.fact("env") == {"id": "toys:drift", "options": {}}
    assert store.counts() == {"asked": 16, "waiting": 0, "labels": 16, "skipped": 0}
    last = store.newest_event("progress")
    store.close()
    assert last is not None
    assert (last["phase"], last["labels"], last["steps"]) == ("finished", 16, 1000)


def test_the_learned_reward_can_be_loaded_again(finished: RunFolder) -> None:
    reward = load_reward(finished.path)
    assert reward.version > 1
    assert np.isfinite(reward(np.zeros((3, 2)), np.zeros((3, 1)), np.zeros((3, 2)))).all()
    env = PreferenceRewardWrapper(toys.drift())
    env.seat.reward = reward
    before, _ = env.reset(seed=1)
    action = np.array([0.5], np.float32)
    after, paid, *_ = env.step(action)
    assert paid == pytest.approx(reward(before[None], action[None], after[None])[0])


def test_a_reward_that_is_not_there_or_damaged_is_said_in_a_sentence(finished: RunFolder, tmp_path: Path) -> None:
    run = shutil.copytree(finished.path, tmp_path / "run")
    (run / "reward.safetensors").write_bytes(b"garbage")
    with pytest.raises(UserError, match=r"cannot be read .*; learn it anew, .*: rltrainer fit"):
        load_reward(run)
    (run / "reward.safetensors").unlink()
    with pytest.raises(UserError, match=r"there is no .*; learn a reward from its labels, .*: rltrainer fit"):
        load_reward(run)


def test_evaluation_is_of_the_true_return_and_the_same_each_time(finished: RunFolder) -> None:
    one, two = (evaluate(finished, 3, seed=7) for _ in range(2))
    assert one == two
    assert len(set(one)) == 3
    assert all(abs(value) <= 40 * (1 + 4) for value in one)  # 40 steps that pay the place


def test_an_episode_without_an_end_is_not_waited_for(finished: RunFolder, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("rltrainer.training.ENDLESS", 30)
    with pytest.raises(UserError, match="an episode has not ended after 30 steps; give env_options a max_episode_steps"):
        evaluate(finished, 2, 0)


def test_another_seed_evaluates_on_other_episodes(finished: RunFolder) -> None:
    assert not set(evaluate(finished, 2, seed=7)) & set(evaluate(finished, 2, seed=8))


def test_the_policy_that_is_loaded_acts_as_the_one_that_was_trained(tmp_path: Path) -> None:
    settings = config()
    folder = RunFolder.create(tmp_path / "run", settings)
    run = Run(settings, folder, dashboard()[0], Interrupts())
    run.learn()
    env = run.model.get_env()
    assert isinstance(env, VecNormalize)
    shown = np.random.default_rng(0).normal(size=(20, 2)).astype(np.float32)
    before = run.model.predict(env.normalize_obs(shown), deterministic=True)[0]
    run.save()
    run.close()
    again = normalised(make_vec_env(settings, 3), settings, training=False)
    model = load_policy(folder, again)
    np.testing.assert_array_equal(model.predict(again.normalize_obs(shown), deterministic=True)[0], before)
    again.close()


def test_the_last_news_of_a_run_counts_all_of_its_steps(finished: RunFolder) -> None:
    store = Store.open(finished.path)
    last = store.newest_event("progress")
    store.close()
    assert last is not None
    assert 1000 <= last["step"] < 1000 + 64


def test_the_same_config_gives_the_same_run(finished: RunFolder, tmp_path: Path) -> None:
    again = trained(tmp_path / "run")
    for name in ("policy.safetensors", "reward.safetensors"):
        assert (again.path / name).read_bytes() == (finished.path / name).read_bytes()


# ------------------------------------------------------------------ the baseline arm


def test_the_baseline_begins_with_the_same_policy_in_the_same_envs(tmp_path: Path) -> None:
    """`--labeler none` differs in the reward only."""
    begun = []
    for labeler in ("oracle", "none"):
        settings = config(labeler=labeler)
        run = Run(settings, RunFolder.create(tmp_path / labeler, settings), dashboard()[0], Interrupts())
        weights = {name: value.numpy().copy() for name, value in run.model.policy.state_dict().items()}
        env = run.model.get_env()
        assert isinstance(env, VecNormalize)
        env.reset()
        begun.append((weights, env.get_original_obs().copy(), run.model.n_steps, run.model.learning_rate))  # type: ignore[attr-defined, union-attr]
        run.save()
        run.close()
    (weights, shown, *numbers), (baseline_weights, baseline_shown, *baseline_numbers) = begun
    for name, value in weights.items():
        np.testing.assert_array_equal(value, baseline_weights[name])
    np.testing.assert_array_equal(shown, baseline_shown)
    assert numbers == baseline_numbers


def test_the_baseline_asks_nobody_and_keeps_no_store(tmp_path: Path) -> None:
    folder = trained(tmp_path / "run", labeler="none")
    assert {file.name for file in folder.path.iterdir()} == {
        "config.yaml",
        "policy.safetensors",
        "logs",
        "checkpoints",
        "trainer.lock",
    }
    assert len(evaluate(folder, 2, 1)) == 2


@pytest.mark.parametrize("env", ["CartPole-v1", "FrozenLake-v1", "toys:dict_env", "toys:image_env"])
def test_envs_of_every_kind_are_trained_evaluated_and_kept(tmp_path: Path, env: str) -> None:
    folder = trained(tmp_path / "run", env=env, steps=400, labels=4, segments__steps=4, queries__batch=1)
    assert len(evaluate(folder, 1, 1)) == 1
    assert any("cnn" in name for name in arrays(folder)) is (env in ("toys:dict_env", "toys:image_env")), (
        "pictures: convolutions"
    )


# ------------------------------------------------------------------ what goes wrong


def arrays(folder: RunFolder) -> dict[str, Array]:
    return folder._arrays("policy.safetensors")


@pytest.mark.parametrize("labeler", ["oracle", "none"])
def test_an_env_that_fails_at_its_first_reset_is_told_of_in_a_sentence(tmp_path: Path, labeler: str) -> None:
    with pytest.raises(EnvFault, match="all that was learned before is saved in"):
        trained(
            tmp_path / "run", env="toys:faulty", env_options={"fault": "reset", "at": 0}, labeler=labeler, steps=2000, labels=8
        )


@pytest.mark.parametrize("labeler", ["oracle", "none"])
@pytest.mark.parametrize("fault", ["observation", "reward", "raise"])
def test_an_env_that_fails_stops_the_run_and_everything_is_saved(tmp_path: Path, fault: str, labeler: str) -> None:
    with pytest.raises(EnvFault):
        trained(
            tmp_path / "run",
            env="toys:faulty",
            env_options={"fault": fault, "at": 450},
            labeler=labeler,
            steps=2000,
            labels=8,
        )
    folder = RunFolder.open(tmp_path / "run")
    assert all(np.isfinite(value).all() for value in arrays(folder).values())
    if labeler == "oracle":
        assert (folder.path / "labels.jsonl").read_text().count("\n") > 0
        assert load_reward(folder.path)
        store = Store.open(folder.path)
        last = store.newest_event("progress")
        store.close()
        assert last is not None
        assert last["phase"] == "stopped"


def test_a_policy_that_acts_by_nan_is_stopped_with_a_reason() -> None:
    venv = GuardedVecEnv(DummyVecEnv([toys.drift]))
    venv.reset()
    with pytest.raises(EnvFault, match="the policy's actions were NaN or infinite after 0 steps; lower its learning rate"):
        venv.step(np.full((1, *venv.action_space.shape), np.nan, np.float32))


@pytest.mark.long
@pytest.mark.parametrize("method", ["ppo", "sac"])
def test_a_run_whose_envs_die_on_the_way_goes_on_to_its_end(tmp_path: Path, method: str) -> None:
    """Each of the two dies at its step 300, and a fresh one would at the run's step 1200."""
    screen, said = dashboard()
    settings = {"env": "toys:faulty", "env_options": {"fault": "die", "at": 300}, "subprocesses": True, "n_envs": 2}
    folder = train(config(**settings, method=method, sac__exploration_steps=100), tmp_path / "run", screen, announce=print)
    found = re.findall(r"env (\d) of 2 \(process \d+\) died of signal SIGSEGV at its step 300\. A fresh one", said.getvalue())
    assert found == ["1", "2"]
    assert all(np.isfinite(value).all() for value in arrays(folder).values())
    store = Store.open(folder.path)
    last, labels = store.newest_event("progress"), store.counts()["labels"]
    store.close()
    assert last is not None
    assert last["phase"] == "finished"
    assert labels > 8  # half of them were given before the envs died
    curves = EventAccumulator(str(folder.logs)).Reload()
    assert curves.Scalars("envs/replaced")[-1].value == 2


@pytest.mark.long
def test_a_run_that_waits_for_an_env_that_hangs_ends_when_it_is_told_to(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def told(process: EnvProcess, waited: float) -> None:
        if process._steps == 150:
            os.kill(os.getpid(), signal.SIGTERM)

    monkeypatch.setattr(EnvProcess, "failing", told)
    screen, said = dashboard()
    settings = {"env": "toys:faulty", "env_options": {"fault": "hang", "at": 150}, "subprocesses": True, "n_envs": 2}
    folder = train(config(**settings), tmp_path / "run", screen, announce=print)
    assert "Stopping" in said.getvalue()
    assert arrays(folder)
    assert not multiprocessing.active_children()


@pytest.mark.long
def test_an_env_process_that_dies_too_often_stops_the_run_and_everything_is_saved(tmp_path: Path) -> None:
    settings = {"env": "toys:faulty", "env_options": {"fault": "die", "at": 150}, "subprocesses": True, "n_envs": 1}
    with pytest.raises(EnvFault, match=r"SIGSEGV at its step 150, and has been replaced 3 times; .* is saved in"):
        trained(tmp_path / "run", **settings, steps=2000, labels=8)
    folder = RunFolder.open(tmp_path / "run")
    assert all(np.isfinite(value).all() for value in arrays(folder).values())
    assert (folder.path / "labels.jsonl").read_text().count("\n") > 0


class Interrupting(toys.Ledger):
    """Somebody presses Ctrl-C in the middle of it."""

    def step(self, action: Any) -> Any:
        if self.episode == 20:
            raise KeyboardInterrupt
        return super().step(action)


def interrupting() -> Any:
    return Interrupting(runs_out_at=20)


def test_an_interrupt_ends_the_training_and_keeps_everything(tmp_path: Path) -> None:
    screen, said = dashboard()
    settings = config(env="test_training:interrupting", steps=50_000)
    folder = train(settings, tmp_path / "run", screen, announce=print)
    assert "Stopping" in said.getvalue()
    assert arrays(folder)
    assert load_reward(folder.path)
    store = Store.open(folder.path)
    last = store.newest_event("progress")
    assert store.counts()["labels"] == len((folder.path / "labels.jsonl").read_text().splitlines()) > 0
    store.close()
    assert last is not None
    assert last["phase"] == "stopped"
    assert last["step"] < 2000


def test_a_person_whose_run_ended_before_their_labels_is_told_how_to_go_on_from_them(tmp_path: Path) -> None:
    screen, _ = dashboard()

    def answer(facts: dict[str, Any]) -> None:
        store = Store.open(tmp_path / "run")
        for query in store.waiting()[: 3 if facts["phase"] == "warmup" else 0]:
            store.save_label(query.id, query.id, "ada", Answer(Verdict.PREFER, query.first))
        store.close()

    screen.show = answer  # type: ignore[method-assign]
    settings = config(labeler="browser", labeling__page="off", labels=300, queries__warmup_labels=3)
    folder = train(settings, tmp_path / "run", screen, announce=print)
    store = Store.open(folder.path)
    last = store.newest_event("progress")
    store.close()
    assert last is not None
    assert re.search(
        r"It ended after 3 of 300 labels\..* --config (.*run)/config.yaml --labels-from \1 --steps 4000", last["message"]
    )


def test_an_interrupt_ends_a_paused_run_and_keeps_everything(tmp_path: Path) -> None:
    screen, said = dashboard()
    phases: list[str] = []

    def show(facts: dict[str, Any]) -> None:
        phases.append(facts["phase"])
        if phases[-1] == "training" and facts["true_return"] is not None:
            store = Store.open(tmp_path / "run")
            store.pause("ada", paused=True)
            store.close()
        if phases[-1] == "paused":
            assert "Paused from the page." in words(facts)
            assert facts["true_return"] is not None
            signal.raise_signal(signal.SIGINT)

    screen.show = show  # type: ignore[method-assign]
    folder = train(config(steps=50_000), tmp_path / "run", screen, announce=print)
    assert "Stopping" in said.getvalue()
    assert phases[-1] == "stopped"
    assert phases.count("paused") <= 2
    assert arrays(folder)


def test_a_setting_that_cannot_be_is_refused_before_a_folder_is_made(tmp_path: Path) -> None:
    for change in (
        {"env": "Pendulum-v99"},
        {"method": "pppo"},
        {"queries__strategy": "unifrom"},
        {"reward__learner": "ensembel"},
        {"segments__steps": 41},
        {"env": "toys:tuple_action_env"},
        {"env": "toys:text_env"},
        {"labeler": "none", "labeling__page": "on"},
    ):
        with pytest.raises(UserError):
            trained(tmp_path / "run", **change)
        assert not list(tmp_path.iterdir())


# ------------------------------------------------------------------ the folder itself


def test_a_folder_with_something_in_it_is_left_alone(tmp_path: Path) -> None:
    (tmp_path / "run").mkdir()
    (tmp_path / "run" / "thesis.tex").write_text("precious")
    with pytest.raises(UserError, match=r"which exists already; pass another --run DIR"):
        RunFolder.create(tmp_path / "run", config())
    assert [file.name for file in (tmp_path / "run").iterdir()] == ["thesis.tex"]


def test_an_empty_folder_is_as_good_as_none(tmp_path: Path) -> None:
    (tmp_path / "run").mkdir()
    assert RunFolder.create(tmp_path / "run", config()).config == config()


@pytest.mark.parametrize("path", ["file", "file/run"])
def test_a_folder_that_cannot_be_made_is_one_sentence(tmp_path: Path, path: str) -> None:
    (tmp_path / "file").write_text("x")
    with pytest.raises(UserError, match="pass another --run DIR"):
        RunFolder.create(tmp_path / path, config())


def test_a_file_is_whole_or_the_one_before(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = RunFolder.create(tmp_path / "run", config())
    folder.write("x", b"old")

    def power_cut(_: int) -> None:
        raise OSError("power cut")

    monkeypatch.setattr("rltrainer.disk.os.fsync", power_cut)
    with pytest.raises(OSError, match="power cut"):
        folder.write("x", b"new")
    assert (folder.path / "x").read_bytes() == b"old"


def test_what_a_run_does_not_hold_is_said_in_a_sentence(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"holds no config\.yaml"):
        RunFolder.open(tmp_path)
    folder = RunFolder.create(tmp_path / "run", config())
    with pytest.raises(UserError, match=r"holds no policy\.safetensors"):
        evaluate(folder, 1, 0)
    folder.write("policy.safetensors", b"garbage")
    with pytest.raises(UserError, match=r"cannot be read .*; restore it from a backup"):
        evaluate(folder, 1, 0)


def test_a_policy_of_another_env_is_refused(finished: RunFolder, tmp_path: Path) -> None:
    other = RunFolder.create(tmp_path / "run", config(env="CartPole-v1"))
    other.write("policy.safetensors", (finished.path / "policy.safetensors").read_bytes())
    with pytest.raises(UserError, match="does not fit its env"):
        evaluate(other, 1, 0)


# ------------------------------------------------------------------ what is shown


FACTS = {
    "phase": "training",
    "message": "m",
    "step": 1500,
    "steps": 10_000,
    "steps_per_second": 2345.6,
    "asked": 12,
    "labels": 9,
    "wanted": 30,
}


def test_the_facts_of_a_run_in_one_line() -> None:
    told = words(FACTS | {"held_out_accuracy": 0.913, "true_return": -123.45})
    assert told == "2,346 steps/s · labels 9/30 (asked 12) · held-out accuracy 91% · true return -123.5"


def test_what_is_not_known_yet_is_left_out() -> None:
    assert words({"phase": "training", "step": 1, "steps": 2, "steps_per_second": None, "true_return": None}) == ""
    assert (
        words(FACTS | {"phase": "warmup", "message": "Waiting.", "wanted": 0, "steps_per_second": None})
        == "labels 9 (asked 12) · Waiting."
    )


def test_a_terminal_that_is_none_gets_lines_and_no_bar() -> None:
    screen, said = dashboard()
    screen.show(FACTS)
    screen.show(FACTS)
    screen.say("Label here: http://127.0.0.1:1/#token=[abc]")
    screen.close()
    lines = said.getvalue().splitlines()
    assert lines == [
        "training: step 1,500 of 10,000 · 2,346 steps/s · labels 9/30 (asked 12)",
        "Label here: http://127.0.0.1:1/#token=[abc]",
    ]


def test_how_far_a_run_came_is_said_at_its_end_however_quick_it_was() -> None:
    screen, said = dashboard()
    screen.show(FACTS)
    screen.show(FACTS | {"phase": "finished", "step": 10_000, "labels": 30, "asked": 30})
    screen.close()
    screen.close()
    assert said.getvalue().splitlines()[1:] == ["finished: step 10,000 of 10,000 · 2,346 steps/s · labels 30/30 (asked 30)"]


def test_a_long_url_is_never_wrapped() -> None:
    said = io.StringIO()
    screen = Dashboard(10, Console(file=said, width=20, force_terminal=True))
    url = "http://127.0.0.1:8765/#token=" + "x" * 60
    screen.say(url)
    screen.close()
    assert url in said.getvalue()


def test_torch_has_one_thread_in_a_run(finished: RunFolder) -> None:
    assert torch.get_num_threads() == 1
