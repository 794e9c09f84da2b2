"""Deep versions over HTTP: taught in one job or by a next stage, asked beside shallow ones, edited, killed at it."""

import json
import os
import signal
from typing import Any

import pytest
from support.pictures import labeled, shape, shapes
from support.services import Service, eventually, kill
from support.teaching import KINDS, WAIT, taught, unique

from service.client import ApiError

QUICK = {"method": "deep", "hyperparameters": json.dumps({"unfreeze": "blocks.5", "epochs": 1}), "views": "none"}


@pytest.fixture(scope="module")
def deep(server: Service) -> tuple[str, dict[str, Any]]:
    """A head with a deep version, and the job that made it."""
    return taught(server, "deep", **QUICK)


def test_a_deep_version_is_live_and_its_job_manifest_and_report_say_what_it_is(server, deep):
    head, job = deep
    assert job["status"] == "succeeded" and job["deep"]["stage"] == "deep"
    assert job["report"]["parity"]["max_difference"] <= 1e-4 and job["request"]["deep"] == "only"
    manifest = server.client.manifest(head, 1)
    assert manifest["reads"] == "tap" and manifest["deep"]["cut"]["name"] == "blocks.5"
    report = server.client.report(head)
    assert report["deep"]["losses"]["meaning"] and report["winner"]["method"] == "deep"
    told = manifest["deep"]["precision"]
    assert told == report["deep"]["precision"] and told["precision"] in ("fp32", manifest["backbone"]["precision"])
    assert told["why"] in ("it answers the same as in float32", "as the backbone is") or "too few" in told["why"]
    page = server.client.report_page(head)
    assert "Training the backbone’s last part" in page and f"Served in {told['precision']}" in page


def test_it_answers_beside_a_shallow_one_and_alone_the_same(server, deep):
    head, images = deep[0], [shape(k, 700) for k in KINDS]
    shallow, _ = taught(server, "beside")
    both = server.client.predict([head, shallow], images, coverage=0.9)["predictions"]
    alone = server.client.predict([head], images, coverage=0.9)["predictions"]
    assert [p for p in both if p["head"] == head] == alone
    assert {p["head"] for p in both} == {head, shallow}
    assert all(p["version"] == 1 and 0 <= p["novelty"] <= 1 and p["set"] for p in alone)


def test_its_owner_corrects_a_label_and_it_is_trained_deep_again(server, deep):
    head, _ = deep
    example = next(iter(server.client.examples(head)))
    other = next(kind for kind in KINDS if kind != example["label"])
    job = server.client.relabel(head, {example["sha256"]: other})
    job = server.client.wait(job["id"])
    assert job["status"] == "succeeded" and job["deep"]["stage"] == "deep", job["error"]
    compared = server.client.compare(head, 1, job["version"])
    assert compared["examples"] == len(shapes()) and compared["forgetting"] is None
    chosen = server.client.suggest(head, [shape(k, 800 + n) for n in range(3) for k in KINDS], count=2)
    assert len(chosen["suggestions"]) == 2


def test_what_cannot_be_trained_deep_is_refused_with_the_names_there_are(server):
    with pytest.raises(ApiError, match="there are: auto"):
        server.client.finetune(unique("no"), shapes(), method="deeper")
    with pytest.raises(ApiError, match="epochs"):
        server.client.finetune(unique("no"), shapes(), method="deep", hyperparameters='{"epochs": 0}')
    assert server.client.job(taught(server, "shallow")[1]["id"])["deep"] is None


@pytest.mark.slow  # test_deep_jobs.py leaves a round in the middle, too
def test_a_worker_that_is_told_to_stop_or_killed_while_it_trains_is_followed_by_one_that_goes_on(own_server):
    """From where the first was told to stop, and from the last checkpoint of the one that was killed: no epoch before
    it is made again."""
    service = own_server()
    asked = json.dumps({"unfreeze": "blocks.5", "epochs": 20})
    job = service.client.finetune("killed", shapes(), method="deep", hyperparameters=asked, views="none")
    eventually(lambda: epochs(service, job["id"]))
    (first,) = service.pids("service.cli worker")
    os.kill(first, signal.SIGTERM)
    eventually(lambda: service.rows("jobs", "id=?", job["id"])[0]["attempts"] == 2)
    assert service.rows("jobs", "id=?", job["id"])[0]["deaths"] == 0
    left = len(epochs(service, job["id"]))
    eventually(lambda: len(epochs(service, job["id"])) > left)
    assert len(set(epochs(service, job["id"]))) == len(epochs(service, job["id"])), "it began anew"
    kept = service.rows("jobs", "id=?", job["id"])[0]["checkpoint"]
    eventually(lambda: service.rows("jobs", "id=?", job["id"])[0]["checkpoint"] != kept)
    before = epochs(service, job["id"])
    for pid in service.pids("service.cli worker"):
        kill(pid)
    done = service.client.wait(job["id"])
    assert done["status"] == "succeeded", done["error"]
    made = epochs(service, job["id"])
    assert before and made[: len(before)] == before
    again = [row for row in made if made.count(row) > 1]
    assert made[0] not in again, "it began anew"
    assert service.rows("jobs", "id=?", job["id"])[0]["deaths"] == 1
    assert service.client.predict(["killed"], [shape("circle", 0)])["predictions"][0]["version"] == done["version"]


def epochs(service: Service, job_id: str) -> list[tuple[str, int]]:
    """(fit, epoch) of every epoch that a job told of, in order."""
    rows = service.rows("job_events", "job_id=? AND type='epoch' ORDER BY sequence", job_id)
    found = [json.loads(row["data"]) for row in rows]
    return [(row["fit"], row["epoch"]) for row in found]


def test_a_next_stage_follows_a_version_by_itself_and_cancelling_ends_it_at_once(own_server):
    """On a service as it comes: the first job is done before the second begins, and says which that is."""
    service = own_server(deep="auto")
    wrong = dict(zip(KINDS, KINDS[1:] + KINDS[:1], strict=True))  # or no mistakes would be left to mend
    images = [labeled(f"{k}-{n}.png", shape(k, n), k if n % 8 else wrong[k]) for n in range(70) for k in KINDS]
    job = service.client.finetune("staged", images, views="none", wait=WAIT)
    job = service.client.wait(job["id"])
    following = job["deep"]["next"]
    assert job["status"] == "succeeded" and job["deep"]["stage"] == "shallow" and following is not None
    eventually(lambda: service.client.job(following)["status"] == "training")
    assert service.client.job(following)["deep"] == {"stage": "deep", "of": job["id"], "next": None, "why": None}
    service.client.cancel(following)
    quick = service.client.finetune("other", shapes(), method="prototype", wait=WAIT)
    assert service.client.wait(quick["id"])["status"] == "succeeded"
    assert service.client.job(following)["status"] == "cancelled"
