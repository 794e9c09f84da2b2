"""What to label next, over HTTP, on the real parts, of every modality."""

import pytest
from support.inputs import Inputs, of_every_version

from adapters import modalities
from service.client import ApiError

PER_KIND = 6
pytestmark = of_every_version


@pytest.fixture(scope="module")
def head(learned: tuple[str, dict]) -> str:
    return learned[0]


def unlabeled(inputs: Inputs) -> list[bytes]:
    """Some of a kind that the head knows, then some that it has never seen."""
    return [inputs.one(kind, 100 + i) for kind in (inputs.kinds[0], inputs.kinds[3]) for i in range(PER_KIND)]


def test_an_unknown_kind_is_suggested_before_a_known_one(server, head, inputs):
    answer = server.client.suggest(head, inputs=unlabeled(inputs), count=2)
    assert answer["head"] == head and answer["version"] == 1 and answer["strategy"] in ("typical", "uncertain")
    assert any(row["index"] >= PER_KIND for row in answer["suggestions"]), answer
    assert all(0 <= row["doubt"] <= 1 for row in answer["suggestions"])
    assert 0 <= answer["expected_corrections"] <= 2
    assert f"{modalities.get(inputs.modality).NOUN}s" in answer["explanation"]


def test_as_many_are_suggested_as_asked_for_and_none_twice(server, head, inputs):
    sent = unlabeled(inputs)
    for count in (1, 5, len(sent), 100):
        found = [row["index"] for row in server.client.suggest(head, inputs=sent, count=count)["suggestions"]]
        assert len(set(found)) == len(found) == min(count, len(sent))


def test_one_that_cannot_be_read_is_named_or_skipped(server, head, inputs):
    sent = [unlabeled(inputs)[0], inputs.broken, unlabeled(inputs)[-1]]
    with pytest.raises(ApiError, match=f"{modalities.get(inputs.modality).NOUN} 1") as refused:
        server.client.suggest(head, inputs=sent)
    assert refused.value.status == 422
    answer = server.client.suggest(head, inputs=sent, on_error="skip")
    assert sorted(row["index"] for row in answer["suggestions"]) == [0, 2]
    assert [error["index"] for error in answer["errors"]] == [1]
    assert server.client.suggest(head, inputs=[inputs.broken], on_error="skip")["suggestions"] == []


def test_bad_requests_are_told_what_to_fix(server, head, inputs):
    with pytest.raises(ApiError) as unknown:
        server.client.suggest("nobody", inputs=unlabeled(inputs))
    assert (unknown.value.status, unknown.value.code) == (404, "head_not_found")
    with pytest.raises(ApiError) as wrong:
        server.client.suggest(head, inputs=unlabeled(inputs), count=0)
    assert (wrong.value.status, wrong.value.problem["item"]) == (422, "count")
    empty = server.http.post(f"/heads/{head}/suggest", files={"count": (None, "3")})
    assert (empty.status_code, empty.json()["item"]) == (422, "inputs")
