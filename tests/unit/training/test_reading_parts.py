"""What heads read of embeddings: the race decides between the first part and all, as far as budget and memory go."""

import json
from dataclasses import replace

import numpy as np
import pytest

from adapters import tasks
from adapters.backbones import parts
from adapters.methods import Regime
from adapters.runtime.fake import FAKE
from adapters.training import programs
from adapters.training.data.split import split
from adapters.training.embedding.views import Source
from adapters.training.race import candidates
from adapters.training.race.candidates import Candidate, Entry
from adapters.training.race.race import RaceResult, race

FIRST, ALL = 24, 60
LENGTHS = {"taps": ALL, "pooled": FIRST}
TAPPED = replace(FAKE, dimension=FIRST, details={"taps": [{"offset": FIRST, "length": ALL - FIRST}]})


def data(told_by: slice, each: int = 16, classes: int = 3) -> tuple[np.ndarray, np.ndarray]:
    """Embeddings of noise in which some columns tell the classes apart."""
    random = np.random.default_rng(5)
    targets = np.arange(classes * each) % classes
    x = random.normal(size=(len(targets), ALL))
    x[:, told_by] += 1.5 * random.normal(size=(classes, ALL))[targets][:, told_by]
    return np.abs(x).astype(np.float32), targets


def run(
    x: np.ndarray, y: np.ndarray, lengths: dict[str, int] | None = None, method: str = "auto", **more
) -> RaceResult:
    nothing, classes = [None] * len(y), [str(k) for k in range(int(y.max()) + 1)]
    parted = split(y, np.arange(len(y)), nothing, nothing, 0)
    task = tasks.get("classification")
    given = (x, {"class": y}, classes, parted)
    return race(*given, task, method, {}, 0, lambda _: None, lambda: None, lengths=lengths, **more)


@pytest.mark.parametrize(("told_by", "read"), [(slice(FIRST, ALL), "taps"), (slice(0, FIRST), "pooled")])
def test_the_part_that_tells_classes_apart_is_read(told_by, read):
    x, y = data(told_by)
    result = run(x, y, LENGTHS)
    assert (result.source.reads, result.reads) == (read, LENGTHS[read])
    assert programs.reads(result.program) == LENGTHS[read]
    assert {row["reads"] for row in result.table} == {"pooled", "taps"}


def test_what_is_not_read_changes_nothing():
    """Bit for bit, whatever lies behind the first part."""
    x, y = data(slice(0, FIRST))
    noise = x.copy()
    noise[:, FIRST:] = 7.0
    one, other = (run(rows, y, {"pooled": FIRST}) for rows in (x, noise))
    assert programs.to_bytes(one.program) == programs.to_bytes(other.program)
    np.testing.assert_array_equal(programs.run(one.program, x), programs.run(one.program, x[:, :FIRST].copy()))


def test_a_part_that_is_fixed_runs_alone():
    x, y = data(slice(0, FIRST))
    assert {row["reads"] for row in run(x, y, {"taps": ALL}).table} == {"taps"}


@pytest.mark.parametrize("method", ["prototype", "gda", "ridge", "logistic"])
def test_every_method_is_given_both_parts(method):
    x, y = data(slice(FIRST, ALL))
    result = run(x, y, LENGTHS, method)
    assert {(row["method"], row["reads"]) for row in result.table} == {(method, "pooled"), (method, "taps")}
    assert result.reads == ALL


@pytest.mark.parametrize(("task", "method"), [("multilabel", "mlp"), ("multilabel", "auto"), ("regression", "auto")])
def test_every_task_is_given_both_parts(task, method):
    """Things that only the taps tell: which of three labels an image has, or two numbers."""
    x, _ = data(slice(FIRST, ALL), each=30)
    chosen = tasks.get(task)
    told = x[:, FIRST:].mean(axis=1, keepdims=True) + x[:, FIRST : FIRST + 3]
    values = told > np.median(told, axis=0) if task == "multilabel" else told[:, :2]
    sent = [row.tolist() for row in values]
    labels = [chosen.parse_label(json.dumps(_named(task, row)), "x") for row in sent]
    classes = chosen.classes(labels)
    targets, nothing = chosen.targets(labels, classes), [None] * len(x)
    parted = split(chosen.strata(targets), np.arange(len(x)), nothing, nothing, 0)
    fixed = {"hidden": 32, "epochs": 60} if method == "mlp" else {}
    given = (x, targets, classes, parted, chosen, method, fixed, 0, lambda _: None, lambda: None)
    result = race(*given, lengths=LENGTHS)
    assert {row["reads"] for row in result.table} == {"pooled", "taps"}
    assert result.reads == ALL


def _named(task: str, row: list[float]) -> list[str] | dict[str, float]:
    """A label as it is sent."""
    if task == "multilabel":
        return [name for name, has in zip("abc", row, strict=True) if has]
    return dict(zip(("left", "right"), row, strict=True))


def test_programs_of_both_parts_run_beside_each_other():
    """`run_all` gives each the numbers that it reads."""
    x, y = data(slice(FIRST, ALL))
    both = [run(x, y, {name: LENGTHS[name]}).program for name in ("pooled", "taps")]
    alone = [programs.run(program, x) for program in both]
    for together, one in zip(programs.run_all(both, x), alone, strict=True):
        np.testing.assert_array_equal(together, one)


def test_of_very_many_examples_taps_are_read_only_if_asked_for():
    most = parts.MOST // ALL
    assert parts.lengths("auto", TAPPED, most) == LENGTHS
    assert parts.lengths("auto", TAPPED, most + 1) == {"pooled": FIRST}
    assert parts.lengths("taps", TAPPED, most + 1) == {"taps": ALL}
    assert "taps asks for them" in parts.excuse("auto", {"pooled": FIRST}, TAPPED)
    assert not parts.excuse("pooled", {"pooled": FIRST}, TAPPED) and not parts.excuse("auto", LENGTHS, TAPPED)
    assert not parts.excuse("auto", {"pooled": 4}, FAKE), "nothing was left out where there is nothing"


# Rounds
REGIMES = {Source("none", name): Regime(90, length, 3, 30, 30, 30) for name, length in LENGTHS.items()}


def entry(budget: float | None, method: str = "auto") -> tuple[Entry, list[Candidate]]:
    """What lets candidates in, and its first round, all of them equally good."""
    found = Entry(method, {}, REGIMES, 5, budget)
    first = found.first()
    for candidate in first:
        candidate.row = {"loss": 1.0}
    return found, first


def test_reading_more_is_estimated_to_cost_more():
    """With so many examples that columns are what bounds the rank."""
    many = {Source("none", name): Regime(5000, length, 3, 900, 1000, 1200) for name, length in LENGTHS.items()}
    found = Entry("auto", {}, many, 5, 1000.0)
    cost = {(g.method, g.inputs[1], g.source.reads): found._cost(g) for g in candidates._groups("auto", {}, many)}
    for method, inputs, _ in cost:
        assert cost[method, inputs, "taps"] > cost[method, inputs, "pooled"] > 0, (method, inputs)


def test_closed_forms_go_first_on_everything_and_others_second():
    found, first = entry(1000.0)
    assert {candidate.method for candidate in first} == {"prototype", "gda", "ridge"}
    assert {candidate.source for candidate in first} == set(REGIMES)
    assert {candidate.method for candidate in found.second(first)} == {"logistic"}
    assert "all that suit the data were tried" in found.note


def test_the_second_round_begins_with_the_inputs_that_did_best():
    found, first = entry(1000.0)
    best = next(c for c in first if c.inputs == (Source("none", "pooled"), "normalized"))
    best.row = {"loss": 0.5}
    second = found.second(first)
    assert second[0].inputs == best.inputs and len({c.inputs for c in second}) == 6


def test_what_the_first_round_left_of_the_budget_is_the_seconds():
    """One that is spent admits nobody, and the note says who was left out."""
    found, first = entry(1e-9)
    assert len({(c.method, c.inputs) for c in first}) == 1, "somebody has to take part"
    assert found.second(first) == [] and "logistic on power taps" in found.note


def test_a_method_without_a_closed_form_is_tried_in_one_round():
    found, first = entry(1000.0, "logistic")
    assert {candidate.method for candidate in first} == {"logistic"} and {c.source for c in first} == set(REGIMES)
    assert found.second(first) == []
