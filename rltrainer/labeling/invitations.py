"""Personal links: who is let in beside whoever started the run, as what, and until when."""

from __future__ import annotations

import socket
import unicodedata
from pathlib import Path

from rltrainer.core import Link, UserError
from rltrainer.labeling.gate import EVERY_ADDRESS, LOOPBACK, hashed, new_token, page_url
from rltrainer.store import Store

LONGEST_NAME = 40
TAKEN = ("oracle", "bot", "you")
"""Names under which answers are stored that no guest gave: "you" is who started the run."""
CONNECT_SECONDS = 2.0


def invite(run: Path, name: str, *, admin: bool = False) -> str:
    """A link that lets its holder label under that name. It is told this once: the store has a hash.

    Raises UserError where the name is none, or no service of the run is there to be linked to.
    """
    name = checked_name(name)
    store = Store.open(run)
    try:
        opened = store.newest_event("service")
        if opened is None or not _listens(opened["host"], opened["port"]):
            raise UserError(
                f"no label service of {str(run)!r} is running, so a link would lead nowhere; "
                f"start one with `rltrainer label {run}` (`rltrainer train` runs one, too), then invite again"
            )
        token = new_token()
        store.add_link(hashed(token), Link(name, admin=admin))
        return page_url(opened["host"], opened["port"], token)
    finally:
        store.close()


def revoke(run: Path, name: str) -> int:
    """End every link of that name; a service that runs closes its pages within seconds. Gives how many.

    Raises UserError where there is none.
    """
    store = Store.open(run)
    try:
        ended = store.end_links(unicodedata.normalize("NFC", name))
        if not ended:
            named = sorted({link.labeler for link in store.links().values()})
            others = f"those who have one: {', '.join(named)}" if named else "nobody has one"
            raise UserError(f"--name is {name!r}, and nobody of that name has a link to {str(run)!r}; {others}")
        return ended
    finally:
        store.close()


def checked_name(name: str) -> str:
    """The name as it is stored: its characters composed (NFC). Raises UserError where it cannot be told from others by eye."""
    composed = unicodedata.normalize("NFC", name)
    if not 1 <= len(composed) <= LONGEST_NAME:
        raise UserError(f"--name has {len(composed)} characters; pass 1 to {LONGEST_NAME}")
    if not composed.isprintable() or composed != " ".join(composed.split()):
        raise UserError(f"--name is {name!r}; pass printable characters, with single spaces between words")
    if composed in TAKEN:
        raise UserError(f"--name is {name!r}, under which the answers of another are stored already; pass another name")
    return composed


def _listens(host: str, port: int) -> bool:
    """Whether anybody listens there. Which run it serves, only a token would tell."""
    try:
        socket.create_connection((LOOPBACK[0] if host in EVERY_ADDRESS else host, port), CONNECT_SECONDS).close()
    except OSError:
        return False
    return True
