"""Multilabel: a label is given from its own threshold on, wherever answers are read."""

import numpy as np
import pytest
from sklearn.metrics import f1_score

from adapters.arrays import row as row_of
from adapters.arrays import take
from adapters.tasks import multilabel
from adapters.trust import NOVEL, Terms
from adapters.types import Schema

THRESHOLDS = {"a": 0.3, "b": 0.8}
SCHEMA, PLAIN = Schema(("a", "b"), {"thresholds": THRESHOLDS}), Schema(("a", "b"))
# Answers that one half, and thresholds in another order, would read otherwise.
OUTPUTS = np.array([[0.4, 0.7], [0.2, 0.9], [0.3, 0.8], [0.4, 0.9]], np.float32)
GIVEN = np.array([[1, 0], [0, 1], [1, 1], [1, 1]], np.float32)
ANSWERS, TARGETS = {"probabilities": OUTPUTS}, {"labels": GIVEN}
SCORES = (0.3, 0.8, 0.3, 0.4)  # of the least sure decision


@pytest.mark.parametrize("row", range(len(OUTPUTS)))
def test_an_answer_is_every_label_from_its_own_threshold_on(row):
    """At the threshold it is given, and the score is that of the least sure decision."""
    said = multilabel.decode(row_of(ANSWERS, row), SCHEMA, 2)
    assert sorted(said["label"]) == [name for name, given in zip("ab", GIVEN[row], strict=True) if given]
    assert said["score"] == pytest.approx(SCORES[row])


def test_a_threshold_belongs_to_its_label_and_not_to_its_place():
    """Classes of two versions, and of what they share, come in an order of their own."""
    turned = Schema(("b", "a"), {"thresholds": THRESHOLDS})
    for row in OUTPUTS:
        one = multilabel.decode(multilabel.answers(row), SCHEMA, 2)
        other = multilabel.decode(multilabel.answers(row[::-1]), turned, 2)
        assert sorted(one["label"]) == sorted(other["label"]) and one["score"] == other["score"]


def test_without_thresholds_a_label_is_given_from_one_half_on():
    """One half itself included."""
    assert multilabel.decode(multilabel.answers(np.array([0.49, 0.5], np.float32)), PLAIN, 2)["label"] == ["b"]


def test_answers_are_judged_as_they_are_given():
    """All of these are right by the thresholds, and hardly one by a half."""
    np.testing.assert_array_equal(multilabel.merits(ANSWERS, TARGETS, SCHEMA), 1)
    np.testing.assert_array_equal(multilabel.shares(ANSWERS, TARGETS, SCHEMA), 1)
    np.testing.assert_array_equal(multilabel.mistakes(ANSWERS, TARGETS, SCHEMA), 0)
    figures = multilabel.metrics(ANSWERS, TARGETS, SCHEMA)
    assert figures["exact_match"] == figures["label_accuracy"] == figures["macro_f1"] == figures["micro_f1"] == 1
    assert multilabel.merits(ANSWERS, TARGETS, PLAIN).mean() < 0.7
    assert multilabel.metrics(ANSWERS, TARGETS, PLAIN)["exact_match"] < 0.5


def test_a_mistake_is_as_bad_as_the_head_was_sure():
    """The probability of the surest wrong decision counts."""
    found = multilabel.mistakes(take(ANSWERS, slice(2)), {"labels": np.array([[0, 0], [1, 1]], np.float32)}, SCHEMA)
    np.testing.assert_allclose(found, [0.4, 0.8])


def test_promises_are_made_of_answers_as_they_are_given():
    """Who is right and how sure goes by thresholds, the truth's probability does not."""
    held = multilabel.held_out(ANSWERS, TARGETS, SCHEMA)
    assert held.right.all()
    np.testing.assert_allclose(held.confidence, SCORES)
    np.testing.assert_allclose(held.of_truth, [0.4, 0.9, 0.3, 0.4])
    assert multilabel.held_out(ANSWERS, TARGETS, PLAIN).right.tolist() == [False, True, False, False]


@pytest.mark.parametrize("row", range(len(OUTPUTS)))
def test_who_abstains_is_unsure_of_what_is_given(row):
    """By the same figure that the answer calls its score."""
    for confidence, wanted in ((SCORES[row] - 0.01, False), (SCORES[row] + 0.01, True)):
        said = multilabel.promised(row_of(ANSWERS, row), SCHEMA, 0.5, Terms(confidence=confidence))
        assert said == {"abstain": wanted}
    assert multilabel.promised(row_of(ANSWERS, row), SCHEMA, NOVEL + 0.001, Terms(confidence=0.0)) == {"abstain": True}


def test_a_set_is_made_by_its_own_bound_and_not_by_thresholds():
    """A label below its threshold may be in it."""
    said = multilabel.promised(row_of(ANSWERS, 1), SCHEMA, 0.5, Terms(coverage=0.9, least=0.15))
    assert said == {"set": ["b", "a"], "coverage": 0.9}


def test_thresholds_are_where_f1_is_highest():
    """No other bound does better on the answers that they were chosen by; each label has its own."""
    random = np.random.default_rng(0)
    targets = (random.random((100, 2)) < [0.1, 0.7]).astype(np.float32)
    outputs = (targets * [0.2, 0.3] + random.random((100, 2)) * [0.3, 0.4] + [0, 0.3]).astype(np.float32)
    found = multilabel.decide({"probabilities": outputs}, {"labels": targets}, ("rare", "common"))["thresholds"]
    for k, name in enumerate(("rare", "common")):
        reached = f1_score(targets[:, k], outputs[:, k] >= np.float32(found[name]))
        others = [f1_score(targets[:, k], outputs[:, k] >= bound, zero_division=0) for bound in outputs[:, k]]
        assert reached == pytest.approx(max(others))
    assert abs(found["rare"] - found["common"]) > 0.05


def test_a_label_that_no_unseen_example_had_is_given_from_one_half_on():
    """There is nothing to choose a threshold by."""
    outputs, targets = np.full((4, 1), 0.9, np.float32), np.zeros((4, 1), np.float32)
    assert multilabel.decide({"probabilities": outputs}, {"labels": targets}, ("never",))["thresholds"] == {
        "never": 0.5
    }
