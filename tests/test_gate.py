"""Facts about the gate: what is let in is on a list, letter by letter; everything else is refused."""

from __future__ import annotations

import gzip
import re
from http import HTTPStatus
from pathlib import Path

import pytest

from rltrainer.core import UserError
from rltrainer.labeling import gate
from rltrainer.labeling.gate import (
    File,
    Gate,
    Reply,
    address,
    hash_among,
    hashed,
    load_files,
    new_token,
    own_hosts,
    page_url,
    web_folder,
)

HOST = "127.0.0.1:8765"
ORIGIN = f"http://{HOST}"
FILES = {
    "/": File(b"<!doctype html>", "text/html; charset=utf-8"),
    "/index.html": File(b"<!doctype html>", "text/html; charset=utf-8"),
    "/main.js": File(b"export {};", "text/javascript; charset=utf-8"),
    "/fonts/plain.woff2": File(b"wOF2", "font/woff2"),
}


def ask(method: str = "GET", path: str = "/", hosts: tuple[str, ...] = (HOST,), origins: tuple[str, ...] = ()) -> Reply | None:
    return Gate(own_hosts("127.0.0.1", 8765), FILES).reply(method, path, hosts, origins)


def status(reply: Reply | None) -> HTTPStatus | None:
    return None if reply is None else reply.status


# ------------------------------------------------------------------ who gets in


@pytest.mark.parametrize("host", ["127.0.0.1:8765", "localhost:8765", "[::1]:8765"])
def test_the_page_is_served_under_each_of_our_names(host: str) -> None:
    assert status(ask(hosts=(host,))) is HTTPStatus.OK


@pytest.mark.parametrize("host", ["127.0.0.1:8765", "localhost:8765", "[::1]:8765"])
def test_a_socket_of_our_own_page_is_let_on(host: str) -> None:
    assert ask(path="/ws", hosts=(host,), origins=(f"http://{host}",)) is None


def test_the_configured_address_is_one_of_our_names() -> None:
    gate_ = Gate(own_hosts("192.168.1.5", 9000), FILES)
    assert gate_.reply("GET", "/ws", ["192.168.1.5:9000"], ["http://192.168.1.5:9000"]) is None


@pytest.mark.parametrize("path", list(FILES))
def test_a_file_of_the_page_is_given_as_it_is(path: str) -> None:
    reply = ask(path=path)
    assert reply is not None
    assert (reply.status, reply.content) == (HTTPStatus.OK, FILES[path].content)
    assert ("Content-Type", FILES[path].type) in reply.headers
    assert ("Content-Length", str(len(reply.content))) in reply.headers


# ------------------------------------------------------------------ how it is packed

TEXT = b"a line of the page\n" * 100


@pytest.mark.parametrize(
    "accepted", [("gzip",), ("br, GZIP",), ("gzip;q=0.5",), ("deflate", "gzip, br"), ("*",), ("gzip;q=0.001",)]
)
def test_a_browser_that_takes_gzip_gets_the_same_content_packed(accepted: tuple[str, ...], tmp_path: Path) -> None:
    (tmp_path / "main.js").write_bytes(TEXT)
    reply = Gate((HOST,), load_files(tmp_path)).reply("GET", "/main.js", [HOST], [], accepted)
    assert reply is not None
    assert len(reply.content) < len(TEXT)
    assert gzip.decompress(reply.content) == TEXT
    headers = dict(reply.headers)
    assert (headers["Content-Encoding"], headers["Vary"]) == ("gzip", "Accept-Encoding")
    assert headers["Content-Length"] == str(len(reply.content))
    assert "Content-Security-Policy" in headers


REFUSING = [(), ("",), ("identity",), ("br",), ("gzip;q=0",), ("gzip; q=0.000",), ("*, gzip;q=0",), ("*;q=0",), ("xgzip",)]


@pytest.mark.parametrize("accepted", REFUSING)
def test_any_other_gets_it_as_it_is_and_caches_are_told_that_it_varies(accepted: tuple[str, ...], tmp_path: Path) -> None:
    (tmp_path / "main.js").write_bytes(TEXT)
    reply = Gate((HOST,), load_files(tmp_path)).reply("GET", "/main.js", [HOST], [], accepted)
    assert reply is not None
    assert reply.content == TEXT
    assert ("Vary", "Accept-Encoding") in reply.headers
    assert "Content-Encoding" not in dict(reply.headers)


def test_what_does_not_get_smaller_is_not_packed(tmp_path: Path) -> None:
    (tmp_path / "tiny.js").write_bytes(b"x")
    (tmp_path / "icon.png").write_bytes(TEXT)
    assert {file.packed for file in load_files(tmp_path).values()} == {None}


def test_what_is_refused_is_refused_packed_or_not() -> None:
    gate_ = Gate((HOST,), FILES)
    for host, path in ((HOST, "/../gate.py"), ("evil.example", "/")):
        reply = gate_.reply("GET", path, [host], [], ["gzip"])
        assert status(reply) in (HTTPStatus.NOT_FOUND, HTTPStatus.FORBIDDEN)


# ------------------------------------------------------------------ who does not

HOSTILE_HOSTS = [
    (),
    ("",),
    ("127.0.0.1",),
    ("127.0.0.1:80",),
    ("127.0.0.1:87650",),
    ("127.0.0.1:8765 ",),
    (" 127.0.0.1:8765",),
    ("127.0.0.1:8765.evil.example",),
    ("127.0.0.1.evil.example:8765",),
    ("evil.example",),
    ("evil.example:8765",),
    ("localhost",),
    ("localhost.evil.example:8765",),
    ("LOCALHOST:8765",),
    ("user@localhost:8765",),
    ("::1:8765",),
    ("[::1]",),
    ("[::ffff:127.0.0.1]:8765",),
    ("0.0.0.0:8765",),
    ("127.1:8765",),
    ("2130706433:8765",),
    ("127.0.0.1:8765,evil.example",),
    (HOST, HOST),
    (HOST, "evil.example"),
]


@pytest.mark.parametrize("hosts", HOSTILE_HOSTS)
@pytest.mark.parametrize("path", ["/", "/ws"])
def test_a_host_that_is_not_ours_is_refused(hosts: tuple[str, ...], path: str) -> None:
    assert status(ask(path=path, hosts=hosts, origins=(ORIGIN,))) is HTTPStatus.FORBIDDEN


HOSTILE_ORIGINS = [
    ("",),
    ("null",),
    ("*",),
    ("http://evil.example",),
    ("http://evil.example:8765",),
    ("https://127.0.0.1:8765",),
    ("ws://127.0.0.1:8765",),
    ("127.0.0.1:8765",),
    ("//127.0.0.1:8765",),
    ("http://127.0.0.1",),
    ("http://127.0.0.1:80",),
    ("http://127.0.0.1:87651",),
    ("http://127.0.0.1:8765/",),
    ("http://127.0.0.1:8765#",),
    ("http://127.0.0.1:8765.evil.example",),
    ("http://127.0.0.1:8765@evil.example",),
    ("http://evil.example/127.0.0.1:8765",),
    ("http://evil.example#http://127.0.0.1:8765",),
    ("http://localhost.evil.example:8765",),
    ("http://notlocalhost:8765",),
    ("HTTP://127.0.0.1:8765",),
    (" http://127.0.0.1:8765",),
    ("http://127.0.0.1:8765 http://evil.example",),
    ("http://127x0x0x1:8765",),
    ("file://",),
    ("chrome-extension://abcdef",),
    (ORIGIN, ORIGIN),
    (ORIGIN, "http://evil.example"),
]


@pytest.mark.parametrize("origins", HOSTILE_ORIGINS)
@pytest.mark.parametrize("path", ["/", "/ws"])
def test_an_origin_that_is_not_ours_is_refused(origins: tuple[str, ...], path: str) -> None:
    assert status(ask(path=path, origins=origins)) is HTTPStatus.FORBIDDEN


def test_a_socket_without_an_origin_is_refused() -> None:
    assert status(ask(path="/ws")) is HTTPStatus.FORBIDDEN


METHODS = ["HEAD", "POST", "PUT", "DELETE", "PATCH", "OPTIONS", "TRACE", "CONNECT", "get", "GET ", "", "PRI", "FOO"]


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("path", ["/", "/ws", "/main.js", "*"])
def test_no_method_but_get_is_answered(method: str, path: str) -> None:
    reply = ask(method=method, path=path, origins=(ORIGIN,))
    assert reply is not None
    assert reply.status is HTTPStatus.METHOD_NOT_ALLOWED
    assert ("Allow", "GET") in reply.headers


HOSTILE_PATHS = [
    "",
    "//",
    "/.",
    "/..",
    "/../gate.py",
    "/../../etc/passwd",
    "/..%2f..%2fetc/passwd",
    "/%2e%2e/gate.py",
    "/./main.js",
    "//main.js",
    "/main.js/",
    "/main.js/..",
    "/main.js%00",
    "/main.js\x00.html",
    "/main.js?",
    "/main.js?v=1",
    "/main.js#",
    "/MAIN.JS",
    "\\main.js",
    "/..\\main.js",
    "main.js",
    "index.html",
    "/etc/passwd",
    "C:\\secret",
    "http://127.0.0.1:8765/",
    "/ws/",
    "/ws?token=x",
    "/WS",
    "/ws/../main.js",
    "/fonts",
    "/fonts/",
    "/fonts/../main.js",
    "*",
]


@pytest.mark.parametrize("path", HOSTILE_PATHS)
def test_a_path_that_is_no_key_leads_nowhere(path: str) -> None:
    assert status(ask(path=path, origins=(ORIGIN,))) is HTTPStatus.NOT_FOUND


def test_a_gate_that_knows_no_hosts_lets_nobody_in() -> None:
    assert status(Gate((), {}).reply("GET", "/", [HOST], [])) is HTTPStatus.FORBIDDEN


# ------------------------------------------------------------------ what goes along


@pytest.mark.parametrize("reply", [ask(), ask(path="/nowhere"), ask(hosts=("evil.example",)), ask(method="POST")])
def test_every_reply_forbids_what_the_page_does_not_need(reply: Reply) -> None:
    headers = dict(reply.headers)
    assert len(headers) == len(reply.headers), "no header stands twice"
    policy = dict(directive.split(" ", 1) for directive in headers["Content-Security-Policy"].split("; "))
    assert policy["default-src"] == "'none'"
    assert policy["frame-ancestors"] == "'none'"
    assert policy["script-src"] == policy["style-src"] == policy["connect-src"] == "'self'"
    assert policy["img-src"] == "'self' blob: data:"
    assert policy["media-src"] == "blob:"
    assert "unsafe" not in headers["Content-Security-Policy"]
    assert headers["X-Content-Type-Options"] == "nosniff"
    assert headers["Referrer-Policy"] == "no-referrer"
    assert headers["Cache-Control"] == "no-store"
    assert "Access-Control-Allow-Origin" not in headers


def test_a_refusal_does_not_repeat_what_was_sent() -> None:
    for reply in (ask(path="/<script>"), ask(hosts=("<script>",)), ask(origins=("<script>",)), ask(method="<script>")):
        assert reply is not None
        assert b"script" not in reply.content


# ------------------------------------------------------------------ reports


def test_a_report_is_had_at_its_own_path_until_it_is_hidden_and_nowhere_else() -> None:
    gate_ = Gate((HOST,), FILES)

    def at(path: str, method: str = "GET", hosts: tuple[str, ...] = (HOST,)) -> Reply | None:
        return gate_.reply(method, path, hosts, ())

    path, other = gate_.show_report(b"<h1>one</h1>"), gate_.show_report(b"<h1>two</h1>")
    reply = at(path)
    assert reply is not None
    assert (reply.status, reply.content) == (HTTPStatus.OK, b"<h1>one</h1>")
    headers = dict(reply.headers)
    assert headers["Content-Security-Policy"].startswith("default-src 'none'; style-src 'unsafe-inline'; img-src data:;")
    assert "script-src" not in headers["Content-Security-Policy"]
    assert (headers["Cache-Control"], headers["Referrer-Policy"]) == ("no-store", "no-referrer")
    for wrong in ("/report", "/report/", path[:-1], path + "/", path.upper(), path + "?x", hashed(path)):
        assert status(at(wrong)) is HTTPStatus.NOT_FOUND
    assert status(at(path, hosts=("evil.example",))) is HTTPStatus.FORBIDDEN
    assert status(at(path, "POST")) is HTTPStatus.METHOD_NOT_ALLOWED
    gate_.hide_report(path)
    assert (status(at(path)), status(at(other))) == (HTTPStatus.NOT_FOUND, HTTPStatus.OK)
    gate_.hide_report("")


# ------------------------------------------------------------------ links


def test_a_token_is_known_by_its_hash_only() -> None:
    token = new_token()
    known = [hashed(token), hashed(new_token())]
    assert hash_among(token, known) == hashed(token)
    assert re.fullmatch("[0-9a-f]{64}", hashed(token))
    assert not any(token in stored for stored in known)


@pytest.mark.parametrize("token", ["", "x", "\ud800", "ö", hashed("secret"), "secret ", "Secret"])
def test_a_token_that_is_not_known_is_nobodys(token: str) -> None:
    assert hash_among(token, [hashed("secret")]) is None
    assert hash_among(token, []) is None


def test_tokens_are_long_and_never_the_same() -> None:
    tokens = {new_token() for _ in range(100)}
    assert len(tokens) == 100
    assert all(len(token) == 43 and re.fullmatch(r"[A-Za-z0-9_-]+", token) for token in tokens)


@pytest.mark.parametrize(
    ("host", "url"),
    [
        ("127.0.0.1", "http://127.0.0.1:8765/#token=t"),
        ("localhost", "http://localhost:8765/#token=t"),
        ("::1", "http://[::1]:8765/#token=t"),
        ("192.168.1.5", "http://192.168.1.5:8765/#token=t"),
        ("0.0.0.0", "http://127.0.0.1:8765/#token=t"),
        ("::", "http://127.0.0.1:8765/#token=t"),
        ("MyLaptop.local", "http://mylaptop.local:8765/#token=t"),  # browsers write names so
        ("2001:DB8:0:0::1", "http://[2001:db8::1]:8765/#token=t"),
    ],
)
def test_a_link_keeps_its_token_in_the_fragment(host: str, url: str) -> None:
    assert page_url(host, 8765, "t") == url


@pytest.mark.parametrize("host", ["127.0.0.1", "localhost", "::1", "192.168.1.5", "0.0.0.0", "::", "MyLaptop.local"])
def test_a_link_that_was_printed_is_let_in(host: str) -> None:
    where = page_url(host, 8765, "t").removeprefix("http://").partition("/")[0]
    assert where in own_hosts(host, 8765)


def test_listening_everywhere_does_not_mean_answering_to_every_name() -> None:
    assert own_hosts("0.0.0.0", 8765) == own_hosts("127.0.0.1", 8765) == {HOST, "localhost:8765", "[::1]:8765"}


def test_port_80_is_left_out_by_browsers() -> None:
    assert {"127.0.0.1", "127.0.0.1:80", "[::1]", "localhost"} <= own_hosts("127.0.0.1", 80)
    assert "127.0.0.1" not in own_hosts("127.0.0.1", 8080)


def test_an_ipv6_address_stands_in_brackets() -> None:
    assert address("::1", 1) == "[::1]:1"
    assert address("localhost", 1) == "localhost:1"


# ------------------------------------------------------------------ files


def test_files_are_found_in_subfolders_and_nothing_else_is_taken(tmp_path: Path) -> None:
    web = tmp_path / "web"
    taken = ["index.html", "main.js", "icons/a.svg", "icons/deep/b.png"]
    for name in [*taken, "notes.txt", ".env", ".git/x.js", "node_modules/x.js"]:
        (web / name).parent.mkdir(parents=True, exist_ok=True)
        (web / name).write_bytes(name.encode())
    (tmp_path / "secret.js").write_text("secret")
    (web / "link.js").symlink_to(tmp_path / "secret.js")
    files = load_files(web)
    assert set(files) == {"/", "/index.html", "/main.js", "/icons/a.svg", "/icons/deep/b.png"}
    assert files["/"] == files["/index.html"] == File(b"index.html", "text/html; charset=utf-8")
    assert files["/icons/a.svg"].type == "image/svg+xml"


def test_the_page_lies_beside_the_package() -> None:
    assert "/" in load_files(web_folder())
    assert web_folder().name == "web"


def test_an_installed_page_is_found(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "rltrainer_web").mkdir()
    (tmp_path / "rltrainer_web" / "index.html").touch()
    monkeypatch.setattr(gate.rltrainer, "__file__", str(tmp_path / "site" / "rltrainer" / "__init__.py"))
    monkeypatch.syspath_prepend(tmp_path)
    assert web_folder() == tmp_path / "rltrainer_web"


def test_a_missing_page_is_said_in_a_sentence(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(gate.rltrainer, "__file__", str(tmp_path / "site" / "rltrainer" / "__init__.py"))
    monkeypatch.setattr(gate.importlib.util, "find_spec", lambda name: None)
    with pytest.raises(UserError, match=r"the labeling page is missing.*install rltrainer again"):
        web_folder()
