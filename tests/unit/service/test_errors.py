"""Every error leaves as problem+json, by one table."""

import gc
import json

import pytest
from fastapi import FastAPI
from pydantic import BaseModel
from starlette.testclient import TestClient

from adapters import errors as tree
from service import errors
from service.access.refusals import Forbidden, Unauthorized
from service.errors import RETRYABLE, TABLE, problem, status_of


def kinds() -> list[type[tree.EspalierError]]:
    found, queue = [], [tree.EspalierError]
    while queue:
        kind = queue.pop()
        found.append(kind)
        queue += kind.__subclasses__()
    return found


@pytest.mark.parametrize("kind", kinds(), ids=lambda kind: kind.__name__)
def test_every_error_has_a_row_a_code_and_a_sentence(kind):
    assert kind in TABLE, "add it to the table in service/errors.py"
    assert kind.code.replace("_", "").isalpha() and kind.code.islower()
    assert kind.__doc__ and kind.__doc__.strip().endswith((".", ")."))
    status, title = status_of(kind("what happened"))
    assert 400 <= status < 600 and title


def test_no_two_errors_share_a_code():
    codes = [kind.code for kind in kinds()]
    assert len(set(codes)) == len(codes)


def test_the_callers_errors_are_4xx_and_ours_are_5xx():
    for kind in kinds():
        mine = issubclass(
            kind, tree.InvalidInput | tree.NotFound | tree.Conflict | tree.Overloaded | tree.QuotaExceeded
        )
        mine = mine or issubclass(kind, tree.IdempotencyConflict | tree.Cancelled | tree.StaleReplica)
        mine = mine or issubclass(kind, Unauthorized | Forbidden)
        assert (status_of(kind("x"))[0] < 500) == mine, kind


@pytest.fixture
def client():
    app = FastAPI()
    errors.install(app)
    raised: dict[str, Exception] = {}

    class Body(BaseModel):
        number: int

    @app.get("/raise/{name}")
    def fail(name: str) -> None:
        raise raised[name]

    @app.post("/body")
    def body(body: Body) -> None: ...

    with TestClient(app, raise_server_exceptions=False) as client:
        client.raised = raised
        yield client


def test_an_error_says_code_detail_and_item(client):
    client.raised["x"] = tree.InvalidImage("image 17: not an image", item="image 17")
    answer = client.get("/raise/x")
    assert (answer.status_code, answer.headers["content-type"]) == (422, "application/problem+json")
    body = answer.json()
    assert body.pop("request_id") == answer.headers["x-request-id"]
    assert body == {
        "type": "urn:espalier:error:invalid_image", "title": "Not a usable image", "status": 422,
        "detail": "image 17: not an image", "code": "invalid_image", "item": "image 17",
    }  # fmt: skip


def test_a_subclass_without_a_row_has_that_of_the_class_above():
    blurred = type("Blurred", (tree.InvalidImage,), {"code": "blurred"})
    assert status_of(blurred("too blurred")) == TABLE[tree.InvalidImage]
    del blurred
    gc.collect()  # or the test of the reference pages would look for it


def test_overload_and_not_ready_say_when_to_come_back(client):
    client.raised["busy"] = tree.Overloaded("later", retry_after=2.1)
    client.raised["soon"] = tree.NotReady("starting")
    assert client.get("/raise/busy").headers["retry-after"] == "3"
    assert client.get("/raise/soon").headers["retry-after"] == "1"
    assert set(RETRYABLE) == {429, 503}


def test_an_unexpected_error_tells_strangers_nothing(client):
    client.raised["x"] = ValueError("the password is hunter2")
    answer = client.get("/raise/x")
    assert (answer.status_code, answer.json()["code"]) == (500, "internal_error")
    assert "hunter2" not in answer.text


def test_fastapis_own_refusals_are_problems_too(client):
    answer = client.post("/body", json={"number": "many"})
    assert (answer.status_code, answer.json()["code"], answer.json()["item"]) == (422, "invalid_input", "number")
    missing = client.get("/nowhere")
    assert (missing.status_code, missing.json()["code"]) == (404, "route_not_found")
    wrong = client.get("/body")
    assert (wrong.status_code, wrong.json()["code"]) == (405, "method_not_allowed")
    assert wrong.headers["allow"] == "POST"


def test_a_problem_leaves_out_what_is_not_known():
    body = json.loads(problem(404, "No such head", "no head", "head_not_found", item=None).body)
    assert "item" not in body


def test_a_job_that_meets_damage_says_how_it_is_mended():
    """Not to look into a log."""
    from adapters.errors import ExampleDamaged
    from service.processes import failures

    told = failures.of(ExampleDamaged("the example x is damaged; send it again", item="x")).error(5)
    assert told["code"] == "example_damaged" and "espalier check" in told["message"] and "log" not in told["message"]
