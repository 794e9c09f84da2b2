"""Few images are trained on in several views, over HTTP, on the real parts: who used them is told, and none outlives
its image."""

import hashlib
import json
import uuid

import numpy as np
import pytest
from support import downloaded
from support.pictures import SHAPES, labeled, shape, shapes
from support.services import Service, eventually

from adapters.modalities import image
from service.client import ApiError, LabeledImage

WAIT = 60.0  # seconds that the server holds a request for its job
CHOICE = next(iter(image.VIEWS))  # what `auto` tries


def unique(stem: str) -> str:
    return f"{stem}-{uuid.uuid4().hex[:8]}"


def sha(item: LabeledImage) -> str:
    return hashlib.sha256(item.data()).hexdigest()


def learn(server: Service, head: str, images: list[LabeledImage], **options: object) -> dict:
    """A finished job; of the quickest method unless the test says otherwise."""
    job = server.client.finetune(head, images, wait=WAIT, **({"method": "prototype"} | options))
    return ended(server, job)


def ended(server: Service, job: dict) -> dict:
    job = server.client.wait(job["id"])
    assert job["status"] == "succeeded", job["error"]
    return job


def views_kept(server: Service, item: LabeledImage) -> set[str]:
    return {row["view"] for row in server.rows("embeddings", "sha256=?", sha(item))}


def scores(server: Service, head: str, version: int) -> np.ndarray:
    """What a version's downloaded graph says of pictures that no head was taught, f32 [N, K]."""
    asked = [shape(kind, 8000 + n) for kind in SHAPES for n in range(3)]
    return downloaded.asked(server.client.graph(head, version), downloaded.embedded(server, asked))


@pytest.mark.slow
def test_candidates_with_views_race_and_their_embeddings_go_with_their_image(server):
    """In the job's report and in the manifest; deleting an example leaves no view of it."""
    head, images = unique("views"), shapes(each=5, start=8100)
    job = learn(server, head, images, method="auto")
    assert {row["views"] for row in job["report"]["race"]} == {"none", CHOICE}
    assert job["report"]["embedding"]["views"] == len(images) * len(image.VIEWS[CHOICE])
    won = server.client.manifest(head, 1)
    row = job["report"]["race"][0]
    assert won["views"] in ("none", CHOICE) and job["request"]["views"] == "auto" and row["loss"] > 0
    assert views_kept(server, images[0]) == {"centre", *image.VIEWS[CHOICE]}
    ended(server, server.client.forget(head, [sha(images[0])], wait=WAIT))
    eventually(lambda: not views_kept(server, images[0]))  # a moment after the job ends
    assert views_kept(server, images[1]) == {"centre", *image.VIEWS[CHOICE]}


def test_views_are_embedded_once(server):
    head, images = unique("again"), shapes(each=4, start=8200)
    assert learn(server, head, images)["report"]["embedding"]["views"] > 0
    again = learn(server, head, images)["report"]["embedding"]
    assert again | {"seconds": 0} == {"new": 0, "cached": len(images), "views": 0, "seconds": 0}


def test_the_caller_may_fix_the_views(server):
    """None leaves nothing but what serving sees; one choice leaves nothing to compare it with."""
    plain, flipped = shapes(each=4, start=8300), shapes(each=4, start=8400)
    job = learn(server, unique("plain"), plain, views="none")
    assert {row["views"] for row in job["report"]["race"]} == {"none"}
    assert views_kept(server, plain[0]) == {"centre"}
    job = learn(server, unique("flipped"), flipped, views="flip")
    assert {row["views"] for row in job["report"]["race"]} == {"flip"}
    assert views_kept(server, flipped[0]) == {"centre", "flip"}


def test_views_that_there_are_not_are_refused(server):
    with pytest.raises(ApiError) as refused:
        server.client.finetune(unique("none"), shapes(each=4), views="upside-down")
    assert (refused.value.status, refused.value.problem["item"]) == (422, "views")
    assert "auto or none" in json.dumps(refused.value.problem)


@pytest.mark.slow
@pytest.mark.parametrize("method", ["prototype", "logistic"])
def test_batches_and_deletions_end_where_joint_training_ends_with_views_too(server, method):
    """The same head to 1e-6, whether images came one class after another, with one too many, or at once."""
    batches = [shapes([kind], each=5, start=8500) for kind in SHAPES[:4]]
    odd = labeled("odd.png", shape("bar", 8600), "circle")
    stepwise, joint = unique("stepwise"), unique("joint")
    for batch in ([*batches[0], *batches[1]], [*batches[2], odd], batches[3]):
        learn(server, stepwise, batch, method=method, views=CHOICE, deploy="manual")
    job = ended(server, server.client.forget(stepwise, [sha(odd)], wait=WAIT))
    assert job["request"]["views"] == CHOICE
    learn(server, joint, [i for batch in batches for i in batch], method=method, views=CHOICE)
    assert server.client.manifest(joint, 1)["views"] == CHOICE
    np.testing.assert_allclose(scores(server, stepwise, 4), scores(server, joint, 1), atol=1e-6)
