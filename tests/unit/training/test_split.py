"""Splits: whatever the data, nothing leaks and every class is trained on."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from adapters.errors import NotEnoughData
from adapters.training.data.split import Split, earlier, split
from adapters.types import Assignment


def run(targets, groups=None, wished=None, known=None, seed=0) -> Split:
    targets = np.asarray(targets)
    count = len(targets)
    groups = np.arange(count) if groups is None else np.asarray(groups)
    return split(targets, groups, wished or [None] * count, known or [None] * count, seed)


def check(parts: Split, targets, groups) -> None:
    """What holds for every split."""
    targets, groups = np.asarray(targets), np.asarray(groups)
    every = np.concatenate([parts.train, parts.val, parts.test, parts.dropped])
    assert sorted(every.tolist()) == list(range(len(targets)))
    assert not set(groups[parts.rest]) & set(groups[parts.test])
    assert set(targets[parts.train]) == set(targets)
    assert parts.folds
    for train, val in parts.folds:
        assert len(val) and not set(groups[train]) & set(groups[val])
        assert set(targets[train]) == set(targets)
        assert not set(train) & set(parts.test) and not set(val) & set(parts.test)
    assert (parts.evaluation == "holdout") == bool(len(parts.test))


@settings(deadline=None, max_examples=60)
@given(st.data())
def test_no_group_straddles_and_every_class_is_trained_on(data):
    classes = data.draw(st.integers(2, 5))
    count = data.draw(st.integers(2 * classes, 160))
    seed = data.draw(st.integers(0, 100))
    random = np.random.default_rng(seed)
    targets = np.concatenate([np.repeat(np.arange(classes), 2), random.integers(0, classes, count - 2 * classes)])
    groups = np.where(random.random(count) < 0.3, random.integers(0, count, count), np.arange(count) + count)
    groups[: 2 * classes] = np.arange(2 * classes) + 10 * count  # two images of each class are on their own
    check(run(targets, groups, seed=seed), targets, groups)


def test_enough_data_gives_a_stratified_fifth_to_the_test_set():
    targets = np.arange(4000) % 4
    parts = run(targets)
    check(parts, targets, np.arange(4000))
    assert np.bincount(targets[parts.test]).tolist() == [200] * 4
    assert np.bincount(targets[parts.val]).tolist() == [160] * 4


def test_little_data_is_cross_validated():
    parts = run([0, 0, 0, 1, 1, 1, 1])
    assert parts.evaluation == "cross-validation" and len(parts.folds) == 3
    assert sorted(np.concatenate([val for _, val in parts.folds]).tolist()) == list(range(7))
    assert "cross-validation" in parts.explanation


def test_a_copy_in_one_class_of_many_leaves_the_folds_as_they_are():
    """As banking77 is with five a class: of 77 classes one or two hold a near-duplicate."""
    targets, groups = np.arange(100) % 20, np.arange(100)
    groups[[20, 40]] = groups[0]  # three of the five of one class are one group
    parts = run(targets, groups)
    check(parts, targets, groups)
    assert len(parts.folds) == 5
    assert sorted(np.concatenate([val for _, val in parts.folds]).tolist()) == list(range(100))


def test_two_of_a_rare_class_among_many_do_not_leave_folds_of_a_half():
    targets = np.concatenate([np.arange(200) % 20, [20, 20]])
    parts = run(targets)
    check(parts, targets, np.arange(202))
    assert len(parts.folds) == 5 and all((targets[train] == 20).any() for train, _ in parts.folds)
    assert len(run([0] * 50 + [1] * 50 + [2] * 2).folds) == 2, "of three classes one counts"


def test_two_a_class_give_two_folds():
    assert len(run([0, 0, 1, 1]).folds) == 2


def test_with_a_test_set_and_little_else_candidates_are_compared_by_folds():
    parts = run(np.arange(200) % 2, wished=[None] * 160 + ["test"] * 40)
    assert len(parts.test) == 40 and len(parts.val) == 0 and len(parts.folds) == 5


def test_the_seed_decides():
    targets = np.arange(2100) % 3
    assert run(targets, seed=1).test.tolist() == run(targets, seed=1).test.tolist()
    assert run(targets, seed=1).test.tolist() != run(targets, seed=2).test.tolist()


def test_the_callers_split_is_kept():
    targets = np.arange(60) % 2
    wished = ["train"] * 40 + ["val"] * 10 + ["test"] * 10
    parts = run(targets, wished=wished)
    assert parts.names(60) == wished and len(parts.folds) == 1


def test_train_and_val_alone_mean_that_val_is_held_out():
    parts = run(np.arange(60) % 2, wished=["train"] * 40 + ["val"] * 20)
    assert parts.test.tolist() == list(range(40, 60))
    assert "your validation examples" in parts.explanation


def test_training_copies_of_a_callers_test_images_are_dropped():
    groups = np.arange(40)
    groups[30] = groups[0]
    parts = run(np.arange(40) % 2, groups, wished=["train"] * 30 + ["test"] * 10)
    assert parts.dropped.tolist() == [0] and 30 in parts.test and 0 not in parts.rest
    assert "1 training copies" in parts.explanation
    assert parts.names(40)[0] is None


def test_a_callers_split_without_training_examples_of_a_class_is_refused():
    with pytest.raises(NotEnoughData):
        run([0, 0, 0, 1, 1], wished=["train", "train", "test", "test", "test"])


def test_a_class_of_copies_only_is_never_held_out():
    groups = [0, 0, 0, 3, 4, 5]
    check(run([0, 0, 0, 1, 1, 1], groups), [0, 0, 0, 1, 1, 1], groups)
    with pytest.raises(NotEnoughData, match="different examples"):
        run([0, 0, 1, 1], [0, 0, 1, 1])


def test_appended_data_leaves_earlier_parts_as_they_were_and_is_split_alike():
    first = run(np.arange(2400) % 4)
    targets = np.arange(2600) % 4
    second = run(targets, known=first.names(2400) + [None] * 200)
    assert set(first.test) <= set(second.test)
    assert set(first.rest) <= set(second.rest)
    assert len(set(second.test) - set(first.test)) == 40


def test_a_new_copy_of_an_earlier_test_image_joins_it():
    groups = np.arange(41)
    groups[40] = groups[7]
    known = ["test" if i in (7, 9) else "train" for i in range(40)] + [None]
    parts = run([*(np.arange(40) % 2), 1], groups, known=known)
    assert {7, 9, 40} == set(parts.test)


def test_the_callers_wish_beats_what_was_before():
    known = ["test"] * 10 + ["train"] * 30
    parts = run(np.arange(40) % 2, wished=["train"] * 30 + ["test"] * 10, known=known)
    assert parts.test.tolist() == list(range(30, 40))


def test_a_head_that_outgrows_cross_validation_gets_a_test_set():
    parts = run(np.arange(2000) % 2, known=["train"] * 1900 + [None] * 100)
    assert parts.evaluation == "holdout" and len(parts.test) >= 400
    assert "earlier versions held too little out" in parts.explanation


def test_a_small_sticky_test_set_takes_nothing_from_training():
    parts = run(np.arange(2000) % 2, known=["train"] * 1660 + ["test"] * 340)
    assert set(parts.test) == set(range(1660, 2000))


def test_earlier_assignments_are_found_by_content():
    assignments = [Assignment("a", "x", "train"), Assignment("b", "x", "test"), Assignment("a", "x", "test")]
    assert earlier(["b", "a", "c"], assignments) == ["test", "test", None]


@pytest.mark.slow
def test_a_large_set_is_split_in_a_moment():
    parts = run(np.arange(100_000) % 50)
    assert len(parts.test) == 20_000
