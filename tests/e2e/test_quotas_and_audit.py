"""Quotas, rates and the audit log over HTTP, on a running service, and by the command line beside it."""

import json
import re
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest
from support.pictures import shape, shapes
from support.services import Service, espalier, eventually

from service.client import ApiError

ASKS = {"/predict", "/embed", "/bento/predict", "/heads/{head}/suggest"}  # POST, and they change nothing
QUICK = {"method": "prototype", "wait": 60.0}


@pytest.fixture(scope="module")
def plan(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What the worker does with jobs of heads that are called so; see support/hooks/sitecustomize.py."""
    return tmp_path_factory.mktemp("plan")


@pytest.fixture(scope="module")
def service(prepared: Path, tmp_path_factory: pytest.TempPathFactory, plan: Path) -> Iterator[Service]:
    """One of this file's own: limits hold for all who ask."""
    home = Path(shutil.copytree(prepared, tmp_path_factory.mktemp("audited") / "home"))
    service = Service(home, {"trusted_proxies": "127.0.0.1,10.0.0.0/8", "tenant_heads": 50}, plan)
    try:
        yield service.start()
    finally:
        service.stop()


@pytest.fixture
def limits(service: Service) -> Iterator[object]:
    """Sets limits for a test."""
    names: set[str] = set()

    def put(**values: object) -> None:
        names.update(values)
        answer = service.http.put("/quotas", json={"limits": values})
        assert answer.status_code == 200, answer.text

    yield put
    put(**dict.fromkeys(names, "default"))
    eventually(lambda: service.http.get("/limits").status_code == 200)


def rows(service: Service, after: int = 0) -> list[dict]:
    found: list[dict] = []
    while True:
        page = service.http.get("/audit", params={"after": after, "limit": 1000}).json()
        found += page["rows"]
        if page["next"] is None:
            return found
        after = int(page["next"])


def newest(service: Service) -> int:
    return max((row["sequence"] for row in rows(service)), default=0)


def taught(service: Service, head: str, **options: object) -> dict:
    job = service.client.finetune(head, shapes(("circle", "square"), 8), **(QUICK | options))
    assert job["status"] == "succeeded", job["error"]
    return job


def problem(answer: object) -> dict:
    assert answer.headers["content-type"].startswith("application/problem+json")
    return answer.json()


# The audit log


def writing(document: dict) -> list[tuple[str, str]]:
    """Every route that may change something."""
    return [
        (method.upper(), path)
        for path, operations in document["paths"].items()
        for method in operations
        if method in ("post", "put", "patch", "delete") and path not in ASKS
    ]


def alike(action: str) -> str:
    return re.sub(r"\{[^}]+\}", "{}", action)


@pytest.mark.slow
def test_every_writing_route_leaves_a_row(service):
    """Also of a request that is refused, and of a route that nobody thought of here."""
    before, asked = newest(service), []
    for number, (method, path) in enumerate(writing(service.http.get("/openapi.json").json())):
        address = re.sub(r"\{[^}]+\}", "a" * 64, path).replace("/versions/" + "a" * 64, "/versions/7")
        answer = service.http.request(method, address, json={}, headers={"X-Forwarded-For": f"203.0.113.{number}"})
        assert answer.status_code < 500, answer.text
        asked.append(alike(f"{method} {path}"))
    assert len(asked) >= 12

    def told():
        found = {alike(row["action"]): row for row in rows(service, before)}
        return found if set(asked) <= set(found) else None

    found = eventually(told)
    for number, action in enumerate(asked):
        row = found[action]
        assert row["outcome"] == "refused" and 400 <= row["status"] < 500
        assert row["address"] == f"203.0.113.{number}" and row["principal"] == "local" and row["request_id"]


@pytest.fixture
def busy(service: Service, plan: Path) -> Iterator[None]:
    """The worker is at a job that does not end meanwhile, so that others wait."""
    held = service.client.finetune("hold-training", shapes(("circle", "square"), 8), method="prototype")
    eventually(lambda: (plan / f"{held['id']}-training").exists())
    yield
    service.client.cancel(held["id"])
    (plan / "go").touch()


@pytest.mark.slow
def test_a_job_that_is_cancelled_while_it_waits_is_in_the_log(service, busy):
    before = newest(service)
    waiting = service.client.finetune("cancelled", shapes(("circle", "square"), 8), method="prototype")
    assert service.client.cancel(waiting["id"])["status"] == "cancelled"
    found = [(row["action"], row["what"]) for row in rows(service, before)]
    assert ("job.cancel", {"head": "cancelled", "job": waiting["id"]}) in found


@pytest.mark.slow
def test_what_is_changed_is_in_the_log_with_all_that_it_was(service):
    before = newest(service)
    job = taught(service, "audited")
    sha = next(row["sha256"] for row in service.client.examples("audited") if row["label"] == "circle")
    assert service.client.relabel("audited", {sha: "square"}, wait=60)["status"] in ("succeeded", "rejected")
    service.client.set_alias("audited", "canary", 1)
    service.http.delete("/heads/audited/aliases/canary")
    service.client.delete_head("audited")
    found = [(row["action"], row["what"]) for row in rows(service, before)]
    made = {"head": "audited", "job": job["id"], "examples": 16, "mode": "append"}
    assert ("job.create", made) in found
    assert ("version.publish", {"head": "audited", "version": 1, "job": job["id"], "alias": "live"}) in found
    assert any(action == "job.create" and what.get("edit") == "relabel" for action, what in found)
    assert ("alias.set", {"head": "audited", "alias": "canary", "version": 1}) in found
    assert ("alias.delete", {"head": "audited", "alias": "canary"}) in found
    assert ("head.delete", {"head": "audited"}) in found
    by = {row["action"]: row["principal"] for row in rows(service, before)}
    assert by["job.create"] == "local" and by["version.publish"].startswith("worker:")


def test_predictions_and_reads_leave_no_row(service):
    taught(service, "read")
    before = newest(service)
    service.client.predict(["read"], [shape("circle", 1)])
    service.client.embed([shape("circle", 1)])
    service.client.suggest("read", [shape("circle", 1)])
    service.client.heads()
    service.client.delete_head("read")
    assert [row["action"] for row in rows(service, before)] == ["head.delete"]


def test_only_a_trusted_proxy_says_from_where(service):
    def address_of(headers: list[tuple[str, str]]) -> str:
        before = newest(service)
        service.http.delete("/heads/nobody", headers=headers)
        return eventually(lambda: rows(service, before))[0]["address"]

    assert address_of([]) == "127.0.0.1"
    assert address_of([("X-Forwarded-For", "198.51.100.1, 203.0.113.9, 10.1.2.3")]) == "203.0.113.9"
    assert address_of([("X-Forwarded-For", "not an address")]) == "127.0.0.1"


def test_refused_changes_are_bounded(service):
    before = newest(service)
    for _ in range(80):
        service.http.delete("/heads/nobody", headers={"X-Forwarded-For": "198.51.100.77"})
    mine = eventually(lambda: len(found := rows(service, before)) >= 30 and found)
    assert len(mine) <= 62, "30 a minute, and a minute may have ended in between, with a row for those without one"
    assert "espalier_audit_omitted_total 0.0" not in service.http.get("/metrics").text


@pytest.mark.slow
def test_the_log_is_exported_and_verified_beside_the_service(service):

    said = espalier("audit", "export", home=service.home).stdout.splitlines()
    exported = [json.loads(line) for line in said]
    assert [row["sequence"] for row in exported] == list(range(1, len(exported) + 1))
    verdict = json.loads(espalier("audit", "verify", "--json", home=service.home).stdout)
    assert verdict["problem"] is None and verdict["rows"] >= len(exported)
    noted = f"{exported[-1]['sequence']}:{exported[-1]['hash']}"
    assert espalier("audit", "verify", "--expect", noted, home=service.home).returncode == 0
    wrong = f"{exported[-1]['sequence']}:{'0' * 64}"
    assert espalier("audit", "verify", "--expect", wrong, home=service.home, check=False).returncode == 1
    assert espalier("audit", "export", "--since", "2100-01-01", home=service.home).stdout == ""


def test_pages_of_the_log_are_asked_for_as_documented(service):
    first = service.http.get("/audit", params={"limit": 1}).json()
    assert len(first["rows"]) == 1 and first["next"] == "1"
    assert service.http.get("/audit", params={"since": "2100-01-01T00:00:00Z"}).json()["rows"] == []
    assert service.http.get("/audit", params={"since": "yesterday"}).status_code == 422


# Quotas


def test_a_quota_is_refused_with_what_there_is_and_the_fix(service, limits):
    taught(service, "first")
    have = service.http.get("/limits").json()["tenant"]
    assert have["limits"]["heads"] == 50 and have["used"]["heads"] >= 1
    limits(heads=have["used"]["heads"])
    with pytest.raises(ApiError) as caught:
        service.client.finetune("second", shapes(("circle", "square"), 8), **QUICK)
    assert (caught.value.status, caught.value.code) == (429, "quota_exceeded")
    assert caught.value.problem["item"] == "heads" and "DELETE /heads" in str(caught.value)
    assert caught.value.problem["used"] == caught.value.problem["limit"] == have["used"]["heads"]
    taught(service, "first", mode="replace")
    service.client.delete_head("first")
    taught(service, "second")
    service.client.delete_head("second")
    assert 'espalier_quota_exceeded_total{quota="heads"} 1.0' in service.http.get("/metrics").text


@pytest.mark.parametrize("quota", ["examples", "bytes"])
def test_what_was_refused_leaves_nothing_behind(service, limits, quota):
    before, blobs = service.http.get("/limits").json()["tenant"]["used"], service.blobs()
    limits(**{quota: before[quota] + 1})
    with pytest.raises(ApiError, match="would get"):
        service.client.finetune("much", shapes(("circle", "cross"), 8), **QUICK)
    assert service.http.get("/limits").json()["tenant"]["used"] == before
    eventually(lambda: service.blobs() <= blobs)


def test_a_limit_of_jobs_is_known_before_any_image_is_looked_at(service, limits):
    limits(jobs=0)
    form = {"data": {"head": "x", "labels": "cat"}, "files": {"images": ("a.png", b"no image")}}
    answer = service.http.post("/finetune", **form)
    assert (answer.status_code, answer.headers["retry-after"]) == (429, "5"), answer.text
    told = problem(answer)
    assert (told["code"], told["item"], told["limit"], told["used"]) == ("quota_exceeded", "jobs", 0, 0)


@pytest.mark.parametrize(
    "body",
    [{"limits": {"heads": -1}}, {"limits": {"heads": "many"}}, {"limits": {"cats": 1}}, {},
     {"tenant": "No Tenant", "limits": {"heads": 1}}],
)  # fmt: skip
def test_what_is_no_quota_is_422(service, body):
    assert problem(service.http.put("/quotas", json=body))["status"] == 422


@pytest.mark.slow
def test_the_command_line_sets_what_the_service_follows(service):
    assert "heads 50" in espalier("quotas", "list", home=service.home, tenant_heads=50).stdout
    said = espalier("quotas", "set", "acme", "heads=3", "bytes=5e9", home=service.home).stdout
    assert said == "tenant acme: heads 3, bytes 5,000,000,000\n"
    espalier("quotas", "set", "acme", "--key", "key_1", "jobs=unlimited", "inputs_per_second=7", home=service.home)
    found = service.http.get("/quotas").json()["quotas"]
    assert {(row["tenant"], row["key"]) for row in found} >= {("acme", ""), ("acme", "key_1")}
    assert json.loads(espalier("quotas", "--json", home=service.home).stdout)["quotas"] == found
    done = espalier("quotas", "set", "acme", "cats=3", home=service.home, check=False)
    assert done.returncode == 1 and "there is no quota 'cats'" in done.stderr
    changes = [row for row in rows(service) if row["action"] != "audit.omitted"]  # which comes when a minute is over
    assert changes[-1]["principal"] == "operator"


# Rates


def test_too_many_requests_are_told_when_to_come_back(service, limits):
    limits(requests_per_second=0.2)

    def limited():
        answer = service.http.get("/heads")
        return answer if answer.status_code == 429 else None

    answer = eventually(limited)
    assert problem(answer)["code"] == "rate_limited" and 1 <= int(answer.headers["retry-after"]) <= 5
    assert answer.headers["ratelimit-policy"] == '"requests";q=1;w=5'
    assert answer.headers["ratelimit"].startswith('"requests";r=0;t=')
    for probe in ("/livez", "/readyz"):
        assert service.http.get(probe).status_code == 200
    eventually(lambda: service.http.put("/quotas", json={"limits": {"requests_per_second": "default"}}).is_success)
    eventually(lambda: "ratelimit" not in service.http.get("/heads").headers or None)


def test_inputs_are_counted_one_by_one(service, limits):
    limits(inputs_per_second=2)
    eventually(lambda: "ratelimit-policy" in service.http.get("/heads").headers or None)

    def embed(count: int) -> object:
        return service.http.post("/embed", files=[("images", (f"{n}.png", shape("bar", n))) for n in range(count)])

    first = eventually(lambda: (answer := embed(20)).status_code == 200 and answer)
    assert first.headers["ratelimit-policy"] == '"inputs";q=2;w=1;qu="inputs"'
    assert first.headers["ratelimit"].startswith('"inputs";r=0;t=')
    refused = embed(1)
    assert refused.status_code == 429 and problem(refused)["item"] == "inputs"
    assert service.http.get("/heads").status_code == 200
