"""Heads, versions and aliases over HTTP: looked at, moved, deleted; and how the service is."""

import hashlib

import pytest
from support.inputs import of_pictures
from support.pictures import labeled, shape, shapes
from support.services import eventually
from support.teaching import KINDS, asking, finetune, metric, taught

from service.client import ApiError


def test_a_head_shows_its_versions_and_the_manifest_says_where_one_comes_from(server, shared):
    """GET /heads, /heads/{head}, its manifest and its graph agree."""
    head, job = shared
    assert head in [h["name"] for h in server.client.heads()]
    seen = server.client.head(head)
    assert seen["live"] == 1 and seen["aliases"] == {"live": 1} and seen["labels"] == sorted(KINDS)
    assert seen["metrics"] == job["metrics"]
    manifest = server.client.manifest(head, 1)
    version = seen["versions"][0]
    assert (manifest["head"], manifest["version"], manifest["job"]) == (head, 1, job["id"])
    assert manifest["classes"] == sorted(KINDS) and manifest["task"] == "classification"
    assert manifest["backbone"]["digest"] == server.client.embed([shape("circle", 0)])["digest"]
    assert manifest["parity"]["max_difference"] <= 1e-4 and manifest["tools"]["torch"]
    response = server.http.get(f"/heads/{head}/versions/1/head.onnx")
    assert response.headers["etag"] == f'"{version["digest"]}"'
    assert hashlib.sha256(response.content).hexdigest() == version["digest"]


@of_pictures
def test_an_alias_is_moved_forward_and_back_and_removed(server, inputs):
    """Promote, roll back, name a canary; what an alias points at cannot be deleted."""
    head, _ = taught(server, "alias")
    finetune(server, head, shapes(("cross",)), **inputs.asked(deploy="manual"))
    canary = server.client.set_alias(head, "canary", 2)
    latest = canary["generation"]
    answer = server.client.predict([head, f"{head}@canary"], [shape("cross", 9)], min_generation=latest)["predictions"]
    assert [p["version"] for p in answer] == [1, 2] and answer[1]["label"] == "cross"
    with pytest.raises(ApiError) as refused:
        server.client.delete_version(head, 2)
    assert (refused.value.status, refused.value.code) == (409, "conflict")
    assert server.http.delete(f"/heads/{head}/aliases/canary").status_code == 204
    latest = server.client.set_alias(head, "live", 1)["generation"]
    with pytest.raises(ApiError) as gone:
        server.client.predict([f"{head}@canary"], [shape("cross", 9)], min_generation=latest)
    assert gone.value.code == "version_not_found"


def test_a_deleted_version_leaves_nothing_and_its_number_is_not_used_again(server):
    """Its row and graph are gone; the next version has a new number."""
    head, _ = taught(server, "version")
    finetune(server, head, shapes(("cross",)), deploy="manual")
    digest = server.client.head(head)["versions"][0]["digest"]
    assert digest in server.blobs()
    server.client.delete_version(head, 2)
    eventually(lambda: digest not in server.blobs())
    with pytest.raises(ApiError) as gone:
        server.client.manifest(head, 2)
    assert gone.value.code == "version_not_found"
    assert finetune(server, head, shapes(("cross",), start=20))["version"] == 3


def test_a_deleted_head_leaves_nothing_behind(server):
    """No blob, no row but its jobs' history; an image that another head holds stays."""
    server.settle()
    before = server.blobs()
    own = [labeled(f"{k}{n}", shape(k, 1000 + n), k) for k in KINDS for n in range(6)]
    head, _ = taught(server, "delete", [*own, *shapes()])
    finetune(server, head, shapes(("cross",), start=40))
    server.client.predict([head], [shape("circle", 0)])
    server.client.delete_head(head)
    others = {hashlib.sha256(i.data()).hexdigest() for i in shapes()}
    eventually(lambda: server.blobs() - before <= others)
    for table in ("versions", "aliases", "examples"):
        assert not server.rows(table, "head=?", head)
    assert not server.rows("heads", "name=?", head)
    assert not server.rows("embeddings", "sha256=?", hashlib.sha256(own[0].data()).hexdigest())
    assert not server.rows("job_examples", "job_id IN (SELECT id FROM jobs WHERE head=?)", head)
    eventually(lambda: server.http.post("/predict", **asking(head)).status_code == 404)


def test_backbones_and_methods_are_listed(server):
    """GET /backbones names the default; GET /methods has a JSON schema for each."""
    (default,) = [b for b in server.client.backbones() if b["default"]]
    assert default["name"] == "tf_efficientnet_lite0" and default["loaded"] and default["precision"] == "fp32"
    methods = {m["name"]: m["hyperparameters"] for m in server.http.get("/methods").json()["methods"]}
    assert {"logistic", "prototype"} <= set(methods)
    assert all(schema["type"] == "object" for schema in methods.values())


def test_the_service_says_that_it_lives_and_is_ready(server):
    """/livez, /readyz, /docs, /openapi.json and / answer."""
    for path in ("/livez", "/readyz", "/docs", "/"):
        assert server.http.get(path).status_code == 200, path
    paths = server.http.get("/openapi.json").json()["paths"]
    assert {"/finetune", "/predict", "/embed", "/heads/{head}", "/jobs/{job_id}/events"} <= set(paths)


def test_metrics_count_predictions_without_naming_heads(server, shared):
    """/metrics grows with what is asked and has no label for a head or a path."""
    head, _ = shared
    before = metric(server, "espalier_predictions_total")
    server.client.predict([head, f"{head}@1"], [shape("circle", 0), shape("square", 0)])
    assert metric(server, "espalier_predictions_total") == before + 4
    assert metric(server, "espalier_heads_loaded") >= 1
    assert head not in server.http.get("/metrics").text


def test_an_unknown_route_is_a_problem_too(server):
    """404 as problem+json, with the way to the docs."""
    answer = server.http.get("/nothing/here")
    assert answer.status_code == 404 and answer.json()["code"] == "route_not_found"
    assert answer.headers["content-type"] == "application/problem+json"
