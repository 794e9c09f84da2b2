"""Heads are asked over HTTP: answers in every format of image. What they promise: test_promises_of_answers.py."""

import hashlib
import json
import subprocess
import sys

import pytest
from support.pictures import shape, shapes
from support.teaching import finetune, taught

from service.client import ApiError


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
