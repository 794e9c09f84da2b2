"""Novelty is measured on what was not taught: by hand, and by what new images of the same kind come to."""

import numpy as np
import pytest

from adapters.training import programs
from adapters.training.data.split import Split, split
from adapters.training.trust import novelty
from adapters.types import HeadProgram

DIMENSION, CLASSES = 48, 8


def centres() -> np.ndarray:
    """Of classes, f64 [CLASSES, D]."""
    return np.random.default_rng(9).gamma(1, 2, (CLASSES, DIMENSION))


def data(each: int, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """Embeddings around a centre for each class, far from one another as those of few images are."""
    targets = np.arange(each * CLASSES) % CLASSES
    noise = np.random.default_rng(seed).normal(size=(len(targets), DIMENSION))
    return np.abs(centres()[targets] + noise).astype(np.float32), targets.astype(np.int64)


def parts(targets: np.ndarray, test: bool = False) -> Split:
    wished = ["test" if test and i // CLASSES == 0 else None for i in range(len(targets))]
    return split(targets, np.arange(len(targets)), wished, [None] * len(targets), 0)


def by_hand(embeddings: np.ndarray, targets: np.ndarray, taught: np.ndarray, asked: np.ndarray) -> np.ndarray:
    """Squared distances of the rows asked about from the nearest mean of the rows taught, f64 [M]."""
    x = np.sqrt(embeddings.astype(np.float64))
    x /= np.linalg.norm(x, axis=1, keepdims=True)
    means = np.stack([x[[i for i in taught if targets[i] == k]].mean(axis=0) for k in range(CLASSES)])
    return np.square(x[asked, None] - means).sum(axis=2).min(axis=1)


@pytest.mark.parametrize("each", [2, 3, 10])
def test_distances_are_those_of_fits_that_had_not_seen_the_example(each):
    """Each fold's from the means of the others."""
    embeddings, targets = data(each)
    found = parts(targets)
    wanted = np.sort(np.concatenate([by_hand(embeddings, targets, train, val) for train, val in found.folds]))
    assert len(found.folds) >= 2 and len(wanted) == len(targets)
    np.testing.assert_allclose(novelty.fit(embeddings, targets, found).distances, wanted, atol=1e-5)


def test_where_there_is_a_test_set_they_are_its_distances_from_what_was_trained_on():
    """Validation examples, on which the final head is trained, included."""
    embeddings, targets = data(5)
    wished = [("test", "val", "train", "train", "train")[i // CLASSES] for i in range(len(targets))]
    found = split(targets, np.arange(len(targets)), wished, [None] * len(targets), 0)
    wanted = np.sort(by_hand(embeddings, targets, found.rest, found.test))
    assert len(wanted) == len(found.val) == CLASSES
    np.testing.assert_allclose(novelty.fit(embeddings, targets, found).distances, wanted, atol=1e-5)


@pytest.mark.parametrize(("each", "test"), [(2, False), (3, False), (5, True)], ids=["two", "three", "test set"])
def test_few_examples_do_not_make_every_new_one_look_strange(each, test):
    """What was taught lies nearer to its own mean than anything new: measured there, all new ones would be novel."""
    embeddings, targets = data(each)
    program = HeadProgram((), novelty.fit(embeddings, targets, parts(targets, test)).steps)
    fresh, taught = (programs.novelty(program, x) for x in (data(100, seed=1)[0], embeddings[-CLASSES:]))
    assert np.median(fresh) < 0.85 and (fresh > 0.99).mean() < 0.2
    assert np.median(taught) < np.median(fresh)


def test_the_answer_is_the_share_of_held_out_examples_that_are_nearer():
    """As the graph has it, for the held-out examples themselves: the median one is at a half, the farthest near one."""
    embeddings, targets = data(20)
    found = novelty.fit(embeddings, targets, parts(targets))
    x = np.quantile(found.distances, [0.1, 0.25, 0.5, 0.75, 0.9])
    share = programs.run(HeadProgram(found.steps[-3:]), x[:, None].astype(np.float32))[:, 0]
    np.testing.assert_allclose(share, [0.1, 0.25, 0.5, 0.75, 0.9], atol=0.03)


def told_by(known: np.ndarray, embeddings: np.ndarray, targets: np.ndarray) -> np.ndarray:
    """As a tail tells them that knows some rows by heart: nine tenths of what sets them apart in a class is gone."""
    found, middle = embeddings.copy(), centres()[targets[known]].astype(np.float32)
    found[known] = middle + 0.1 * (embeddings[known] - middle)
    return found


@pytest.mark.parametrize("offset", [0.0, 0.4], ids=["tails alike", "through the last one all lies closer"])
def test_new_examples_are_as_novel_as_held_out_ones_to_a_tail_that_knows_its_own_by_heart(offset):
    """One in twenty above 0.95, within four standard errors of 480 held-out and 2,000 new ones; without the tails of
    fits to folds nearly all of them.
    """
    embeddings, targets = data(60)
    split_, (fresh, _) = parts(targets), data(250, seed=1)
    last = told_by(split_.rest, embeddings, targets)

    def closer(embeddings: np.ndarray) -> np.ndarray:
        """To their common direction, in the roots of length one that novelty compares."""
        x = np.sqrt(embeddings) / np.linalg.norm(np.sqrt(embeddings), axis=1, keepdims=True)
        common = np.sqrt(centres().mean(axis=0))
        return np.square(x + offset * common / np.linalg.norm(common)).astype(np.float32)

    unlearned = []
    for train, unseen in split_.folds:
        through, taught = told_by(train, embeddings, targets), novelty.some_of_each(targets, train)
        unlearned.append(novelty.apart(through[taught], targets[taught], through[unseen]))

    def above(*given: list[novelty.Apart]) -> float:
        steps = novelty.fit(closer(last), targets, split_, None, *given).steps
        return float((programs.novelty(HeadProgram((), steps), closer(fresh)) > 0.95).mean())

    error = np.sqrt(0.05 * 0.95 * (1 / len(targets) + 1 / len(fresh)))
    assert abs(above(unlearned) - 0.05) < 4 * error
    assert above() > 0.9


def test_what_a_test_set_says_is_taken_as_it_is():
    """Whatever tails of fits to folds say: none saw it."""
    embeddings, targets = data(5)
    split_ = parts(targets, test=True)
    other = [novelty.Apart(np.full(9, 7, np.float32), 0.5)]
    one, two = (novelty.fit(embeddings, targets, split_, None, given).distances for given in ((), other))
    np.testing.assert_array_equal(one, two)


def test_so_many_of_each_group_tell_its_mean():
    """Spread over all of it; all of a small one; and no row that was not asked about."""
    groups = np.repeat([0, 1, 2], [1000, 30, 2])
    rows = np.arange(1, len(groups))
    some = novelty.some_of_each(groups, rows)
    assert set(some) <= set(rows) and (np.diff(some) > 0).all()
    counts = np.bincount(groups[some])
    assert novelty.EACH / 2 < counts[0] <= novelty.EACH and counts.tolist()[1:] == [30, 2]
    assert some[groups[some] == 0].max() > 900
