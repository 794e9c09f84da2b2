"""The data report: it says what is in the data, and leaves out what a task has no meaning for."""

import json
from dataclasses import replace

import numpy as np
import pytest

from adapters import tasks
from adapters.modalities.image import alike
from adapters.training.data import data_report as reports
from adapters.training.data.dataset import Dataset
from adapters.training.data.duplicates import groups, without_callers
from adapters.training.data.split import split
from adapters.training.race.evaluate import Measured, evaluate
from adapters.training.race.race import race
from adapters.types import Example, Schema

TASK = tasks.get("classification")
CLASSES = ("bird", "cat", "dog")


class Job:
    """Three classes in 120 pictures: two cats are copies of a dog, two of a bird, and bird 0 is labeled as a cat."""

    def __init__(self, per_class: int = 40) -> None:
        random = np.random.default_rng(0)
        count = 3 * per_class
        truth = np.arange(count) % 3
        means = random.gamma(1.0, size=(3, 64))
        x = np.abs(means[truth] + 0.25 * random.normal(size=(count, 64))).astype(np.float32)
        prints = random.integers(0, 256, (count, 256), dtype=np.uint8)
        for copy, source in ((3, 0), (6, 0), (4, 2)):  # 4 is a "cat" that is a copy of dog 2
            x[copy], prints[copy] = x[source] * 1.001, prints[source]
        labels = [CLASSES[k] for k in truth]
        labels[9] = "cat"  # a bird
        self.embeddings, self.fingerprints, self.labels = x, prints, labels
        self.data = Dataset([Example(f"{i:064x}", label, f"{i}.jpg") for i, label in enumerate(labels)], [None] * count)
        self.targets = TASK.targets(labels, CLASSES)
        self.grouped = groups(alike, x, prints, self.data.sha256s, [None] * count)

    def report(self, wished=None) -> dict:
        nothing = [None] * len(self.labels)
        parts = split(TASK.strata(self.targets), self.grouped, wished or nothing, nothing, 0)
        result = race(
            self.embeddings, self.targets, CLASSES, parts, TASK, "logistic", {}, 0, lambda _: None, lambda: None
        )
        measured = evaluate(result, TASK, self.embeddings, self.targets, CLASSES, parts)
        theirs = [e.group for e in self.data.examples]
        return reports.data_report(
            self.data,
            TASK,
            CLASSES,
            self.embeddings,
            self.targets,
            without_callers(self.grouped, alike, self.embeddings, self.fingerprints, self.data.sha256s, theirs),
            parts,
            result,
            measured,
        )


@pytest.fixture(scope="module")
def report() -> dict:
    return Job().report()


def test_it_is_json_without_the_bytes_of_anything(report):
    assert json.loads(reports.to_bytes(report)) == json.loads(json.dumps(report, allow_nan=False))
    assert report["format"] == 1 and report["curve"] is None


def test_a_wrong_label_is_at_the_head_of_the_list(report):
    suspects = report["findings"]["suspected_labels"]
    assert suspects["judged"] == suspects["examples"] == 120
    named = {row["file_name"]: row for row in suspects["list"]}
    assert named["9.jpg"]["label"] == "cat" and named["9.jpg"]["suggested"] == "bird" and named["9.jpg"]["score"] > 0.5
    assert suspects["flagged"] == len(suspects["list"]) <= 6


def test_copies_are_listed_and_none_straddles_the_split(report):
    copies = report["findings"]["duplicates"]
    assert (copies["groups"], copies["examples"], copies["contradicting"], copies["straddling"]) == (2, 5, 1, 0)
    contradicting, agreeing = copies["list"]
    assert [row["label"] for row in contradicting] == ["cat", "dog"]
    assert [row["file_name"] for row in agreeing] == ["0.jpg", "3.jpg", "6.jpg"]


def test_a_group_that_did_straddle_would_be_counted():
    job = Job()
    job.grouped = np.arange(120)  # as if no copy had been found before the split
    parts = split(TASK.strata(job.targets), job.grouped, [None] * 120, [None] * 120, 0)
    copies = groups(alike, job.embeddings, job.fingerprints, job.data.sha256s, [None] * 120)
    about = reports._Described(job.data.examples, TASK, Schema(CLASSES))
    assert reports._duplicates(about, copies, parts)["straddling"] >= 1


def test_only_what_a_fit_had_not_seen_is_judged():
    """With a test set and a validation set of the caller's, what was trained on is not judged."""
    wished = ["test" if i % 6 == 5 else "val" if i % 6 == 4 else "train" for i in range(120)]
    suspects = Job().report(wished)["findings"]["suspected_labels"]
    assert suspects["examples"] == 120 and 35 <= suspects["judged"] <= 45


def test_a_callers_group_is_no_copy():
    job = Job()
    for i in (10, 13, 16):
        job.data.examples[i] = Example(f"{i:064x}", job.labels[i], f"{i}.jpg", group="burst")
    job.grouped = groups(
        alike, job.embeddings, job.fingerprints, job.data.sha256s, [e.group for e in job.data.examples]
    )
    assert job.report()["findings"]["duplicates"]["groups"] == 2


def test_counts_ratio_and_pairs_are_those_of_the_data(report):
    found = report["findings"]
    assert found["imbalance"]["counts"] == {"bird": 39, "cat": 41, "dog": 40}
    assert (found["imbalance"]["largest"], found["imbalance"]["smallest"]) == ("cat", "bird")
    matrix = np.array(report["figures"]["confusion"]["matrix"])
    confused = sum(row["confused"] for row in found["look_alikes"])
    assert confused == matrix.sum() - np.trace(matrix) == len(report["worst"])
    assert sum(row["first_as_second"] + row["second_as_first"] for row in found["look_alikes"]) == confused


def test_the_bins_of_reliability_hold_every_held_out_answer(report):
    bins = report["reliability"]
    assert sum(b["examples"] for b in bins) == report["figures"]["examples"]
    assert all(b["from"] <= b["confidence"] <= b["to"] and b["interval"][0] <= b["accuracy"] for b in bins)


def test_the_summary_is_a_handful_of_counts(report):
    short = reports.summary(report)
    assert short["near_duplicate_groups"] == 2 and short["straddling"] == 0
    assert short["suspected_labels"]["judged"] == 120 and len(json.dumps(short)) < 500


def test_answers_that_are_no_probabilities_of_classes_leave_the_rest_in():
    """A task of numbers instead of classes: race, figures and copies, and nothing about wrong labels."""
    job = Job()
    parts = split(TASK.strata(job.targets), job.grouped, [None] * 120, [None] * 120, 0)
    result = race(job.embeddings, job.targets, CLASSES, parts, TASK, "prototype", {}, 0, lambda _: None, lambda: None)
    schema, numbers = Schema(("value",), {"spread": {"value": 0.8}}), job.targets["class"].astype(np.float32)[:, None]
    result = replace(result, outputs={"values": np.zeros((len(result.index), 1), np.float32)})
    measured = Measured(
        {"rmse": 1.0, "examples": 120}, np.arange(120), {"values": np.zeros((120, 1), np.float32)}, schema
    )
    data = Dataset([replace(e, label="1.0") for e in job.data.examples], job.data.known)
    found = reports.data_report(
        data, tasks.get("regression"), ("value",), job.embeddings, {"values": numbers}, job.grouped,
        parts, result, measured,
    )  # fmt: skip
    assert list(found["findings"]) == ["examples", "duplicates", "suspected_labels", "outliers"]
    assert "reliability" not in found and found["worst"][0]["score"] == 2.5
    assert reports.summary(found)["near_duplicate_groups"] == 2 and "look_alikes" not in reports.summary(found)
