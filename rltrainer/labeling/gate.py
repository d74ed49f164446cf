"""Who may connect, and to what: links and tokens, exact Hosts and Origins, a dictionary of files. No sockets here."""

from __future__ import annotations

import errno
import gzip
import hashlib
import hmac
import importlib.util
import ipaddress
import re
import secrets
import socket
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from http import HTTPStatus
from pathlib import Path
from urllib.parse import urlsplit

import rltrainer
from rltrainer.core import UserError

SOCKET_PATH = "/ws"
PAGE = "index.html"
LOOPBACK = ("127.0.0.1", "localhost", "::1")
OTHER_ADDRESS = (
    "This service has another address: open the link that it printed. To be opened from another computer, it is started with "
    "--host and this machine's own name or address, as it stands in the link."
)
EVERY_ADDRESS = ("0.0.0.0", "::", "")  # noqa: S104 - what people write, not what we choose

CONTENT_TYPES = {
    ".html": "text/html; charset=utf-8",
    ".css": "text/css; charset=utf-8",
    ".js": "text/javascript; charset=utf-8",
    ".mjs": "text/javascript; charset=utf-8",
    ".json": "application/json",
    ".svg": "image/svg+xml",
    ".png": "image/png",
    ".ico": "image/x-icon",
    ".woff2": "font/woff2",
    ".webmanifest": "application/manifest+json",
}

CONTENT_SECURITY_POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; "
    "img-src 'self' blob: data:; media-src blob:; font-src 'self'; worker-src 'self'; manifest-src 'self'; "
    "base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
)

REPORT_PATH = "/report/"
REPORT_POLICY = (
    "default-src 'none'; style-src 'unsafe-inline'; img-src data:; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
)
"""A report brings its own looks, and runs nothing."""

PACKED = ("text/", "application/json", "image/svg", "application/manifest")
"""Kinds of files that get smaller; the others are packed already."""

VARIES = ("Vary", "Accept-Encoding")

ALWAYS = (
    ("X-Content-Type-Options", "nosniff"),
    ("X-Frame-Options", "DENY"),
    ("Referrer-Policy", "no-referrer"),
    ("Cross-Origin-Opener-Policy", "same-origin"),
    ("Cross-Origin-Resource-Policy", "same-origin"),
    ("Cache-Control", "no-store"),
    ("Connection", "close"),
)

# ------------------------------------------------------------------ links


def new_token() -> str:
    """What a labeler's link carries in its fragment: 256 random bits, so that it needs no slow hash."""
    return secrets.token_urlsafe(32)


def hashed(token: str) -> str:
    """What the store keeps of a token: its SHA-256, in hex."""
    return hashlib.sha256(token.encode(errors="surrogatepass")).hexdigest()


def hash_among(token: str, hashes: Iterable[str]) -> str | None:
    """The token's hash if it is one of these, else None. Looks at all of them, whichever fits, each in constant time."""
    digest = hashed(token)
    found = None
    for known in hashes:
        if hmac.compare_digest(known, digest):
            found = known
    return found


# ------------------------------------------------------------------ addresses


def address(host: str, port: int) -> str:
    """`host:port` as it stands in a URL."""
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"


def page_url(host: str, port: int, token: str) -> str:
    """What is printed for the labeler. The fragment stays in the browser: no server log, no referrer has it."""
    shown = LOOPBACK[0] if host in EVERY_ADDRESS else _as_browsers_write(host)
    return f"http://{address(shown, port)}/#token={token}"


def on_this_machine(url: str) -> bool:
    """Whether a printed link leads nowhere from another machine."""
    return urlsplit(url).hostname in LOOPBACK


def own_hosts(host: str, port: int) -> frozenset[str]:
    """Every Host that this service answers to: loopback under its names, and the configured address."""
    names = {*LOOPBACK, *([] if host in EVERY_ADDRESS else [_as_browsers_write(host)])}
    bare = {f"[{name}]" if ":" in name else name for name in names} if port == 80 else set()
    return frozenset({address(name, port) for name in names} | bare)


def _as_browsers_write(host: str) -> str:
    """A name in small letters, an IPv6 address at its shortest: what the Host and Origin of a request have."""
    try:
        return str(ipaddress.ip_address(host))
    except ValueError:
        return host.lower()


def not_bound(error: OSError, host: str, port: int) -> UserError:
    """Why the service cannot listen there, and the way out."""
    if error.errno == errno.EADDRINUSE:
        reason = "where something listens already (another label service?); pass --port 0 for a free one"
    elif error.errno == errno.EACCES:
        reason = "which this user may not open; pass a port above 1023, or --port 0 for a free one"
    else:
        found = error.strerror or str(error)
        return UserError(f"labeling.host is {host!r}, which is no address of this machine ({found}); pass --host 127.0.0.1")
    return UserError(f"labeling.port is {port}, {reason}")


def check_address(host: str, port: int) -> None:
    """Raises UserError where nothing can listen there now; to be asked before anything else is begun."""
    try:
        family, kind, protocol, _, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0]
        with socket.socket(family, kind, protocol) as tried:
            tried.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            tried.bind(address)
    except OSError as error:
        raise not_bound(error, host, port) from None


# ------------------------------------------------------------------ files


@dataclass(frozen=True)
class File:
    """A file of the page, in memory.

    packed: the same content by gzip, where that is smaller
    """

    content: bytes
    type: str
    packed: bytes | None = None


def web_folder() -> Path:
    """Where the page lies: beside the package in a checkout, or installed as `rltrainer_web`. Raises UserError."""
    beside = Path(rltrainer.__file__).parent.parent / "web"
    if (beside / PAGE).is_file():
        return beside
    installed = importlib.util.find_spec("rltrainer_web")
    for place in (installed.submodule_search_locations or []) if installed else []:
        if (Path(place) / PAGE).is_file():
            return Path(place)
    raise UserError(
        f"the labeling page is missing: {str(beside)!r} holds no {PAGE}; install rltrainer again, or run it from a checkout"
    )


def load_files(folder: Path) -> dict[str, File]:
    """Every file of the page by its URL path, `/` included. Hidden files, links and unknown kinds are left out."""
    files = {}
    for path in sorted(folder.rglob("*")):
        parts = path.relative_to(folder).parts
        hidden = any(part.startswith(".") or part == "node_modules" for part in parts)
        if hidden or path.is_symlink() or not path.is_file() or path.suffix not in CONTENT_TYPES:
            continue
        files["/" + "/".join(parts)] = _file(path.read_bytes(), CONTENT_TYPES[path.suffix])
    if f"/{PAGE}" in files:
        files["/"] = files[f"/{PAGE}"]
    return files


def _file(content: bytes, kind: str) -> File:
    packed = gzip.compress(content, mtime=0) if kind.startswith(PACKED) else content
    return File(content, kind, packed if len(packed) < len(content) else None)


def takes_gzip(accepted: Sequence[str]) -> bool:
    """Whether a request's Accept-Encoding headers name gzip (RFC 9110, 12.5.3), or all encodings and do not refuse gzip."""
    weights = {}
    for part in ",".join(accepted).lower().split(","):
        coding, _, rest = part.partition(";")
        weights[coding.strip()] = re.fullmatch(r"\s*q\s*=\s*0(\.0*)?\s*", rest) is None
    return weights.get("gzip", weights.get("*", False))


# ------------------------------------------------------------------ the gate


@dataclass(frozen=True)
class Reply:
    """An HTTP answer, every header included."""

    status: HTTPStatus
    headers: tuple[tuple[str, str], ...]
    content: bytes


class Gate:
    """Decides on one HTTP request: a file, a refusal, or the way on to the WebSocket.

    Everything is compared whole: a Host or an Origin is on the list or it is not, a path is a key or it is not.
    """

    def __init__(self, hosts: Iterable[str], files: Mapping[str, File]) -> None:
        self._hosts = frozenset(hosts)
        self._origins = frozenset(f"http://{host}" for host in self._hosts)
        self._files = dict(files)
        self._reports: dict[str, File] = {}  # by the hash of their path

    def show_report(self, content: bytes) -> str:
        """A path at which a report can be had, until it is hidden: whoever is told the path may see it, so tell nobody else."""
        path = f"{REPORT_PATH}{new_token()}"
        self._reports[hashed(path)] = _file(content, CONTENT_TYPES[".html"])
        return path

    def hide_report(self, path: str) -> None:
        """A report that was shown there is not any more."""
        self._reports.pop(hashed(path), None)

    def reply(
        self, method: str, path: str, hosts: Sequence[str], origins: Sequence[str], encodings: Sequence[str] = ()
    ) -> Reply | None:
        """The answer to a request, or None where the WebSocket handshake may go on.

        hosts, origins, encodings: the values of all its Host, Origin and Accept-Encoding headers
        """
        if method != "GET":
            return sentence(HTTPStatus.METHOD_NOT_ALLOWED, "Only GET is answered here.", ("Allow", "GET"))
        if len(hosts) != 1 or hosts[0] not in self._hosts:
            return sentence(HTTPStatus.FORBIDDEN, OTHER_ADDRESS)
        if origins and (len(origins) != 1 or origins[0] not in self._origins):
            return sentence(HTTPStatus.FORBIDDEN, "Pages of other sites may not connect.")
        if path == SOCKET_PATH:
            return None if origins else sentence(HTTPStatus.FORBIDDEN, "A connection has to say its Origin.")
        report = self._reports.get(hashed(path)) if path.startswith(REPORT_PATH) else None
        if report is not None:
            return _given(report, encodings, REPORT_POLICY)
        file = self._files.get(path)
        return sentence(HTTPStatus.NOT_FOUND, "There is no such page.") if file is None else _given(file, encodings)


def _given(file: File, encodings: Sequence[str], policy: str = CONTENT_SECURITY_POLICY) -> Reply:
    if file.packed is None:
        return _reply(HTTPStatus.OK, file.type, file.content, policy=policy)
    if takes_gzip(encodings):
        return _reply(HTTPStatus.OK, file.type, file.packed, VARIES, ("Content-Encoding", "gzip"), policy=policy)
    return _reply(HTTPStatus.OK, file.type, file.content, VARIES, policy=policy)


def sentence(status: HTTPStatus, words: str, *headers: tuple[str, str]) -> Reply:
    """An answer in words."""
    return _reply(status, "text/plain; charset=utf-8", f"{words}\n".encode(), *headers)


def _reply(
    status: HTTPStatus, kind: str, content: bytes, *headers: tuple[str, str], policy: str = CONTENT_SECURITY_POLICY
) -> Reply:
    about = (("Content-Type", kind), ("Content-Length", str(len(content))), ("Content-Security-Policy", policy))
    return Reply(status, (*about, *ALWAYS, *headers), content)
