"""Several labels, and numbers, from images over HTTP to answers, on the real parts."""

from itertools import combinations

import httpx
import pytest
from support.pictures import SHAPES, scene
from support.services import Service

from service.client import ApiError, LabeledImage

KINDS = SHAPES[:3]
SETS = [kinds for size in range(3) for kinds in combinations(KINDS, size)]
SIZES = [0.1 + 0.01 * i for i in range(36)]


def several(each: int = 6, start: int = 0) -> list[LabeledImage]:
    """Pictures of none, one or two shapes, labeled with the list of them."""
    made = []
    for number in range(start, start + each):
        for kinds in SETS:
            data = scene(kinds, number)
            made.append(LabeledImage(f"{'-'.join(kinds)}-{number}.png", lambda data=data: data, list(kinds)))
    return made


def sized(start: int = 0) -> list[LabeledImage]:
    """Circles of many sizes, labeled with the share of the side that they take."""
    made = []
    for number, share in enumerate(SIZES, start):
        data = scene(["circle"], number, share)
        made.append(LabeledImage(f"{number}.png", lambda data=data: data, {"size": share, "negative": -share}))
    return made


@pytest.fixture(scope="module")
def labels(server: Service) -> dict:
    return server.client.wait(server.client.finetune("several", several(), task="multilabel")["id"])


@pytest.fixture(scope="module")
def numbers(server: Service) -> dict:
    return server.client.wait(server.client.finetune("sized", sized(), task="regression")["id"])


def test_several_labels_are_learned_and_measured(labels):
    assert labels["status"] == "succeeded", labels["error"]
    metrics = labels["metrics"]
    assert metrics["mean_average_precision"] > 0.9 and metrics["micro_f1"] > 0.8
    assert set(labels["report"]["per_class"]) == set(KINDS)
    assert all(0 < row["loss"] for row in labels["report"]["race"])


def test_an_answer_is_the_list_of_labels_that_apply(server, labels):
    wanted = [["circle", "square"], ["triangle"], []]
    answer = server.client.predict(["several"], [scene(kinds, 900 + i) for i, kinds in enumerate(wanted)])
    for row, kinds in zip(answer["predictions"], wanted, strict=True):
        assert isinstance(row["label"], list) and 0 <= row["score"] <= 1 and len(row["top"]) == 3
        if kinds:
            assert {top["label"] for top in row["top"][: len(kinds)]} == set(kinds)


def test_a_set_holds_the_labels_and_comes_with_its_coverage(server, labels):
    row = server.client.predict(["several"], [scene(KINDS[:2], 950)], coverage=0.8)["predictions"][0]
    assert row["coverage"] == 0.8 and isinstance(row["set"], list)


def test_the_second_batch_joins_the_first_without_naming_the_task(server, labels):
    job = server.client.wait(server.client.finetune("several", several(each=2, start=100))["id"])
    assert job["status"] in ("succeeded", "rejected") and job["request"]["task"] == "multilabel"
    assert job["report"]["gate"]["examples"] > 0 and "candidate_label_accuracy" in job["report"]["gate"]
    compared = server.client.compare("several", 1, 2)
    assert compared["merit"] == "label_accuracy" and -1 <= compared["difference"] <= 1


def test_examples_show_lists_and_can_be_found_and_corrected(server, labels):
    found = list(server.client.examples("several", label="circle"))
    assert found and all("circle" in row["label"] for row in found)
    job = server.client.wait(server.client.relabel("several", {found[0]["sha256"]: ["square"]})["id"])
    assert job["status"] == "succeeded", job["error"]
    changed = {row["sha256"]: row["label"] for row in server.client.examples("several")}
    assert changed[found[0]["sha256"]] == ["square"]


def test_a_label_can_be_renamed_and_dropped_from_all_lists(server):
    server.client.wait(server.client.finetune("renamed", several(), task="multilabel", method="ridge")["id"])
    job = server.client.wait(server.client.rename_labels("renamed", {"circle": "disc"})["id"])
    assert job["status"] == "succeeded", job["error"]
    assert server.client.head("renamed")["labels"] == ["disc", "square", "triangle"]
    row = server.client.predict(["renamed"], [scene(["circle"], 960)])["predictions"][0]
    assert "disc" in {top["label"] for top in row["top"]}
    job = server.client.wait(server.client.drop_labels("renamed", ["disc"])["id"])
    assert job["status"] == "succeeded", job["error"]
    assert server.client.head("renamed")["labels"] == ["square", "triangle"]


def test_numbers_are_learned_and_measured(numbers):
    assert numbers["status"] == "succeeded", numbers["error"]
    metrics = numbers["metrics"]
    assert metrics["r2"] > 0.5 and metrics["mae"] < metrics["mean_baseline_mae"]
    low, high = metrics["mae_interval"]
    assert low < metrics["mae"] < high and set(numbers["report"]["per_target"]) == {"size", "negative"}


def test_a_number_comes_with_an_interval_on_request(server, numbers):
    answer = server.client.predict(["sized"], [scene(["circle"], 970, 0.3)], coverage=0.9)
    row = answer["predictions"][0]
    assert row["score"] is None and row["top"] == [] and set(row["label"]) == {"size", "negative"}
    low, high = row["interval"]["size"]
    assert low < row["label"]["size"] < high and row["label"]["size"] == pytest.approx(-row["label"]["negative"], 0.2)


def test_numbers_know_no_abstaining(server, numbers):
    with pytest.raises(ApiError) as refused:
        server.client.predict(["sized"], [scene(["circle"], 970, 0.3)], abstain=0.9)
    assert refused.value.status == 422 and "leave it out" in str(refused.value)


@pytest.mark.parametrize(("head", "task"), [("several", "multilabel"), ("sized", "regression")])
def test_the_report_is_a_page_and_json(server, labels, numbers, head, task):
    report = server.client.report(head)
    assert report["task"] == task and report["worst"] and "suspected_labels" in report["findings"]
    page = httpx.get(f"{server.url}/heads/{head}/report", headers={"Accept": "text/html"})
    assert page.status_code == 200 and "<h1>" in page.text


@pytest.mark.parametrize("head", ["several", "sized"])
def test_unlabeled_images_are_suggested(server, labels, numbers, head):
    answer = server.client.suggest(head, [scene(KINDS[:1], 980 + i) for i in range(5)], count=2)
    assert len(answer["suggestions"]) == 2


def test_a_head_keeps_its_task(server, labels):
    with pytest.raises(ApiError) as refused:
        server.client.finetune("several", sized(), task="regression")
    assert refused.value.status == 422 and refused.value.problem["item"] == "task"


def test_a_method_that_cannot_do_the_task_is_refused_with_those_that_can(server):
    with pytest.raises(ApiError) as refused:
        server.client.finetune("nobody", sized(), task="regression", method="prototype")
    assert refused.value.status == 422 and "ridge" in str(refused.value)


@pytest.mark.parametrize(
    ("task", "label", "reason"),
    [
        ("multilabel", "[1]", "not a JSON list of names"), ("multilabel", " ", "write []"),
        ("regression", "tall", "not a number"), ("regression", "1e999", "not a number"),
        ("regression", "{}", "targets"),
    ],
)  # fmt: skip
def test_a_bad_label_names_the_image(server, task, label, reason):
    data = scene(["circle"], 990)
    with pytest.raises(ApiError) as refused:
        server.client.finetune("nobody", [LabeledImage("x.png", lambda: data, label)], task=task)
    assert refused.value.status == 422 and "x.png" in str(refused.value) and reason in str(refused.value)
