"""What a version promises of its answers: sets that hold the truth, thresholds to abstain by, and refusals."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from adapters import trust
from adapters.errors import InvalidInput, NotEnoughHeldOut
from adapters.tasks import classification
from adapters.trust import HeldOut, Terms
from adapters.types import Schema

random = np.random.default_rng(0)
LABELS = ("a", "b", "c")


def facts(held_out: HeldOut) -> dict:
    return {"held_out": len(held_out.right), "abstain": trust.thresholds(held_out), "options": ["coverage", "abstain"]}


def held_out(confidence, right) -> HeldOut:
    confidence = np.asarray(confidence, np.float32)
    return HeldOut(confidence, confidence, np.asarray(right, bool))


@pytest.mark.parametrize(("coverage", "needed"), [(0.5, 1), (0.8, 4), (0.9, 9), (0.95, 19), (0.99, 99), (0.999, 999)])
def test_a_coverage_needs_one_over_alpha_less_one_examples(coverage, needed):
    assert trust.needed(coverage) == needed
    assert trust.least_probability(np.zeros(needed, np.float32), coverage) is not None
    assert trust.least_probability(np.zeros(needed - 1, np.float32), coverage) is None


def test_with_just_enough_examples_the_worst_of_them_is_the_bound():
    of_truth = np.sort(random.random(9)).astype(np.float32)
    assert trust.least_probability(of_truth, 0.9) == of_truth[0]
    assert trust.least_probability(of_truth, 0.5) == of_truth[4]


@settings(deadline=None)
@given(st.integers(1, 400), st.floats(0.01, 0.999))
def test_the_bound_leaves_out_no_more_of_the_held_out_than_allowed(count, coverage):
    of_truth = np.sort(np.random.default_rng(count).random(count)).astype(np.float32)
    least = trust.least_probability(of_truth, coverage)
    assert (least is None) == (count < trust.needed(coverage))
    if least is not None:
        assert (of_truth >= least).mean() >= coverage


def test_new_examples_are_covered_as_often_as_promised():
    """2,000 draws of 50 calibration examples and one new one, of a distribution with ties and a long tail."""
    of_truth = np.round(random.beta(2, 0.5, (2000, 51)), 2).astype(np.float32)
    covered = [row[50] >= trust.least_probability(np.sort(row[:50]), 0.9) for row in of_truth]
    assert 0.88 < np.mean(covered) < 0.95  # ties only add


def test_probabilities_survive_the_graphs_metadata_exactly_and_many_are_thinned():
    of_truth = random.random(500).astype(np.float32)
    np.testing.assert_array_equal(trust.unpack({trust.KEY: trust.pack(of_truth)}), np.sort(of_truth))
    many = trust.unpack({trust.KEY: trust.pack(random.random(30_000).astype(np.float32))})
    assert len(many) == trust.MOST and (np.diff(many) >= 0).all() and abs(np.median(many) - 0.5) < 0.03
    assert len(trust.unpack({})) == 0


def test_a_threshold_is_the_least_that_reaches_its_accuracy():
    confidence = np.linspace(0.001, 1, 1000, dtype=np.float32)
    rows = facts(held_out(confidence, confidence > 0.3))["abstain"]
    assert [row["accuracy"] for row in rows] == list(trust.ACCURACIES)
    for row in rows:
        answered = confidence >= row["confidence"]
        right = (confidence[answered] > 0.3).sum()
        assert (right + 1) / (answered.sum() + 2) >= row["accuracy"]
        assert row["answered"] == pytest.approx(answered.mean())
    confidences = [row["confidence"] for row in rows]
    assert confidences == sorted(confidences)


def test_a_head_that_is_always_right_answers_everything_it_has_evidence_for():
    rows = {r["accuracy"]: r["confidence"] for r in facts(held_out(random.random(24), np.ones(24)))["abstain"]}
    assert rows[0.9] == rows[0.95] == 0.0, "25 of 26 is 96 %"
    assert rows[0.98] is None, "24 of 24 are too few to say 98 %"


def test_equal_confidences_are_answered_together_or_not_at_all():
    rows = facts(held_out([0.9] * 100 + [0.5] * 100, [True] * 100 + [False] * 50 + [True] * 50))["abstain"]
    assert {row["confidence"] for row in rows if row["accuracy"] in (0.9, 0.95, 0.98)} == {float(np.float32(0.9))}


def test_a_refusal_names_head_version_and_what_is_missing():
    known, of_truth = facts(held_out([0.9] * 8, [True] * 8)), np.full(8, 0.9, np.float32)
    with pytest.raises(NotEnoughHeldOut, match=r"pets.*coverage of 0.9 needs 9 held-out.*it has 8.*0.888 at most"):
        trust.terms("head 'pets', version 3", of_truth, known, 0.9, None)
    assert trust.terms("h", of_truth, known, 0.888, None).least == pytest.approx(0.9)
    with pytest.raises(NotEnoughHeldOut, match=r"version 3: no confidence makes 0.99.*8 held-out.*ask for 0.9$"):
        trust.terms("head 'pets', version 3", of_truth, known, None, 0.99)
    with pytest.raises(InvalidInput, match=r"'abstain' must be one of 0.8, 0.9.*not 0.97"):
        trust.terms("h", of_truth, known, None, 0.97)


@pytest.mark.parametrize("asked", [(0.9, None), (None, 0.9)])
def test_a_version_that_was_made_without_promises_says_so(asked):
    with pytest.raises(NotEnoughHeldOut, match=r"version 1.*teach it again"):
        trust.terms("head 'old', version 1", np.zeros(0, np.float32), {}, *asked)


@pytest.mark.parametrize(("asked", "option"), [((0.9, None), "coverage"), ((None, 0.9), "abstain")])
def test_a_task_that_promises_nothing_says_so(asked, option):
    with pytest.raises(InvalidInput, match=f"head 'ages'.*without '{option}'; leave it out") as refused:
        trust.terms("head 'ages'", np.zeros(0, np.float32), {"held_out": 50, "options": []}, *asked)
    assert refused.value.code == "invalid_input"


def test_a_set_holds_every_label_that_is_probable_enough_best_first():
    answer = {"probabilities": np.array([0.3, 0.6, 0.1], np.float32)}
    said = classification.promised(answer, Schema(LABELS), 0.5, Terms(coverage=0.9, least=0.3))
    assert said == {"set": ["b", "a"], "coverage": 0.9}
    assert classification.promised(answer, Schema(LABELS), 0.5, Terms(coverage=0.5, least=0.7))["set"] == []


@pytest.mark.parametrize(
    ("confidence", "novelty", "abstains"), [(0.5, 0.5, False), (0.7, 0.5, True), (0.0, 0.995, True)]
)
def test_an_answer_is_left_be_when_unsure_or_novel(confidence, novelty, abstains):
    answer = {"probabilities": np.array([0.3, 0.6, 0.1], np.float32)}
    assert classification.promised(answer, Schema(LABELS), novelty, Terms(confidence=confidence)) == {
        "abstain": abstains
    }
