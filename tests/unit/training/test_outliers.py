"""Outliers: what is unlike its class is found, and copies do not vouch for each other."""

import numpy as np

from adapters.training.data.outliers import ENOUGH, outliers


def blobs(each: int, classes: int = 3, dimension: int = 64) -> tuple[np.ndarray, np.ndarray]:
    """Embeddings that scatter about the mean of their class."""
    random = np.random.default_rng(0)
    means = random.gamma(1.0, size=(classes, dimension))
    targets = np.arange(each * classes) % classes
    return np.abs(means[targets] + 0.3 * random.normal(size=(len(targets), dimension))).astype(np.float32), targets


def test_a_stranger_is_found_and_the_others_are_left_alone():
    embeddings, targets = blobs(60)
    embeddings[7] = np.random.default_rng(5).gamma(1.0, size=64)
    found = outliers(embeddings, targets, np.arange(180))
    assert found.score.argmax() == 7 and found.flagged[7] and found.flagged.sum() <= 3


def test_an_example_with_another_classs_label_is_one():
    embeddings, targets = blobs(60)
    targets[4] = (targets[4] + 1) % 3
    assert outliers(embeddings, targets, np.arange(180)).flagged[4]


def test_copies_of_one_stranger_are_all_found():
    embeddings, targets = blobs(60)
    groups = np.arange(180)
    for position in (0, 3, 6, 9, 12, 15, 18, 21):  # all of class 0
        embeddings[position], groups[position] = np.random.default_rng(5).gamma(1.0, size=64), 0
    assert outliers(embeddings, targets, groups).flagged[[0, 3, 6, 9, 12, 15, 18, 21]].all()


def test_small_classes_are_not_judged():
    embeddings, targets = blobs(ENOUGH - 1)
    found = outliers(embeddings, targets, np.arange(len(targets)))
    assert found.judged == 0 and not found.flagged.any()


def test_a_class_of_equal_pictures_has_no_outliers():
    embeddings = np.ones((40, 8), np.float32)
    found = outliers(embeddings, np.arange(40) % 2, np.arange(40))
    assert not found.flagged.any() and np.isfinite(found.score).all()
