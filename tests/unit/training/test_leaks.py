"""What must not matter to a head does not: its test set, down to the last bit, and the labels it is compared on."""

import json

import numpy as np
import pytest

from adapters import methods, tasks
from adapters.arrays import take
from adapters.methods import mlp
from adapters.training import programs
from adapters.training.data.split import Split, split
from adapters.training.race.evaluate import evaluate
from adapters.training.race.race import RaceResult, race
from adapters.training.trust import novelty
from adapters.types import HeadProgram

DIMENSION = 12
CENTRES = np.random.default_rng(9).normal(size=(3, DIMENSION))
SENT = {
    "classification": lambda seen: "abc"[int(seen.argmax())],
    "multilabel": lambda seen: json.dumps([name for name, s in zip("abc", seen, strict=True) if s > 0.5]),
    "regression": lambda seen: json.dumps({"left": float(300 * seen[0] + 10), "right": float(seen[1] - seen[2])}),
}
FIXED = {  # of each method one candidate that is quick to fit
    "gda": {"shrinkage": 0.5, "inputs": "power"},
    "logistic": {"regularization": 0.5, "inputs": "power", "prior": "data"},
    "mlp": {"hidden": 8, "epochs": 3, "dropout": 0.2, "weight_decay": 0.0001},
    "prototype": {"inputs": "power"},
    "ridge": {"regularization": 1.0, "inputs": "power"},
}
ABLE = [(t, m) for t in tasks.names() for m in methods.names() if tasks.get(t).OBJECTIVE in methods.get(m).OBJECTIVES]
PAIRS = ABLE + [(t, "auto") for t in tasks.names()]


class Data:
    """Mixtures of three things with the labels of a task, a fifth of them the test set; `more` are views."""

    def __init__(self, task: str, count: int, test: bool = True) -> None:
        random = np.random.default_rng(0)
        seen = random.random((count, 3))
        self.task = tasks.get(task)
        self.embeddings = np.abs(seen @ CENTRES + random.normal(scale=0.2, size=(count, DIMENSION)) + 2)
        self.embeddings = self.embeddings.astype(np.float32)
        self.more = self.embeddings[None] + np.float32(0.1)
        labels = [self.task.parse_label(SENT[task](row), "x") for row in seen]
        self.classes = self.task.classes(labels)
        self.targets = self.task.targets(labels, self.classes)
        self.told = self.task.fitted(self.targets)  # what of them is fitted, in place
        wished = ["test" if test and i % 5 == 0 else None for i in range(count)]
        groups = np.arange(count)
        groups[1], groups[2] = 0, 5  # a copy of a test image that is test with it, and one that is left out
        wished[2] = "train" if test else None
        self.parts = split(self.task.strata(self.targets), groups, wished, [None] * count, 0)

    def race(self, method: str, views: bool = False) -> RaceResult:
        fixed = {} if method == "auto" else FIXED[method]
        choices = {"more": self.more} if views else None
        return race(
            self.embeddings, self.targets, self.classes, self.parts, self.task, method, fixed, 0,
            lambda facts: None, lambda: None, None, choices,
        )  # fmt: skip

    def spoil(self, rows: np.ndarray) -> None:
        """Other pictures with other labels in place of some."""
        self.embeddings[rows] = np.random.default_rng(1).gamma(0.5, 40, (len(rows), DIMENSION))
        self.more[:, rows] = 7.0
        self.mislabel(rows)

    def mislabel(self, rows: np.ndarray) -> None:
        """Other labels for some; of numbers, far larger ones."""
        if self.task.OBJECTIVE == "squared":
            self.told[rows] = 1000 - 50 * self.told[rows]
        elif self.task.OBJECTIVE == "sigmoid":
            self.told[rows] = 1 - self.told[rows]
        else:
            self.told[rows] = (self.told[rows] + 1) % 3


def held_back(parts: Split) -> np.ndarray:
    return np.concatenate([parts.test, parts.dropped])


@pytest.mark.parametrize(("task", "method"), PAIRS)
def test_nothing_of_the_test_set_gets_into_the_head(task, method):
    """Other test images with other labels, copies left out of training among them: the same program, bit for bit."""
    one, other = Data(task, 90), Data(task, 90)
    other.spoil(held_back(other.parts))
    assert len(one.parts.test) == 19 and one.parts.dropped.tolist() == [2]
    results = [data.race(method) for data in (one, other)]
    assert programs.to_bytes(results[0].program) == programs.to_bytes(results[1].program)
    assert programs.to_bytes(results[0].uncalibrated) == programs.to_bytes(results[1].uncalibrated)


@pytest.mark.parametrize(("task", "method"), [pair for pair in ABLE if pair[1] in ("ridge", "mlp")] + [PAIRS[-3]])
def test_nothing_of_a_large_test_set_gets_in_where_folds_share_their_means(task, method):
    """From 300 rows a fold on, means, spreads and axes are those of all that may be trained on."""
    one, other = Data(task, 500), Data(task, 500)
    other.spoil(held_back(other.parts))
    assert all(len(train) >= 300 for train, _ in one.parts.folds)
    results = [data.race(method) for data in (one, other)]
    assert programs.to_bytes(results[0].program) == programs.to_bytes(results[1].program)
    assert [r.calibration for r in results] == [results[0].calibration] * 2


@pytest.mark.parametrize("task", tasks.names())
def test_views_of_test_images_teach_nothing(task):
    """Other views of them, the same program, bit for bit."""
    one, other = Data(task, 90), Data(task, 90)
    other.more[:, held_back(other.parts)] = 7.0
    results = [data.race("ridge", views=True) for data in (one, other)]
    assert programs.to_bytes(results[0].program) == programs.to_bytes(results[1].program)


@pytest.mark.parametrize("task", tasks.names())
def test_how_answers_are_read_is_not_chosen_on_the_test_set(task):
    """Thresholds of labels and spreads of numbers; but the figures are of the test set, and move with it."""
    one, other = Data(task, 90), Data(task, 90)
    other.mislabel(held_back(other.parts))
    found = [evaluate(d.race("ridge"), d.task, d.embeddings, d.targets, d.classes, d.parts) for d in (one, other)]
    assert found[0].schema == found[1].schema
    assert found[0].index.tolist() == one.parts.test.tolist() and found[0].figures != found[1].figures


def test_the_means_of_novelty_are_of_what_was_trained_on():
    """Labels of test images and pictures that were left out make no difference to it."""
    one, other = Data("classification", 90), Data("classification", 90)
    other.mislabel(held_back(other.parts))
    other.embeddings[other.parts.dropped] = 7.0
    steps = [novelty.fit(d.embeddings, d.told, d.parts).steps for d in (one, other)]
    stored = [programs.to_bytes(HeadProgram((), found)) for found in steps]
    assert stored[0] == stored[1]


def test_who_takes_part_is_decided_by_what_may_be_trained_on():
    """A network needs so many examples a class; those held out do not count."""
    data = Data("classification", 3 * mlp.PLENTY + 60)
    assert np.median(np.bincount(data.told)) >= mlp.PLENTY > np.median(np.bincount(data.told[data.parts.rest]))
    assert "mlp" not in {row["method"] for row in data.race("auto").table}


@pytest.mark.parametrize("count", [60, 400], ids=["a fold's own means", "shared means"])
@pytest.mark.parametrize(("task", "method"), [pair for pair in ABLE if pair[0] != "regression"])
def test_what_a_fold_is_compared_on_has_not_taught_it(task, method, count):
    """Other labels there, the same answers to it: they are from a fit that had not seen them."""
    one, other = Data(task, count, test=False), Data(task, count, test=False)
    _, val = one.parts.folds[0]
    other.mislabel(val)
    first = [take(data.race(method).unscaled, slice(len(val))) for data in (one, other)]
    np.testing.assert_equal(*first)


@pytest.mark.parametrize("method", ["ridge", "mlp"])
def test_what_a_fold_of_numbers_is_compared_on_has_not_taught_it(method):
    """Numbers swapped there, so that the mean of all stays: the same answers but for rounding."""
    one, other = Data("regression", 60, test=False), Data("regression", 60, test=False)
    _, val = one.parts.folds[0]
    other.told[val] = np.roll(other.told[val], 1, axis=0)
    first = [data.race(method).outputs["values"][: len(val)] for data in (one, other)]
    np.testing.assert_allclose(*first, rtol=1e-3, atol=1e-3)


@pytest.mark.parametrize(("task", "method"), ABLE)
def test_a_label_that_is_trained_on_does_matter(task, method):
    """The tests above would pass with a head that learns nothing."""
    one, other = Data(task, 90), Data(task, 90)
    other.mislabel(other.parts.rest[:10])
    results = [data.race(method) for data in (one, other)]
    assert programs.to_bytes(results[0].program) != programs.to_bytes(results[1].program)
