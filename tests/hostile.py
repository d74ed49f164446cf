"""Requests that nobody means well by, in families: whole HTTP requests as bytes, each with a name."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import product

EVIL = "evil.example"


@dataclass(frozen=True)
class Hostile:
    """kind: what is wrong with it: its origin, host, path, method or form"""

    kind: str
    name: str
    request: bytes


def hostile(host: str) -> list[Hostile]:
    """All of them, against a service whose Host is `host` (`127.0.0.1:PORT`)."""
    families = {"origin": _origins, "host": _hosts, "path": _paths, "method": _methods, "form": _forms}
    return [Hostile(kind, name, request) for kind, family in families.items() for name, request in family(host)]


def friendly(host: str) -> dict[str, bytes]:
    """The same two requests with nothing wrong: a file, and a way in."""
    return {"file": _request(host), "socket": _handshake(host, f"http://{host}")}


def _request(host: str, path: str = "/", method: str = "GET", *headers: str) -> bytes:
    return "\r\n".join([f"{method} {path} HTTP/1.1", f"Host: {host}", *headers, "", ""]).encode()


UPGRADE = (
    "Upgrade: websocket",
    "Connection: Upgrade",
    "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==",
    "Sec-WebSocket-Version: 13",
)


def _handshake(host: str, *origins: str, path: str = "/ws", upgrade: tuple[str, ...] = UPGRADE) -> bytes:
    return _request(host, path, "GET", *(f"Origin: {origin}" for origin in origins), *upgrade)


# ------------------------------------------------------------------ whose page it says it is, and where it thinks it is


NEAR = """
    {name} {name}:80 {name}:443 {name}:0 {name}:{next} {name}:{port}0 {name}:0{port} {name}.:{port} {name}:{port}.
    {name}.{evil}:{port} {name}:{port}.{evil} {evil}.{name}:{port} {name}:{port}@{evil} {evil}@{name}:{port}
    {evil}#{ours} {evil}?{ours} {evil}/{ours} {ours},{evil} {ours};{evil} {ours}%00 {ours}%00.{evil} {ours}\\@{evil}
    localhost.{evil}:{port} notlocalhost:{port} LOCALHOST:{port} localhost:{next} localhost.:{port} localhost
    127.1:{port} 127.0.1:{port} 2130706433:{port} 0x7f000001:{port} 0177.0.0.1:{port} 127.0.0.2:{port} １２７.0.0.1:{port}
    0.0.0.0:{port} 0:{port} [::]:{port} [::ffff:127.0.0.1]:{port} [0:0:0:0:0:0:0:1]:{port} ::1:{port} [::1]
    {evil} {evil}:{port} xn--e1awd7f.{evil}:{port} 169.254.169.254:{port} 192.168.0.1:{port}
"""
"""What looks like our address, or contains it, and is another."""


def _near(host: str) -> list[str]:
    name, _, port = host.rpartition(":")
    return NEAR.format(name=name, port=port, next=int(port) + 1, ours=host, evil=EVIL).split()


SCHEMES = "https ws wss HTTP file data blob javascript ftp chrome-extension moz-extension app"
NO_ORIGINS = "null * true undefined file:// about:blank data:text/html,x"
AFTER = "/ // /ws # ? /#token=x %2f : \\ \x01 \x00"
BEFORE = "x http: view-source: blob: \x00 \ufeff"


def _origins(host: str) -> Iterator[tuple[str, bytes]]:
    own = f"http://{host}"
    for address in _near(host):
        yield f"page of {address}", _handshake(host, f"http://{address}")
    for scheme in SCHEMES.split():
        yield f"scheme {scheme}", _handshake(host, f"{scheme}://{host}")
    for word in ("", host, f"//{host}", f":{own}", f"{own} http://{EVIL}", *NO_ORIGINS.split()):
        yield f"word {word!r}", _handshake(host, word)
    for after in AFTER.split():
        yield f"ours and {after!r}", _handshake(host, own + after)
    for before in BEFORE.split():
        yield f"{before!r} before ours", _handshake(host, before + own)
    yield "none", _handshake(host)
    yield "ours twice", _handshake(host, own, own)
    yield "ours and another's", _handshake(host, own, f"http://{EVIL}")
    yield "another's and ours", _handshake(host, f"http://{EVIL}", own)
    yield "another's, for a file", _request(host, "/", "GET", f"Origin: http://{EVIL}")


def _hosts(host: str) -> Iterator[tuple[str, bytes]]:
    own = f"http://{host}"
    for address in _near(host):
        yield f"file at {address}", _request(address)
        yield f"socket at {address}", _handshake(address, own)
        yield f"socket and its page at {address}", _handshake(address, f"http://{address}")
    yield "empty", _request("")
    yield "none", b"GET / HTTP/1.1\r\n\r\n"
    yield "ours twice", _request(f"{host}\r\nHost: {host}")
    yield "ours, then another", _request(f"{host}\r\nHost: {EVIL}")
    yield "another, then ours", _request(f"{EVIL}\r\nhost: {host}")
    for header in ("X-Forwarded-Host", "X-Host", "Forwarded", "X-Original-Host", "X-Forwarded-Server"):
        yield f"another, and {header} says ours", _request(EVIL, "/", "GET", f"{header}: {host}")
    yield "another, in the whole address", _request(EVIL, f"http://{host}/")
    yield "ours, with another's whole address", _request(host, f"http://{EVIL}/")
    yield "ours, with our whole address", _request(host, f"http://{host}/")


# ------------------------------------------------------------------ what it asks for


UPS = "../ ..%2f %2e%2e/ %2e%2e%2f ..%252f ..\\ ..%5c ....// ..;/ ..%c0%af .%00./ %u002e%u002e/"
SECRETS = "pyproject.toml store.db rltrainer/labeling/gate.py etc/passwd"
OTHERS = """
    .git/config .env store.db config.yaml run.json label-service.log checkpoints/ backups/ proc/self/environ api admin labels
    export settings metrics debug graphql login server-status favicon.ico.php
"""
FILES = """
    /main.js/ /main.js? /main.js?x=1 /main.js# /main.js;x /main.js%00 /main.js%20 /main.js~ /main.js.map //main.js /./main.js
    /x/../main.js /%6dain.js /MAIN.JS \\main.js main.js * /? // /index.html/ /index.htm
"""
WAYS_IN = "/ws/ /WS //ws /ws?token=x /ws# /./ws /%77s /ws;x /ws%00 /ws/x ws"
REPORTS = "/report /report/ /report/x /report/%2e /report/../"
CREDENTIALS = ("Cookie: token=x", "Authorization: Bearer x", "X-Original-URL: /", "X-Rewrite-URL: /main.js")


def _paths(host: str) -> Iterator[tuple[str, bytes]]:
    for up, secret in product(UPS.split(), SECRETS.split()):
        yield f"up by {up} to {secret}", _request(host, "/" + 4 * up + secret)
    for name in OTHERS.split():
        yield f"there may be {name}", _request(host, f"/{name}")
    for path in FILES.split():
        yield f"nearly a file: {path}", _request(host, path)
    for path in (*WAYS_IN.split(), f"http://{host}/ws"):
        yield f"nearly the way in: {path}", _handshake(host, f"http://{host}", path=path)
    for path in (*REPORTS.split(), "/report/" + 43 * "A", "/report/" + 5000 * "A"):
        yield f"a report: {path[:20]} of {len(path)}", _request(host, path)
    for header in CREDENTIALS:
        yield f"nothing, with {header}", _request(host, "/nothing", "GET", header)


METHODS = """
    ACL BASELINE-CONTROL BIND CHECKIN CHECKOUT CONNECT COPY DELETE HEAD LABEL LINK LOCK MERGE MKACTIVITY MKCALENDAR MKCOL
    MKREDIRECTREF MKWORKSPACE MOVE OPTIONS ORDERPATCH PATCH POST PRI PROPFIND PROPPATCH PUT REBIND REPORT SEARCH TRACE UNBIND
    UNCHECKOUT UNLINK UNLOCK UPDATE UPDATEREDIRECTREF VERSION-CONTROL QUERY get Get GETS XGET GE FOO GET,POST \x00GET ＧＥＴ
"""
"""Those registered with IANA, but for GET, and some that are not."""


def _methods(host: str) -> Iterator[tuple[str, bytes]]:
    for method in METHODS.split():
        yield f"{method} of the page", _request(host, "/", method)
        yield f"{method} of the way in", _request(host, "/ws", method, f"Origin: http://{host}", *UPGRADE)
    for header in ("X-HTTP-Method-Override: GET", "X-HTTP-Method: GET", "X-Method-Override: GET"):
        yield f"POST with {header}", _request(host, "/", "POST", header)
    yield "POST with a body", _request(host, "/", "POST", "Content-Length: 3") + b"x=1"


# ------------------------------------------------------------------ how it is put


VERSIONS = "HTTP/0.9 HTTP/1.2 HTTP/2 HTTP/2.0 http/1.1 HTTPS/1.1 HTTP/ HTTP/1.1x 1.1"
WRONG_UPGRADES = ("Upgrade: h2c", "Connection: close", "Sec-WebSocket-Key: short", "Sec-WebSocket-Version: 8")


def _forms(host: str) -> Iterator[tuple[str, bytes]]:
    line, about = b"GET / HTTP/1.1", f"Host: {host}".encode()
    for version in VERSIONS.split():
        yield f"version {version}", f"GET / {version}\r\nHost: {host}\r\n\r\n".encode()
    yield "no version", b"GET /\r\n" + about + b"\r\n\r\n"
    yield "a line of spaces", b"   \r\n\r\n"
    yield "an empty line first", b"\r\n" + line + b"\r\n" + about + b"\r\n\r\n"
    yield "a space before the method", b" " + line + b"\r\n" + about + b"\r\n\r\n"
    yield "a tab between", b"GET\t/\tHTTP/1.1\r\n" + about + b"\r\n\r\n"
    yield "two spaces between", b"GET  / HTTP/1.1\r\n" + about + b"\r\n\r\n"
    yield "a space in the name", line + b"\r\nHost : " + host.encode() + b"\r\n\r\n"
    yield "a folded header", line + b"\r\nHost:\r\n " + host.encode() + b"\r\n\r\n"
    yield "a header without a colon", line + b"\r\n" + about + b"\r\nnothing\r\n\r\n"
    yield "a header without a name", line + b"\r\n" + about + b"\r\n: x\r\n\r\n"
    yield "a NUL in a header", line + b"\r\n" + about + b"\r\nX: a\x00b\r\n\r\n"
    yield "a NUL in the path", b"GET /\x00 HTTP/1.1\r\n" + about + b"\r\n\r\n"
    yield "bytes that are no text in the path", b"GET /\xff\xfe HTTP/1.1\r\n" + about + b"\r\n\r\n"
    yield "a long path", b"GET /" + 9000 * b"a" + b" HTTP/1.1\r\n" + about + b"\r\n\r\n"
    yield "a long header", line + b"\r\n" + about + b"\r\nX: " + 9000 * b"a" + b"\r\n\r\n"
    yield "many headers", line + b"\r\n" + about + b"\r\n" + 300 * b"X: a\r\n" + b"\r\n"
    yield "a body in a GET", _request(host, "/", "GET", "Content-Length: 3") + b"x=1"
    yield "a body in pieces", _request(host, "/", "GET", "Transfer-Encoding: chunked") + b"3\r\nx=1\r\n0\r\n\r\n"
    yield "two ways to end", _request(host, "/", "GET", "Transfer-Encoding: chunked", "Content-Length: 3") + b"0\r\n\r\n"
    yield "HTTP/2", b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
    yield "TLS", bytes.fromhex("16030100c8010000c40303") + bytes(range(190)) + b"\r\n\r\n"
    yield "another protocol", b"SSH-2.0-OpenSSH_9.2\r\n\r\n"
    own = f"http://{host}"
    for left_out in UPGRADE:
        without = tuple(header for header in UPGRADE if header != left_out)
        yield f"the way in, no {left_out.partition(':')[0]}", _handshake(host, own, upgrade=without)
    for wrong in WRONG_UPGRADES:
        name = wrong.partition(":")[0]
        changed = tuple(wrong if header.startswith(f"{name}:") else header for header in UPGRADE)
        yield f"the way in, {wrong}", _handshake(host, own, upgrade=changed)
