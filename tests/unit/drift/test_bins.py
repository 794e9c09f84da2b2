"""Each task has bins for all that it answers, and a reference counts held-out answers in them."""

from types import SimpleNamespace

import numpy as np
import pytest

from adapters import tasks
from adapters.arrays import each
from adapters.drift.windows import Window, histogram
from adapters.monitoring.bins import Bins
from adapters.monitoring.tally import Tally
from adapters.types import Schema

CLASSES = ("a", "b", "c")
DECISION = {"multilabel": {"thresholds": {"a": 0.5, "b": 0.5, "c": 0.5}}}


def outputs(seed: int = 0, rows: int = 200) -> np.ndarray:
    """Numbers of which some are above one half, f32 [rows, 3]."""
    return np.random.default_rng(seed).random((rows, 3)).astype(np.float32)


@pytest.mark.parametrize("name", tasks.names())
def test_every_answer_falls_into_bins_that_have_names(name):
    task, schema = tasks.get(name), Schema(CLASSES, DECISION.get(name, {}))
    edges, positions = task.edges(task.answers(outputs())), {label: k for k, label in enumerate(CLASSES)}
    names = task.bin_names(CLASSES)
    for answer in each(task.answers(outputs(1) * 3 - 1)):
        found = task.binned(task.decode(answer, schema, 1)["label"], positions, edges)
        assert found and all(0 <= one < len(names) for one in found) and len(set(found)) == len(found)
    assert len(set(names)) == len(names)


def test_numbers_are_counted_in_tenths_of_the_held_out_answers():
    task = tasks.get("regression")
    values = outputs(rows=1000)
    edges = task.edges({"values": values})
    found = [
        one
        for row in values
        for one in task.binned(dict(zip(CLASSES, row.tolist(), strict=True)), {"a": 0, "b": 1, "c": 2}, edges)
    ]
    assert histogram(found, 30) == pytest.approx([100] * 30, abs=1)
    assert list(task.binned(1e9, {"value": 0}, edges[:1])) == [9] and list(task.binned(-1e9, {"value": 0}, edges)) == [
        0
    ]


def test_answers_without_a_label_have_a_bin_of_their_own():
    task = tasks.get("multilabel")
    assert task.bin_names(CLASSES)[task.binned([], {"a": 0, "b": 1, "c": 2}, [])[0]] == "(none)"


def said(reference: dict | None, label: str, novelty: float | None, number: int = 1) -> SimpleNamespace:
    trust = {} if reference is None else {"reference": reference}
    version = SimpleNamespace(head="cats", number=number, manifest={"trust": trust})
    head = SimpleNamespace(version=version, classes=CLASSES, task="classification")
    return SimpleNamespace(head=head, answer={"label": label, "novelty": novelty})


def test_a_tally_counts_by_version_and_old_ones_by_novelty_alone():
    tally = Tally()
    tally.answered([said({"edges": []}, "b", 0.3), said({"edges": []}, "b", None), said(None, "c", 0.99, number=2)])
    found = {key[:2]: window for key, window in tally.take_windows().items()}
    assert found == {("cats", 1): Window(2, {1: 2}, {6: 1}), ("cats", 2): Window(1, {}, {19: 1})}
    assert tally.take_windows() == {}


def test_what_could_not_be_written_is_taken_again():
    tally = Tally()
    tally.answered([said({"edges": []}, "a", 0.5)])
    tally.put_back(tally.take_windows())
    tally.answered([said({"edges": []}, "a", 0.5)])
    (window,) = tally.take_windows().values()
    assert window.answers == 2
    assert Bins.of(said(None, "a", 0.5).head).binned is None
