"""What a request caused can be found by its id: in its answer, on its job, in every line and in one trace."""

import json
import subprocess
import sys

import pytest
from support import collector
from support.pictures import shape, shapes
from support.raw import exchange
from support.services import Service, eventually, kill

TRACE = "4bf92f3577b34da6a3ce929d0e0e4736"
PARENT = f"00-{TRACE}-00f067aa0ba902b7-01"
PNG = {"content-type": "image/png"}
SECRETS = ("Bearer-of-a-secret", "query-secret", "cookie-secret", "field-secret")


def lines(service: Service) -> list[dict]:
    """All that its processes said, each line of which must be JSON."""
    return [json.loads(line) for line in service.log.read_text().splitlines()]


def finetune(service: Service, head: str, **headers: str) -> dict:
    """The job that ended, sent with headers of one's own."""
    service.http.headers.update(headers)
    job: dict = service.client.finetune(head, shapes(), method="prototype", wait=60)
    for name in headers:
        del service.http.headers[name]
    return job


@pytest.mark.slow
def test_every_line_is_json_and_tells_whose_it_is(own_server) -> None:
    service = own_server(log_format="json", access_log="true")
    sent = {"x-request-id": "order-66", "authorization": SECRETS[0], "cookie": f"a={SECRETS[2]}"}
    job = finetune(service, "shapes", **sent)
    assert (job["status"], job["request_id"]) == ("succeeded", "order-66")
    asked = {"head": "shapes", "token": SECRETS[1]}
    service.http.post("/predict", params=asked, content=shape("circle", 1), headers=PNG)
    service.http.post("/predict", data={"head": SECRETS[3]}, files={"images": ("a.png", b"no image")})
    for pid in service.pids("service.app:Espalier"):
        kill(pid)
    eventually(lambda: service.client.is_ready())
    service.stop()
    found = lines(service)
    of_job = [line for line in found if line.get("job_id") == job["id"]]
    whose = {(line["request_id"], line["tenant"], line["head"]) for line in of_job}
    assert whose == {("order-66", "default", "shapes")}
    assert of_job[-1]["version"] == 1 and "succeeded" in of_job[-1]["message"]
    served = [line for line in found if line["logger"] == "espalier.access" and line["path"] == "/finetune"]
    assert [(line["status"], line["request_id"], line["tenant"]) for line in served] == [(200, "order-66", "default")]
    assert {"espalier.supervisor", "espalier.worker", "espalier.access"} <= {line["logger"] for line in found}
    text = service.log.read_text()
    assert [secret for secret in SECRETS if secret in text] == []


def test_every_answer_tells_its_id(server) -> None:
    """Also those that no route gave, and that no request could be made of."""
    wanted = [("GET", "/livez"), ("GET", "/nowhere"), ("PUT", "/predict"), ("GET", "/jobs/none"), ("GET", "/metrics")]
    for method, path in wanted:
        answer = server.http.request(method, path, headers={"X-Request-Id": "mine"})
        assert answer.headers.get_list("x-request-id") == ["mine"], path
        if answer.status_code >= 400:
            assert answer.json()["request_id"] == "mine"
    of_others = server.http.get("/livez", headers={"Host": "evil.example", "X-Request-Id": "bad id"})
    assert of_others.status_code == 403 and len(of_others.json()["request_id"]) == 32
    assert of_others.headers["x-request-id"] == of_others.json()["request_id"]
    assert exchange(server.port, b"no http at all\r\n\r\n").headers["x-request-id"]


@pytest.mark.slow
def test_a_trace_leads_from_the_caller_through_the_job_into_the_worker(own_server, monkeypatch) -> None:
    with collector.running() as found:
        for name, value in found.environment().items():
            monkeypatch.setenv(name, value)
        service = own_server(tracing="true")
        assert finetune(service, "shapes", traceparent=PARENT)["status"] == "succeeded"
        steps = {"validate", "embed", "train", "race", "evaluate", "export", "parity", "publish", "gate", "finish"}
        eventually(lambda: {"POST /finetune", "finetune", *steps} <= found.of(TRACE).keys())
        spans = found.of(TRACE)
        assert spans["POST /finetune"].parent == "00f067aa0ba902b7"
        assert spans["finetune"].parent == spans["POST /finetune"].id
        assert spans["race"].parent == spans["train"].id and spans["train"].parent == spans["finetune"].id
        told = {"espalier.head": "shapes", "espalier.tenant": "default", "espalier.request_id": TRACE}
        assert told.items() <= spans["finetune"].attributes.items()
        assert spans["POST /finetune"].attributes["espalier.tenant"] == "default"
        assert {span.service for span in spans.values()} == {"espalier"}
        other = TRACE[::-1]
        asked = {"head": "shapes"}
        headers = {"traceparent": f"00-{other}-00f067aa0ba902b7-01"} | PNG
        service.http.post("/predict", params=asked, content=shape("circle", 5), headers=headers).raise_for_status()
        served = {"POST /predict", "embed", "wait", "decode", "backbone", "heads"}
        eventually(lambda: served <= found.of(other).keys())
        parts = found.of(other)
        assert {parts[name].parent for name in ("embed", "heads")} == {parts["POST /predict"].id}
        assert {parts[name].parent for name in ("wait", "decode", "backbone")} == {parts["embed"].id}
        assert parts["POST /predict"].attributes["http.response.status_code"] == 200
        not_sampled = f"00-{'a' * 32}-00f067aa0ba902b7-00"
        service.http.get("/heads", headers={"traceparent": not_sampled})
        service.stop()
        assert not found.of("a" * 32)


@pytest.mark.parametrize("what", ["service.processes.worker", "service.app"])
def test_nothing_of_tracing_is_imported_while_it_is_off(what) -> None:
    code = f"import {what}, service.operations.logs, sys; print([m for m in sys.modules if m.endswith('.tracing')])"
    done = subprocess.run([sys.executable, "-W", "ignore", "-c", code], capture_output=True, text=True, check=True)
    assert "service.operations.tracing" not in done.stdout
