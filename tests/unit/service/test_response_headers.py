"""What every answer tells a browser: ours beside the route's own, which stays as it is."""

import asyncio
from typing import Any

import pytest

from service.access.response_headers import ALWAYS, NOTHING, UNFRAMED, protected, protecting

OWN = (b"content-security-policy", b"default-src 'none'; sandbox")


def test_an_answer_without_a_policy_allows_nothing():
    found = protected([(b"content-type", b"application/json")])
    assert found == [(b"content-type", b"application/json"), *ALWAYS, NOTHING]
    assert b"default-src 'none'" in NOTHING[1] and b"frame-ancestors 'none'" in NOTHING[1]


def test_a_policy_of_the_route_stays_and_frames_are_forbidden_beside_it():
    found = protected([OWN])
    assert [header for header in found if header[0] == OWN[0]] == [OWN, UNFRAMED]


@pytest.mark.parametrize("header", ALWAYS)
def test_what_a_route_says_otherwise_is_not_said_twice(header):
    found = protected([(header[0], b"of the route")])
    assert [value for name, value in found if name == header[0]] == [b"of the route"]


def test_only_the_head_of_an_answer_is_touched():
    sent: list[Any] = []

    async def send(message: Any) -> None:
        sent.append(message)

    async def answer() -> None:
        out = protecting(send)
        await out({"type": "http.response.start", "status": 204})
        await out({"type": "http.response.body", "body": b"x"})

    asyncio.run(answer())
    assert sent[0] == {"type": "http.response.start", "status": 204, "headers": [*ALWAYS, NOTHING]}
    assert sent[1] == {"type": "http.response.body", "body": b"x"}
