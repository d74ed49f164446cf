"""Facts about a disk that takes no more: no label is acked and lost, training goes on, and all is well when there is room.

A tmpfs of a few megabytes is a real disk that can be filled; to mount one takes root.
"""

from __future__ import annotations

import asyncio
import contextlib
import errno
import io
import shutil
import subprocess
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import toys
from rich.console import Console
from test_server import Page, new_run, page, service

from rltrainer.config import Config
from rltrainer.core import Answer, Query, UserError, Verdict
from rltrainer.loop import PreferenceLoop
from rltrainer.methods import barrier
from rltrainer.progress import Dashboard
from rltrainer.store import NoRoom, Store
from rltrainer.training import resume, train
from rltrainer.wrapper import PreferenceRewardWrapper

FULL = OSError(errno.ENOSPC, "No space left on device")


def limit_pages(store: Store, pages: int) -> None:
    """As if the disk had room for so many pages; SQLite says the same then."""
    with store._engine.begin() as connection:
        connection.exec_driver_sql(f"PRAGMA max_page_count = {pages}")


# ------------------------------------------------------------------ the store, the loop


def test_what_a_full_disk_did_not_take_counts_for_nothing_and_can_be_done_again(store: Store) -> None:
    limit_pages(store, 1)  # SQLite makes that the pages which there are
    with pytest.raises(NoRoom, match="database or disk is full"):
        store.log("progress", words="x" * 100_000)
    assert store.newest_event("progress") is None
    limit_pages(store, 1_000_000)
    store.log("progress", words="x" * 100_000)
    assert len(store.events("progress")) == 1


@pytest.mark.parametrize("cut", ["ask", "save_labels"])
def test_a_loop_asks_nothing_on_a_full_disk_and_all_of_its_budget_when_there_is_room(
    monkeypatch: pytest.MonkeyPatch, cut: str
) -> None:
    def full(*_: Any, **__: Any) -> None:
        raise FULL

    settings = {"steps": 2000, "labels": 12, "labeler": "oracle", "segments.steps": 8, "queries.strategy": "uniform"}
    env = PreferenceRewardWrapper(toys.drift())
    loop = PreferenceLoop(env, Config().but(settings | {"reward.learner": "toys:Remembering"}), update_every=100)
    said = []
    with monkeypatch.context() as patch:
        patch.setattr(loop.store, cut, full)
        loop.warm_up()
        play(loop, env, 800)
        said.append(loop.progress())
    play(loop, env, 2000)
    assert (said[0].labels, said[0].message) == (0, "Nothing can be asked: the disk takes no more (No space left on device).")
    assert loop.store.counts() == {"asked": 12, "waiting": 0, "labels": 12, "skipped": 0}
    assert loop.progress().message == "The agent is learning."
    loop.close()


def play(loop: PreferenceLoop, env: Any, until: int) -> None:
    """Random steps, up to that one of the run."""
    env.reset(seed=0)
    rng = np.random.default_rng(0)
    while loop.steps < until:
        *_, terminated, truncated, _ = env.step(rng.uniform(-1, 1, 1).astype(np.float32))
        loop.step()
        if terminated or truncated:
            env.reset()


# ------------------------------------------------------------------ a disk that is full


class Disk:
    """A small one, which can be filled and emptied."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._filling = folder / "filling"

    def fill(self) -> None:
        with self._filling.open("ab", buffering=0) as file, contextlib.suppress(OSError):
            while True:
                file.write(bytes(4096))

    def free(self) -> None:
        self._filling.unlink()


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[Disk]:
    folder = tmp_path / "disk"
    folder.mkdir()
    command = ["mount", "-t", "tmpfs", "-o", "size=12m", "tmpfs", str(folder)]
    if shutil.which("mount") is None or subprocess.run(command, capture_output=True, check=False).returncode != 0:
        pytest.skip("a tmpfs cannot be mounted here: that takes root")
    yield Disk(folder)
    subprocess.run(["umount", "--lazy", str(folder)], check=True)


@pytest.mark.long
def test_labels_sent_while_the_disk_is_full_are_acked_when_there_is_room_and_never_before(disk: Disk) -> None:
    store = new_run(disk.folder / "run", 30)
    queries = store.waiting()
    acked: set[str] = set()

    async def judge(url: str) -> None:
        async with page(url) as ada, page(url) as bob:
            for outage in range(3):
                mine, his = queries[10 * outage : 10 * outage + 5], queries[10 * outage + 5 : 10 * outage + 10]
                disk.fill()
                before = len(store.labels())
                sent = {await say(ada, query) for query in mine} | {await say(bob, query) for query in his}
                assert "kept on this page: the disk takes no more" in (await ada.until("refused", label_id=None))["reason"]
                assert len(store.labels()) == before
                disk.free()
                for one in (ada, bob):
                    for _ in range(5):
                        acked.add((await one.until("ack"))["label_id"])
                assert sent <= acked

    with service(disk.folder / "run") as (_, url):
        asyncio.run(judge(url))
    stored = [label.id for label in store.labels()]
    store.close()
    assert len(stored) == 30
    assert set(stored) == acked


async def say(page: Page, query: Query) -> str:
    """Prefer the first; gives the label's id."""
    label_id = uuid.uuid4().hex
    await page.send(type="label", label_id=label_id, query_id=query.id, verdict="prefer", preferred=query.first)
    return label_id


@pytest.mark.long
def test_a_service_told_to_end_on_a_full_disk_ends_and_acks_nothing(disk: Disk) -> None:
    store = new_run(disk.folder / "run", 1)
    (query,) = store.waiting()

    with service(disk.folder / "run") as (process, url):

        async def judge() -> None:
            async with page(url) as ada:
                disk.fill()
                label_id = await say(ada, query)
                await ada.until("refused", label_id=None)
                process.terminate()
                with pytest.raises(Exception, match="1001"):
                    await ada.until("ack", label_id=label_id)

        asyncio.run(judge())
        assert process.wait(10) == 0
    assert store.labels() == []
    store.close()


@pytest.mark.long
def test_a_run_on_a_full_disk_goes_on_and_has_its_labels_when_there_is_room(
    disk: Disk, monkeypatch: pytest.MonkeyPatch
) -> None:
    said, full = io.StringIO(), []

    def on_step(self: barrier.Barrier) -> bool:
        if self.num_timesteps == 500:
            disk.fill()
            full.append(Store.open(run).counts()["labels"])
        if self.num_timesteps == 800:
            full.append(Store.open(run).counts()["labels"])
            disk.free()
        return True

    run = disk.folder / "run"
    monkeypatch.setattr(barrier.Barrier, "_on_step", on_step)
    monkeypatch.setattr(barrier, "SHARE", 4.0)
    monkeypatch.setattr("rltrainer.training.EVENT_SECONDS", 0.0)
    settings = toys.SMALL_RUN | {"steps": 2000, "labels": 30}
    train(Config().but(settings), run, Dashboard(2000, Console(file=said, width=400)), announce=print)
    told = said.getvalue()
    assert "The disk takes no more (database or disk is full). Training goes on; nothing is asked" in told
    assert "could not be written (No space left on device). Training goes on" in told
    assert told.index("The disk takes no more") < told.index("There is room on the disk again")
    assert full[0] == full[1]
    store = Store.open(run)
    assert store.counts() == {"asked": 30, "waiting": 0, "labels": 30, "skipped": 0}
    store.close()


@pytest.mark.long
def test_a_run_that_ends_on_a_full_disk_says_so_and_goes_on_from_its_last_checkpoint(
    disk: Disk, monkeypatch: pytest.MonkeyPatch
) -> None:
    def on_step(self: barrier.Barrier) -> bool:
        if self.num_timesteps == 600:
            disk.fill()
            raise KeyboardInterrupt
        return True

    run = disk.folder / "run"
    with monkeypatch.context() as patch:
        patch.setattr(barrier, "SHARE", 4.0)
        patch.setattr(barrier.Barrier, "_on_step", on_step)
        with pytest.raises(UserError, match=r"could not be saved whole, the disk takes no more .*--resume"):
            train(Config().but(toys.SMALL_RUN), run, Dashboard(1000, Console(file=io.StringIO())), announce=print)
    disk.free()
    resume(run, Dashboard(1000, Console(file=io.StringIO())), announce=print)
    assert (run / "policy.safetensors").exists()


def test_a_label_that_cannot_be_saved_yet_is_refused_by_no_name_and_acked_later() -> None:
    from test_session import House

    from rltrainer.labeling.effects import SaveLabel

    house = House(["q1"], saves=False)
    ada = house.page()
    label_id = house.label(ada, "q1")
    house.carry_out(house.session.delayed("the disk takes no more"))
    assert house.said(ada)[-1].label_id is None
    assert house.refusals(ada) == ["answers are not saved yet, and kept on this page: the disk takes no more"]
    assert house.acked(ada) == []
    (saving,) = house.all(SaveLabel)
    assert saving.answer == Answer(Verdict.PREFER, "q1-a")
    house.save(saving)
    assert house.acked(ada) == [label_id]
