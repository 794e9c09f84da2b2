"""Which answers are to hard inputs, and which of those are kept."""

from types import SimpleNamespace

import numpy as np
import pytest

from adapters import tasks
from adapters.monitoring import hard
from adapters.runtime.heads.head import HeadAnswers
from adapters.sampling import selection

rng = np.random.default_rng(0)


def rows(output, novelty=None, answers=None, task="classification"):
    output = np.asarray(output, np.float32)
    told = {} if novelty is None else {"novelty": np.asarray(novelty, np.float32)}
    head = SimpleNamespace(task=task, classes=[str(k) for k in range(output.shape[1])])
    said = answers or [{"label": "x"}] * len(output)
    return hard.rows(head, HeadAnswers(tasks.get(task).answers(output) | told), said)


def units(count, size=64):
    return selection.unit(rng.normal(size=(count, size)).astype(np.float32))


def test_sure_answers_to_what_is_known_are_not_hard():
    assert rows([[0.95, 0.05], [0.3, 0.7]], [0.5, 0.98]) == []


def test_the_reasons_are_said_and_the_hardest_comes_first():
    said = [{"abstain": False}, {"abstain": True}, {"abstain": False}, {"abstain": None}]
    found = rows([[0.55, 0.45], [0.75, 0.25], [0.9, 0.1], [0.99, 0.01]], [0.2, 0.3, 0.999, 0.5], said)
    assert [(one.row, one.why) for one in found] == [(2, ("novel",)), (0, ("unsure",)), (1, ("abstained",))]
    assert found[1].hardness == pytest.approx(0.9) and found[2].hardness == pytest.approx(0.5)


def test_all_reasons_of_one_input_are_told():
    (only,) = rows([[0.5, 0.5]], [1.0], [{"abstain": True}])
    assert only.why == ("abstained", "unsure", "novel") and only.hardness == 1


def test_labels_of_their_own_are_unsure_near_a_coins_toss_and_numbers_never_are():
    assert [one.row for one in rows([[0.99, 0.45], [0.99, 0.01]], task="multilabel")] == [0]
    assert rows([[1.0], [2.0]], [0.1, 0.2], task="regression") == []
    assert [one.why for one in rows([[1.0]], [1.0], task="regression")] == [("novel",)]


def test_of_a_large_request_only_so_much_is_looked_at():
    assert len(rows(np.full((100, hard.NUMBERS // 10), 0.5))) == 10


def test_of_what_is_alike_the_one_that_is_there_stays_else_the_hardest():
    one, other = units(2)
    near = selection.unit((one + 0.05 * units(1)[0])[None])[0]
    assert near @ one > selection.ALIKE
    found = selection.plan(np.array([one]), np.array([0.1]), np.array([near, other]), np.array([0.9, 0.5]), 5)
    assert (found.add, found.remove) == ([1], [])
    nothing = np.zeros((0, 0), np.float32)
    found = selection.plan(nothing, np.zeros(0), np.array([one, near]), np.array([0.8, 0.9]), 5)
    assert found.add == [1]


def test_the_hardest_and_most_different_stay_not_the_latest():
    """Ten places; twenty easy ones that are there make room for hard ones, and later easy ones get none."""
    easy, hard_ones, later = units(10), units(10), units(10)
    found = selection.plan(easy, np.full(10, 0.3), hard_ones, np.full(10, 0.95), 10)
    assert len(found.add) >= 8 and len(found.add) == len(found.remove)
    found = selection.plan(hard_ones, np.full(10, 0.95), later, np.full(10, 0.3), 10)
    assert len(found.add) <= 2


def test_a_crowd_of_one_kind_does_not_take_the_place_of_another_kind():
    """Thirty hard ones of one kind (cosine 0.86) and two of another that is less hard: both kinds are kept."""
    centre, other = units(2)
    crowd = selection.unit(centre + 0.05 * rng.normal(size=(30, 64)).astype(np.float32))
    few = selection.unit(other + 0.05 * rng.normal(size=(2, 64)).astype(np.float32))
    nothing = np.zeros((0, 0), np.float32)
    hardness = np.r_[np.full(30, 0.95), np.full(2, 0.85)]
    found = selection.plan(nothing, np.zeros(0), np.concatenate([crowd, few]), hardness, 4)
    assert len(found.add) == 4 and {30, 31} & set(found.add)


def test_vectors_survive_being_kept():
    x = units(3, 1280)
    back = selection.unpacked([selection.packed(row) for row in x])
    assert back.shape == x.shape and ((back * x).sum(axis=1) > 0.9999).all()
    assert selection.unpacked([]).shape == (0, 0)
