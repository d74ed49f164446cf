"""Who may do what: SECURITY.md's table, row by row, is what the gate and the session decide; none is missing, none too many.

Routes and message types are found in the code, so that a new one fails here until the table says who may use it.
"""

from __future__ import annotations

import ast
import inspect
import json
import re
import textwrap
from collections.abc import Mapping
from pathlib import Path
from typing import get_args

import pytest

from rltrainer.config import Config
from rltrainer.core import Link
from rltrainer.labeling import gate
from rltrainer.labeling import messages as wire
from rltrainer.labeling.effects import Admit, ChangeSettings, Close, Effect, MakeReport, Pause, SaveLabel, Send
from rltrainer.labeling.gate import Gate, hashed, load_files, new_token, own_hosts, web_folder
from rltrainer.labeling.session import Session

ROOT = Path(__file__).parent.parent
HOST = "127.0.0.1:8765"
WHO = ("no link", "a wrong link", "an ended link", "another run's link", "a labeler's link", "an admin's link")
PAGE, SINCE = 1, 0.0
AGAIN, ANYTHING_ELSE = "a second hello", "anything else"

ASKS = {"label": SaveLabel, "settings": ChangeSettings, "pause": Pause, "report": MakeReport}
"""What the session asks of its shell where it takes a message; `here` asks for nothing."""

TYPES = [kind.model_fields["type"].default for kind in (*get_args(wire.FromPage), *get_args(wire.FromService))]
FROM_PAGES = [kind.model_fields["type"].default for kind in get_args(wire.FromPage)]


# ------------------------------------------------------------------ what is decided


def run(links: Mapping[str, Link]) -> Session:
    session = Session("run", "Pendulum-v1", Config())
    session.let_in(hash_all(links), SINCE)
    return session


def hash_all(links: Mapping[str, Link]) -> dict[str, Link]:
    return {hashed(token): link for token, link in links.items()}


def hello(token: str | None) -> str:
    fields = {"type": "hello", "protocol": wire.PROTOCOL, "token": token}
    return json.dumps({name: value for name, value in fields.items() if value is not None})


class Guest:
    """Somebody with, or without, a link, at a run of one labeler and one admin."""

    def __init__(self, who: str) -> None:
        tokens = {name: new_token() for name in WHO[1:]}
        ours = {tokens["a labeler's link"]: Link("bob"), tokens["an admin's link"]: Link("ada", admin=True)}
        self.session = run({**ours, tokens["an ended link"]: Link("carol")})
        self.links = hash_all(ours)
        self.session.let_in(self.links, SINCE)
        self.token = tokens.get(who)
        theirs = {tokens["another run's link"]: Link("dora", admin=True)}
        assert arrives(run(theirs), hello(tokens["another run's link"]), hash_all(theirs))[1] == "let in", "good there"

    def first(self) -> str:
        """What becomes of it when the first message is a hello with what the guest has."""
        return arrives(self.session, hello(self.token), self.links)[1]

    def after_hello(self, text: str) -> tuple[list[Effect], str]:
        """What becomes of a message that follows the hello; without a link it is the first."""
        if self.token is None:
            return arrives(self.session, text, self.links)
        return says(self.session, text, heard=self.first() == "let in")


def arrives(session: Session, text: str, links: Mapping[str, Link]) -> tuple[list[Effect], str]:
    """The effects of a page's first message and of the look at links after it, and the decision in the table's words."""
    session.connected(PAGE, SINCE)
    effects = session.received(PAGE, text, SINCE) + session.let_in(links, SINCE)
    return effects, closed(effects) or ("let in" if Admit(PAGE) in effects else "left waiting")


def says(session: Session, text: str, *, heard: bool) -> tuple[list[Effect], str]:
    """The effects of a later message, and the decision. heard: whether the page is let in"""
    effects = session.received(PAGE, text, SINCE)
    if not heard:
        assert effects == []
        return effects, "not heard"
    refused = any(isinstance(effect, Send) and isinstance(effect.message, wire.Refused) for effect in effects)
    return effects, closed(effects) or ("refused" if refused else "taken")


def closed(effects: list[Effect]) -> str | None:
    codes = [effect.code for effect in effects if isinstance(effect, Close)]
    assert not (codes and Admit(PAGE) in effects)
    return f"closed, {codes[0]}" if codes else None


def decided_on(kind: str, who: str) -> str:
    """What becomes of a message of a type."""
    guest = Guest(who)
    if kind == "hello":
        return guest.first()
    effects, decision = guest.after_hello(example(kind))
    asked = {type(effect) for effect in effects} & set(ASKS.values())
    assert asked == ({ASKS[kind]} if decision == "taken" and kind in ASKS else set())
    return decision


def example(kind: str) -> str:
    """A message as `tests/wire` has it, a label without trims; of what is no type at all, one that looks like it."""
    file = ROOT / "tests" / "wire" / f"{'label_much' if kind == 'label' else kind}.json"
    return file.read_text() if file.exists() else json.dumps({"type": kind})


# ------------------------------------------------------------------ what can be asked for

FILE, REPORT, SOCKET, OTHER = "GET of a file of the page", "GET /report/…", "GET /ws", "GET of anything else"
ROUTES = (FILE, REPORT, SOCKET, OTHER)

LOOKS_AT_PATHS = {
    "path == SOCKET_PATH",
    "path.startswith(REPORT_PATH)",
    "self._reports.get(hashed(path))",
    "hashed(path)",
    "self._files.get(path)",
}
"""All that the gate does with a path: each is a row of the table."""


def given_for(route: str, who: str) -> str:
    """What the gate says to a page's own request. Links are no part of HTTP; a report's address is told to admins."""
    files = load_files(web_folder())
    gate_ = Gate(own_hosts("127.0.0.1", 8765), files)
    report = gate_.show_report(b"<!doctype html>")
    guessed = [f"/report/{new_token()}", "/report/", report[:-1], f"{report}/"]
    paths = {
        FILE: list(files),
        REPORT: [report] if who == "an admin's link" else guessed,
        SOCKET: ["/ws"],
        OTHER: ["/labels", "/store.db", "/report", "/ws/", "/index.html/", "/?token=x", ""],
    }[route]
    replies = [gate_.reply("GET", path, [HOST], [f"http://{HOST}"] if route == SOCKET else []) for path in paths]
    (said,) = {"may say hello" if reply is None else {200: "given", 404: "404"}[reply.status.value] for reply in replies}
    return said


# ------------------------------------------------------------------ the table


def table() -> dict[str, tuple[str, ...]]:
    """SECURITY.md's rows: what is asked, and the decision for each of WHO."""
    text = (ROOT / "SECURITY.md").read_text(encoding="utf-8")
    section = text.partition("## Who may do what")[2].partition("\n## ")[0]
    cells = [[cell.strip() for cell in line.strip("|").split("|")] for line in section.splitlines() if line.startswith("|")]
    assert tuple(cells[0][1:]) == WHO
    return {name: tuple(row[1:]) for row in cells[2:] for name in re.findall(r"`([^`]+)`", row[0])}


@pytest.fixture(scope="module")
def rows() -> dict[str, tuple[str, ...]]:
    return table()


def test_the_table_has_a_row_for_all_that_can_be_asked_and_no_other(rows: dict[str, tuple[str, ...]]) -> None:
    assert set(rows) == {*ROUTES, *TYPES, AGAIN, ANYTHING_ELSE}


@pytest.mark.parametrize("who", WHO)
@pytest.mark.parametrize("kind", [*TYPES, ANYTHING_ELSE])
def test_a_message_is_decided_on_as_the_table_says(kind: str, who: str, rows: dict[str, tuple[str, ...]]) -> None:
    assert decided_on(kind, who) == rows[kind][WHO.index(who)]


@pytest.mark.parametrize("who", WHO)
def test_a_second_hello_is_decided_on_as_the_table_says(who: str, rows: dict[str, tuple[str, ...]]) -> None:
    guest = Guest(who)
    assert guest.after_hello(hello(guest.token))[1] == rows[AGAIN][WHO.index(who)]


@pytest.mark.parametrize("who", WHO)
@pytest.mark.parametrize("route", ROUTES)
def test_a_request_is_decided_on_as_the_table_says(route: str, who: str, rows: dict[str, tuple[str, ...]]) -> None:
    assert given_for(route, who) == rows[route][WHO.index(who)]


def test_the_gate_knows_no_route_beside_those_of_the_table() -> None:
    tree = ast.parse(textwrap.dedent(inspect.getsource(Gate.reply)))
    looks = [node for node in ast.walk(tree) if isinstance(node, ast.Compare | ast.Call)]
    assert {ast.unparse(node) for node in looks if "path" in names(node)} == LOOKS_AT_PATHS
    assert {value for name, value in vars(gate).items() if name.endswith("_PATH")} == {"/ws", "/report/"}


def names(node: ast.AST) -> set[str]:
    return {part.id for part in ast.walk(node) if isinstance(part, ast.Name)}


def test_a_page_whose_link_ends_while_it_is_there_is_closed_and_heard_no_more() -> None:
    token = new_token()
    links = {token: Link("bob")}
    session = run(links)
    assert arrives(session, hello(token), hash_all(links))[1] == "let in"
    assert [effect.code for effect in session.let_in({}, SINCE) if isinstance(effect, Close)] == [4403]
    assert {says(session, example(kind), heard=False)[1] for kind in TYPES} == {"not heard"}


def test_every_type_that_pages_may_send_has_an_example() -> None:
    assert [kind for kind in FROM_PAGES if not (ROOT / "tests" / "wire" / f"{kind}.json").exists()] == []
