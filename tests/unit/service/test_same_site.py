"""What another site's page makes a browser send is refused, whatever the route."""

import asyncio
import json
from typing import Any

import pytest

from service.access.authorization import Authorization
from service.access.rules import ANY, Rules
from service.access.same_site import SameSite
from service.api.fast_path import FastPath

OURS = "127.0.0.1:3000"
METHODS = ("GET", "HEAD", "OPTIONS", "POST", "PUT", "PATCH", "DELETE", "MADE-UP")
EVERYTHING = Authorization(rules=Rules((("/heads/{head}", dict.fromkeys(METHODS, ANY)),)))


async def app(scope: Any, receive: Any, send: Any) -> None:
    await send({"type": "http.response.start", "status": 200, "headers": [(b"content-type", b"text/html")]})
    await send({"type": "http.response.body", "body": b"answered"})


def ask(method: str = "POST", allowed: str = "", **headers: str) -> tuple[int, dict, bytes]:
    """(status, headers, body) of a request with these headers; underscores for hyphens."""
    sent: list[Any] = []

    async def send(message: Any) -> None:
        sent.append(message)

    given = {"host": OURS} | headers
    pairs = [(name.replace("_", "-").encode(), value.encode("latin-1")) for name, value in given.items()]
    scope = {"type": "http", "method": method, "path": "/heads/x", "headers": pairs}
    asyncio.run(FastPath(app, lambda: app, allowed.split(","), EVERYTHING)(scope, None, send))
    return sent[0]["status"], dict(sent[0]["headers"]), sent[1]["body"]


@pytest.mark.parametrize(
    "host",
    [
        "localhost",
        "LOCALHOST:3000",
        "api.localhost:1",
        "127.0.0.1",
        "127.9.9.9:80",
        "[::1]:3000",
        "10.0.3.7:3000",
        "[fe80::1]",
    ],
)
def test_addresses_and_names_of_localhost_are_ours(host):
    assert ask(host=host)[0] == 200 == ask("GET", host=host)[0]


@pytest.mark.parametrize(
    "host",
    [
        "evil.example",
        "evil.example:3000",
        "localhost.evil.example",
        "127.0.0.1.evil.example",
        "",
        "[",
        "x" * 5000,
        "a b",
    ],
)
@pytest.mark.parametrize("method", ["GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"])
def test_other_names_are_answered_by_nobody(host, method):
    """Also for reads: a page under that name could read the answer."""
    status, headers, body = ask(method, host=host)
    assert status == 403 and headers[b"content-type"] == b"application/problem+json"
    problem = json.loads(body)
    assert (problem["code"], problem["item"]) == ("host_not_allowed", "Host") and len(body) < 600


@pytest.mark.parametrize(
    ("allowed", "host", "status"),
    [
        ("espalier.example.com", "espalier.example.com", 200),
        ("espalier.example.com", "Espalier.Example.com:8443", 200),
        ("espalier.example.com", "other.example.com", 403),
        (" a.example , *.svc.local ", "x.y.svc.local:3000", 200),
        ("*.svc.local", "svc.local", 403),
        ("*", "anything.example", 200),
    ],
)
def test_names_are_allowed_by_a_setting(allowed, host, status):
    assert ask("GET", allowed, host=host)[0] == status


@pytest.mark.parametrize(
    ("headers", "code"),
    [
        ({"origin": "http://evil.example"}, "cross_site"),
        ({"origin": "https://127.0.0.1:8080"}, "cross_site"),  # another service on this machine
        ({"origin": "http://localhost:3000"}, "cross_site"),  # the same one by another name is another origin
        ({"origin": "null"}, "cross_site"),  # a sandboxed frame, a file
        ({"origin": ""}, "cross_site"),
        ({"sec_fetch_site": "cross-site"}, "cross_site"),
        ({"origin": f"http://{OURS}", "sec_fetch_site": "cross-site"}, "cross_site"),
        ({"origin": f"http://{OURS}", "sec_fetch_site": "same-origin"}, None),
        ({"origin": f"HTTP://{OURS}"}, None),
        ({"sec_fetch_site": "none"}, None),
        ({}, None),
    ],
)
@pytest.mark.parametrize("method", ["POST", "PUT", "PATCH", "DELETE", "MADE-UP"])
def test_pages_of_other_origins_may_change_nothing(method, headers, code):
    status, _, body = ask(method, **headers)
    assert (status, json.loads(body)["code"] if code else None) == ((403, code) if code else (200, None))


@pytest.mark.parametrize("method", ["GET", "HEAD", "OPTIONS"])
def test_reads_are_answered_to_all_and_no_page_is_allowed_to_see_them(method):
    """Browsers keep an answer from pages of other origins unless a header says otherwise; there is none."""
    status, headers, _ = ask(method, origin="http://evil.example", sec_fetch_site="cross-site")
    assert status == 200 and b"access-control-allow-origin" not in headers


def test_pages_of_an_allowed_name_may_change_things():
    assert ask(allowed="front.example", origin="https://front.example")[0] == 200
    assert ask(allowed="front.example", origin="https://back.example")[0] == 403


def test_what_strangers_send_is_not_remembered_without_end():
    guard = SameSite()
    for number in range(3000):
        guard.refusal({"headers": [(b"host", f"h{number}.example".encode())], "method": "GET"})
    assert len(guard._known) == 1000
