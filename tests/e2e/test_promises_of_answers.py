"""What an answer promises beside its label, over HTTP: how novel it is, a set that holds the truth, when to abstain."""

import pytest
from support.inputs import Inputs, of_every_version

from service.client import ApiError

pytestmark = of_every_version


def test_what_was_never_taught_is_novel(server, learned, inputs):
    """What is like nothing taught has a higher novelty than any that is like those taught."""
    usual = [inputs.one(kind, n) for kind in inputs.kinds[:3] for n in range(70, 74)]
    answers = server.client.predict([learned[0]], inputs=[*usual, inputs.strange])["predictions"]
    told = [each["novelty"] for each in answers]
    assert told[-1] > 0.95 and told[-1] > max(told[:-1])


def test_coverage_brings_a_set_of_labels_and_abstain_a_verdict(server, learned, inputs):
    """In the form or in the query; together; and without asking, neither is there."""
    head, kind = learned[0], inputs.kinds[0]
    asked = [inputs.one(kind, 80), inputs.strange]
    usual, strange = server.client.predict([head], inputs=asked, coverage=0.95, abstain=0.9)["predictions"]
    assert usual["coverage"] == 0.95 and set(usual["set"]) <= set(inputs.kinds[:3]) and kind in usual["set"]
    assert (usual["abstain"], strange["abstain"]) == (False, True)
    raw = server.http.post(
        "/predict", params={"head": head, "coverage": "0.95", "abstain": "0.9"}, content=asked[0],
        headers={"Content-Type": "application/octet-stream"},
    )  # fmt: skip
    (row,) = raw.json()["predictions"]
    assert [row[k] for k in ("set", "coverage", "abstain")] == [usual[k] for k in ("set", "coverage", "abstain")]
    plain = server.client.predict([head], inputs=asked)["predictions"][0]
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
def test_a_promise_that_cannot_be_kept_is_refused_and_says_what_is_missing(
    server, learned, inputs: Inputs, options, code, names
):
    """The head, the version, how many held-out examples there are and how many are needed."""
    head = learned[0]
    with pytest.raises(ApiError) as refused:
        server.client.predict([head], inputs=[inputs.one(inputs.kinds[0], 1)], **options)
    assert (refused.value.status, refused.value.code) == (422, code)
    assert all(name in str(refused.value) for name in names), str(refused.value)
    assert code == "invalid_input" or head in str(refused.value)
