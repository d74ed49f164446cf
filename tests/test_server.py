"""The label service as it runs: a real second process, real sockets, a real store, real clips of a real env."""

from __future__ import annotations

import asyncio
import contextlib
import http.client
import io
import itertools
import os
import re
import signal
import socket
import subprocess
import sys
import tempfile
import time
import uuid
from collections import Counter
from collections.abc import AsyncIterator, Callable, Iterator
from pathlib import Path
from typing import Any

import av
import numpy as np
import pytest
from hostile import friendly, hostile
from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import ConnectionClosed, InvalidStatus

from rltrainer.config import Config
from rltrainer.core import Forecast, Label, Link, Segment, UserError, Verdict
from rltrainer.envs import make_env
from rltrainer.labeling import messages as wire
from rltrainer.labeling.dealing import AHEAD
from rltrainer.labeling.limits import MOST_STRANGERS
from rltrainer.labeling.server import run_service, serve
from rltrainer.labeling.session import NOT_ADMITTED
from rltrainer.store import Store

SERVE = """
import sys
from pathlib import Path
from rltrainer.labeling.server import serve
serve(Path(sys.argv[1]), port=int(sys.argv[2]), announce=lambda url: print(url, flush=True))
"""
STEPS = 10
PATIENCE = 60.0


def record(seed: int) -> Segment:
    """A segment of a real episode, some steps after its reset."""
    env = make_env("Pendulum-v1")
    env.action_space.seed(seed)
    observation, info = env.reset(seed=seed)
    observations, actions, rewards = [observation], [], []
    for _ in range(3 + STEPS):
        actions.append(env.action_space.sample())
        observation, reward, *_ = env.step(actions[-1])
        observations.append(observation)
        rewards.append(float(reward))
    env.close()
    return Segment(
        observations=np.array(observations[3:], np.float32),
        actions=np.array(actions[3:]),
        env_rewards=np.array(rewards[3:]),
        episode_seed=info["episode_seed"],
        lead_in=np.array(actions[:3]),
    )


def new_run(folder: Path, pairs: int, **settings: Any) -> Store:
    """The store of a run with so many pairs to judge."""
    config = Config.of({"env": "Pendulum-v1", "clips": {"size": 64}, "labels": 100, **settings})
    store = Store.create(folder, config=config.model_dump(mode="json"), env={"id": "Pendulum-v1", "options": {}})
    segments = [record(seed) for seed in range(2 * pairs)]
    store.ask(zip(segments[::2], segments[1::2], strict=True), 0, "uniform")
    return store


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as listening:
        return int(listening.getsockname()[1])


@contextlib.contextmanager
def service(run: Path, port: int = 0) -> Iterator[tuple[subprocess.Popen[str], str]]:
    """A service in a process of its own, and its link.

    Its log lies outside of the run, whose disk may be full: what Python cannot flush at its end makes the status 120.
    """
    command = [sys.executable, "-c", SERVE, str(run), str(port)]
    with tempfile.TemporaryFile("w") as log:
        process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=log, text=True)
    assert process.stdout is not None
    try:
        yield process, process.stdout.readline().strip()
    finally:
        process.kill()
        process.wait()
        process.stdout.close()


class Page:
    """What a browser's page does, as far as the service sees."""

    def __init__(self, socket_: ClientConnection) -> None:
        self.socket = socket_
        self.welcome: wire.Welcome
        self.pairs: list[tuple[wire.PairHeader, tuple[bytes, bytes]]] = []

    async def next(self) -> Any:
        """The next message: a pair (header, videos), or a text message as a dictionary."""
        async with asyncio.timeout(PATIENCE):
            message = await self.socket.recv()
        return wire.unpack_pair(message) if isinstance(message, bytes) else wire_of(message)

    async def pair(self) -> tuple[wire.PairHeader, tuple[bytes, bytes]]:
        while not self.pairs:
            message = await self.next()
            self.pairs += [message] if isinstance(message, tuple) else []
        return self.pairs.pop(0)

    async def until(self, kind: str, **fields: Any) -> dict[str, Any]:
        """The next text message of that kind with these fields."""
        while True:
            message = await self.next()
            if isinstance(message, tuple):
                self.pairs.append(message)
            elif message["type"] == kind and fields.items() <= message.items():
                return message

    async def send(self, **message: Any) -> None:
        await self.socket.send(json_of(message))

    async def label(self, header: wire.PairHeader, verdict: str = "prefer", label_id: str = "", **more: Any) -> str:
        label_id = label_id or str(uuid.uuid4())
        preferred = header.clips[0].segment_id if verdict == "prefer" else None
        message = {"query_id": header.query_id, "verdict": verdict, "preferred": preferred, **more}
        await self.send(type="label", label_id=label_id, **message)
        return label_id


def wire_of(text: str) -> dict[str, Any]:
    message: dict[str, Any] = wire.json.loads(text)
    return message


def json_of(message: dict[str, Any]) -> str:
    return wire.json.dumps(message)


@contextlib.asynccontextmanager
async def page(url: str, **options: Any) -> AsyncIterator[Page]:
    """A page that was let in by that link."""
    origin, _, token = url.partition("/#token=")
    where = origin.replace("http://", "ws://") + "/ws"
    async with connect(where, origin=origin, compression=None, max_size=2**22, **options) as socket_:  # type: ignore[arg-type]
        opened = Page(socket_)
        await opened.send(type="hello", protocol=wire.PROTOCOL, token=token)
        opened.welcome = wire.Welcome.model_validate_json(json_of(await opened.until("welcome")))
        yield opened


@pytest.fixture(scope="module")
def process_and_house(
    tmp_path_factory: pytest.TempPathFactory,
) -> Iterator[tuple[subprocess.Popen[str], tuple[str, Store]]]:
    """A service with pairs enough for every test here; the first shows something else than what was recorded."""
    run = tmp_path_factory.mktemp("house") / "run"
    store = new_run(run, 0)
    segments = [record(seed) for seed in range(100)]
    false = Segment(**{**vars(segments[0]), "observations": segments[0].observations + 0.25})
    store.ask([(false, segments[1])], 0, "uniform")
    store.ask(zip(segments[2::2], segments[3::2], strict=True), 0, "uniform")
    with service(run) as (process, url):
        yield process, (url, store)
    store.close()


@pytest.fixture
def house(process_and_house: tuple[subprocess.Popen[str], tuple[str, Store]]) -> tuple[str, Store]:
    """Link and store of that service."""
    return process_and_house[1]


def labels_of(store: Store, query_id: str) -> list[Label]:
    return [label for label in store.labels() if label.query_id == query_id]


PROC = Path("/proc/self/task")
needs_proc = pytest.mark.skipif(not PROC.exists(), reason="finds child processes in /proc")


def children(pid: int) -> list[int]:
    """Processes that a process has started; none where there is no /proc to look in."""
    if not PROC.exists():
        return []
    return [int(child) for child in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]


def alive(pid: int) -> bool:
    with contextlib.suppress(FileNotFoundError, ProcessLookupError):
        return "zombie" not in Path(f"/proc/{pid}/status").read_text()
    return False


def wait_for(fact: Callable[[], bool]) -> None:
    deadline = time.monotonic() + PATIENCE
    while not fact():
        assert time.monotonic() < deadline
        time.sleep(0.02)


# ------------------------------------------------------------------ labels


def test_a_label_is_in_the_store_when_it_is_acked(house: tuple[str, Store]) -> None:
    url, store = house

    async def judge() -> None:
        async with page(url) as ada:
            header, _ = await ada.pair()
            label_id = await ada.label(header)
            await ada.until("ack", label_id=label_id)
            (label,) = labels_of(store, header.query_id)
            assert (label.id, label.labeler, label.source) == (label_id, "you", "browser")
            assert label.answer.preferred == header.clips[0].segment_id
            assert header.query_id not in [query.id for query in store.waiting()]

    asyncio.run(judge())


def test_a_label_sent_again_is_acked_again_and_stored_once(house: tuple[str, Store]) -> None:
    url, store = house

    async def judge() -> None:
        async with page(url) as ada:
            header, _ = await ada.pair()
            label_id = await ada.label(header)
            await ada.label(header, label_id=label_id)
            await ada.until("ack", label_id=label_id)
            await ada.until("ack", label_id=label_id)
        async with page(url) as again:
            await again.label(header, label_id=label_id)
            await again.until("ack", label_id=label_id)
            for _ in range(200):
                await again.label(header, label_id=label_id)
            for _ in range(200):
                await again.until("ack", label_id=label_id)
        assert len(labels_of(store, header.query_id)) == 1

    asyncio.run(judge())


def test_an_undone_answer_is_on_record_and_its_pair_waits_again(house: tuple[str, Store]) -> None:
    url, store = house

    async def judge() -> None:
        async with page(url) as ada:
            header, _ = await ada.pair()
            await ada.label(header)
            await ada.until("ack", label_id=await ada.label(header, "undo"))
            verdicts = [label.answer.verdict for label in labels_of(store, header.query_id)]
            assert verdicts == [Verdict.PREFER, Verdict.UNDO]
            assert header.query_id in [query.id for query in store.waiting()]
            await asyncio.to_thread(wait_for, lambda: store.leased(time.time()).get(header.query_id) == "you")

    asyncio.run(judge())


def test_a_trim_reaches_the_store_in_steps(house: tuple[str, Store]) -> None:
    url, store = house

    async def judge() -> None:
        async with page(url) as ada:
            header, _ = await ada.pair()
            segment = header.clips[1].segment_id
            await ada.until("ack", label_id=await ada.label(header, "equal", trims={segment: [2, 7]}))
            assert labels_of(store, header.query_id)[-1].answer.trims == {segment: (2, 7)}

    asyncio.run(judge())


def test_a_tie_is_refused_where_ties_are_off_and_settings_work_at_once(house: tuple[str, Store]) -> None:
    url, store = house

    async def judge() -> None:
        async with page(url) as ada, page(url) as bob:
            header, _ = await ada.pair()
            await bob.send(type="settings", changes={"labeling.allow_ties": False})
            assert not (await ada.until("rules"))["allow_ties"]
            label_id = await ada.label(header, "equal")
            refused = await ada.until("refused", label_id=label_id)
            await bob.send(type="settings", changes={"labeling.allow_ties": True})
            assert (await ada.until("rules"))["allow_ties"]
            assert refused["reason"] == "ties are off in this run (labeling.allow_ties)"
            assert label_id not in [label.id for label in store.labels()]
            assert store.settings() == {"labeling.allow_ties": True}
            await bob.send(type="settings", changes={"clips.speed": 0})
            assert "clips.speed is 0" in (await bob.until("refused"))["reason"]

    asyncio.run(judge())


def test_a_pause_is_on_record_before_pages_hear_of_it(house: tuple[str, Store]) -> None:
    url, store = house

    async def rest() -> None:
        async with page(url) as ada, page(url) as bob:
            for paused in (True, False):
                await bob.send(type="pause", paused=paused)
                await ada.until("status", paused=paused)
                assert store.paused() is paused

    asyncio.run(rest())


def test_a_label_of_another_run_is_refused(house: tuple[str, Store]) -> None:
    url, _ = house

    async def judge() -> None:
        async with page(url) as ada:
            await ada.send(type="label", label_id="foreign", query_id="nowhere", verdict="equal")
            assert "no query 'nowhere'" in (await ada.until("refused", label_id="foreign"))["reason"]

    asyncio.run(judge())


# ------------------------------------------------------------------ pairs


def test_two_pages_never_get_one_pair(house: tuple[str, Store]) -> None:
    url, _ = house

    async def judge() -> None:
        async with page(url) as ada, page(url) as bob:
            seen: list[str] = []
            for _ in range(3):
                for one in (ada, bob):
                    header, _videos = await one.pair()
                    seen.append(header.query_id)
                    await one.label(header, "skip")
            assert len(set(seen)) == len(seen)

    asyncio.run(judge())


def test_the_videos_of_a_pair_are_what_its_header_says(house: tuple[str, Store]) -> None:
    url, store = house

    async def judge() -> None:
        async with page(url) as ada:
            header, videos = await ada.pair()
        query = store.query(header.query_id)
        assert query is not None
        assert [clip.segment_id for clip in header.clips] == [query.first, query.second]
        for clip, video in zip(header.clips, videos, strict=True):
            assert len(video) == clip.bytes
            with av.open(io.BytesIO(video)) as container:
                pictures = [frame.to_ndarray(format="rgb24") for frame in container.decode(video=0)]
            assert len(pictures) == clip.frames == STEPS
            assert pictures[0].shape == (clip.height, clip.width, 3) == (64, 64, 3)
            assert clip.frame_rate == 30.0

    asyncio.run(judge())


def test_a_clip_that_is_not_what_was_recorded_is_never_shown(house: tuple[str, Store]) -> None:
    url, store = house
    false = store.query(next(query.id for query in store.waiting()))
    assert false is not None
    assert not np.allclose(store.segment(false.first).observations[:, :2] ** 2 @ np.ones(2), 1.0), "cos² + sin² is not 1"

    async def judge() -> None:
        async with page(url) as ada:
            shown = [(await ada.pair())[0].query_id for _ in range(3)]
            assert false.id not in shown

    asyncio.run(judge())


def test_a_page_that_does_not_read_holds_nobody_up_and_is_dropped(house: tuple[str, Store]) -> None:
    url, _ = house

    async def talk(deaf: Page) -> None:
        while True:
            await deaf.send(type="settings", changes={"x" * 15_000: 1})  # the refusal names it, and is never read

    async def judge() -> None:
        async with page(url, max_queue=1, ping_interval=None) as deaf, page(url) as ada:
            talking = asyncio.create_task(talk(deaf))
            for _ in range(3):
                header, _videos = await ada.pair()
                began = time.monotonic()
                await ada.until("ack", label_id=await ada.label(header))
                assert time.monotonic() - began < 3.0
            with pytest.raises(ConnectionClosed):
                async with asyncio.timeout(PATIENCE):
                    await talking

    asyncio.run(judge())


@pytest.mark.long
def test_a_page_that_is_gone_without_a_word_is_dropped_within_ten_seconds(house: tuple[str, Store]) -> None:
    """Nothing is on its way to it, so that nothing but its silence tells."""
    url, store = house

    async def watch() -> None:
        async with page(url, ping_interval=None, close_timeout=0.1) as gone:
            held = (await gone.pair())[0].query_id
            gone.socket.transport.pause_reading()
            began = time.monotonic()
            await asyncio.to_thread(wait_for, lambda: held not in store.leased(time.time()))
            assert 4.0 < time.monotonic() - began < 10.0

    asyncio.run(watch())


def test_strangers_who_hold_connections_lose_them_and_lock_nobody_out(house: tuple[str, Store]) -> None:
    url, _ = house
    where = ("127.0.0.1", int(url.partition("/#")[0].rpartition(":")[2]))

    async def judge() -> None:
        async with page(url) as ada:
            with contextlib.ExitStack() as held:
                silent = [held.enter_context(socket.create_connection(where)) for _ in range(MOST_STRANGERS + 20)]
                async with page(url) as bob:
                    assert bob.welcome.labeler == "you"
                silent[0].settimeout(PATIENCE)
                with contextlib.suppress(ConnectionResetError):
                    assert silent[0].recv(1) == b""
                silent[-1].setblocking(False)
                with pytest.raises(BlockingIOError):
                    silent[-1].recv(1)
            header, _ = await ada.pair()
            await ada.until("ack", label_id=await ada.label(header))

    asyncio.run(judge())


def test_a_page_hears_how_the_run_stands(house: tuple[str, Store]) -> None:
    url, store = house

    async def judge() -> None:
        async with page(url) as ada:
            store.log("progress", phase="training", message="The agent is learning.", step=4096, reward_version=2)
            status = await ada.until("status", step=4096)
            assert (status["phase"], status["reward_version"], status["wanted"]) == ("training", 2, 100)

    asyncio.run(judge())


def test_a_page_hears_what_the_reward_predicts_along_the_clips_that_it_has(house: tuple[str, Store]) -> None:
    url, store = house

    async def judge() -> None:
        async with page(url) as ada:
            header, _videos = await ada.pair()
            rewards = {clip.segment_id: [float(step) for step in range(STEPS)] for clip in header.clips}
            store.foretell(Forecast(3, rewards))
            told = await ada.until("predicted", query_id=header.query_id)
            assert (told["version"], told["rewards"]) == (3, rewards)

    asyncio.run(judge())


@needs_proc
def test_a_worker_that_dies_is_replaced(process_and_house: tuple[subprocess.Popen[str], tuple[str, Store]]) -> None:
    process, (url, _) = process_and_house

    async def judge() -> None:
        async with page(url) as ada:
            for number in range(AHEAD + 3):
                header, _videos = await ada.pair()
                if number == 0:
                    for pid in children(process.pid):
                        os.kill(pid, signal.SIGKILL)
                await ada.label(header)

    asyncio.run(judge())


# ------------------------------------------------------------------ who gets in


def test_the_page_and_nothing_else_is_served(house: tuple[str, Store]) -> None:
    where = house[0].removeprefix("http://").partition("/")[0]

    def ask(method: str, path: str, body: bytes | None = None, **headers: str) -> tuple[int, bytes]:
        connection = http.client.HTTPConnection(where, timeout=PATIENCE)
        try:
            connection.request(method, path, body=body, headers=headers)
            reply = connection.getresponse()
            return reply.status, reply.read()
        finally:
            connection.close()

    index = (Path(__file__).parent.parent / "web" / "index.html").read_bytes()
    assert ask("GET", "/") == (200, index)
    assert ask("GET", "/main.js")[0] == 200
    assert ask("GET", "/../pyproject.toml")[0] == 404
    assert ask("GET", "/ws")[0] == 403
    assert ask("GET", "/", Host="evil.example")[0] == 403
    assert ask("DELETE", "/")[0] == 405
    with pytest.raises(http.client.RemoteDisconnected):
        ask("POST", "/", body=b"x=1")


def status_of(host: str, request: bytes) -> str:
    """The first line that is said to these bytes; empty where the connection ends without a word."""
    name, _, port = host.rpartition(":")
    said = b""
    with socket.create_connection((name, int(port)), timeout=PATIENCE) as connection, contextlib.suppress(ConnectionError):
        connection.sendall(request)
        while b"\r\n" not in said and (part := connection.recv(2**16)):
            said += part
    return said.partition(b"\r\n")[0].decode()


def test_whatever_is_asked_with_another_origin_host_path_or_method_is_refused(house: tuple[str, Store]) -> None:
    host = house[0].removeprefix("http://").partition("/")[0]
    requests = hostile(host)
    assert len({one.request for one in requests}) == len({(one.kind, one.name) for one in requests}) == len(requests)
    said = {one: status_of(host, one.request) for one in requests}
    assert [one for one in requests if not re.fullmatch(r"(HTTP/1\.1 4\d\d [ -~]+)?", said[one])] == []
    assert [one.name for one in requests if one.kind in ("host", "path") and not said[one]] == [], (
        "what is well put is answered"
    )
    count = Counter(one.kind for one in requests)
    assert {"origin", "host", "path", "method"} < count.keys()
    assert sum(count.values()) >= 400
    assert min(count.values()) >= 39
    good = {name: status_of(host, request) for name, request in friendly(host).items()}
    assert good == {"file": "HTTP/1.1 200 OK", "socket": "HTTP/1.1 101 Switching Protocols"}


def test_an_admins_page_gets_a_report_that_is_gone_with_the_page(house: tuple[str, Store]) -> None:
    url, _ = house

    def status(path: str) -> tuple[int, bytes]:
        connection = http.client.HTTPConnection(url.removeprefix("http://").partition("/")[0], timeout=PATIENCE)
        try:
            connection.request("GET", path)
            reply = connection.getresponse()
            return reply.status, reply.read()
        finally:
            connection.close()

    async def look() -> str:
        async with page(url) as owner:
            await owner.send(type="report")
            path = str((await owner.until("report_ready"))["path"])
            found, content = await asyncio.to_thread(status, path)
            assert found == 200
            assert b"<title>run" in content
            return path

    path = asyncio.run(look())
    wait_for(lambda: status(path)[0] == 404)


@pytest.mark.parametrize("origin", [None, "http://evil.example", "null"])
def test_a_socket_of_another_site_is_refused(house: tuple[str, Store], origin: Any) -> None:
    async def knock() -> None:
        where = house[0].partition("/#")[0].replace("http", "ws") + "/ws"
        with pytest.raises(InvalidStatus) as refusal:
            async with connect(where, origin=origin):
                pass
        assert refusal.value.response.status_code == 403

    asyncio.run(knock())


@pytest.mark.parametrize(
    ("message", "code"),
    [
        (json_of({"type": "hello", "protocol": wire.PROTOCOL, "token": "guessed"}), NOT_ADMITTED),
        (json_of({"type": "label", "label_id": "l", "query_id": "q", "verdict": "equal"}), 1008),
        ("x" * (wire.INBOUND_LIMIT + 1), 1009),
        (b"\x00", 1003),
    ],
)
def test_who_does_not_say_hello_as_agreed_is_closed(house: tuple[str, Store], message: str | bytes, code: int) -> None:
    async def knock() -> None:
        origin: Any = house[0].partition("/#")[0]
        async with connect(origin.replace("http", "ws") + "/ws", origin=origin) as socket_:
            await socket_.send(message)
            async with asyncio.timeout(PATIENCE):
                await socket_.wait_closed()
            assert socket_.close_code == code

    asyncio.run(knock())


# ------------------------------------------------------------------ beginnings and ends


def test_every_acked_label_is_there_once_though_the_service_is_killed(tmp_path: Path) -> None:
    """SIGKILL between labels, the same port again, what was not acked is sent again."""
    store = new_run(tmp_path / "run", 6)
    port = free_port()
    outbox: dict[str, dict[str, Any]] = {}
    acked: set[str] = set()

    async def judge(url: str, labels: int) -> None:
        async with page(url) as ada:
            for message in list(outbox.values()):
                await ada.send(**message)
            while outbox:
                acked.add((await ada.until("ack"))["label_id"])
                for label_id in acked & outbox.keys():
                    del outbox[label_id]
            for number in itertools.count(1):
                header, _ = await ada.pair()
                preferred = header.clips[1].segment_id
                about = {
                    "query_id": header.query_id,
                    "verdict": "prefer",
                    "preferred": preferred,
                    "trims": {preferred: [1, 4]},
                }
                message = {"type": "label", "label_id": str(uuid.uuid4()), **about}
                outbox[message["label_id"]] = message
                await ada.send(**message)
                if number == labels:
                    return
                await ada.until("ack", label_id=message["label_id"])
                acked.add(outbox.pop(message["label_id"])["label_id"])

    with service(tmp_path / "run", port) as (process, link):
        asyncio.run(judge(link, 3))
        workers = children(process.pid)
        process.send_signal(signal.SIGKILL)
    wait_for(lambda: not any(alive(pid) for pid in workers))
    with service(tmp_path / "run", port):
        asyncio.run(judge(link, 2))  # by the old link: a page stays let in
    stored = [label.id for label in store.labels()]
    assert len(acked) >= 4
    assert len(stored) in (4, 5)
    assert sorted(set(stored)) == sorted(stored)
    assert acked <= set(stored)
    assert set(stored) <= acked | outbox.keys()
    assert all(list(label.answer.trims.values()) == [(1, 4)] for label in store.labels())
    store.close()


@needs_proc
def test_a_page_hears_how_the_run_ended_from_a_service_that_ends_with_it(tmp_path: Path) -> None:
    store = new_run(tmp_path / "run", 1)
    with service(tmp_path / "run") as (process, url):

        async def judge() -> None:
            async with page(url) as ada:
                await ada.until("status", phase="starting")
                store.log("progress", phase="finished", message="See what was learned", step=9)
                process.send_signal(signal.SIGTERM)
                await ada.until("status", phase="finished", step=9)

        asyncio.run(judge())
    store.close()


@needs_proc
def test_a_service_that_is_told_to_end_says_goodbye_and_leaves_nothing_behind(tmp_path: Path) -> None:
    store = new_run(tmp_path / "run", 4)
    with service(tmp_path / "run") as (process, url):

        async def judge() -> list[int]:
            async with page(url) as ada:
                header, _ = await ada.pair()
                workers = children(process.pid)
                label_id = await ada.label(header)
                await ada.until("ack", label_id=label_id)
                process.send_signal(signal.SIGTERM)
                with pytest.raises(ConnectionClosed):
                    await ada.until("nothing more")
                assert ada.socket.close_code == 1001
                return workers

        workers = asyncio.run(judge())
        assert process.wait(PATIENCE) == 0
        wait_for(lambda: not any(alive(pid) for pid in workers))
        waiting = {query.id for query in store.waiting()}
        assert not waiting & store.leased(time.time()).keys(), "nobody looks at pairs any more"
    store.close()


def test_a_port_in_use_is_said_before_anything_is_announced(tmp_path: Path) -> None:
    store = new_run(tmp_path / "run", 0)
    announced: list[str] = []
    with socket.create_server(("127.0.0.1", 0)) as listening:
        port = listening.getsockname()[1]
        with pytest.raises(UserError, match=rf"labeling\.port is {port}, .*pass --port 0"):
            serve(tmp_path / "run", port=port, announce=announced.append)
    assert announced == []
    assert store.links() == {}
    store.close()


def test_a_host_that_is_not_ours_is_said_in_a_sentence(tmp_path: Path) -> None:
    new_run(tmp_path / "run", 0).close()
    with pytest.raises(UserError, match=r"labeling\.host is '192\.0\.2\.1', which is no address of this machine"):
        serve(tmp_path / "run", port=0, host="192.0.2.1", announce=print)


def test_a_folder_without_a_run_is_said_in_a_sentence(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="is not a run folder"):
        serve(tmp_path, port=0, announce=print)


def test_a_service_ends_when_its_reason_is_gone(tmp_path: Path) -> None:
    store = new_run(tmp_path / "run", 0)
    announced: list[str] = []
    asyncio.run(run_service(tmp_path / "run", port=0, announce=announced.append, until=lambda: bool(announced)))
    assert len(announced) == 1
    assert list(store.links().values()) == [Link("you", admin=True)]
    assert announced[0].partition("#token=")[2] not in str(store.links()), "only the hash is kept"
    store.close()
