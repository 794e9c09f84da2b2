"""Novelty is measured on what was not taught: by hand, and by what new images of the same kind come to."""

import numpy as np
import pytest

from adapters.training import programs
from adapters.training.data.split import Split, split
from adapters.training.trust import novelty
from adapters.types import HeadProgram

DIMENSION, CLASSES = 48, 8


def data(each: int, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """Embeddings around a centre for each class, far from one another as those of few images are."""
    centres = np.random.default_rng(9).gamma(1, 2, (CLASSES, DIMENSION))
    targets = np.arange(each * CLASSES) % CLASSES
    noise = np.random.default_rng(seed).normal(size=(len(targets), DIMENSION))
    return np.abs(centres[targets] + noise).astype(np.float32), targets.astype(np.int64)


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
