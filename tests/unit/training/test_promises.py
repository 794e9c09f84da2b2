"""What a new version promises is learned from answers to what it was not trained on, and holds for new images."""

import json

import numpy as np
import pytest

from adapters import tasks, trust
from adapters.arrays import count, each, take
from adapters.training import programs
from adapters.training.data.split import split
from adapters.training.race.evaluate import Measured, evaluate
from adapters.training.race.race import race
from adapters.training.trust import terms as learned

DIMENSION, COVERAGE = 60, 0.9
CENTRES = np.random.default_rng(9).normal(size=(3, DIMENSION))
SENT = {
    "classification": lambda seen: "abc"[int(seen.argmax())],
    "multilabel": lambda seen: json.dumps([name for name, s in zip("abc", seen, strict=True) if s > 0.5]),
    "regression": lambda seen: json.dumps({"left": float(300 * seen[0]), "right": float(seen[1] - seen[2])}),
}


class Data:
    """Mixtures of three things in so much noise that few examples are learned by heart and answered badly when new."""

    def __init__(self, name: str, count: int, seed: int = 0) -> None:
        random = np.random.default_rng(seed)
        seen = random.random((count, 3))
        self.task = tasks.get(name)
        self.embeddings = (seen @ CENTRES + random.normal(scale=1.5, size=(count, DIMENSION)) + 9).astype(np.float32)
        self.labels = [self.task.parse_label(SENT[name](row), "x") for row in seen]
        self.classes = self.task.classes(self.labels)
        self.targets = self.task.targets(self.labels, self.classes)


class Taught:
    """A head of few examples, and what it promises."""

    def __init__(self, name: str, test: bool) -> None:
        data, count = Data(name, 90), 90
        self.task = data.task
        wished = ["test" if test and i % 2 else None for i in range(count)]
        parts = split(data.task.strata(data.targets), np.arange(count), wished, [None] * count, 0)
        fixed = {"regularization": 0.1, "inputs": "standardized"}  # one that learns by heart
        result = race(
            data.embeddings, data.targets, data.classes, parts, data.task, "ridge", fixed, 0, lambda facts: None,
            lambda: None,
        )  # fmt: skip
        self.measured = evaluate(result, data.task, data.embeddings, data.targets, data.classes, parts)
        found = learned.learn(result.program, data.task, self.measured, data.embeddings, data.targets, parts)
        self.program, self.facts, self.of_truth = found.program, found.facts, trust.unpack(found.metadata)
        self.truth = take(data.targets, self.measured.index)

    def says(self, data: Data) -> list[dict]:
        """Its promises of pictures."""
        terms = trust.terms("head", self.of_truth, self.facts, COVERAGE, None)
        answers = self.task.answers(programs.run(self.program, data.embeddings))
        return [self.task.promised(answer, self.measured.schema, 0.5, terms) for answer in each(answers)]


@pytest.fixture(scope="module", params=[(n, t) for n in tasks.names() for t in (False, True)], ids=str)
def taught(request) -> tuple[str, Taught]:
    return request.param[0], Taught(*request.param)


def holds(task: str, said: dict, label: str) -> bool:
    if "set" in said:
        return set(tasks.get(task).names(label)) <= set(said["set"])
    wanted = tasks.get(task).shown(label)
    return all(low <= wanted[name] <= high for name, (low, high) in said["interval"].items())


def test_the_truth_is_in_the_set_of_a_new_image_as_often_as_promised(taught):
    """Not so, if promises were made from answers to what was learned by heart."""
    task, head = taught
    fresh = Data(task, 400, seed=1)
    share = np.mean([holds(task, said, label) for said, label in zip(head.says(fresh), fresh.labels, strict=True)])
    assert share > COVERAGE - 0.06


def test_promises_are_made_from_the_answers_that_the_figures_are_from(taught):
    """All of them, each with its own truth."""
    _, head = taught
    told = head.task.held_out(head.measured.outputs, head.truth, head.measured.schema)
    np.testing.assert_array_equal(head.of_truth, np.sort(told.of_truth))
    assert head.facts["held_out"] == count(head.truth) == len(head.of_truth)
    assert head.facts.get("abstain") == (None if told.confidence is None else trust.thresholds(told))


def test_promises_follow_the_answers(taught):
    """Worse answers make smaller promises; nothing else about the head has changed."""
    _, head = taught
    data = Data(taught[0], 90)
    nothing = [None] * 90
    parts = split(data.task.strata(data.targets), np.arange(90), nothing, nothing, 0)
    worse = Measured({}, head.measured.index, take(head.measured.outputs, slice(None, None, -1)), head.measured.schema)
    found = learned.learn(head.program, head.task, worse, data.embeddings, data.targets, parts)
    assert np.median(trust.unpack(found.metadata)) < np.median(head.of_truth)
