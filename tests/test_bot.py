"""Facts about the bot: over real sockets it is a labeler like any other, and it keeps the rules of the run."""

from __future__ import annotations

import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from test_server import new_run, service, wait_for

from rltrainer.core import Query, Teacher, UserError, Verdict
from rltrainer.labeling import messages as wire
from rltrainer.labeling.bot import Bot, answer
from rltrainer.store import Store
from rltrainer.teachers import OracleTeacher

WIRE = Path(__file__).parent / "wire"
RULES = wire.Rules.model_validate_json((WIRE / "rules.json").read_text())
TYING = OracleTeacher(equal=1.0)
SKIPPING = OracleTeacher(skip=1.0)


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    store = new_run(tmp_path / "run", 6)
    yield store
    store.close()


def pair(query: Query) -> bytes:
    """The message that brings a pair, with clips of nothing."""
    clips = [
        wire.ClipHeader(segment_id=name, bytes=0, frames=10, frame_rate=30.0, width=64, height=64)
        for name in (query.first, query.second)
    ]
    return wire.pack_pair(wire.PairHeader(query_id=query.id, clips=(clips[0], clips[1])), (b"", b""))


def bot_of(store: Store, teacher: Teacher, **rules: bool) -> Bot:
    bot = Bot(store, teacher, np.random.default_rng(0))
    bot.hear(RULES.model_copy(update={"allow_ties": True, "allow_skipping": True, **rules}).model_dump_json())
    return bot


def better(store: Store, query: Query) -> str:
    return max((store.segment(name) for name in (query.first, query.second)), key=lambda segment: segment.env_return).id


def test_it_answers_a_real_service_like_a_person_and_ctrl_c_ends_it(store: Store) -> None:
    queries = store.waiting()
    with service(store.folder) as (_, url):
        port = url.partition("/#")[0].rpartition(":")[2]
        command = [sys.executable, "-m", "rltrainer", "bot", str(store.folder), "--port", port, "--pace", "0.01"]
        with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
            wait_for(lambda: len(store.labels()) == len(queries) or process.poll() is not None)
            process.send_signal(signal.SIGINT)
            out, err = process.communicate(timeout=30)
    assert (process.returncode, out[1:], err) == (0, " labels saved\n", "")  # the last ack may still be on its way
    labels = {label.query_id: label for label in store.labels()}
    assert {(label.labeler, label.source) for label in labels.values()} == {("bot", "browser")}
    assert {query.id: labels[query.id].answer.preferred for query in queries} == {q.id: better(store, q) for q in queries}


@pytest.mark.long
def test_it_ends_with_the_service(store: Store) -> None:
    with service(store.folder) as (server, url):
        port = url.partition("/#")[0].rpartition(":")[2]
        command = [sys.executable, "-m", "rltrainer", "bot", str(store.folder), "--port", port]
        with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
            wait_for(lambda: len(store.labels()) == 6 or process.poll() is not None)
            server.terminate()
            out, err = process.communicate(timeout=30)
    assert (process.returncode, out[1:], err) == (0, " labels saved\n", "")


def test_it_is_not_let_in_by_the_service_of_another_run(store: Store, tmp_path: Path) -> None:
    new_run(tmp_path / "other", 0).close()
    with service(store.folder) as (_, url):
        port = int(url.partition("/#")[0].rpartition(":")[2])
        with pytest.raises(UserError, match=f"labeling.port is {port}, and .* serves another run"):
            answer(tmp_path / "other", port=port)


def test_it_answers_in_order_and_not_what_was_withdrawn(store: Store) -> None:
    first, second, third, *_ = store.waiting()
    bot = bot_of(store, OracleTeacher())
    for query in (first, second, third):
        bot.hear(pair(query))
    bot.hear(wire.Withdrawn(query_ids=[second.id]).model_dump_json())
    labels = [bot.label(), bot.label()]
    assert [(label.query_id, label.preferred) for label in labels] == [(q.id, better(store, q)) for q in (first, third)]
    assert labels[0].label_id != labels[1].label_id
    assert not bot.has_pairs


@pytest.mark.parametrize(
    ("teacher", "rule", "verdict"), [(TYING, "allow_ties", Verdict.EQUAL), (SKIPPING, "allow_skipping", Verdict.SKIP)]
)
def test_it_names_a_clip_where_the_rules_do_not_allow_its_answer(
    store: Store, teacher: Teacher, rule: str, verdict: Verdict
) -> None:
    """As a person has to; every pair is answered, and what the rules allow is said."""
    queries = store.waiting()
    said: dict[bool, list[wire.LabelMessage]] = {}
    for allowed in (True, False):
        bot = bot_of(store, teacher, **{rule: allowed})
        for query in queries:
            bot.hear(pair(query))
        said[allowed] = [bot.label() for _ in queries]
    assert verdict in {label.verdict for label in said[True]}
    assert {label.verdict for label in said[False]} == {Verdict.PREFER}
    assert all(label.preferred in (query.first, query.second) for label, query in zip(said[False], queries, strict=True))


def test_it_counts_what_is_saved(store: Store) -> None:
    bot = bot_of(store, OracleTeacher())
    bot.hear(wire.Ack(label_id="one", saved=1).model_dump_json())
    bot.hear(wire.Refused(label_id="two", reason="no").model_dump_json())
    assert bot.saved == 1


def test_it_leaves_a_run_alone_that_an_oracle_labels(store: Store) -> None:
    welcome = wire.Welcome.model_validate_json((WIRE / "welcome.json").read_text()).model_copy(update={"mode": "watch"})
    with pytest.raises(UserError, match="labeler is 'oracle'"):
        bot_of(store, OracleTeacher()).hear(welcome.model_dump_json())
