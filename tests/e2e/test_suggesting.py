"""What to label next, over HTTP, on the real parts."""

import httpx
import pytest
from support.pictures import shape, shapes
from support.services import Service

from service.client import ApiError

PER_KIND = 6


@pytest.fixture(scope="module")
def head(server: Service) -> str:
    job = server.client.finetune("suggested", shapes(), method="prototype", wait=60)
    assert server.client.wait(job["id"])["status"] == "succeeded"
    return "suggested"


def unlabeled() -> list[bytes]:
    """Circles, which the head knows, then crosses, which it has never seen."""
    return [shape(kind, 100 + i) for kind in ("circle", "cross") for i in range(PER_KIND)]


def test_an_unknown_kind_is_suggested_before_a_known_one(server, head):
    answer = server.client.suggest(head, unlabeled(), count=2)
    assert answer["head"] == head and answer["version"] == 1 and answer["strategy"] in ("typical", "uncertain")
    assert any(row["index"] >= PER_KIND for row in answer["suggestions"]), answer
    assert all(0 <= row["doubt"] <= 1 for row in answer["suggestions"])
    assert 0 <= answer["expected_corrections"] <= 2 and answer["explanation"]


def test_as_many_are_suggested_as_asked_for_and_none_twice(server, head):
    images = unlabeled()
    for count in (1, 5, len(images), 100):
        found = [row["index"] for row in server.client.suggest(head, images, count=count)["suggestions"]]
        assert len(set(found)) == len(found) == min(count, len(images))


def test_an_image_that_cannot_be_read_is_named_or_skipped(server, head):
    images = [unlabeled()[0], b"not an image", unlabeled()[-1]]
    with pytest.raises(ApiError, match="image 1") as refused:
        server.client.suggest(head, images)
    assert refused.value.status == 422
    answer = server.client.suggest(head, images, on_error="skip")
    assert sorted(row["index"] for row in answer["suggestions"]) == [0, 2]
    assert [error["index"] for error in answer["errors"]] == [1]
    assert server.client.suggest(head, [b"nothing"], on_error="skip")["suggestions"] == []


def test_bad_requests_are_told_what_to_fix(server, head):
    with pytest.raises(ApiError) as unknown:
        server.client.suggest("nobody", unlabeled())
    assert (unknown.value.status, unknown.value.code) == (404, "head_not_found")
    with pytest.raises(ApiError) as wrong:
        server.client.suggest(head, unlabeled(), count=0)
    assert (wrong.value.status, wrong.value.problem["item"]) == (422, "count")
    empty = httpx.post(f"{server.url}/heads/{head}/suggest", files={"count": (None, "3")})
    assert (empty.status_code, empty.json()["item"]) == (422, "inputs")
