"""What an earlier version had learned is not asked about, nor what is nearly the same; something of each class is."""

from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from adapters import tasks
from adapters.errors import NotEnoughData
from adapters.training.data.held_back import never_held_out, positions
from adapters.training.data.split import Split, split
from adapters.training.deep.plan import folds_of

VERSION: Any = SimpleNamespace(number=3)


def divided(truth: np.ndarray, groups: Any = None, wished: Any = None) -> Split:
    nothing: list[Any] = [None] * len(truth)
    return split(truth, np.arange(len(truth)) if groups is None else groups, wished or nothing, nothing, 0)


def of(truth: np.ndarray, *classes: int) -> dict[str, np.ndarray]:
    return {str(k): np.flatnonzero(truth == k) for k in classes}


def asked(found: Split) -> np.ndarray:
    return np.concatenate([unseen for _, unseen in found.folds])


@pytest.mark.parametrize("test", [0, 24])
def test_near_duplicates_of_what_was_learned_are_not_asked_about(test):
    """Pairs of copies, of which a version had learned every other one, by folds and by a test set."""
    pairs = np.repeat(np.arange(60), 2)
    truth, learned = pairs % 3, np.arange(0, 120, 4)
    wished: list[Any] = ["test"] * test + [None] * (120 - test)
    found = never_held_out(divided(truth, pairs, wished), learned, VERSION, {})
    known = np.isin(pairs, pairs[learned])
    assert not known[asked(found)].any() and not known[found.test].any()
    assert set(np.flatnonzero(known)) <= set(found.rest) and "60 that version 3" in found.explanation


def test_a_class_of_which_all_that_came_was_learned_is_named():
    """What came again is no more than what was known, and only the new class would be asked about."""
    truth = np.repeat([0, 1, 2], 40)
    with pytest.raises(NotEnoughData, match=r"nothing new .* 0, 1, which version 3 knows.*two or more") as refused:
        never_held_out(divided(truth), np.arange(80), VERSION, of(truth, 0, 1))
    assert refused.value.item == "0" and "mode=replace" in refused.value.message


def test_a_class_of_one_new_example_is_named_as_it_is_never_held_out():
    truth = np.array([0] + [1] * 30 + [2] * 30)
    with pytest.raises(NotEnoughData, match="came of 0, which"):
        never_held_out(divided(truth), np.zeros(0, np.int64), VERSION, of(truth, 0, 1))
    assert never_held_out(divided(truth), np.zeros(0, np.int64), VERSION, of(truth, 1, 2)).folds


def test_a_class_has_to_be_in_the_test_set_too_where_there_is_one():
    truth = np.arange(120) % 3
    wished: list[Any] = ["test" if n % 3 and n < 60 else None for n in range(120)]
    with pytest.raises(NotEnoughData, match="came of 0, which"):
        never_held_out(divided(truth, wished=wished), np.zeros(0, np.int64), VERSION, of(truth, 0, 1, 2))


def test_as_many_folds_are_asked_as_have_something_of_every_class_that_was_known():
    """A single one with enough answers may have none of a rare class."""
    truth = np.array([0] * 2 + [1] * 200 + [2] * 200)
    parts = divided(truth)
    rare = next(n for n, (_, unseen) in enumerate(parts.folds) if (truth[unseen] == 0).any())
    assert len(folds_of(parts, 10)) == 1
    found = folds_of(parts, 10, list(of(truth, 0, 1).values()))
    assert len(found) == rare + 1 and (truth[np.concatenate([u for _, u in found])] == 0).any()


def test_positions_are_those_of_labels_that_speak_of_a_class():
    found = positions(tasks.get("multilabel"), ['["a","b"]', "[]", '["b"]', '["c"]'], ("a", "b"))
    assert {name: each.tolist() for name, each in found.items()} == {"a": [0], "b": [0, 2]}
