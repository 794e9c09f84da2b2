"""What the tests of a head's life share: heads that are taught and changed, and graphs that are compared."""

import hashlib
import json
import uuid

import numpy as np
import pytest

from service.client import ApiError, LabeledImage
from support import downloaded
from support.pictures import SHAPES, shape
from support.services import Service

JSON_BODY = {"Content-Type": "application/json"}
WAIT = 60.0  # seconds that the server holds a request for its job


def unique(stem: str) -> str:
    return f"{stem}-{uuid.uuid4().hex[:8]}"


def ended(server: Service, job: dict, status: str = "succeeded") -> dict:
    """The job at its end, which must be as expected."""
    job = server.client.wait(job["id"])
    assert job["status"] == status, job["error"]
    return job


def taught(server: Service, stem: str, images: list[LabeledImage], **options: object) -> str:
    """A new head with one version; of the quickest method unless the test says otherwise."""
    head = unique(stem)
    learn(server, head, images, **options)
    return head


def learn(server: Service, head: str, images: list[LabeledImage], **options: object) -> dict:
    return ended(server, server.client.finetune(head, images, wait=WAIT, **({"method": "prototype"} | options)))


def sha(image: LabeledImage) -> str:
    return hashlib.sha256(image.data()).hexdigest()


def refused(call, *arguments: object, **options: object) -> tuple[int, str, str | None]:
    """(status, code, item) of a request that must be refused."""
    with pytest.raises(ApiError) as error:
        call(*arguments, **options)
    return error.value.status, error.value.code, error.value.problem.get("item")


def scores(server: Service, head: str, version: int, names: dict[str, str] | None = None) -> dict[str, np.ndarray]:
    """Class → what a version's downloaded graph says of pictures that no head was taught, f64 [N]."""
    asked = [shape(kind, 5000 + n) for kind in SHAPES for n in range(3)]
    graph = server.client.graph(head, version)
    labels = json.loads(downloaded.opened(graph).get_modelmeta().custom_metadata_map["labels"])
    assert labels == server.client.manifest(head, version)["classes"]
    table = downloaded.asked(graph, downloaded.embedded(server, asked))
    return {(names or {}).get(label, label): column for label, column in zip(labels, table.T, strict=True)}


def same(one: dict[str, np.ndarray], other: dict[str, np.ndarray]) -> None:
    assert set(one) == set(other)
    for label, column in one.items():
        np.testing.assert_allclose(column, other[label], atol=1e-6)


def not_images(server: Service) -> list:
    """Blobs that are not images: lists, manifests, graphs."""
    return [p for p in (server.artifacts / "blobs").glob("*/*") if not p.read_bytes().startswith(b"\x89PNG")]


def generation(job: dict) -> int:
    return job["report"]["generation"]
