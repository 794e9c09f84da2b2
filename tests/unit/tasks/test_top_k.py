"""How many guesses an answer lists is the caller's choice, and changes nothing else of it."""

import numpy as np
import pytest

from adapters import tasks
from adapters.types import Schema

OUTPUT = np.array([0.05, 0.6, 0.1, 0.25], np.float32)
SCHEMA = Schema(tuple("abcd"))
BEST_FIRST = ["b", "d", "c", "a"]


def decode(task: str, output: np.ndarray, top_k: int) -> dict:
    chosen = tasks.get(task)
    return chosen.decode(chosen.answers(output), SCHEMA, top_k)


@pytest.mark.parametrize(("asked", "listed"), [(1, 1), (2, 2), (3, 3), (4, 4), (5, 4), (100, 4), (0, 1)])
@pytest.mark.parametrize("task", ["classification", "multilabel"])
def test_as_many_guesses_are_listed_as_asked_for_best_first(task, asked, listed):
    """At least one, and no more than there are."""
    top = decode(task, OUTPUT, asked)["top"]
    assert [guess["label"] for guess in top] == BEST_FIRST[:listed]
    assert [guess["score"] for guess in top] == sorted(map(float, OUTPUT), reverse=True)[:listed]


@pytest.mark.parametrize("task", tasks.names())
def test_the_answer_is_the_same_however_many_guesses_are_listed(task):
    """Label and score are not the list's."""
    found = [decode(task, OUTPUT, top_k) | {"top": None} for top_k in (1, 2, 4)]
    assert found == [found[0]] * 3


def test_equal_probabilities_are_listed_in_the_order_of_the_classes():
    """So that the same answer is always the same list."""
    for task in ("classification", "multilabel"):
        top = decode(task, np.array([0.2, 0.3, 0.2, 0.3], np.float32), 4)["top"]
        assert [guess["label"] for guess in top] == ["b", "d", "a", "c"]


def test_a_number_is_no_guess_among_several():
    """Regression lists nothing."""
    assert decode("regression", OUTPUT, 3)["top"] == []
