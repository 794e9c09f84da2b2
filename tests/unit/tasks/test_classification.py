"""Classification: labels, checks, decoding and metrics."""

import json
import re

import numpy as np
import pytest
from sklearn import metrics as reference

from adapters import tasks
from adapters.errors import InvalidInput, InvalidLabel, NotEnoughData
from adapters.types import Example, Schema, Softmax

task = tasks.get("classification")


def examples(*labels: str) -> list[Example]:
    return [Example(f"sha{i}", label, f"{i}.jpg") for i, label in enumerate(labels)]


def test_the_file_name_is_the_registry():
    assert tasks.names() == ("classification", "multilabel", "regression")
    with pytest.raises(InvalidInput, match="there are: classification, multilabel, regression"):
        tasks.get("../evil")


def test_a_label_is_stripped_and_normalised():
    assert task.parse_label("  cafe\u0301 ", "item 1") == "caf\u00e9"


@pytest.mark.parametrize("text", ["", "  ", "a\nb", "a\x00", "x" * 201, "\ud800", "x" * 1_000_000])
def test_a_bad_label_names_its_item_and_is_not_echoed_at_length(text):
    with pytest.raises(InvalidLabel) as caught:
        task.parse_label(text, "item 17 (cat.jpg)")
    assert caught.value.item == "item 17 (cat.jpg)"
    assert "item 17" in caught.value.message and len(caught.value.message) < 300


def test_two_classes_of_two_images_are_enough():
    task.check_examples(examples("a", "b", "a", "b"))


@pytest.mark.parametrize("labels", [(), ("a", "a", "a")])
def test_one_class_is_not_enough(labels):
    with pytest.raises(NotEnoughData, match="at least 2 classes"):
        task.check_examples(examples(*labels))


def test_copies_of_one_image_count_once():
    copies = [*examples("a", "a", "b"), Example("sha2", "b", "copy.jpg")]
    with pytest.raises(NotEnoughData, match="'b'"):
        task.check_examples(copies)


def test_five_short_classes_are_named_and_the_rest_counted():
    with pytest.raises(NotEnoughData, match=re.escape("'c4' and 4 more")) as caught:
        task.check_examples(examples(*[f"c{i}" for i in range(9)]))
    assert [problem.item for problem in caught.value.errors] == [f"c{i}" for i in range(9)]


def test_contradicting_labels_name_both_files():
    with pytest.raises(InvalidLabel, match=r"0\.jpg, other\.jpg \('a', 'b'\)"):
        task.check_examples([*examples("a", "a", "b", "b"), Example("sha0", "b", "other.jpg")])


def test_targets_follow_the_sorted_classes_and_refuse_strangers():
    classes = task.classes(["b", "a", "b"])
    assert classes == ("a", "b")
    assert task.targets(["b", "a", "b"], classes)["class"].tolist() == [1, 0, 1]
    with pytest.raises(InvalidLabel, match="'c'"):
        task.targets(["c"], classes)


def test_the_last_step_is_softmax():
    assert task.output_steps() == (Softmax(),)


@pytest.mark.parametrize(("top_k", "labels"), [(1, ["b"]), (2, ["b", "a"]), (9, ["b", "a", "c"]), (0, ["b"])])
def test_decoding_is_best_first_with_ties_in_class_order(top_k, labels):
    answer = task.decode({"probabilities": np.array([0.25, 0.5, 0.25], np.float32)}, Schema(("a", "b", "c")), top_k)
    assert [row["label"] for row in answer["top"]] == labels
    assert answer["label"] == "b" and answer["score"] == 0.5
    json.dumps(answer)


def test_metrics_agree_with_scikit_learn():
    random = np.random.default_rng(0)
    probabilities = random.dirichlet(np.ones(4), 200).astype(np.float32)
    targets = np.where(random.random(200) < 0.6, probabilities.argmax(axis=1), random.integers(0, 4, 200))
    found = task.metrics({"probabilities": probabilities}, {"class": targets}, Schema(("a", "b", "c", "d")))
    predicted = probabilities.argmax(axis=1)
    assert found["accuracy"] == pytest.approx(reference.accuracy_score(targets, predicted))
    assert found["balanced_accuracy"] == pytest.approx(reference.balanced_accuracy_score(targets, predicted))
    assert found["macro_f1"] == pytest.approx(reference.f1_score(targets, predicted, average="macro"))
    exact = probabilities.astype(np.float64)
    wanted = reference.log_loss(targets, exact / exact.sum(axis=1, keepdims=True))
    assert found["log_loss"] == pytest.approx(wanted, rel=1e-4)
    assert found["confusion"]["matrix"] == reference.confusion_matrix(targets, predicted).tolist()
    assert found["per_class"]["b"]["precision"] == pytest.approx(
        reference.precision_score(targets, predicted, average=None)[1]
    )
    json.dumps(found, allow_nan=False)


def test_metrics_are_finite_when_classes_are_missing_and_answers_are_sure_and_wrong():
    found = task.metrics(
        {"probabilities": np.array([[1, 0, 0]], np.float32)}, {"class": np.array([1])}, Schema(("a", "b", "c"))
    )
    assert found["accuracy"] == 0 and found["accuracy_interval"][1] > 0.5
    assert found["log_loss"] == pytest.approx(-np.log(1e-7), rel=1e-5)
    json.dumps(found, allow_nan=False)


def test_the_calibration_error_of_calibrated_answers_is_small_and_of_overconfident_ones_is_not():
    random = np.random.default_rng(1)
    right = random.random(5000) < 0.7
    for confidence, error in ((0.7, 0.0), (0.95, 0.25)):
        probabilities = np.tile(np.array([confidence, 1 - confidence], np.float32), (5000, 1))
        found = task.metrics({"probabilities": probabilities}, {"class": np.where(right, 0, 1)}, Schema(("a", "b")))
        assert found["ece"] == pytest.approx(error, abs=0.03)


def test_a_large_confusion_matrix_is_left_out():
    classes = [str(i) for i in range(201)]
    answers = {"probabilities": np.eye(201, dtype=np.float32)}
    found = task.metrics(answers, {"class": np.arange(201)}, Schema(tuple(classes)))
    assert "confusion" not in found and found["accuracy"] == 1
