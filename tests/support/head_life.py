"""What the tests of a head's life share: heads that are taught and changed, and graphs that are compared."""

import hashlib
import json
import uuid
from contextlib import suppress

import numpy as np
import pytest

from service.client import ApiError, LabeledInput
from support import downloaded
from support.inputs import PICTURES, Inputs
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


def taught(server: Service, stem: str, sent: list[LabeledInput], **options: object) -> str:
    """A new head with one version; of images and of the quickest method unless the test says otherwise."""
    head = unique(stem)
    learn(server, head, sent, **options)
    return head


def learn(server: Service, head: str, sent: list[LabeledInput], **options: object) -> dict:
    options = {"method": "prototype", "field": "images"} | options
    return ended(server, server.client.finetune(head, inputs=sent, wait=WAIT, **options))


def sha(one: LabeledInput) -> str:
    return hashlib.sha256(one.data()).hexdigest()


def refused(call, *arguments: object, **options: object) -> tuple[int, str, str | None]:
    """(status, code, item) of a request that must be refused."""
    with pytest.raises(ApiError) as error:
        call(*arguments, **options)
    return error.value.status, error.value.code, error.value.problem.get("item")


def scores(
    server: Service, head: str, version: int, names: dict[str, str] | None = None, inputs: Inputs = PICTURES
) -> dict[str, np.ndarray]:
    """Class → what a version's downloaded graph says of inputs that no head was taught, f64 [N]."""
    asked = [inputs.one(kind, 5000 + n) for kind in inputs.kinds for n in range(3)]
    if "deep" in server.client.manifest(head, version):
        return _told(server, f"{head}@{version}", asked, inputs, names or {})
    graph = server.client.graph(head, version)
    labels = json.loads(downloaded.opened(graph).get_modelmeta().custom_metadata_map["labels"])
    assert labels == server.client.manifest(head, version)["classes"]
    table = downloaded.asked(graph, downloaded.embedded(server, asked, inputs.field))
    return {(names or {}).get(label, label): column for label, column in zip(labels, table.T, strict=True)}


def _told(
    server: Service, ref: str, asked: list[bytes], inputs: Inputs, names: dict[str, str]
) -> dict[str, np.ndarray]:
    """The same of a deep version, as the service answers."""
    said = server.client.predict([ref], inputs=asked, top_k=len(inputs.kinds))["predictions"]
    rows = [{one["label"]: one["score"] for one in answer["top"]} for answer in said]
    return {names.get(label, label): np.array([row[label] for row in rows]) for label in rows[0]}


def same(one: dict[str, np.ndarray], other: dict[str, np.ndarray]) -> None:
    assert set(one) == set(other)
    for label, column in one.items():
        np.testing.assert_allclose(column, other[label], atol=1e-6)


def in_blobs(server: Service, word: str) -> bool:
    """Whether any stored file has the word in it: lists, manifests, graphs. Others come and go meanwhile."""
    for path in (server.artifacts / "blobs").glob("*/*"):
        with suppress(FileNotFoundError):
            if word.encode() in path.read_bytes():
                return True
    return False


def generation(job: dict) -> int:
    return job["report"]["generation"]
