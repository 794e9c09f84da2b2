"""An edit of a head's data does what it says to the examples it means, and to no others."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from adapters import edits, tasks
from adapters.errors import Conflict, ExampleNotFound, LabelNotFound
from adapters.types import Edit, Example

TASK = tasks.get("classification")
HELD = [Example(f"{n}", label, f"{n}.png", "test", "g") for n, label in enumerate("aabbcc")]


def labels(edit: Edit, named: list[Example] = ()) -> dict[str, str]:
    return {e.sha256: e.label for e in edits.apply(TASK, edit, HELD, named)}


def test_removed_examples_are_gone_and_the_others_are_as_they_were():
    left = edits.apply(TASK, Edit(remove=2), HELD, [HELD[0], HELD[3]])
    assert left == [HELD[1], HELD[2], HELD[4], HELD[5]]


def test_a_relabeled_example_keeps_everything_but_its_label():
    changed = edits.apply(TASK, Edit(relabel=1), HELD, [Example("0", "b", "another name")])
    assert changed[0] == Example("0", "b", "0.png", "test", "g") and changed[1:] == HELD[1:]


@pytest.mark.parametrize(
    ("edit", "wanted"),
    [
        (Edit(rename={"a": "x"}), "xxbbcc"),
        (Edit(rename={"a": "b", "b": "a"}), "bbaacc"),
        (Edit(merge={"x": ["a", "b"]}), "xxxxcc"),
        (Edit(merge={"c": ["a"]}), "ccbbcc"),
        (Edit(merge={"a": ["a", "b"]}), "aaaacc"),
        (Edit(drop=["b"]), "aacc"),
    ],
)
def test_classes_are_renamed_merged_and_dropped(edit, wanted):
    assert "".join(labels(edit).values()) == wanted


@pytest.mark.parametrize(
    ("edit", "error", "item"),
    [
        (Edit(rename={"z": "x"}), LabelNotFound, "z"),
        (Edit(merge={"x": ["a", "z"]}), LabelNotFound, "z"),
        (Edit(drop=["z"]), LabelNotFound, "z"),
        (Edit(rename={"a": "b"}), Conflict, "b"),
        (Edit(rename={"a": "x", "b": "x"}), Conflict, "x"),
        (Edit(merge={"x": ["a"], "y": ["a"]}), Conflict, "a"),
    ],
)
def test_what_cannot_be_done_names_the_class(edit, error, item):
    with pytest.raises(error) as refused:
        labels(edit)
    assert refused.value.item == item


def test_an_example_that_went_meanwhile_is_named_by_position_alone():
    """The message is kept with the job, and the example must leave no trace."""
    with pytest.raises(ExampleNotFound) as refused:
        labels(Edit(relabel=2), [HELD[0], Example("deadbeef", "a", "secret.png")])
    assert refused.value.item == "example 2 of 2"
    assert "deadbeef" not in refused.value.message and "secret" not in refused.value.message


def test_what_is_gone_already_may_be_removed_again():
    """Two deletions of one example may wait one after the other; the second has nothing to fail for."""
    assert edits.apply(TASK, Edit(remove=2), HELD, [HELD[0], Example("gone", "", "")]) == HELD[1:]


@given(st.permutations("abc"))
def test_a_renaming_can_be_taken_back(order):
    there = dict(zip("abc", order, strict=True))
    renamed = edits.apply(TASK, Edit(rename=there), HELD, [])
    assert edits.apply(TASK, Edit(rename={new: old for old, new in there.items()}), renamed, []) == HELD
