"""schemathesis asks the running service, by names that stand for something and others, for what its document says."""

import json
import subprocess
import sys
from pathlib import Path

import pytest
from support.pictures import shapes
from support.recorder import check_history
from support.services import Service

CONFIG = Path(__file__).with_name("schemathesis.toml")
HOOKS = CONFIG.with_name("schemathesis_hooks.py")
HEADS = [f"known-{n}" for n in range(4)]
TIMEOUT = 280  # seconds; `max-time` of the configuration and what starting takes


@pytest.fixture(params=["sqlite", pytest.param("postgres", marks=pytest.mark.postgres)])
def service(request, own_server) -> Service:
    """A service with heads, versions, examples and jobs."""
    settings = {"database_url": request.getfixturevalue("empty_postgres")} if request.param == "postgres" else {}
    running = own_server(access="open", **settings)  # it makes keys, too, which would shut it out
    for head in HEADS:
        job = running.client.finetune(head, shapes(), method="prototype", wait=60)
        assert running.client.wait(job["id"])["status"] == "succeeded"
    return running


def names(service: Service) -> dict[str, list[str]]:
    """Parameter → values that stand for something."""
    jobs = [job["id"] for job in service.http.get("/jobs").json()["jobs"]]
    images = [example["sha256"] for example in service.client.examples(HEADS[0])]
    there = {"path.head": HEADS, "path.job_id": jobs, "path.sha256": images[:5], "path.alias": ["live", "canary"]}
    return there | {"query.head": HEADS, "query.a": ["1", "live"], "query.b": ["1", "live"]}


def configuration(service: Service) -> str:
    """The file beside this one, and the names as dictionaries, used every other time."""
    lines = [f"hooks = {json.dumps(str(HOOKS))}", CONFIG.read_text()]
    for n, values in enumerate(names(service).values()):
        lines += [f"[dictionaries.names{n}]", f"values = {json.dumps(values)}"]
    lines += ["[parameters]"]
    lines += [f'"{name}" = {{ dictionary = "names{n}", probability = 0.5 }}' for n, name in enumerate(names(service))]
    return "\n".join(lines)


@pytest.mark.parametrize("path", ["/heads/a%0Ab", "/jobs/%0A", "/no%0Awhere", "/heads/x/versions/1%0D%0A"])
@pytest.mark.parametrize("method", ["GET", "DELETE", "POST"])
def test_a_line_break_in_a_path_changes_nothing(server, method, path):
    """Patterns of routers take none of it by themselves, and what matches nothing had another form of answer."""
    answer = server.http.request(method, path)
    assert 404 <= answer.status_code <= 422 and answer.headers["content-type"] == "application/problem+json"


@pytest.mark.parametrize("body", ['{"version": true}', '{"version": "1"}', '{"version": 1, "expected": false}'])
def test_what_is_no_number_in_json_is_none_here(server, body):
    """The document says integer, and true is none."""
    answer = server.http.put("/heads/x/aliases/live", content=body, headers={"Content-Type": "application/json"})
    assert (answer.status_code, answer.json()["code"]) == (422, "invalid_input")
    label = server.http.patch(f"/heads/x/examples/{'0' * 64}", json={"label": True})
    assert (label.status_code, label.json()["code"]) == (422, "invalid_input")


@pytest.mark.parametrize("address", ["/heads?after=%00", "/jobs?head=%00", "/heads/x/examples?label=%00"])
def test_a_nul_to_look_by_is_refused_on_every_database(server, address):
    """As the document says: Postgres could not even be asked."""
    answer = server.http.get(address)
    assert (answer.status_code, answer.json()["code"]) == (422, "invalid_input")


@pytest.mark.slow
@pytest.mark.timeout(TIMEOUT + 120)
def test_the_service_does_what_its_document_says(service, tmp_path):
    """No 5xx, no status, form or header that is not documented, nothing taken that the document refuses.

    Whatever was asked, its rows and blobs are without a fault then. Which jobs there were is not compared: heads are
    deleted with theirs.
    """
    config = tmp_path / "schemathesis.toml"
    config.write_text(configuration(service))
    command = [str(Path(sys.executable).with_name("schemathesis")), "--config-file", str(config), "--no-color"]
    command += ["run", f"{service.url}/openapi.json"]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, timeout=TIMEOUT)
    assert done.returncode == 0, done.stdout[-20_000:]
    assert not [line for line in service.log.read_text().splitlines() if "Traceback" in line]
    check_history(service)


@pytest.mark.parametrize(
    ("method", "address", "body", "item"),
    [
        ("GET", "/audit?since=0.5", None, "since"),
        ("GET", f"/heads/x/samples?after=4%2B~{'0' * 64}", None, "after"),
        ("PUT", "/quotas", {"limits": {"heads": 1e163}}, "limits.heads"),
        ("PUT", "/quotas", {"limits": {"heads": "few"}}, "limits.heads"),
    ],
)
def test_what_the_document_does_not_allow_is_refused_by_its_name(server, method, address, body, item):
    answer = server.http.request(method, address, json=body)
    assert (answer.status_code, answer.json()["code"], answer.json()["item"]) == (422, "invalid_input", item)


def test_limits_without_any_change_nothing(server):
    answer = server.http.put("/quotas", json={"limits": {}})
    assert answer.status_code == 200 and answer.json()["set"] == {}


def test_every_json_body_is_told_of_a_field_that_is_not_there(server):
    """The misspelt one, and not the required one that is missing with it."""
    asked = []
    for path, methods in server.http.get("/openapi.json").json()["paths"].items():
        for method, operation in methods.items():
            if "application/json" in operation.get("requestBody", {}).get("content", {}):
                asked.append(path)
                address = path.format_map(
                    {"head": "x", "alias": "live", "sha256": "0" * 64, "key_id": "x", "version": 1}
                )
                answer = server.http.request(method, address, json={"no_such_field": 1})
                told = answer.json()
                assert (answer.status_code, told["item"]) == (422, "no_such_field"), (path, told)
                assert "here are" in told["detail"], told
    assert len(asked) > 8
