"""The life of a head, over HTTP, on the real parts: its examples, their labels, its classes, backbone and versions."""

import hashlib
import json
import uuid

import numpy as np
import pytest
from support import downloaded
from support.pictures import SHAPES, labeled, shape, shapes
from support.services import Service, eventually

from service.client import ApiError, LabeledImage

_JSON = {"Content-Type": "application/json"}
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


# The examples


@pytest.fixture(scope="module")
def shared(server: Service) -> str:
    """A head of three shapes with a split of its owner's, which no test changes."""
    held_out = [labeled(f"t-{k}-{n}.png", shape(k, 90 + n), k, "test") for k in SHAPES[:3] for n in range(2)]
    return taught(server, "held", [*shapes(each=4), *held_out])


def test_the_examples_of_a_head_are_listed_page_by_page(server, shared):
    """By SHA-256, each once, with file name, label, split and group."""
    found, after = [], ""
    while after is not None:
        page = server.http.get(f"/heads/{shared}/examples", params={"limit": 5, "after": after}).json()
        found += page["examples"]
        after = page["next"]
    assert len(found) == 18 and [e["sha256"] for e in found] == sorted({e["sha256"] for e in found})
    assert found == list(server.client.examples(shared))
    one = next(e for e in found if e["file_name"] == "circle-0.png")
    assert one == {
        "sha256": sha(shapes()[0]), "file_name": "circle-0.png", "label": "circle", "split": "train", "group": None,
    }  # fmt: skip


def test_examples_are_filtered_by_label_and_split(server, shared):
    """Both at once, too; what is no filter is refused, and an unknown head is not an empty one."""
    assert {e["label"] for e in server.client.examples(shared, label="square")} == {"square"}
    both = list(server.client.examples(shared, label="square", split="test"))
    assert {e["file_name"] for e in both} == {"t-square-0.png", "t-square-1.png"}
    assert list(server.client.examples(shared, label="dog")) == []
    assert server.http.get(f"/heads/{shared}/examples", params={"split": "half"}).status_code == 422
    assert refused(lambda: list(server.client.examples("nobody"))) == (404, "head_not_found", "nobody")


def test_the_image_of_an_example_is_what_was_sent(server, shared):
    """Under its own media type, and never to be taken for a page."""
    image = shapes()[0]
    response = server.http.get(f"/heads/{shared}/examples/{sha(image)}/image")
    assert response.content == image.data() and response.headers["content-type"] == "image/png"
    assert response.headers["x-content-type-options"] == "nosniff"
    stranger = hashlib.sha256(b"never sent").hexdigest()
    assert refused(server.client.image, shared, stranger) == (404, "example_not_found", stranger)
    assert server.http.get(f"/heads/{shared}/examples/nonsense/image").status_code == 422


# Five batches


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


# Taking examples back


@pytest.mark.parametrize("method", ["prototype", "logistic"])
def test_a_deleted_example_is_unlearned_exactly(server, method):
    """The new version is the one trained as if it had never been sent, to 1e-6, although it was labeled wrongly."""
    good, odd = shapes(each=6, start=3000), labeled("odd.png", shape("bar", 3100), "circle")
    head = taught(server, "unlearn", [*good, odd], method=method)
    learn(server, head, shapes(("cross",), each=4, start=3000), method=method)
    job = ended(server, server.client.forget(head, [sha(odd)], wait=WAIT))
    assert job["version"] == 3 and job["request"]["edit"]["remove"] == 1 and job["request"]["method"] == method
    assert job["report"]["embedding"]["new"] == 0
    never = taught(server, "never", [*good, *shapes(("cross",), each=4, start=3000)], method=method)
    same(scores(server, head, 3), scores(server, never, 1))


def test_nothing_of_a_deleted_example_stays(server):
    """Not its bytes, embedding, rows, nor any version whose weights or list knew it; aliases follow to the new one."""
    mine = [labeled(f"{k}{n}", shape(k, 3200 + n), k) for k in SHAPES[:2] for n in range(4)]
    head = taught(server, "gone", mine[:3] + mine[4:])
    learn(server, head, [mine[3]])
    learn(server, head, shapes(("cross",), start=60))
    server.client.set_alias(head, "canary", 2)
    server.client.set_alias(head, "first", 1)
    old = {v["version"]: server.client.manifest(head, v["version"]) for v in server.client.head(head)["versions"]}
    graphs = {v["version"]: v["digest"] for v in server.client.head(head)["versions"]}
    gone = sha(mine[3])
    job = server.http.delete(f"/heads/{head}/examples/{gone}", params={"wait": WAIT})
    assert job.status_code == 200 and job.headers["location"] == f"/jobs/{job.json()['id']}"
    assert job.json()["report"]["retired"] == {"versions": [2, 3], "aliases": ["canary"]}
    assert server.client.head(head)["aliases"] == {"live": 4, "canary": 4, "first": 1}
    assert [v["version"] for v in server.client.head(head)["versions"]] == [4, 1]
    knew = {d for n in (2, 3) for d in (graphs[n], old[n]["data"]["digest"], old[n]["data"]["answers"])}
    left = eventually(lambda: found if not knew & (found := server.blobs()) else None)  # a moment after the job ends
    assert gone not in left and not any(gone.encode() in path.read_bytes() for path in _texts(server))
    for table in ("examples", "job_examples", "embeddings"):
        assert not server.rows(table, "sha256=?", gone)
    for table in ("jobs", "versions", "job_events", "job_blobs"):
        assert gone not in json.dumps(server.rows(table), default=str)
    assert refused(server.client.image, head, gone)[1] == "example_not_found"
    answer = server.client.predict([f"{head}@canary"], [mine[0].data()], min_generation=_generation(job.json()))
    assert answer["predictions"][0]["version"] == 4


def test_what_only_a_version_still_knows_is_unlearned_too(server):
    """An image of a rejected job, and one that was replaced: no longer examples of the head, but in weights of it."""
    held_out = [labeled(f"t-{k}-{n}.png", shape(k, 3250 + n), k, "test") for k in SHAPES[:3] for n in range(8)]
    good = shapes(each=6, start=3270)
    head = taught(server, "rejected", [*good, *held_out])
    new = [labeled(f"new-{k}", shape(k, 3290), k) for k in SHAPES[:3]]
    turned = [labeled(i.file_name, i.data(), "circle" if i.label == "square" else "square") for i in good[:-1]]
    job = server.client.finetune(head, [*turned, *new], method="prototype", wait=WAIT)
    ended(server, job, "rejected")
    assert len(list(server.client.examples(head))) == 42
    job = ended(server, server.client.forget(head, [sha(new[0])], wait=WAIT))
    assert job["report"]["retired"]["versions"] == [2] and job["report"]["gate"]["passed"]
    assert [v["version"] for v in server.client.head(head)["versions"]] == [3, 1]
    same(scores(server, head, 3), scores(server, head, 1))
    learn(server, head, shapes(("cross", "bar"), each=4, start=3270), mode="replace")
    job = ended(server, server.client.forget(head, [sha(good[0])], wait=WAIT))
    assert job["report"]["retired"]["versions"] == [1, 3]


def test_a_copy_that_a_deleted_image_kept_out_of_training_is_trained_on_again(server):
    """As if the held-out original had never been sent, nobody had noticed the copy."""
    test = [labeled(f"t-{k}-{n}.png", shape(k, 3380 + n), k, "test") for k in SHAPES[:3] for n in range(3)]
    copy = labeled("copy.jpg", shape("circle", 3380, "JPEG"), "circle")
    good = shapes(each=4, start=3390)
    head = taught(server, "copy", [*good, *test])
    learn(server, head, [copy])
    (kept,) = [e for e in server.client.examples(head) if e["file_name"] == "copy.jpg"]
    ended(server, server.client.forget(head, [sha(test[0])], wait=WAIT))
    (again,) = [e for e in server.client.examples(head) if e["file_name"] == "copy.jpg"]
    assert (kept["split"], again["split"]) == ("test", "train")
    never = taught(server, "no-original", [*good, *test[1:], copy])
    same(scores(server, head, 3), scores(server, never, 1))


def test_an_image_that_another_head_holds_stays_with_it(server):
    """Deleting it from one head takes nothing from the other."""
    common = shapes(each=4, start=3300)
    mine, yours = taught(server, "mine", common), taught(server, "yours", common)
    ended(server, server.client.forget(mine, [sha(common[0])], wait=WAIT))
    assert server.client.image(yours, sha(common[0])) == common[0].data()
    assert len(list(server.client.examples(mine))) == 11 and len(list(server.client.examples(yours))) == 12


def test_a_deletion_is_not_refused_for_being_worse(server):
    """What the gate would have said is in the report, and that it did not matter."""
    held_out = [labeled(f"t-{k}-{n}.png", shape(k, 3400 + n), k, "test") for k in SHAPES[:3] for n in range(8)]
    good = shapes(each=8, start=3450)
    # Two circles that are crosses: with the true ones taken back, every circle of the test is called something else.
    odd = [labeled(f"odd-{n}.png", shape("cross", 3480 + n), "circle") for n in range(2)]
    head = taught(server, "worse", [*good, *odd, *held_out])
    job = ended(server, server.client.forget(head, [sha(i) for i in good if i.label == "circle"], wait=WAIT))
    assert not job["report"]["gate"]["passed"] and "whatever the gate says" in job["report"]["deploy"]
    assert job["request"]["deploy"] == "always" and server.client.head(head)["live"] == job["version"] == 2
    assert job["report"]["parity"]["max_difference"] <= 1e-4


def test_a_head_that_serves_nothing_still_serves_nothing_after_a_deletion(server):
    """deploy=manual so far: the new version is there, but no alias moves."""
    images = shapes(each=4, start=3500)
    head = taught(server, "quiet", images, deploy="manual")
    job = ended(server, server.client.forget(head, [sha(images[0])], wait=WAIT))
    assert server.client.head(head)["aliases"] == {} and "not served" in job["report"]["deploy"]
    assert [v["version"] for v in server.client.head(head)["versions"]] == [2]


# Correcting labels


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


def test_changes_of_examples_that_cannot_be_made_are_refused_by_name(server, shared):
    """404, 409 and 422, before a job exists; the item says which."""
    jobs = len(server.client.jobs(head=shared))
    known, stranger = sha(shapes()[0]), hashlib.sha256(b"never sent").hexdigest()
    forget, relabel = server.client.forget, server.client.relabel
    assert refused(forget, shared, [known, stranger]) == (404, "example_not_found", stranger)
    assert refused(forget, "nobody", [known]) == (404, "head_not_found", "nobody")
    assert refused(relabel, shared, {stranger: "circle"}) == (404, "example_not_found", stranger)
    assert refused(relabel, shared, {known: "circle"}) == (409, "conflict", known)
    assert refused(relabel, shared, {known: "  "}) == (422, "invalid_label", known)
    assert refused(relabel, shared, {known: "alone"})[:2] == (422, "not_enough_data")
    most = [e["sha256"] for e in server.client.examples(shared, label="circle")][1:]
    status, code, _ = refused(forget, shared, most)
    assert (status, code) == (422, "not_enough_data")
    assert refused(forget, shared, [])[:2] == (422, "invalid_input")
    assert refused(forget, shared, ["nonsense"])[:2] == (422, "invalid_input")
    assert len(server.client.jobs(head=shared)) == jobs


def test_the_same_key_gives_the_same_deletion(server):
    """Also once it is done, when the example is no longer there to be deleted."""
    images = shapes(each=4, start=3700)
    head, key = taught(server, "key", images), {"Idempotency-Key": unique("key")}
    path = f"/heads/{head}/examples/{sha(images[0])}"
    first = server.http.delete(path, headers=key, params={"wait": WAIT})
    again = server.http.delete(path, headers=key)
    assert again.status_code == 202 and again.json()["id"] == first.json()["id"]
    other = server.http.delete(f"/heads/{head}/examples/{sha(images[1])}", headers=key)
    assert (other.status_code, other.json()["code"]) == (422, "idempotency_conflict")
    assert len(server.client.jobs(head=head)) == 2


# Classes


def test_renamed_classes_keep_their_weights(server):
    """Nothing is trained: the same figures and scores under other names, in the graph's metadata, too."""
    head = taught(server, "rename", shapes(each=5, start=3800))
    before, figures = scores(server, head, 1), server.client.head(head)["metrics"]
    job = ended(server, server.client.rename_labels(head, {"circle": "ring", "square": "circle"}, wait=WAIT))
    assert job["version"] == 2 and "race" not in job["report"] and job["metrics"] == figures
    assert job["report"]["renamed"] == {"from_version": 1, "names": {"circle": "ring", "square": "circle"}}
    same(scores(server, head, 2), {{"circle": "ring", "square": "circle"}.get(k, k): v for k, v in before.items()})
    assert job["report"]["data"]["classes"] == {"ring": 5, "circle": 5, "triangle": 5}
    assert {e["label"] for e in server.client.examples(head)} == {"ring", "circle", "triangle"}
    asked = [shape("circle", 3900)]
    assert server.client.predict([head], asked, min_generation=_generation(job))["predictions"][0]["label"] == "ring"
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
    jobs = len(server.client.jobs(head=shared))
    rename, merge, drop = server.client.rename_labels, server.client.merge_labels, server.client.drop_labels
    assert refused(rename, shared, {"dog": "cat"}) == (404, "label_not_found", "dog")
    assert refused(merge, shared, "all", ["circle", "dog"]) == (404, "label_not_found", "dog")
    assert refused(drop, shared, ["dog"]) == (404, "label_not_found", "dog")
    assert refused(drop, "nobody", ["dog"]) == (404, "head_not_found", "nobody")
    assert refused(rename, shared, {"circle": "square"}) == (409, "conflict", "square")
    assert refused(rename, shared, {"circle": "x", "square": "x"}) == (409, "conflict", "x")
    assert refused(rename, shared, {"circle": "\n"})[:2] == (422, "invalid_label")
    assert refused(drop, shared, ["circle", "square"])[:2] == (422, "not_enough_data")
    for body in ({}, {"drop": ["circle"], "rename": {"square": "box"}}, {"paint": "red"}):
        answer = server.http.post(f"/heads/{shared}/labels", json=body)
        assert (answer.status_code, answer.json()["code"]) == (422, "invalid_input")
    hostile = (rb'{"rename": {"\ud800": "a"}}', b'{"drop": ["\\u0000"]}', b"{", b'{"drop": "circle"}')
    for content in hostile:
        answer = server.http.post(f"/heads/{shared}/labels", content=content, headers=_JSON)
        assert answer.status_code in (404, 422) and answer.json()["code"] in ("invalid_input", "label_not_found")
    twice = server.http.post(f"/heads/{shared}/labels", json={"merge": {"x": ["circle"], "y": ["circle"]}})
    assert (twice.status_code, twice.json()["item"]) == (409, "circle")
    assert len(server.client.jobs(head=shared)) == jobs


# Versions


def test_two_versions_are_compared_on_what_neither_learned(server):
    """Paired difference with an interval, McNemar's p, and the answers that changed, regressions first."""
    held_out = [labeled(f"t-{k}-{n}.png", shape(k, 4200 + n), k, "test") for k in SHAPES[:3] for n in range(8)]
    good = shapes(each=6, start=4250)
    head = taught(server, "compare", [*good, *held_out])
    turned = {"circle": "square", "square": "circle", "triangle": "triangle"}
    learn(server, head, [labeled(i.file_name, i.data(), turned[i.label]) for i in good], deploy="manual")
    found = server.client.compare(head, "live", 2, limit=5)
    assert (found["a"], found["b"], found["examples"], found["skipped"]) == (1, 2, 24, 0)
    assert found["merit_a"] == 1.0 and found["a_better"] == 16 and found["b_better"] == 0
    assert found["difference"] == pytest.approx(-16 / 24) and found["p_value"] == pytest.approx(2**-15)
    low, high = found["difference_interval"]
    assert low < found["difference"] < high < 0
    assert found["changed_count"] == 16 and len(found["changed"]) == 5
    one = found["changed"][0]
    assert one["a"]["label"] == one["label"] != one["b"]["label"] and one["file_name"].startswith("t-")
    back = server.client.compare(head, 2, 1)
    assert back["difference"] == -found["difference"] and len(back["changed"]) == 16


def test_cross_validated_versions_are_compared_by_their_out_of_fold_answers(server):
    """The first one has no answer about a class that came later: only classes that both know count."""
    head = taught(server, "folds", shapes(each=6, start=4300))
    learn(server, head, shapes(("cross",), each=4, start=4300))
    found = server.client.compare(head, 1, 2)
    assert found["examples"] == 18 and found["classes"] == sorted(SHAPES[:3])
    same_version = server.client.compare(head, 2, 2)
    assert same_version["difference"] == 0 and same_version["changed"] == [] and same_version["p_value"] == 1
    assert refused(server.client.compare, head, 1, 9) == (404, "version_not_found", f"{head}@9")
    assert refused(server.client.compare, head, 1, "canary")[:2] == (404, "version_not_found")
    assert refused(server.client.compare, head, 1, "0") == (422, "invalid_input", "0")
    assert refused(server.client.compare, "nobody", 1, 2)[:2] == (404, "head_not_found")


def test_a_head_is_rebuilt_on_another_backbone_from_its_stored_examples(own_server, home, tmp_path):
    """A job as any other: every image is embedded anew, the gate looks, and the versions can be compared."""
    from support.services import espalier

    espalier("backbones", "add", "resnet18", "size=64", "--weights", "random", "--name", "tiny", home=home)
    server = own_server()
    head = taught(server, "rebuild", shapes(each=5, start=4400))
    assert refused(server.client.rebuild, head, "vgg") == (404, "backbone_not_found", "vgg")
    job = ended(server, server.client.rebuild(head, "tiny", deploy="manual", wait=WAIT))
    assert job["report"]["embedding"]["new"] == 15 and job["report"]["gate"]["examples"] == 15
    assert job["request"]["method"] == "prototype" and job["request"]["backbone"] == "tiny"
    assert server.client.manifest(head, 2)["backbone"]["name"] == "tiny"
    assert server.client.head(head)["live"] == 1
    assert server.client.compare(head, 1, 2)["examples"] == 15


def _texts(server: Service) -> list:
    """Blobs that are not images: lists, manifests, graphs."""
    return [p for p in (server.artifacts / "blobs").glob("*/*") if not p.read_bytes().startswith(b"\x89PNG")]


def _generation(job: dict) -> int:
    return job["report"]["generation"]
