"""The short way in answers as the long one does."""

import pytest
from fastapi import FastAPI, Request
from fastapi.responses import JSONResponse
from starlette.exceptions import HTTPException
from starlette.testclient import TestClient

from adapters.errors import HeadNotFound, Overloaded
from service import errors
from service.access.authorization import Authorization
from service.access.rules import ANY, Rules
from service.api.dependencies import Ctx
from service.api.fast_path import FastPath
from service.audit.address import PEER, Proxies
from service.audit.trail import Trail

RAISED = {
    "espalier": HeadNotFound("there is no head 'x'", item="x"),
    "busy": Overloaded("full", retry_after=2.5),
    "http": HTTPException(415, "no", {"X-Why": "because"}),
    "bug": ZeroDivisionError("a secret"),
}


async def ask(request: Request, ctx: Ctx) -> JSONResponse:
    """What both ways lead to."""
    body = (await request.body()).decode()
    if body in RAISED:
        raise RAISED[body]
    return JSONResponse({"said": body, "asked": request.query_params.get("q"), "context": ctx})


class Short(FastPath):
    """With a route of the test's."""

    _routes = {("POST", "/short"): ask}  # noqa: RUF012 -- in place of a property


RULES = Rules(tuple((path, {"POST": ANY, "PUT": ANY}) for path in ("/short", "/long")))


@pytest.fixture
def client():
    app = FastAPI()
    errors.install(app)
    for path in ("/short", "/long"):
        app.add_api_route(path, ask, methods=["POST", "PUT"], response_model=None)
    app.state.context = "open"
    return TestClient(
        Short(app, http=lambda: app, authorization=Authorization(rules=RULES)), raise_server_exceptions=False
    )


@pytest.mark.parametrize("body", ["hello", *RAISED])
def test_answers_and_errors_are_the_same_both_ways(client, body):
    sent = {"X-Request-Id": "mine"}
    short, long = (client.post(f"{path}?q=1", content=body, headers=sent) for path in ("/short", "/long"))
    assert short.headers["X-Request-Id"] == "mine"
    assert (short.status_code, short.content, short.headers) == (long.status_code, long.content, long.headers)
    assert "a secret" not in short.text


def test_a_request_before_the_service_is_open_is_told_so(client):
    client.app._app.state.context = None
    answer = client.post("/short", content="hello")
    assert (answer.status_code, answer.json()["code"]) == (503, "not_ready")


@pytest.mark.parametrize(("trusted", "address"), [("", "10.0.0.9"), ("10.0.0.0/8", "192.0.2.7")])
def test_a_line_of_the_log_has_the_address_that_the_audit_log_has(client, caplog, trusted, address):
    """Not what uvicorn makes of `X-Forwarded-For`, which anybody may send."""
    app, trail = client.app._app, Trail(lambda: None, Proxies(trusted))
    logging = Short(app, lambda: app, authorization=Authorization(rules=RULES), trail=trail, log=True)

    async def behind_uvicorn(scope, receive, send):
        if scope["type"] == "http":
            scope |= {"client": ("198.51.100.1", 0), PEER: "10.0.0.9"}
        await logging(scope, receive, send)

    with caplog.at_level("INFO", "espalier.access"):
        TestClient(behind_uvicorn).post("/short", content="hello", headers={"X-Forwarded-For": "192.0.2.7"})
    (line,) = [record for record in caplog.records if record.name == "espalier.access"]
    assert line.facts["client"] == address


def test_other_methods_take_the_long_way(client):
    assert client.put("/short", content="hello").json()["said"] == "hello"
    assert client.get("/short").status_code == 405


def test_predict_takes_the_short_way():
    assert set(FastPath(None, http=lambda: None)._routes) == {("POST", "/predict")}
