"""Personal links: who gets one, what it lets in, and how it ends. Against a real service and real sockets."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
from test_server import new_run, page
from websockets.exceptions import ConnectionClosed

from rltrainer.core import Link, UserError
from rltrainer.labeling.gate import hashed
from rltrainer.labeling.invitations import LONGEST_NAME, checked_name, invite, revoke
from rltrainer.labeling.server import run_service
from rltrainer.labeling.session import LINK_ENDED
from rltrainer.store import Store

HOSTILE = "<b>Ada</b> =1+1"


@pytest.fixture
def run(tmp_path: Path) -> Path:
    """A run with nothing to label: what is at stake is who comes in."""
    new_run(tmp_path / "run", 0).close()
    return tmp_path / "run"


@asynccontextmanager
async def service(run: Path) -> AsyncIterator[str]:
    """A service in this process, and the link that it printed."""
    links: asyncio.Queue[str] = asyncio.Queue()
    stop = asyncio.Event()
    serving = asyncio.create_task(run_service(run, port=0, announce=links.put_nowait, stop=stop))
    try:
        yield await links.get()
    finally:
        stop.set()
        await serving


def test_a_guest_is_let_in_at_once_as_a_labeler_and_put_out_when_the_link_is_ended(run: Path) -> None:
    async def visit() -> None:
        async with service(run) as printed:
            url = await asyncio.to_thread(invite, run, HOSTILE)
            async with page(printed) as owner, page(url) as guest:
                assert (owner.welcome.labeler, owner.welcome.admin) == ("you", True)
                assert (guest.welcome.labeler, guest.welcome.admin) == (HOSTILE, False)
                await guest.send(type="settings", changes={"clips.speed": 2.0})
                assert "only an admin" in (await guest.until("refused"))["reason"]
                assert await asyncio.to_thread(revoke, run, HOSTILE) == 1
                async with asyncio.timeout(5):
                    assert "has been ended" in (await guest.until("refused"))["reason"]
                    await guest.socket.wait_closed()
                assert guest.socket.close_code == LINK_ENDED
                await owner.send(type="settings", changes={"clips.speed": 2.0})
                assert (await owner.until("rules"))["speed"] == 2.0
            with pytest.raises(ConnectionClosed):
                async with page(url):
                    pass

    asyncio.run(visit())


def test_of_a_link_only_the_hash_is_kept(run: Path) -> None:
    async def ask() -> str:
        async with service(run):
            return await asyncio.to_thread(lambda: invite(run, "Ada", admin=True))

    origin, _, token = asyncio.run(ask()).partition("/#token=")
    assert origin.startswith("http://127.0.0.1:")
    store = Store.open(run)
    assert store.links()[hashed(token)] == Link("Ada", admin=True)
    store.close()
    assert not any(token.encode() in file.read_bytes() for file in run.rglob("*") if file.is_file())


def test_without_a_service_nobody_is_invited_and_how_to_start_one_is_said(run: Path) -> None:
    with pytest.raises(UserError, match=r"no label service of .* start one with `rltrainer label "):
        invite(run, "Ada")

    async def come_and_go() -> None:
        async with service(run):
            pass

    asyncio.run(come_and_go())
    with pytest.raises(UserError, match="no label service"):
        invite(run, "Ada")
    store = Store.open(run)
    assert [link.labeler for link in store.links().values()] == ["you"]
    store.close()


def test_ending_what_is_not_there_names_those_who_have_links(run: Path) -> None:
    with pytest.raises(UserError, match="nobody has one"):
        revoke(run, "Ada")
    store = Store.open(run)
    for name in ("Bob", "Ada", "Bob"):
        store.add_link(name + str(len(store.links())), Link(name))
    with pytest.raises(UserError, match=r"--name is 'Eve', .*; those who have one: Ada, Bob"):
        revoke(run, "Eve")
    assert revoke(run, "Bob") == 2
    assert list(store.links().values()) == [Link("Ada")]
    store.close()


def test_a_name_is_stored_in_one_way_of_writing_it() -> None:
    assert checked_name("Zoe\u0308 O'Neill-3") == "Zoë O'Neill-3"
    assert checked_name("x" * LONGEST_NAME) == "x" * LONGEST_NAME


@pytest.mark.parametrize(
    "name",
    ["", "x" * (LONGEST_NAME + 1), " Ada", "Ada ", "A  da", "A\nda", "A\x00da", "\u202eadA", "A\u00a0da", "oracle", "you"],
)
def test_a_name_that_cannot_be_told_from_others_is_refused(name: str, run: Path) -> None:
    with pytest.raises(UserError, match="--name"):
        invite(run, name)
