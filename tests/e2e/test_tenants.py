"""Nobody reads, changes or learns of another tenant's data: every route is asked for it.

Each operation of the OpenAPI document is asked twice by somebody who is not the owner: with the owner's names and ids,
and with names and ids that never were. Both answers must be the same. A new operation is asked, too, or fails here.
"""

import re
from typing import Any

import httpx
import pytest
from support.pictures import SHAPES, shape, shapes
from support.services import Service, eventually

from service.access.rules import OPEN, TABLE
from service.api import application
from service.client import Client

OPERATOR = "the-operators-own-key-of-40-characters-!"
OWNER, STRANGER = "zq-owner", "zq-stranger"  # tenants whose names are in nobody's words
HEAD, NO_HEAD = "zqcats", "zqdogs"
PICTURE = shape("circle", 4711)
OPERATIONS = sorted(
    (path, method.upper()) for path, ways in application.build().openapi()["paths"].items() for method in ways
)
VERBS = {(path, method): verb for path, ways in TABLE for method, verb in ways.items()}
Names = dict[str, Any]


def form(names: Names, field: str = "images", **fields: str) -> dict[str, Any]:
    return {"data": {"head": names["head"]} | fields, "files": [(field, ("a.png", PICTURE))]}


# What is sent beside the names in the address; a route that takes a body and has no row here fails the test.
SENT: dict[tuple[str, str], Any] = {
    ("/predict", "POST"): form,
    ("/bento/predict", "POST"): lambda n: form(n, "image"),
    ("/embed", "POST"): lambda n: {"files": [("images", ("a.png", PICTURE))]},
    # One example more is enough for the owner's head, and not for one of the stranger's own.
    ("/finetune", "POST"): lambda n: form(n, labels="circle"),
    ("/jobs", "GET"): lambda n: {"params": {"head": n["head"]}},
    ("/heads", "GET"): lambda n: {"params": {"after": n["head"]}},
    ("/heads/{head}/compare", "GET"): lambda n: {"params": {"a": "1", "b": "live"}},
    ("/heads/{head}/suggest", "POST"): lambda n: {"files": [("images", ("a.png", PICTURE))]},
    ("/heads/{head}/labels", "POST"): lambda n: {"json": {"drop": ["circle"]}},
    ("/heads/{head}/rebuild", "POST"): lambda n: {"json": {"backbone": n["backbone"]}},
    ("/heads/{head}/aliases/{alias}", "PUT"): lambda n: {"json": {"version": 1}},
    ("/heads/{head}/rollout", "PUT"): lambda n: {"json": {"version": 1, "weight": 0.5}},
    ("/heads/{head}/sampling", "PUT"): lambda n: {"json": {"enabled": True}},
    ("/heads/{head}/samples/labels", "POST"): lambda n: {"json": {"labels": {n["sha256"]: "square"}}},
    ("/heads/{head}/examples/relabel", "POST"): lambda n: {"json": {"labels": {n["sha256"]: "square"}}},
    ("/heads/{head}/examples/delete", "POST"): lambda n: {"json": {"sha256": [n["sha256"]]}},
    ("/heads/{head}/examples/{sha256}", "PATCH"): lambda n: {"json": {"label": "square"}},
    ("/keys", "POST"): lambda n: {"json": {"name": "x", "scopes": ["read"], "tenant": n["tenant"]}},
    ("/keys/{key_id}/rotate", "POST"): lambda n: {"json": {}},
    ("/quotas", "PUT"): lambda n: {"json": {"tenant": n["tenant"], "limits": {"heads": 5}}},
    # The log grows while it is asked.
    ("/audit", "GET"): lambda n: {"params": {"tenant": n["tenant"], "since": "2100-01-01T00:00:00Z"}},
}
SAMPLE = "/heads/{head}/samples/{sha256}"
TRUNK = "/heads/{head}/versions/{version}/trunk.onnx"
NOT_THERE = ("/heads/{head}/rollout", f"{SAMPLE}/image", f"{SAMPLE}/content", TRUNK)  # to the owner either
BARE = {("/jobs/{job_id}/cancel", "POST")}  # that take no body


@pytest.fixture(scope="module")
def service(prepared, tmp_path_factory):
    import shutil

    home = shutil.copytree(prepared, tmp_path_factory.mktemp("tenants") / "home")
    service = Service(home, {"admin_key": OPERATOR})
    try:
        yield service.start()
    finally:
        service.stop()


def client(service: Service, tenant: str, *scopes: str) -> Client:
    body = {"name": "test", "tenant": tenant, "scopes": list(scopes)}
    made = httpx.post(f"{service.url}/keys", json=body, headers={"Authorization": f"Bearer {OPERATOR}"})
    assert made.status_code == 201, made.text
    return Client(service.url, key=made.json()["key"], timeout=120)


@pytest.fixture(scope="module")
def owner(service):
    with client(service, OWNER, "admin") as owner:
        yield owner


@pytest.fixture(scope="module")
def strangers(service):
    """Of another tenant, and of the default one, whom everything from before there were tenants belongs to."""
    verbs = ("predict", "read", "teach", "manage", "metrics")
    with client(service, STRANGER, "admin") as other, client(service, "", *verbs) as default:
        yield {"other": other, "default": default}


@pytest.fixture(scope="module")
def theirs(owner) -> Names:
    """What the owner's things are called."""
    job = owner.finetune(HEAD, shapes(SHAPES[:2], 6), method="prototype", wait=60, idempotency_key="same")
    job = owner.wait(job["id"])
    assert job["status"] == "succeeded", job["error"]
    eventually(lambda: owner.predict([HEAD], [PICTURE]))
    key_id = owner._http.get("/keys").json()["keys"][0]["id"]
    example = next(owner.examples(HEAD))
    return {"head": HEAD, "version": 1, "alias": "live", "sha256": example["sha256"], "job_id": job["id"],
            "key_id": key_id, "tenant": OWNER, "backbone": job["request"]["backbone"]}  # fmt: skip


@pytest.fixture(scope="module")
def nobodys(theirs) -> Names:
    """The same of things that never were."""
    changes = {"head": NO_HEAD, "sha256": theirs["sha256"], "job_id": f"job_{'0' * 24}", "key_id": "a" * 10}
    return theirs | changes | {"tenant": "zq-nobody"}


def ask(who: Client, path: str, method: str, names: Names) -> tuple[int, str, dict[str, str]]:
    """(status, text, headers), with names that differ by what was asked made one, and what differs by the moment."""
    given = dict(SENT.get((path, method), lambda n: {})(names))
    headers = {"X-Request-Id": "the-same"} | given.pop("headers", {})
    answer = who._http.request(method, path.format(**names), headers=headers, **given)
    text = re.sub(r'("[a-z]+_for_seconds"):[0-9.]+', r"\1:0", answer.text)
    for name in ("head", "job_id", "key_id", "tenant"):
        text = text.replace(str(names[name]), f"<{name}>")
    kept = {k: v for k, v in answer.headers.items() if k not in ("date", "content-length")}
    return answer.status_code, text, kept


@pytest.mark.parametrize(("path", "method"), OPERATIONS)
def test_not_yours_is_not_there(theirs, nobodys, strangers, path, method):
    """Status, body and headers; a route with a name that is not known here, or a body that is not, fails."""
    if VERBS[path, method] == OPEN or path == "/metrics":
        return
    if method in ("POST", "PUT", "PATCH"):
        assert (path, method) in SENT or (path, method) in BARE, "say above what this route is sent"
    for name, who in strangers.items():
        there, gone = ask(who, path, method, theirs), ask(who, path, method, nobodys)
        assert there == gone, name
        if "{" in path:
            assert there[0] in (403, 404), name
        assert OWNER not in there[1] or path == "/keys", name


@pytest.mark.parametrize("form", ["{t}/{h}", "/{h}", "{t}//{h}", "{t}/{h}@1", "../{t}/{h}"])
def test_no_name_reaches_over_to_another_tenant(theirs, strangers, form):
    named = form.format(t=OWNER, h=HEAD)
    for who in strangers.values():
        asked = who._http.post("/predict", data={"head": named}, files=[("images", ("a.png", PICTURE))])
        assert asked.status_code == 422, "it is no name of a head"
        assert who._http.get("/jobs", params={"head": named}).json()["jobs"] == []
        listed = who._http.get("/heads", params={"after": named.partition("@")[0]}).json()["heads"]
        assert all(head["name"] != HEAD for head in listed)
        assert who._http.get(f"/heads/{named.replace('/', '%2F')}").status_code == 404


def test_what_was_asked_left_the_owners_things_as_they_are(owner, theirs, strangers):
    assert owner.head(HEAD)["aliases"] == {"live": 1} and len(list(owner.examples(HEAD))) == 12
    assert owner.job(theirs["job_id"])["status"] == "succeeded" and len(owner.jobs()) == 1
    assert owner._http.get(f"/keys/{theirs['key_id']}").json()["status"] == "good"


def test_nothing_that_the_owner_sees_has_the_tenants_name_in_it(owner, theirs):
    """Names are the owner's own: in heads, jobs, events, manifests, reports and errors."""
    for path, method in OPERATIONS:
        if method != "GET" or path.startswith("/keys"):
            continue
        status, text, headers = ask(owner, path, "GET", theirs)
        wanted = {"metrics": 403}.get(VERBS[path, "GET"], 404 if path in NOT_THERE else 200)
        assert status == wanted, (path, status, text)
        if not path.endswith("head.onnx"):  # says whose it is, so that no two tenants' are the same file
            assert f"{OWNER}/" not in text + str(headers), path
    missing = owner._http.get("/heads/nothing").json()
    assert missing["item"] == "nothing" and "'nothing'" in missing["detail"]


def whose_embeddings(service):
    return {row["backbone"].partition("/")[0] for row in service.rows("embeddings")}


def test_each_tenant_has_names_keys_and_examples_of_its_own(service, owner, strangers, theirs):
    """The same name, Idempotency-Key and photos, taught by another: its own job, embedded anew, and gone."""
    other = strangers["other"]
    job = other.finetune(HEAD, shapes(SHAPES[:2], 6), method="prototype", wait=60, idempotency_key="same")
    job = other.wait(job["id"])
    assert job["status"] == "succeeded" and job["id"] != theirs["job_id"] and job["version"] == 1
    mine, whose = other.job(job["id"])["report"], owner.job(theirs["job_id"])["report"]
    assert mine["embedding"] | {"seconds": 0} == whose["embedding"] | {"seconds": 0}, (
        "what others had embedded is embedded again, and nothing says otherwise"
    )
    digests = {who.head(HEAD)["versions"][0]["digest"] for who in (owner, other)}
    assert len(digests) == 2
    other.delete_head(HEAD)
    eventually(lambda: STRANGER not in whose_embeddings(service))  # they go with the last job that holds them
    assert OWNER in whose_embeddings(service)
    assert owner.image(HEAD, theirs["sha256"]) and owner.predict([HEAD], [PICTURE])


def test_lists_hold_what_a_pattern_fits(service, owner, theirs):
    narrow = client(service, OWNER, "read:zq*")
    nothing = client(service, OWNER, "read:zq", "read:*-x")
    assert [head["name"] for head in narrow.heads()] == [HEAD] and len(narrow.jobs()) >= 1
    assert nothing.heads() == nothing.jobs() == []
    assert nothing._http.get(f"/jobs/{theirs['job_id']}").status_code == 404
    assert nothing._http.get(f"/heads/{HEAD}").json()["item"] == f"read:{HEAD}"
    for who in (narrow, nothing):
        who.close()


def test_the_log_says_whose_a_head_is_and_no_key(service, owner, theirs):
    log = service.log.read_text()
    assert "esp_" not in log and OPERATOR not in log
    assert not [line for line in log.splitlines() if "Traceback" in line]
