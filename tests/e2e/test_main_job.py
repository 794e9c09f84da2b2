"""The main job, over HTTP, on the real parts: teach a head, in every way that labeled images may come."""

import hashlib
import json
import random

import numpy as np
import pytest
from support import downloaded, pictures
from support.pictures import labeled, shape, shapes
from support.services import eventually
from support.teaching import KINDS, WAIT, as_csv, finetune, held_out, part, posted, serving, taught, unique

from service.client import ApiError


def test_digits_are_read_right_on_images_that_were_never_sent(server):
    """≥ 0.95 of held-out digits, measured over HTTP."""
    files, labels = pictures.digits()
    order = random.Random(0).sample(range(len(files)), 800)
    learn, ask = order[:600], order[600:]
    head, job = taught(server, "digits", [labeled(f"{i}.png", files[i], labels[i]) for i in learn], method="auto")
    assert job["status"] == "succeeded" and job["version"] == 1
    answers = server.client.predict([head], [files[i] for i in ask])["predictions"]
    right = sum(answer["label"] == labels[i] for answer, i in zip(answers, ask, strict=True))
    assert right / len(ask) >= 0.95
    low, high = job["metrics"]["accuracy_interval"]
    assert low <= job["metrics"]["accuracy"] <= high


def test_finetune_answers_202_with_the_job_and_where_it_is(server):
    """Without `wait` the answer is 202 with a Location; with it, 200 and the finished job."""
    head, images = unique("location"), shapes()
    data = {"head": head, "method": "prototype", "labels": [i.label for i in images]}
    form = {"data": data, "files": [part(i) for i in images]}
    accepted = server.http.post("/finetune", **form)
    assert accepted.status_code == 202
    job = accepted.json()
    assert accepted.headers["location"] == f"/jobs/{job['id']}"
    assert server.http.get(accepted.headers["location"]).json()["head"] == head
    server.client.wait(job["id"])
    finished = server.http.post("/finetune", **form, params={"wait": WAIT})
    assert finished.status_code == 200 and finished.json()["status"] in ("succeeded", "rejected")
    assert server.http.post("/finetune", **form, params={"wait": 61}).status_code == 422


def test_labels_may_come_as_one_json_array(server):
    """labels=["circle", …] means the same as repeated fields."""
    head, images = unique("array"), shapes()
    data = {"head": head, "method": "prototype", "labels": json.dumps([i.label for i in images])}
    job = server.http.post("/finetune", data=data, files=[part(i) for i in images], params={"wait": WAIT}).json()
    assert job["status"] == "succeeded"
    assert job["report"]["data"]["classes"] == dict.fromkeys(sorted(KINDS), 8)


def test_the_same_photos_again_are_not_embedded_again(server, shared):
    """A second call with the same images does not run the backbone."""
    _, first = shared
    assert first["report"]["embedding"]["new"] + first["report"]["embedding"]["cached"] == 24
    again = finetune(server, unique("again"), shapes())
    assert again["report"]["embedding"] | {"seconds": 0} == {"new": 0, "cached": 24, "views": 0, "seconds": 0}


def test_a_class_appended_later_works_and_so_do_the_old_ones(server):
    """append adds to the head's examples and trains on all of them."""
    head, _ = taught(server, "append")
    job = finetune(server, head, shapes(("cross",), start=7700))  # of no other test: those are cached
    assert job["status"] == "succeeded" and job["version"] == 2
    assert job["report"]["embedding"]["new"] == 8
    assert job["report"]["data"]["classes"] == dict.fromkeys(sorted((*KINDS, "cross")), 8)
    serving(server, head, 2)
    for kind in (*KINDS, "cross"):
        answer = server.client.predict([head], [shape(kind, n) for n in range(100, 103)])
        assert [p["label"] for p in answer["predictions"]] == [kind] * 3


def test_replace_forgets_the_old_examples_and_their_bytes(server):
    """mode=replace starts over: other classes, and what only the old data held is deleted."""
    old = [labeled(f"{k}{n}", shape(k, 500 + n), k) for k in KINDS for n in range(6)]
    head, _ = taught(server, "replace", old)
    gone = hashlib.sha256(old[0].data()).hexdigest()
    assert gone in server.blobs()
    job = finetune(server, head, shapes(("cross", "bar")), mode="replace")
    assert sorted(job["report"]["data"]["classes"]) == ["bar", "cross"]
    eventually(lambda: gone not in server.blobs())
    assert not server.rows("embeddings", "sha256=?", gone)


def test_heads_trained_in_steps_and_at_once_are_the_same_head(server):
    """Five batches one after another give the very graph that one batch of all gives (no forgetting)."""
    images = shapes(each=6, start=700)
    at_once, _ = taught(server, "joint", images)
    stepwise = unique("stepwise")
    for start in range(0, 18, 6):
        finetune(server, stepwise, images[start : start + 6], deploy="manual")
    embedding = downloaded.embedded(server, [shape("circle", 900)])
    joint, steps = (downloaded.asked(server.client.graph(h, v), embedding) for h, v in ((at_once, 1), (stepwise, 3)))
    np.testing.assert_allclose(joint, steps, atol=1e-6)


def test_an_archive_of_folders_teaches_a_head(server):
    """A zip with one folder per class."""
    archive = pictures.zipped((f"{i.label}/{i.file_name}", i.data()) for i in shapes())
    job = posted(server, unique("zip"), archive=("shapes.zip", archive))
    assert job["status"] == "succeeded" and job["report"]["data"]["examples"] == 24


def test_the_callers_split_wins(server):
    """train/, val/ and test/ folders of an archive are kept as they are."""
    parts = {"train": range(6), "val": range(6, 8), "test": range(8, 11)}
    files = [(f"{p}/{k}/{n}.png", shape(k, n)) for p, numbers in parts.items() for k in KINDS for n in numbers]
    job = posted(server, unique("split"), archive=("shapes.zip", pictures.zipped(files)))
    assert job["report"]["data"]["splits"] == {"test": 9, "train": 18, "val": 6}
    assert job["report"]["evaluation"] == "holdout" and job["metrics"]["examples"] == 9


@pytest.mark.parametrize("kind", ["csv", "jsonl"])
@pytest.mark.parametrize("where", ["images", "archive"])
def test_a_manifest_says_the_labels(server, kind, where):
    """CSV and JSONL, beside images and beside an archive."""
    images = shapes()
    rows = [{"file_name": i.file_name, "label": f"my {i.label}", "split": ""} for i in images]
    text = as_csv(rows) if kind == "csv" else "\n".join(map(json.dumps, rows))
    manifest = (f"manifest.{kind}", text.encode())
    if where == "images":
        job = posted(server, unique(kind), images, manifest=manifest)
    else:
        archive = pictures.zipped((i.file_name, i.data()) for i in images)
        job = posted(server, unique(kind), manifest=manifest, archive=("images.zip", archive))
    assert job["status"] == "succeeded"
    assert sorted(job["report"]["data"]["classes"]) == ["my circle", "my square", "my triangle"]


def test_unicode_labels_come_back_as_they_were_sent(server):
    """Two spellings of one label are one class; emoji and other scripts are labels like any other."""
    names = {"circle": "café", "square": "猫", "triangle": "🙂 smile"}
    images = [labeled(i.file_name, i.data(), names[i.label]) for i in shapes()]
    images[0] = labeled("decomposed.png", images[0].data(), "cafe\u0301")
    head, job = taught(server, "unicode", images)
    assert sorted(job["report"]["data"]["classes"]) == sorted(names.values())
    answer = server.client.predict([head], [shape("square", 77)])
    assert answer["predictions"][0]["label"] == "猫"


def test_deploy_manual_makes_a_version_that_nobody_is_served(server):
    """It can be asked by number, and promoted."""
    head, job = taught(server, "manual", deploy="manual")
    assert job["status"] == "succeeded" and server.client.head(head)["live"] is None
    with pytest.raises(ApiError) as refused:
        server.client.predict([head], [shape("circle", 0)])
    assert (refused.value.status, refused.value.code) == (404, "version_not_found")
    assert server.client.predict([f"{head}@1"], [shape("circle", 0)])["predictions"][0]["label"] == "circle"
    server.client.set_alias(head, "live", 1)
    serving(server, head, 1)


def test_the_gate_refuses_a_worse_head_and_the_old_one_keeps_serving(server):
    """Shuffled labels: the job ends as rejected with its report; the version is kept and can be asked by number."""
    images = [*shapes(each=12), *held_out(each=12)]
    head, _ = taught(server, "gate", images, method="auto")
    shuffled = [i.label if i.split else KINDS[(KINDS.index(i.label) + n // 3) % 3] for n, i in enumerate(images)]
    wrong = [labeled(i.file_name, i.data(), s, i.split) for i, s in zip(images, shuffled, strict=True)]
    job = finetune(server, head, wrong, method="auto")
    assert job["status"] == "rejected" and job["version"] == 2 and job["error"] is None
    gate = job["report"]["gate"]
    assert not gate["passed"] and gate["live_accuracy"] > gate["candidate_accuracy"] and gate["against"] == 1
    seen = server.client.head(head)
    assert seen["live"] == 1 and [v["status"] for v in seen["versions"]] == ["rejected", "published"]
    answer = server.client.predict([head, f"{head}@2"], [shape("circle", 900)])["predictions"]
    assert [p["version"] for p in answer] == [1, 2] and answer[0]["label"] == "circle"
