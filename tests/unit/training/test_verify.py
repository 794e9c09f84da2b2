"""Parity holds its limits: a little over 1e-4 is refused, a little under is not, and no decision may differ."""

import numpy as np
import pytest

from adapters import tasks
from adapters.errors import ParityError
from adapters.training.publish import export
from adapters.training.publish.verify import LARGEST_BATCH, verify
from adapters.types import Affine, HeadProgram, L2Normalize, Linear, Schema, Sigmoid, Softmax

DIMENSION, COUNT = 6, 300
EMBEDDINGS = np.random.default_rng(0).random((COUNT, DIMENSION)).astype(np.float32)
EMBEDDINGS[:, -1] = 0  # what a single row may be told by
TOO_FAR, NEAR = (1.1e-4, 2e-4, 1e-2), (9e-5, 5e-5, 0.0)
FAR_OR_NEAR = [(off, True) for off in TOO_FAR] + [(off, False) for off in NEAR]
LABELS = ("a", "b")
SPREADS = {"left": 1000.0, "right": 0.01}
SCHEMAS = {
    "classification": Schema(LABELS),
    "multilabel": Schema(LABELS, {"thresholds": {"a": 0.3, "b": 0.8}}),
    "regression": Schema(tuple(SPREADS), {"spread": SPREADS}),
}


def always(*values: float) -> Linear:
    """The same outputs whatever the embedding."""
    return Linear(np.zeros((DIMENSION, len(values)), np.float32), np.array(values, np.float32))


def says(task: str, *answer: float, novelty: float | None = None) -> HeadProgram:
    """A head that gives one answer to everything."""
    wanted, told = np.array(answer), () if novelty is None else (always(novelty),)
    if task == "regression":
        return HeadProgram((always(*wanted), Affine(np.zeros(2, np.float32), np.ones(2, np.float32))), told)
    if task == "multilabel":
        return HeadProgram((always(*np.log(wanted / (1 - wanted))), Sigmoid()), told)
    return HeadProgram((always(*np.log(wanted)), Softmax()), told)


def judge(task: str, program: HeadProgram, exported: HeadProgram, embeddings: np.ndarray = EMBEDDINGS) -> dict:
    """What parity says of a graph beside the program that it should answer like."""
    schema = SCHEMAS[task]
    graph = export.to_onnx(exported, DIMENSION, schema.classes, {})
    return verify(graph, program, embeddings, LARGEST_BATCH, tasks.get(task), schema)


def expect(refused: bool, off: float, task: str, program: HeadProgram, exported: HeadProgram) -> None:
    if refused:
        with pytest.raises(ParityError, match="differs from torch by"):
            judge(task, program, exported)
        return
    told = judge(task, program, exported)
    assert told["max_difference"] == pytest.approx(off, abs=1e-5) and told["tolerance"] == 1e-4


@pytest.mark.parametrize(("off", "refused"), FAR_OR_NEAR)
def test_a_probability_may_be_off_by_a_ten_thousandth(off, refused):
    """And by no more."""
    task = "classification"
    expect(refused, off, task, says(task, 0.6, 0.4), says(task, 0.6 - off, 0.4 + off))


@pytest.mark.parametrize(("off", "refused"), FAR_OR_NEAR)
@pytest.mark.parametrize("label", [0, 1])
def test_so_may_that_of_each_label_of_several(label, off, refused):
    """Whichever label it is."""
    answer = np.array([0.6, 0.2])
    other = answer + off * np.eye(2)[label]
    expect(refused, off, "multilabel", says("multilabel", *answer), says("multilabel", *other))


@pytest.mark.parametrize(("off", "refused"), FAR_OR_NEAR)
@pytest.mark.parametrize("target", [0, 1])
def test_so_may_a_number_in_units_of_its_own_spread(target, off, refused):
    """A tenth of a thousand is as near as a millionth of a hundredth."""
    answer = np.array([10.0, 0.001])
    other = answer + off * np.eye(2)[target] * list(SPREADS.values())
    expect(refused, off, "regression", says("regression", *answer), says("regression", *other))


@pytest.mark.parametrize(("off", "refused"), FAR_OR_NEAR)
@pytest.mark.parametrize("task", tasks.names())
def test_so_may_novelty(task, off, refused):
    """Whatever the task is, and though the answers agree."""
    expect(refused, off, task, says(task, 0.6, 0.4, novelty=0.5), says(task, 0.6, 0.4, novelty=0.5 + off))


def test_the_likeliest_class_is_the_same_however_near_the_next():
    """Well within the tolerance, another decision is refused."""
    one, other = says("classification", 0.50001, 0.49999), says("classification", 0.49999, 0.50001)
    with pytest.raises(ParityError, match="decides differently"):
        judge("classification", one, other)
    assert judge("classification", one, one)["max_difference"] < 1e-6


def test_a_coins_toss_between_two_classes_may_fall_either_way():
    """Two probabilities that are equal but for rounding are no decision."""
    judge("classification", says("classification", 0.5000001, 0.4999999), says("classification", 0.4999999, 0.5000001))


@pytest.mark.parametrize(
    ("answer", "other"), [((0.30001, 0.5), (0.29999, 0.5)), ((0.6, 0.79999), (0.6, 0.80001))], ids=LABELS
)
def test_the_same_labels_are_given_by_thresholds_of_their_own(answer, other):
    """Well within the tolerance, on the other side of a threshold."""
    with pytest.raises(ParityError, match="decides differently"):
        judge("multilabel", says("multilabel", *answer), says("multilabel", *other))


def test_what_is_decided_is_not_what_half_a_chance_would_say():
    """These lie on two sides of one half, which is no threshold of theirs."""
    judge("multilabel", says("multilabel", 0.50001, 0.49999), says("multilabel", 0.49999, 0.50001))


@pytest.mark.parametrize("row", [1, COUNT // 2, COUNT - 2])
@pytest.mark.parametrize(("weight", "reason"), [(0.01, "differs from torch"), (1e-4, "decides differently")])
def test_one_image_of_many_is_enough_to_refuse(row, weight, reason):
    """Wherever it stands: the graph lacks a weight that is of use to this one only."""
    embeddings = EMBEDDINGS.copy()
    embeddings[row, -1] = 1
    whole, lacking = says("classification", 0.49999, 0.50001), says("classification", 0.49999, 0.50001)
    whole.steps[0].weight[-1, 0] = weight
    with pytest.raises(ParityError, match=reason):
        judge("classification", whole, lacking, embeddings)
    judge("classification", whole, whole, embeddings)


def test_pictures_unlike_any_are_asked_about_too():
    """A graph that is right about all that were sent, and off by 2e-4 for an embedding of zeros."""
    sent = np.eye(DIMENSION, dtype=np.float32)[[-1] * 5]
    whole, other = (HeadProgram((L2Normalize(), *says("classification", 0.6, 0.4).steps)) for _ in range(2))
    other.steps[1].weight[-1, 0], other.steps[1].bias[0] = -8.5e-4, other.steps[1].bias[0] + 8.5e-4
    with pytest.raises(ParityError, match="differs from torch by"):
        judge("classification", whole, other, sent)
    judge("classification", whole, whole, sent)
