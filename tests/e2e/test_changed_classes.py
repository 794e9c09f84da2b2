"""Classes of a head, over HTTP: renamed, merged, dropped."""

import pytest
from support.head_life import JSON_BODY, WAIT, ended, generation, learn, refused, same, scores, sha, taught
from support.inputs import of_pictures
from support.pictures import SHAPES, labeled, shape, shapes

pytestmark = pytest.mark.slow  # what it shows over HTTP, quick tests show of its parts


@of_pictures
def test_renamed_classes_keep_their_weights(server, inputs):
    """Nothing is trained: the same figures and scores under other names, in the graph's metadata, too."""
    head = taught(server, "rename", shapes(each=5, start=3800), **inputs.asked())
    before, figures = scores(server, head, 1), server.client.head(head)["metrics"]
    job = ended(server, server.client.rename_labels(head, {"circle": "ring", "square": "circle"}, wait=WAIT))
    assert job["version"] == 2 and "race" not in job["report"] and job["metrics"] == figures
    assert job["report"]["renamed"] == {"from_version": 1, "names": {"circle": "ring", "square": "circle"}}
    same(scores(server, head, 2), {{"circle": "ring", "square": "circle"}.get(k, k): v for k, v in before.items()})
    assert job["report"]["data"]["classes"] == {"ring": 5, "circle": 5, "triangle": 5}
    assert {e["label"] for e in server.client.examples(head)} == {"ring", "circle", "triangle"}
    asked = [shape("circle", 3900)]
    assert server.client.predict([head], asked, min_generation=generation(job))["predictions"][0]["label"] == "ring"
    learn(server, head, [labeled("r", shape("circle", 3901), "ring")])
    assert server.client.manifest(head, 3)["data"]["classes"]["ring"] == 6


def test_merged_classes_are_trained_as_one(server):
    """The head that a single label from the start would have made; the new name may be one of the old."""
    images = shapes(SHAPES[:4], each=4, start=4000)
    head = taught(server, "merge", images)
    job = ended(server, server.client.merge_labels(head, "box", ["square", "cross"], wait=WAIT))
    assert job["report"]["data"]["classes"] == {"box": 8, "circle": 4, "triangle": 4}
    box = [labeled(i.file_name, i.data(), {"square": "box", "cross": "box"}.get(i.label, i.label)) for i in images]
    same(scores(server, head, 2), scores(server, taught(server, "box", box), 1))
    job = ended(server, server.client.merge_labels(head, "box", ["triangle"], wait=WAIT))
    assert job["report"]["data"]["classes"] == {"box": 12, "circle": 4}


def test_a_dropped_class_goes_with_its_examples(server):
    """The head that it would be without; the bytes are gone, and earlier versions stay, to roll back to."""
    images = shapes(SHAPES[:3], each=5, start=4100)
    head = taught(server, "drop", images)
    ended(server, server.client.drop_labels(head, ["square"], wait=WAIT))
    rest = [i for i in images if i.label != "square"]
    same(scores(server, head, 2), scores(server, taught(server, "rest", rest), 1))
    assert not {sha(i) for i in images if i.label == "square"} & server.blobs()
    server.client.set_alias(head, "live", 1)


def test_changes_of_classes_that_cannot_be_made_are_refused_by_name(server, shared):
    """404 for a class that is not there, 409 for a clash, 422 for what makes no head."""
    head, _ = shared
    jobs = len(server.client.jobs(head=head))
    rename, merge, drop = server.client.rename_labels, server.client.merge_labels, server.client.drop_labels
    assert refused(rename, head, {"dog": "cat"}) == (404, "label_not_found", "dog")
    assert refused(merge, head, "all", ["circle", "dog"]) == (404, "label_not_found", "dog")
    assert refused(drop, head, ["dog"]) == (404, "label_not_found", "dog")
    assert refused(drop, "nobody", ["dog"]) == (404, "head_not_found", "nobody")
    assert refused(rename, head, {"circle": "square"}) == (409, "conflict", "square")
    assert refused(rename, head, {"circle": "x", "square": "x"}) == (409, "conflict", "x")
    assert refused(rename, head, {"circle": "\n"})[:2] == (422, "invalid_label")
    assert refused(drop, head, ["circle", "square"])[:2] == (422, "not_enough_data")
    for body in ({}, {"drop": ["circle"], "rename": {"square": "box"}}, {"paint": "red"}):
        answer = server.http.post(f"/heads/{head}/labels", json=body)
        assert (answer.status_code, answer.json()["code"]) == (422, "invalid_input")
    hostile = (rb'{"rename": {"\ud800": "a"}}', b'{"drop": ["\\u0000"]}', b"{", b'{"drop": "circle"}')
    for content in hostile:
        answer = server.http.post(f"/heads/{head}/labels", content=content, headers=JSON_BODY)
        assert answer.status_code in (404, 422) and answer.json()["code"] in ("invalid_input", "label_not_found")
    twice = server.http.post(f"/heads/{head}/labels", json={"merge": {"x": ["circle"], "y": ["circle"]}})
    assert (twice.status_code, twice.json()["item"]) == (409, "circle")
    assert len(server.client.jobs(head=head)) == jobs
