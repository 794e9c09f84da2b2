"""Regression: what is said of numbers does not depend on the units that they are measured in."""

import json

import numpy as np
import pytest

from adapters import trust
from adapters.arrays import each
from adapters.errors import InvalidLabel
from adapters.tasks import regression
from adapters.training import programs
from adapters.training.data.split import split
from adapters.training.race.evaluate import evaluate
from adapters.training.race.race import race
from adapters.training.trust import terms as learned
from adapters.types import Schema

COUNT, DIMENSION, COVERAGE = 120, 10, 0.9
NAMES = ("height", "weight")
UNITS = [(1000.0, 1.0), (1.0, 1000.0), (0.001, 1000.0), (1000.0, 1000.0)]


class Head:
    """What a version says of its answers when its numbers are sent in some units; the test set is a quarter."""

    def __init__(self, units: tuple[float, ...] = (1.0, 1.0), test: bool = False) -> None:
        random = np.random.default_rng(0)
        seen = random.random((COUNT, 2))
        noise = random.normal(scale=0.3, size=(COUNT, DIMENSION))
        self.embeddings = np.abs(seen @ random.normal(size=(2, DIMENSION)) + noise + 2).astype(np.float32)
        values = (seen * [0.4, 30.0] + [1.5, 50.0]) * units
        labels = [json.dumps(dict(zip(NAMES, row, strict=True))) for row in values.tolist()]
        targets = regression.targets(labels, NAMES)
        wished = ["test" if test and i % 4 == 0 else None for i in range(COUNT)]
        parts = split(regression.strata(targets), np.arange(COUNT), wished, [None] * COUNT, 0)
        result = race(
            self.embeddings, targets, NAMES, parts, regression, "ridge", {}, 0, lambda facts: None, lambda: None
        )
        measured = evaluate(result, regression, self.embeddings, targets, NAMES, parts)
        trusted = learned.learn(result.program, regression, measured, self.embeddings, targets, parts)
        self.schema, self.figures = measured.schema, measured.figures
        self.program, self.facts = trusted.program, trusted.facts
        self.of_truth = trust.unpack(trusted.metadata)

    def intervals(self) -> np.ndarray:
        """[low, high] of both numbers for every picture, f64 [N, 2, 2]."""
        terms = trust.terms("head", self.of_truth, self.facts, COVERAGE, None)
        answers = regression.answers(programs.run(self.program, self.embeddings))
        said = [regression.promised(answer, self.schema, 0.5, terms)["interval"] for answer in each(answers)]
        return np.array([[row[name] for name in NAMES] for row in said])


@pytest.fixture(scope="module", params=[False, True], ids=["folds", "test set"])
def both(request) -> tuple[bool, Head]:
    return request.param, Head(test=request.param)


@pytest.mark.parametrize("text", ['{"size": 1, "size": 2}', '{"size": 1, "size\u200b": 2}'])
def test_a_number_whose_name_comes_twice_is_refused(text):
    with pytest.raises(InvalidLabel, match="image 7: 'size' comes twice"):
        regression.parse_label(text, "image 7")


@pytest.mark.parametrize("text", ["1_0", '{"size": "1_0"}', "nan", "true"])
def test_what_only_python_reads_as_a_number_is_none(text):
    with pytest.raises(InvalidLabel, match="is not a number"):
        regression.parse_label(text, "image 7")


@pytest.mark.parametrize("units", UNITS)
def test_an_interval_is_in_the_units_of_its_number(both, units):
    """A thousandth of the unit makes numbers and interval a thousand times as large, and leaves the others alone."""
    test, plain = both
    np.testing.assert_allclose(Head(units, test).intervals(), plain.intervals() * np.array(units)[:, None], rtol=1e-3)


@pytest.mark.parametrize("units", UNITS)
def test_what_is_explained_does_not_depend_on_units_and_errors_are_in_them(both, units):
    """Of each number by itself."""
    test, plain = both
    found = Head(units, test).figures["per_target"]
    for unit, name in zip(units, NAMES, strict=True):
        assert found[name]["r2"] == pytest.approx(plain.figures["per_target"][name]["r2"], abs=1e-3)
        assert found[name]["mae"] == pytest.approx(plain.figures["per_target"][name]["mae"] * unit, rel=1e-3)


def test_an_interval_is_as_wide_as_its_number_is_spread(both):
    """Wider than nothing, and narrower than not knowing."""
    low, high = np.moveaxis(both[1].intervals(), 2, 0)
    spread = np.array([both[1].schema.decision["spread"][name] for name in NAMES])
    width = (high - low) / spread
    np.testing.assert_allclose(width, np.broadcast_to(width[0, 0], width.shape), rtol=1e-4)
    assert 0.1 < width[0, 0] < 2 * 1.7


def test_a_larger_coverage_makes_a_wider_interval(both):
    """Around the answer."""
    head = both[1]
    output = programs.run(head.program, head.embeddings[:1])[0]
    widths = []
    for coverage in (0.5, 0.8, 0.9):
        terms = trust.terms("head", head.of_truth, head.facts, coverage, None)
        low, high = regression.promised(regression.answers(output), head.schema, 0.5, terms)["interval"]["height"]
        assert low < output[0] < high
        widths.append(high - low)
    assert widths == sorted(set(widths))


def test_errors_count_in_the_spread_of_their_own_number():
    """An error of one spread is one, of whichever number it is."""
    schema = Schema(NAMES, {"spread": {"height": 0.1, "weight": 10.0}})
    targets = np.array([[1.5, 60.0]] * 3, np.float32)
    outputs = targets + np.array([[0.1, 0.0], [0.0, 20.0], [-0.05, -5.0]], np.float32)
    given = ({"values": outputs}, {"values": targets}, schema)
    np.testing.assert_allclose(regression.mistakes(*given), [1, 2, 0.5], rtol=1e-5)
    np.testing.assert_allclose(regression.held_out(*given).of_truth, [-1, -2, -0.5], rtol=1e-5)
    np.testing.assert_allclose(regression.shares(*given), [0.5, -1, 0.75], rtol=1e-5)
    np.testing.assert_allclose(regression.units(schema)["values"], [0.1, 10])


def test_a_spread_belongs_to_its_name_and_not_to_its_place():
    """Classes in another order have the same spreads."""
    turned = Schema(NAMES[::-1], {"spread": {"height": 0.1, "weight": 10.0}})
    np.testing.assert_allclose(regression.units(turned)["values"], [10, 0.1])


def test_the_spread_is_that_of_the_numbers_and_not_of_the_answers():
    """Answers that are all alike change nothing about it."""
    targets = np.array([[0.0, 0.0], [2.0, 200.0]], np.float32)
    found = regression.decide({"values": np.zeros((2, 2), np.float32)}, {"values": targets}, NAMES)["spread"]
    assert found == pytest.approx({"height": 1.0, "weight": 100.0})
