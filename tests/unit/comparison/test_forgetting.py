"""What is forgotten of earlier classes when others are added is measured with all classes to choose from."""

import numpy as np
import pytest

from adapters import tasks
from adapters.comparison import forgetting
from adapters.types import Schema

OLD, NEW = Schema(("cat", "dog")), Schema(("bird", "cat", "dog"))
LABELS = ["cat"] * 20 + ["dog"] * 20 + ["bird"] * 5


def answers(schema: Schema, said: list[str]) -> dict[str, np.ndarray]:
    rows = [[0.9 if name == one else 0.05 for name in schema.classes] for one in said]
    return {"probabilities": np.array(rows, np.float32)}


def measured(before: list[str], after: list[str], of_after: Schema = NEW, labels: list[str] = LABELS):
    task = tasks.get("classification")
    return forgetting.measured(task, answers(OLD, before), OLD, answers(of_after, after), of_after, labels)


def test_an_old_class_that_is_taken_for_a_new_one_is_forgotten():
    found = measured(LABELS[:40] + ["cat"] * 5, ["bird"] * 20 + LABELS[20:])
    assert (found["before"], found["after"], found["examples"]) == (1.0, 0.5, 40)
    assert found["added"] == ["bird"] and found["classes"] == 2
    assert found["difference_interval"][1] < 0 and "lost to the new ones" in found["meaning"]


def test_what_chance_could_do_is_not_called_forgotten():
    found = measured(LABELS[:40] + ["cat"] * 5, ["bird", *LABELS[1:]])
    assert found["after"] == pytest.approx(0.975) and "nothing that chance could not do" in found["meaning"]


def test_without_new_classes_or_examples_of_old_ones_there_is_nothing_to_forget():
    assert measured(LABELS[:40], LABELS[:40], OLD, LABELS[:40]) is None
    assert measured(["cat"] * 5, ["bird"] * 5, labels=["bird"] * 5) is None
