"""The main job, over HTTP, on the real parts: teach a head, ask it, look at it, move it, delete it."""

import concurrent.futures
import csv
import hashlib
import io
import json
import random
import subprocess
import sys
import uuid

import httpx
import numpy as np
import pytest
from PIL import Image
from support import downloaded, pictures
from support.pictures import labeled, shape, shapes
from support.services import Service, eventually

from service.client import ApiError, LabeledImage

WAIT = 60.0  # seconds that the server holds a request for its job
KINDS = ("circle", "square", "triangle")


def unique(stem: str) -> str:
    return f"{stem}-{uuid.uuid4().hex[:8]}"


def taught(server: Service, stem: str, images: list[LabeledImage] | None = None, **options: object) -> tuple[str, dict]:
    """A new head and the finished job that made it."""
    head = unique(stem)
    return head, finetune(server, head, shapes() if images is None else images, **options)


def finetune(server: Service, head: str, images: list[LabeledImage], **options: object) -> dict:
    """A finished job; of the quickest method unless the test says otherwise."""
    job = server.client.finetune(head, images, wait=WAIT, **({"method": "prototype"} | options))
    job = server.client.wait(job["id"])
    assert job["status"] in ("succeeded", "rejected"), job["error"]
    return job


def serving(server: Service, head: str, version: int) -> None:
    """Wait until the server answers with a version; a replica sees a publish within a second."""
    image = shape("circle", 0)
    eventually(lambda: server.client.predict([head], [image])["predictions"][0]["version"] == version)


@pytest.fixture(scope="module")
def shared(server: Service) -> tuple[str, dict]:
    """A head of three shapes with one version, which no test changes."""
    return taught(server, "shared", method="auto")


@pytest.fixture(scope="module")
def other(server: Service) -> str:
    """A second head, of other classes."""
    return taught(server, "other", shapes(("cross", "bar")))[0]


# Learning


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


def test_a_job_reports_what_the_issue_promises(shared):
    """Metrics, per-class figures, confusion, the race, the gate, parity and times are in the finished job."""
    _, job = shared
    assert {"accuracy", "accuracy_interval", "macro_f1", "log_loss", "ece"} <= set(job["metrics"])
    assert set(job["report"]["per_class"]) == set(KINDS)
    assert {"precision", "recall"} <= set(job["report"]["per_class"]["circle"])
    assert job["report"]["confusion"]["labels"] == sorted(KINDS)
    assert job["report"]["race"] and job["report"]["gate"]["passed"]
    assert job["report"]["parity"]["max_difference"] <= 1e-4
    assert job["report"]["evaluation"] == "cross-validation" and "cross-validation" in job["report"]["explanation"]
    assert job["error"] is None and job["created_at"] <= job["started_at"] <= job["finished_at"]


def test_a_version_has_a_report_for_programs_and_one_for_people(server, shared):
    """JSON and a page: figures, findings, race and, once it is measured, the learning curve or why there is none."""
    head, job = shared
    found = eventually(lambda: r if "curve" in (r := server.client.report(head)) else None)
    assert (found["head"], found["version"], found["metrics"]) == (head, 1, job["metrics"])
    assert found["findings"]["duplicates"]["straddling"] == 0
    assert found["findings"]["suspected_labels"]["judged"] == 24
    assert found["findings"]["imbalance"]["counts"] == dict.fromkeys(sorted(KINDS), 8)
    assert job["report"]["data_report"]["suspected_labels"] == {"flagged": 0, "judged": 24}
    assert "'circle' has 6 to train on" in found["curve"]["skipped"]
    assert {row["method"] for row in found["race"]} == {row["method"] for row in job["report"]["race"]}
    page = server.http.get(f"/heads/{head}/report", headers={"Accept": "text/html,application/xhtml+xml,*/*;q=0.8"})
    assert page.headers["content-type"].startswith("text/html") and head in page.text
    for accept in ("*/*", "application/json, text/html;q=0.5"):
        answer = server.http.get(f"/heads/{head}/report", headers={"Accept": accept})
        assert answer.json() == found and answer.headers["vary"] == "Accept"
    assert page.headers["content-security-policy"].startswith("default-src 'none'; style-src 'sha256-")
    assert "<script" not in page.text and page.text == server.client.report_page(head, 1)


def test_a_report_that_is_not_there_is_a_problem(server, shared):
    """An unknown head, version or format is named."""
    head, _ = shared
    for path, status, code in (
        (f"/heads/{unique('nobody')}/report", 404, "head_not_found"),
        (f"/heads/{head}/report?version=99", 404, "version_not_found"),
        (f"/heads/{head}/report?format=pdf", 422, "invalid_input"),
        (f"/heads/{head}/report?version=0", 422, "invalid_input"),
    ):
        answer = server.http.get(path, headers={"Accept": "text/html"})
        assert (answer.status_code, answer.json()["code"]) == (status, code)


def test_a_wrong_label_and_a_copy_are_in_the_report_with_their_pictures(server):
    """A circle labeled as a square heads the list; a re-encoded picture is found beside its original."""
    images = shapes(each=16, start=4000)
    images[0] = labeled("wrong.png", images[0].data(), "square")
    images.append(labeled("again.jpg", shape("triangle", 4005, "JPEG"), "triangle"))
    head, _ = taught(server, "suspects", images, method="logistic")
    found = eventually(lambda: r if "curve" in (r := server.client.report(head)) else None)
    first = found["findings"]["suspected_labels"]["list"][0]
    assert (first["file_name"], first["label"], first["suggested"]) == ("wrong.png", "square", "circle")
    copies = [{row["file_name"] for row in group} for group in found["findings"]["duplicates"]["list"]]
    assert {"triangle-4005.png", "again.jpg"} in copies
    assert {"measure", "points", "gain", "more_images", "answer"} == set(found["curve"])
    page = server.client.report_page(head)
    assert "wrong.png" in page and page.count("data:image/jpeg;base64,") >= 3


def test_a_rejected_version_has_a_report_too(server):
    """With its curve, although its images are not kept; the page leaves their places empty."""
    images = [*shapes(each=12), *_tests(each=12)]
    head, _ = taught(server, "rejected", images, method="auto")
    shuffled = [i.label if i.split else KINDS[(KINDS.index(i.label) + n // 3) % 3] for n, i in enumerate(images)]
    wrong = [labeled(f"n{i.file_name}", shape(i.label, 7000 + n), s, i.split) for n, (i, s) in
             enumerate(zip(images, shuffled, strict=True)) if not i.split]  # fmt: skip
    job = finetune(server, head, [*wrong, *_tests(each=12)], method="auto", mode="replace")
    assert job["status"] == "rejected"
    found = eventually(lambda: r if "curve" in (r := server.client.report(head, 2)) else None)
    assert found["status"] == "rejected" and "worse than the live version" in found["gate"]["reason"]
    assert found["findings"]["suspected_labels"]["judged"] == found["findings"]["suspected_labels"]["examples"]
    gone = found["findings"]["suspected_labels"]["list"] + found["worst"]
    eventually(lambda: any(row["sha256"] not in server.blobs() for row in gone))
    assert "not kept" in server.client.report_page(head, 2) and server.client.report(head)["version"] == 1


def test_finetune_answers_202_with_the_job_and_where_it_is(server):
    """Without `wait` the answer is 202 with a Location; with it, 200 and the finished job."""
    head, images = unique("location"), shapes()
    data = {"head": head, "method": "prototype", "labels": [i.label for i in images]}
    form = {"data": data, "files": [_part(i) for i in images]}
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
    job = server.http.post("/finetune", data=data, files=[_part(i) for i in images], params={"wait": WAIT}).json()
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
    job = finetune(server, head, shapes(("cross",)))
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
    job = _post(server, unique("zip"), archive=("shapes.zip", archive))
    assert job["status"] == "succeeded" and job["report"]["data"]["examples"] == 24


def test_the_callers_split_wins(server):
    """train/, val/ and test/ folders of an archive are kept as they are."""
    parts = {"train": range(6), "val": range(6, 8), "test": range(8, 11)}
    files = [(f"{p}/{k}/{n}.png", shape(k, n)) for p, numbers in parts.items() for k in KINDS for n in numbers]
    job = _post(server, unique("split"), archive=("shapes.zip", pictures.zipped(files)))
    assert job["report"]["data"]["splits"] == {"test": 9, "train": 18, "val": 6}
    assert job["report"]["evaluation"] == "holdout" and job["metrics"]["examples"] == 9


@pytest.mark.parametrize("kind", ["csv", "jsonl"])
@pytest.mark.parametrize("where", ["images", "archive"])
def test_a_manifest_says_the_labels(server, kind, where):
    """CSV and JSONL, beside images and beside an archive."""
    images = shapes()
    rows = [{"file_name": i.file_name, "label": f"my {i.label}", "split": ""} for i in images]
    text = _csv(rows) if kind == "csv" else "\n".join(map(json.dumps, rows))
    manifest = (f"manifest.{kind}", text.encode())
    if where == "images":
        job = _post(server, unique(kind), images, manifest=manifest)
    else:
        archive = pictures.zipped((i.file_name, i.data()) for i in images)
        job = _post(server, unique(kind), manifest=manifest, archive=("images.zip", archive))
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
    images = [*shapes(each=12), *_tests(each=12)]
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


# Asking


def test_predictions_come_by_image_then_head_with_version_and_digest(server, shared, other):
    """The answer has exactly the fields of the issue, in its order; several heads share one pass."""
    head, _ = shared
    images = [shape("circle", 50), shape("square", 50)]
    answer = server.client.predict([head, other, f"{head}@1", f"{other}@live"], images)
    assert set(answer) == {"predictions", "errors", "generation"} and answer["errors"] == []
    rows = answer["predictions"]
    assert [(r["index"], r["head"]) for r in rows] == [(i, h) for i in (0, 1) for h in (head, other, head, other)]
    for row in rows:
        assert list(row) == ["index", "head", "version", "digest", "label", "score", "top", "novelty"]
        assert 0 <= row["novelty"] <= 1
        assert row["top"][0] == {"label": row["label"], "score": row["score"]}
        assert row["digest"] == hashlib.sha256(server.client.graph(row["head"], row["version"])).hexdigest()
        assert sum(t["score"] for t in row["top"]) == pytest.approx(1, abs=1e-5)
    assert [r["label"] for r in rows if r["head"] == head] == ["circle"] * 2 + ["square"] * 2
    assert rows[0] == rows[2]  # name and name@1 are the same version


def test_a_raw_image_body_is_an_image(server, shared, other):
    """POST image/jpeg with ?head= answers as multipart does, also for several heads and with options."""
    head, _ = shared
    data = shape("square", 51, "JPEG")
    raw = server.http.post(
        "/predict", params={"head": [head, other], "top_k": 1}, content=data, headers={"Content-Type": "image/jpeg"}
    )
    assert raw.status_code == 200
    assert raw.json()["predictions"] == server.client.predict([head, other], [data], top_k=1)["predictions"]


def test_top_k_bounds_what_is_listed(server, shared):
    """top_k=1 lists one, and more than there are lists all."""
    head, _ = shared
    for asked, listed in ((1, 1), (2, 2), (10, 3)):
        row = server.client.predict([head], [shape("circle", 1)], top_k=asked)["predictions"][0]
        assert len(row["top"]) == listed
        scores = [t["score"] for t in row["top"]]
        assert scores == sorted(scores, reverse=True)


def test_on_error_skip_answers_for_the_good_images(server, shared):
    """Bad images are listed by index with a code; the others are answered."""
    head, _ = shared
    images = [shape("circle", 1), b"no image", shape("square", 1), shape("circle", 1)[:200]]
    answer = server.client.predict([head], images, on_error="skip")
    assert [p["index"] for p in answer["predictions"]] == [0, 2]
    assert [(e["index"], e["code"]) for e in answer["errors"]] == [(1, "invalid_image"), (3, "invalid_image")]
    only_bad = server.client.predict([head], images[1:2], on_error="skip")
    assert only_bad["predictions"] == [] and len(only_bad["errors"]) == 1


def test_what_was_never_taught_is_novel(server, shared):
    """A photo of noise has a higher novelty than any shape like those taught."""
    head, _ = shared
    noise = np.random.default_rng(0).integers(0, 256, (64, 64, 3), np.uint8)
    images = [shape(kind, n) for kind in KINDS for n in range(70, 74)] + [pictures.encoded(Image.fromarray(noise))]
    told = [p["novelty"] for p in server.client.predict([head], images)["predictions"]]
    assert told[-1] > 0.95 and told[-1] > max(told[:-1])


def test_coverage_brings_a_set_of_labels_and_abstain_a_verdict(server, shared):
    """In the form or in the query; together; and without asking, neither is there."""
    head, _ = shared
    noise = np.random.default_rng(1).integers(0, 256, (64, 64, 3), np.uint8)
    images = [shape("circle", 80), pictures.encoded(Image.fromarray(noise))]
    usual, strange = server.client.predict([head], images, coverage=0.95, abstain=0.9)["predictions"]
    assert usual["coverage"] == 0.95 and set(usual["set"]) <= set(KINDS) and "circle" in usual["set"]
    assert (usual["abstain"], strange["abstain"]) == (False, True)
    raw = server.http.post(
        "/predict", params={"head": head, "coverage": "0.95", "abstain": "0.9"}, content=images[0],
        headers={"Content-Type": "image/png"},
    )  # fmt: skip
    (row,) = raw.json()["predictions"]
    assert [row[k] for k in ("set", "coverage", "abstain")] == [usual[k] for k in ("set", "coverage", "abstain")]
    plain = server.client.predict([head], images)["predictions"][0]
    assert not {"set", "coverage", "abstain"} & set(plain)


@pytest.mark.parametrize(
    ("options", "code", "names"),
    [
        ({"coverage": 0.99}, "not_enough_held_out", ("version 1", "needs 99", "has 24", "0.96 at most")),
        ({"abstain": 0.99}, "not_enough_held_out", ("version 1", "24 held-out")),
        ({"abstain": 0.97}, "invalid_input", ("'abstain' must be one of", "0.98")),
        ({"coverage": 1}, "invalid_input", ("'coverage' must be a number above 0 and below 1",)),
        ({"coverage": "most"}, "invalid_input", ("'coverage'",)),
    ],
)
def test_a_promise_that_cannot_be_kept_is_refused_and_says_what_is_missing(server, shared, options, code, names):
    """The head, the version, how many held-out examples there are and how many are needed."""
    head, _ = shared
    with pytest.raises(ApiError) as refused:
        server.client.predict([head], [shape("circle", 1)], **options)
    assert (refused.value.status, refused.value.code) == (422, code)
    assert all(name in str(refused.value) for name in names), str(refused.value)
    assert code == "invalid_input" or head in str(refused.value)


def test_min_generation_is_never_answered_from_an_older_state(server):
    """After an alias moved, asking with its generation gets the new version at once."""
    head, _ = taught(server, "generation")
    finetune(server, head, shapes(("cross",)))
    for version in (1, 2, 1, 2):
        moved = server.client.set_alias(head, "live", version)
        answer = server.client.predict([head], [shape("circle", 0)], min_generation=moved["generation"])
        assert answer["generation"] >= moved["generation"]
        assert answer["predictions"][0]["version"] == version
    with pytest.raises(ApiError) as refused:
        server.client.predict([head], [shape("circle", 0)], min_generation=10**9)
    assert (refused.value.status, refused.value.code) == (409, "stale_replica")


@pytest.mark.parametrize("format", ["PNG", "JPEG", "WEBP", "BMP", "GIF", "TIFF"])
def test_every_image_format_is_understood(server, shared, format):
    """The same picture in each of the formats gets the same label."""
    head, _ = shared
    assert server.client.predict([head], [shape("square", 60, format)])["predictions"][0]["label"] == "square"


def test_embed_gives_the_numbers_that_heads_are_trained_on(server, shared):
    """The downloaded graph, run on /embed's embeddings by onnxruntime alone, gives /predict's scores."""
    head, _ = shared
    images = [shape(kind, 61) for kind in KINDS]
    graph, embeddings = server.client.graph(head, 1), downloaded.embedded(server, images)
    labels = json.loads(downloaded.opened(graph).get_modelmeta().custom_metadata_map["labels"])
    scores, told = (downloaded.asked(graph, embeddings, output) for output in ("probabilities", "novelty"))
    novelties = [p["novelty"] for p in server.client.predict([head], images)["predictions"]]
    np.testing.assert_allclose(told, novelties, atol=1e-4)
    for row, answer in zip(scores, server.client.predict([head], images)["predictions"], strict=True):
        assert {t["label"]: pytest.approx(t["score"], abs=1e-5) for t in answer["top"]} == dict(
            zip(labels, row.tolist(), strict=True)
        )


def test_embed_gives_the_last_layer_and_on_request_earlier_blocks_behind_it(server):
    images = [shape(kind, 62) for kind in KINDS]
    plain, full = server.client.embed(images), server.client.embed(images, taps=True)
    assert plain["backbone"] == "tf_efficientnet_lite0" and plain["dimension"] == full["dimension"] == 1280
    assert np.shape(plain["embeddings"]) == (3, 1280) and plain["indices"] == [0, 1, 2] and plain["taps"] == []
    np.testing.assert_array_equal(np.array(full["embeddings"])[:, :1280], plain["embeddings"])
    ends = [tap["offset"] + tap["length"] for tap in full["taps"]]
    assert [tap["offset"] for tap in full["taps"]] == [1280, *ends[:-1]] and np.shape(full["embeddings"])[1] == ends[-1]
    with pytest.raises(ApiError, match="'taps' must be true or false, not 'all'"):
        server.client.embed(images, taps="all")


@pytest.mark.parametrize(("reads", "length"), [("pooled", 1280), ("taps", 3464)])
def test_a_head_reads_what_was_asked_for(server, reads, length):
    """The version, its graph and the race say so, and it answers as its graph does."""
    head, job = taught(server, f"reads-{reads}", shapes(), reads=reads)
    manifest, graph = server.client.manifest(head, 1), server.client.graph(head, 1)
    assert (manifest["reads"], manifest["inputs"]["embedding"]) == (reads, ["batch", length])
    assert {row["reads"] for row in job["report"]["race"]} == {reads}
    said = downloaded.opened(graph).get_modelmeta().custom_metadata_map["espalier.reads"]
    assert said == f"{reads}: the first {length} of 3464 numbers"
    image = shape("circle", 63)
    (answer,) = server.client.predict([head], [image])["predictions"]
    scores = downloaded.asked(graph, downloaded.embedded(server, [image]))
    assert answer["score"] == pytest.approx(scores.max(), abs=1e-5)


def test_heads_that_read_different_parts_share_a_pass(server):
    """Asked together or one by one they say the same."""
    heads = [taught(server, f"part-{reads}", shapes(), reads=reads)[0] for reads in ("pooled", "taps")]
    images = [shape(kind, 64) for kind in KINDS]
    together = server.client.predict(heads, images)["predictions"]
    apart = [server.client.predict([head], images)["predictions"] for head in heads]
    assert together == [answer for pair in zip(*apart, strict=True) for answer in pair]


BENTO_CLIENT = """
import json, sys, bentoml
from pathlib import Path
with bentoml.SyncHTTPClient(sys.argv[1]) as bento:
    print(json.dumps(bento.predict(image=Path(sys.argv[2]), head=sys.argv[3], top_k=2)))
"""


def test_the_native_facade_answers_bento_clients(server, shared, tmp_path):
    """bentoml.SyncHTTPClient, in a process of its own, gets the same predictions from /bento/predict."""
    head, _ = shared
    path = tmp_path / "square.png"
    path.write_bytes(shape("square", 62))
    command = [sys.executable, "-c", BENTO_CLIENT, server.url, str(path), head]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr
    answer = json.loads(done.stdout.splitlines()[-1])
    assert answer["predictions"] == server.client.predict([head], [path], top_k=2)["predictions"]


# Heads, versions, aliases


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


def test_an_alias_is_moved_forward_and_back_and_removed(server):
    """Promote, roll back, name a canary; what an alias points at cannot be deleted."""
    head, _ = taught(server, "alias")
    finetune(server, head, shapes(("cross",)), deploy="manual")
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
    eventually(lambda: server.http.post("/predict", **_ask(head)).status_code == 404)


def test_backbones_and_methods_are_listed(server):
    """GET /backbones names the default; GET /methods has a JSON schema for each."""
    (default,) = [b for b in server.client.backbones() if b["default"]]
    assert default["name"] == "tf_efficientnet_lite0" and default["loaded"] and default["precision"] == "fp32"
    methods = {m["name"]: m["hyperparameters"] for m in server.http.get("/methods").json()["methods"]}
    assert {"logistic", "prototype"} <= set(methods)
    assert all(schema["type"] == "object" for schema in methods.values())


# Jobs


def test_jobs_are_listed_newest_first_by_head_and_status(server):
    """GET /jobs filters and pages."""
    head, first = taught(server, "jobs")
    second = finetune(server, head, shapes(("cross",)))
    assert [j["id"] for j in server.client.jobs(head=head)] == [second["id"], first["id"]]
    assert [j["id"] for j in server.client.jobs(head=head, status="failed")] == []
    page = server.http.get("/jobs", params={"head": head, "limit": 1}).json()
    assert [j["id"] for j in page["jobs"]] == [second["id"]]
    rest = server.http.get("/jobs", params={"head": head, "limit": 1, "before": page["next"]}).json()
    assert [j["id"] for j in rest["jobs"]] == [first["id"]]
    assert server.http.get("/jobs", params={"status": "asleep"}).status_code == 422


def test_events_tell_the_whole_story_and_resume_where_one_left_off(server, shared):
    """Every phase in order, the candidates, one final event; Last-Event-ID skips what was seen."""
    _, job = shared
    events = _events(server, job["id"])
    assert [e["id"] for e in events] == list(range(1, len(events) + 1))
    statuses = [e["data"]["status"] for e in events if e["event"] == "status"]
    assert statuses == [
        "queued", "validating", "embedding", "training", "evaluating", "exporting", "verifying", "publishing",
    ]  # fmt: skip
    progress = [e["data"] for e in events if e["event"] == "progress"]
    assert progress[-1]["done"] == progress[-1]["total"] and progress[-1]["phase"] == "embedding"
    candidates = [row for e in events if e["event"] == "candidates" for row in e["data"]["rows"]]
    assert {"logistic", "prototype"} <= {row["method"] for row in candidates}
    assert [e["event"] for e in events].count("final") == 1 and events[-1]["event"] == "final"
    assert events[-1]["data"]["status"] == "succeeded" and events[-1]["data"]["version"] == 1
    assert _events(server, job["id"], after=4) == events[4:]


def test_events_arrive_while_the_job_runs(server):
    """A stream opened at once sees the job to its end and then closes."""
    head = unique("stream")
    job = server.client.finetune(head, shapes(), method="prototype")
    assert [kind for kind, _ in server.client.events(job["id"])][-1] == "final"
    assert server.client.job(job["id"])["status"] == "succeeded"


def test_the_same_idempotency_key_and_body_give_the_same_job(server):
    """Whatever the boundary of the form; another body with that key is refused with 422."""
    head, key, images = unique("key"), unique("key"), shapes()
    data, files = {"head": head, "labels": [i.label for i in images]}, [_part(i) for i in images]
    first = server.http.post("/finetune", data=data, files=files, headers={"Idempotency-Key": key}).json()
    headers = {"Idempotency-Key": key, "Content-Type": "multipart/form-data; boundary=quite-another-boundary"}
    for _ in range(2):
        again = server.http.post("/finetune", data=data, files=files, headers=headers)
        assert again.status_code == 202 and again.json()["id"] == first["id"]
    server.client.wait(first["id"])
    assert server.client.finetune(head, images, idempotency_key=key)["id"] == first["id"]  # by manifest, not labels
    for other in ({"seed": "1"}, {"head": unique("key")}):
        refused = server.http.post("/finetune", data=data | other, files=files, headers=headers)
        assert refused.status_code == 422 and refused.json()["code"] == "idempotency_conflict"
    assert len(server.client.jobs(head=head)) == 1


def test_concurrent_posts_with_one_key_make_one_job(server):
    """Eight at once: one job, one version."""
    head, key = unique("race"), unique("key")
    with concurrent.futures.ThreadPoolExecutor(8) as pool:
        posts = [pool.submit(server.client.finetune, head, shapes(), idempotency_key=key) for _ in range(8)]
        ids = {post.result()["id"] for post in posts}
    assert len(ids) == 1
    server.client.wait(ids.pop())
    assert len(server.client.jobs(head=head)) == 1 and len(server.client.head(head)["versions"]) == 1


def test_the_same_seed_gives_the_same_graph(server):
    """Two heads from the same images and seed answer alike, to the last bit of their weights."""
    scores = []
    for _ in range(2):
        head, _ = taught(server, "seed", method="logistic", seed=7)
        scores.append(downloaded.asked(server.client.graph(head, 1), np.ones((1, 3464), np.float32)))
    np.testing.assert_array_equal(*scores)


# Operations


def test_the_service_says_that_it_lives_and_is_ready(server):
    """/livez, /readyz, /docs, /openapi.json and / answer."""
    for path in ("/livez", "/readyz", "/docs", "/"):
        assert server.http.get(path).status_code == 200, path
    paths = server.http.get("/openapi.json").json()["paths"]
    assert {"/finetune", "/predict", "/embed", "/heads/{head}", "/jobs/{job_id}/events"} <= set(paths)


def test_metrics_count_predictions_without_naming_heads(server, shared):
    """/metrics grows with what is asked and has no label for a head or a path."""
    head, _ = shared
    before = _metric(server, "espalier_predictions_total")
    server.client.predict([head, f"{head}@1"], [shape("circle", 0), shape("square", 0)])
    assert _metric(server, "espalier_predictions_total") == before + 4
    assert _metric(server, "espalier_heads_loaded") >= 1
    assert head not in server.http.get("/metrics").text


def test_an_unknown_route_is_a_problem_too(server):
    """404 as problem+json, with the way to the docs."""
    answer = server.http.get("/nothing/here")
    assert answer.status_code == 404 and answer.json()["code"] == "route_not_found"
    assert answer.headers["content-type"] == "application/problem+json"


def _tests(each: int) -> list[LabeledImage]:
    return [labeled(f"t-{k}-{n}.png", shape(k, 300 + n), k, "test") for n in range(each) for k in KINDS]


def _part(image: LabeledImage) -> tuple[str, tuple[str, bytes, str]]:
    return "images", (image.file_name, image.data(), "image/png")


def _post(server: Service, head: str, images: list[LabeledImage] = (), **files: tuple[str, bytes]) -> dict:
    """A raw form, finished."""
    parts = [*files.items(), *(_part(i) for i in images)]
    data = {"head": head, "method": "prototype"}
    response = server.http.post("/finetune", data=data, files=parts, params={"wait": WAIT})
    assert response.status_code in (200, 202), response.text
    return server.client.wait(response.json()["id"])


def _ask(head: str) -> dict:
    return {"data": {"head": head}, "files": {"images": shape("circle", 0)}}


def _csv(rows: list[dict[str, str]]) -> str:
    out = io.StringIO()
    writer = csv.DictWriter(out, list(rows[0]))
    writer.writeheader()
    writer.writerows(rows)
    return out.getvalue()


def _events(server: Service, job_id: str, after: int = 0) -> list[dict]:
    with httpx.stream("GET", f"{server.url}/jobs/{job_id}/events", headers={"Last-Event-ID": str(after)}) as response:
        assert response.headers["content-type"].startswith("text/event-stream")
        blocks = "".join(response.iter_text()).strip().split("\n\n")
    found = [dict(line.split(": ", 1) for line in block.splitlines()) for block in blocks if not block.startswith(":")]
    return [{"id": int(e["id"]), "event": e["event"], "data": json.loads(e["data"])} for e in found]


def _metric(server: Service, name: str) -> float:
    lines = server.http.get("/metrics").text.splitlines()
    return next(float(line.split()[-1]) for line in lines if line.startswith(f"{name} "))
