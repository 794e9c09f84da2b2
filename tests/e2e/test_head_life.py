"""The examples of a head, over HTTP, on the real parts: listed, added in batches, corrected."""

import hashlib

import pytest
from support.head_life import WAIT, ended, learn, refused, same, scores, sha, taught, unique
from support.pictures import SHAPES, labeled, shape, shapes
from support.services import Service


@pytest.fixture(scope="module")
def split_head(server: Service) -> str:
    """A head of three shapes with a split of its owner's, which no test changes."""
    held_out = [labeled(f"t-{k}-{n}.png", shape(k, 90 + n), k, "test") for k in SHAPES[:3] for n in range(2)]
    return taught(server, "held", [*shapes(each=4), *held_out])


def test_the_examples_of_a_head_are_listed_page_by_page(server, split_head):
    """By SHA-256, each once, with file name, label, split and group."""
    found, after = [], ""
    while after is not None:
        page = server.http.get(f"/heads/{split_head}/examples", params={"limit": 5, "after": after}).json()
        found += page["examples"]
        after = page["next"]
    assert len(found) == 18 and [e["sha256"] for e in found] == sorted({e["sha256"] for e in found})
    assert found == list(server.client.examples(split_head))
    one = next(e for e in found if e["file_name"] == "circle-0.png")
    assert one == {
        "sha256": sha(shapes()[0]), "file_name": "circle-0.png", "label": "circle", "split": "train", "group": None,
    }  # fmt: skip


def test_examples_are_filtered_by_label_and_split(server, split_head):
    """Both at once, too; what is no filter is refused, and an unknown head is not an empty one."""
    assert {e["label"] for e in server.client.examples(split_head, label="square")} == {"square"}
    both = list(server.client.examples(split_head, label="square", split="test"))
    assert {e["file_name"] for e in both} == {"t-square-0.png", "t-square-1.png"}
    assert list(server.client.examples(split_head, label="dog")) == []
    assert server.http.get(f"/heads/{split_head}/examples", params={"split": "half"}).status_code == 422
    assert refused(lambda: list(server.client.examples("nobody"))) == (404, "head_not_found", "nobody")


def test_the_image_of_an_example_is_what_was_sent(server, split_head):
    """Under its own media type, and never to be taken for a page."""
    image = shapes()[0]
    response = server.http.get(f"/heads/{split_head}/examples/{sha(image)}/image")
    assert response.content == image.data() and response.headers["content-type"] == "image/png"
    assert response.headers["x-content-type-options"] == "nosniff"
    stranger = hashlib.sha256(b"never sent").hexdigest()
    assert refused(server.client.image, split_head, stranger) == (404, "example_not_found", stranger)
    assert server.http.get(f"/heads/{split_head}/examples/nonsense/image").status_code == 422


@pytest.mark.slow
@pytest.mark.parametrize("method", ["prototype", "logistic"])
def test_five_class_batches_one_after_another_end_where_joint_training_ends(server, method):
    """No forgetting: each batch brings a class, and the last version is that of all sent at once, to 1e-6."""
    batches = [shapes([kind], each=5, start=2000) for kind in SHAPES]
    stepwise = unique("stepwise")
    for batch in ([*batches[0], *batches[1]], *batches[2:]):
        learn(server, stepwise, batch, method=method, deploy="manual")
    joint = taught(server, "joint", [i for batch in batches for i in batch], method=method)
    assert server.client.manifest(stepwise, 4)["classes"] == sorted(SHAPES)
    same(scores(server, stepwise, 4), scores(server, joint, 1))


def test_a_corrected_label_makes_the_head_that_it_would_have_made_from_the_start(server):
    """One by PATCH, several in one job; earlier versions stay, to roll back to."""
    right = shapes(each=5, start=3600)
    wrong = [labeled(i.file_name, i.data(), "square" if n in (0, 3, 6) else i.label) for n, i in enumerate(right)]
    head, clean = taught(server, "wrong", wrong), taught(server, "right", right)
    first = server.http.patch(
        f"/heads/{head}/examples/{sha(right[0])}", json={"label": " circle "}, params={"wait": WAIT}
    )
    assert first.status_code == 200 and first.json()["report"]["embedding"]["new"] == 0
    server_job = server.client.relabel(head, {sha(right[n]): "circle" for n in (3, 6)}, wait=WAIT)
    assert ended(server, server_job)["report"]["data"]["classes"] == dict.fromkeys(SHAPES[:3], 5)
    same(scores(server, head, 3), scores(server, clean, 1))
    assert server.client.head(head)["live"] == 3 and len(server.client.head(head)["versions"]) == 3


def test_changes_of_examples_that_cannot_be_made_are_refused_by_name(server, split_head):
    """404, 409 and 422, before a job exists; the item says which."""
    jobs = len(server.client.jobs(head=split_head))
    known, stranger = sha(shapes()[0]), hashlib.sha256(b"never sent").hexdigest()
    forget, relabel = server.client.forget, server.client.relabel
    assert refused(forget, split_head, [known, stranger]) == (404, "example_not_found", stranger)
    assert refused(forget, "nobody", [known]) == (404, "head_not_found", "nobody")
    assert refused(relabel, split_head, {stranger: "circle"}) == (404, "example_not_found", stranger)
    assert refused(relabel, split_head, {known: "circle"}) == (409, "conflict", known)
    assert refused(relabel, split_head, {known: "  "}) == (422, "invalid_label", known)
    assert refused(relabel, split_head, {known: "alone"})[:2] == (422, "not_enough_data")
    most = [e["sha256"] for e in server.client.examples(split_head, label="circle")][1:]
    status, code, _ = refused(forget, split_head, most)
    assert (status, code) == (422, "not_enough_data")
    assert refused(forget, split_head, [])[:2] == (422, "invalid_input")
    assert refused(forget, split_head, ["nonsense"])[:2] == (422, "invalid_input")
    assert len(server.client.jobs(head=split_head)) == jobs
