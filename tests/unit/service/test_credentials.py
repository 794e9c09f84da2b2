"""What an Authorization header may hold: whatever it is, whoever has no key is told so and nothing breaks."""

import asyncio
import base64
import json

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from service.access.authenticator import Authenticator
from service.access.authorization import Authorization
from service.access.keys.keyring import KeyRing
from service.api import application
from service.api.fast_path import FastPath
from service.settings import Settings

APP = application.build()
KINDS = st.sampled_from([b"Basic ", b"basic\t", b"Bearer ", b"Basic", b"Digest ", b""])
VALUES = st.binary(max_size=60) | st.binary(max_size=60).map(base64.b64encode)


def asked(engine, value: bytes) -> tuple[int, dict]:
    """Status and problem of a read with that header, through the way in that every request takes."""
    who = Authenticator(Settings(access="keys", wrong_keys_per_minute=0), KeyRing(engine))
    way_in = FastPath(APP, lambda: APP, ["*"], Authorization(who))
    scope = {
        "type": "http", "method": "GET", "path": "/heads", "query_string": b"", "server": ("127.0.0.1", 3000),
        "client": ("192.0.2.1", 5000), "headers": [(b"host", b"localhost"), (b"authorization", value)], "state": {},
    }  # fmt: skip
    sent: list[dict] = []

    async def receive() -> dict:
        return {"type": "http.request", "body": b"", "more_body": False}

    async def send(message: dict) -> None:
        sent.append(message)

    asyncio.run(way_in(scope, receive, send))
    return sent[0]["status"], json.loads(sent[1]["body"])


@pytest.mark.parametrize(
    "value", [b"Basic \xff", b"Basic abc\xe9", b"Basic YQ", b"Basic YQ==", b"Basic ", b"Bearer \xff"]
)
def test_what_is_no_key_is_401(engine, value):
    status, problem = asked(engine, value)
    assert (status, problem["code"]) == (401, "unauthorized")


@settings(max_examples=100, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(KINDS, VALUES)
def test_whatever_comes_is_401(engine, kind, value):
    assert asked(engine, kind + value)[0] == 401
