"""The bounds of `service.limits`, each by itself; on a real server they are in tests/e2e/test_limits.py."""

import importlib
import json
import pkgutil

import pytest
from fastapi.routing import APIRoute, APIRouter
from pydantic import ValidationError

from adapters.errors import InvalidInput, Overloaded, TooLarge
from service import api
from service.api import application
from service.api.heads.edit_schemas import DeleteExamplesRequest, LabelsRequest, RelabelRequest
from service.api.routing import Route
from service.intake.json_bodies import read
from service.intake.multipart import Sink
from service.limits import json_text
from service.limits.space import Space

SHA256S = [f"{number:064x}" for number in range(100_001)]


MODULES = [found.name for found in pkgutil.walk_packages(api.__path__, "service.api.")]


def test_every_route_is_of_the_kind_that_keeps_the_bounds():
    """A route added in another way would read JSON without bound, on the event loop, and share threads with writers."""
    modules = [importlib.import_module(name) for name in MODULES]
    routers = [module.router for module in modules if isinstance(getattr(module, "router", None), APIRouter)]
    ours = [route for router in routers for route in router.routes if isinstance(route, APIRoute)]
    documented = sum(len(methods) for methods in application.build().openapi()["paths"].values())
    assert documented <= sum(len(route.methods) for route in ours)
    assert all(isinstance(route, Route) for route in ours)


# JSON


@pytest.mark.parametrize(
    "text", ["[]", '{"a": [1, 2.5, null, "x"]}', json.dumps([{"a": [n, str(n)]} for n in range(15_000)])]
)
def test_both_readers_read_the_same(text):
    assert json_text.loads(text, 10**6) == json.loads(text)


WRONG = {"deep": "[" * 100_000, "cut off": "[" + "1," * 50_000, "digits": "1" * 5000, "short": "{"}


@pytest.mark.parametrize("text", WRONG.values(), ids=WRONG)
def test_what_cannot_be_read_is_a_value_error(text):
    with pytest.raises(ValueError):
        json_text.loads(text, 10**6)


MANY = ", ".join(f'"{number}": {{}}' for number in range(30_000))


@pytest.mark.parametrize(
    "text", ['{"a": 1, "a": 1}', '[{"b": {"a": 1, "c": 2, "a": 3}}]', f'{{"a": 0, {MANY}, "a": 1}}']
)
def test_a_key_that_comes_twice_is_refused_by_its_name_by_both_readers(text):
    """Python's own reader takes the last without a word."""
    with pytest.raises(json_text.Twice, match=r"'a' comes twice"):
        json_text.loads(text, 10**6)


@pytest.mark.parametrize("key", ["head", "\\ud800", "x" * 1000])
def test_a_body_with_a_key_twice_is_refused_with_the_key_as_the_item(key):
    with pytest.raises(InvalidInput, match="comes twice") as refused:
        read(f'{{"labels": {{"{key}": "a", "{key}": "b"}}}}'.encode(), RelabelRequest)
    assert refused.value.item in ("head", "?", "x" * 80) and refused.value.item.encode()


def test_a_text_of_too_many_values_is_not_read():
    with pytest.raises(json_text.TooMany):
        json_text.loads("[" + "[]," * 10 + "[]]", 20)


@pytest.mark.parametrize(
    "model, body",
    [
        (RelabelRequest, {"labels": dict.fromkeys(SHA256S[:-1], "a")}),
        (DeleteExamplesRequest, {"sha256": SHA256S[:-1]}),
        (LabelsRequest, {"rename": {f"class {n}": f"new {n}" for n in range(5000)}}),
    ],
)
def test_as_much_is_taken_as_is_documented(model, body):
    assert read(json.dumps(body).encode(), model).model_dump(exclude_defaults=True) == body


@pytest.mark.parametrize(
    "model, body, where",
    [
        (RelabelRequest, {"labels": dict.fromkeys(SHA256S, "a")}, "labels"),
        (RelabelRequest, {"labels": dict.fromkeys(SHA256S[:700], "a") | {"f" * 64: [1]}}, f"labels.{'f' * 64}"),
        (DeleteExamplesRequest, {"sha256": SHA256S}, "sha256"),
        (DeleteExamplesRequest, {"sha256": [*SHA256S[:700], "x"]}, "sha256.700"),
        (LabelsRequest, {"merge": {"a": [""]}}, "merge.a.0"),
    ],
)
def test_what_is_wrong_is_named(model, body, where):
    with pytest.raises(InvalidInput, match=f"^{where}"):
        read(json.dumps(body).encode(), model)


def test_few_errors_are_gathered_of_many():
    """Each costs a Python object, while nobody else runs."""
    wrong = {"labels": {sha256: [1] for sha256 in SHA256S[:20_000]}}
    with pytest.raises(ValidationError) as raised:
        RelabelRequest.model_validate(wrong)
    assert 0 < raised.value.error_count() <= 10_000


def test_a_small_body_of_many_values_is_too_large():
    with pytest.raises(TooLarge, match="values"):
        read(b'{"labels":[' + b"[]," * 50_000 + b"[]]}", RelabelRequest)


# Room for uploads


def test_what_was_held_is_given_back_whatever_happens():
    space = Space(100)
    with space.holding() as take, space.holding() as another, pytest.raises(Overloaded):
        take(60)
        another(60)
    assert space.bytes == 0


def test_one_upload_alone_may_be_larger_than_the_room():
    """Else a part of the bound, where several processes serve, might let in no large upload at all."""
    with Space(100).holding() as take:
        take(80)
        take(80)


def test_uploads_go_to_files_when_memory_for_them_is_used_up():
    space = Space(memory_bytes=10)
    first, second = Sink(space), Sink(space)
    for sink in (first, second):
        sink.write(memoryview(b"12345678"))
    assert (space.memory, space.temporary) == (8, 8)
    for sink in (first, second):
        sink.seal()
        assert bytes(sink.view()) == b"12345678"
        sink.close()
    assert (space.memory, space.temporary) == (0, 0)
