"""Copies never straddle where there is enough data for a test set: drawn, kept from earlier versions, or wished for."""

from collections.abc import Sequence

import numpy as np
import pytest

from adapters.modalities.image import alike
from adapters.training.data.duplicates import groups as near_duplicates
from adapters.training.data.split import ENOUGH, Split, split
from adapters.types import SplitName

COUNT, CLASSES, NEW = 2160, 4, 240
SEEDS = range(6)
assert COUNT - NEW < ENOUGH <= COUNT


def bursts(seed: int, count: int = COUNT) -> tuple[np.ndarray, np.ndarray]:
    """Classes i64 [N] and groups of 1 to 12 copies, most of them of one class, i64 [N], in no order."""
    random = np.random.default_rng(seed)
    sizes = random.choice([1, 1, 1, 2, 3, 12], count)
    groups = np.repeat(np.arange(count), sizes)[:count]
    targets = np.where(random.random(count) < 0.9, groups % CLASSES, random.integers(0, CLASSES, count))
    order = random.permutation(count)
    return targets[order], groups[order]


def run(targets: np.ndarray, groups: np.ndarray, wished=None, known=None, seed: int = 0) -> Split:
    nothing = [None] * len(targets)
    return split(targets, groups, wished or nothing, known or nothing, seed)


def check(parts: Split, targets: np.ndarray, groups: np.ndarray) -> None:
    """Each example has one part, each group one side of every line, and each class something to train on."""
    every = np.concatenate([parts.rest, parts.test, parts.dropped])
    assert sorted(every.tolist()) == list(range(len(targets)))
    assert parts.evaluation == "holdout" and len(parts.test)
    assert not straddling(groups, parts.rest, parts.test)
    for train, val in parts.folds:
        assert not straddling(groups, train, val) and not set(train) & set(val)
        assert set(train) | set(val) == set(parts.rest)
    assert set(targets[parts.train]) == set(targets)


def straddling(groups: np.ndarray, one: Sequence[int], other: Sequence[int]) -> set[int]:
    return set(groups[one].tolist()) & set(groups[other].tolist())


@pytest.mark.parametrize("seed", SEEDS)
def test_a_drawn_test_set_takes_whole_groups(seed):
    """A fifth of every class, near enough, and no copy of it in training or among what candidates are compared on."""
    targets, groups = bursts(seed)
    parts = run(targets, groups, seed=seed)
    check(parts, targets, groups)
    assert not len(parts.dropped)
    share = np.bincount(targets[parts.test]) / np.bincount(targets)
    assert (np.abs(share - 0.2) < 0.02).all()


@pytest.mark.parametrize("seed", SEEDS)
def test_what_is_appended_joins_the_side_of_its_copies(seed):
    """Of an earlier version's examples none changes sides, and new ones follow those that they are copies of."""
    targets, groups = bursts(seed, COUNT + NEW)
    first = run(targets[:COUNT], groups[:COUNT], seed=seed)
    known: list[SplitName | None] = [*first.names(COUNT), *[None] * NEW]
    second = run(targets, groups, known=known, seed=seed + 1)
    check(second, targets, groups)
    assert set(first.test) <= set(second.test) and set(first.rest) <= set(second.rest)
    new = np.arange(COUNT, COUNT + NEW)
    copies = [p for p in new.tolist() if groups[p] in groups[first.test]]
    assert copies and set(copies) <= set(second.test)
    assert not {p for p in new.tolist() if groups[p] in groups[first.rest]} & set(second.test)
    fresh = [p for p in new.tolist() if groups[p] not in groups[:COUNT]]
    assert fresh and set(fresh) & set(second.test) and set(fresh) & set(second.rest)


@pytest.mark.parametrize("seed", SEEDS)
def test_a_head_that_outgrows_cross_validation_draws_whole_groups_too(seed):
    """Also of what earlier versions trained on, as there is too little else."""
    targets, groups = bursts(seed)
    known: list[SplitName | None] = [*["train"] * (COUNT - NEW), *[None] * NEW]
    parts = run(targets, groups, known=known, seed=seed)
    check(parts, targets, groups)
    assert len(parts.test) > 0.19 * COUNT


@pytest.mark.parametrize("seed", SEEDS)
def test_a_new_copy_that_ties_a_test_image_to_a_trained_one_costs_the_trained_one(seed):
    """Two groups that turn out to be one: the test image stays, what was trained on is left out from now on."""
    targets, groups = bursts(seed)
    first = run(targets, groups, seed=seed)
    kept, lost = int(first.test[0]), int(first.rest[0])
    joined = np.where(groups == groups[lost], groups[kept], groups)
    second = run(targets, joined, known=first.names(COUNT), seed=seed)
    check(second, targets, joined)
    assert set(first.test) == set(second.test) and lost in second.dropped
    assert set(second.dropped) == set(np.flatnonzero(groups == groups[lost]).tolist())


@pytest.mark.parametrize("seed", SEEDS)
def test_the_copies_of_a_callers_test_images_are_not_trained_on(seed):
    """Free ones are tested on as well, those that the caller wanted trained on are left out."""
    targets, groups = bursts(seed)
    random = np.random.default_rng(seed)
    wished: list[SplitName | None] = [None] * COUNT
    for position in random.permutation(COUNT)[:900].tolist():
        wished[position] = "test" if random.random() < 0.4 else "train"
    parts = run(targets, groups, wished=wished, seed=seed)
    check(parts, targets, groups)
    assert set(np.flatnonzero(np.array(wished) == "test").tolist()) <= set(parts.test)
    assert len(parts.dropped) and {wished[p] for p in parts.dropped.tolist()} == {"train"}
    assert "train" not in {wished[p] for p in parts.test.tolist()}


@pytest.mark.parametrize("seed", SEEDS)
def test_a_callers_groups_are_kept_whole_though_their_pictures_are_unlike(seed):
    """Found together with images of equal bytes, from the callers' own names of groups."""
    random = np.random.default_rng(seed)
    embeddings = random.normal(size=(COUNT, 8)).astype(np.float32)
    prints = random.integers(0, 256, (COUNT, 256), dtype=np.uint8)
    named = [f"burst {n}" if random.random() < 0.7 else None for n in random.integers(0, 500, COUNT)]
    shas = [f"sha {n}" for n in range(COUNT - 1)] + ["sha 0"]
    targets = random.integers(0, CLASSES, COUNT)
    groups = near_duplicates(alike, embeddings, prints, shas, named)
    parts = run(targets, groups, seed=seed)
    check(parts, targets, groups)
    inside = {named[p] for p in parts.test.tolist()} & {named[p] for p in parts.rest.tolist()}
    assert inside <= {None} and groups[0] == groups[COUNT - 1]
    for train, val in parts.folds:
        assert {named[p] for p in train.tolist()} & {named[p] for p in val.tolist()} <= {None}
