"""What is said of routes, by the service itself and by its OpenAPI document."""

import pytest
from starlette.testclient import TestClient

from service.api import application

APP = application.build()
METHODS = ("GET", "POST", "PUT", "PATCH", "DELETE", "OPTIONS")
PATHS = {path: {method.upper() for method in methods} for path, methods in APP.openapi()["paths"].items()}


def kinds(schema: dict) -> list[str]:
    """The types that a value may have."""
    return [found.get("type", "") for found in (schema, *schema.get("anyOf", ()))]


@pytest.fixture(scope="module")
def client() -> TestClient:
    return TestClient(APP, raise_server_exceptions=False)


@pytest.mark.parametrize("path", PATHS)
def test_a_method_that_a_path_has_not_is_told_which_it_has(client, path):
    """405 with `Allow` of them all, whichever functions they belong to; some paths fit a pattern of others, too."""
    asked = path.replace("{", "").replace("}", "")
    for method in set(METHODS) - PATHS[path]:
        answer = client.request(method, asked)
        if answer.status_code == 503:  # a pattern with that method fits, and there is no context in this test
            continue
        assert (answer.status_code, answer.json()["code"]) == (405, "method_not_allowed"), (method, path)
        allowed = {name.strip() for name in answer.headers["allow"].split(",")}
        assert allowed == PATHS[path], "neither a method less nor one of another route that the path fits"
        assert answer.headers["content-type"] == "application/problem+json"


@pytest.mark.parametrize("path", PATHS)
def test_an_option_that_nothing_reads_is_refused(client, path):
    for method in PATHS[path]:
        answer = client.request(method, path.replace("{", "").replace("}", "") + "?coverag=0.9")
        assert (answer.status_code, answer.json()["item"]) == (422, "coverag"), (method, path)


NUMBERS = [
    (path, parameter["name"], parameter["in"])
    for path, methods in APP.openapi()["paths"].items()
    for parameter in methods.get("get", {}).get("parameters", [])
    if parameter["in"] in ("path", "query") and {"integer", "number"} & set(kinds(parameter["schema"]))
]


@pytest.mark.parametrize("sent", ["1_0", "1%0D%0A", "%201", "%D9%A1"])
@pytest.mark.parametrize(("path", "name", "place"), NUMBERS)
def test_a_number_that_only_python_reads_is_refused(client, path, name, place, sent):
    """`1_0` would be 10, a 1 with spaces around it and an Arabic one 1: another version than the one that was named."""
    asked = path.replace(f"{{{name}}}", sent).replace("{version}", "1").replace("{", "").replace("}", "")
    answer = client.get(asked if place == "path" else f"{asked}?{name}={sent}")
    assert (answer.status_code, answer.json()["item"]) == (422, name), answer.json()


@pytest.mark.parametrize("method", METHODS)
def test_where_nothing_is_no_method_is_either(client, method):
    answer = client.request(method, "/nowhere/at/all")
    assert (answer.status_code, answer.json()["code"]) == (404, "route_not_found") and "allow" not in answer.headers


def test_errors_are_documented_as_what_they_are():
    for path, methods in APP.openapi()["paths"].items():
        for method, operation in methods.items():
            assert "422" not in operation["responses"], "no route answers in FastAPI's own form"
            for status, response in operation["responses"].items():
                kinds = set(response.get("content", {}))
                if status[0] in "45":
                    assert kinds == {"application/problem+json"}, (method, path, status)
                else:
                    assert "application/problem+json" not in kinds
