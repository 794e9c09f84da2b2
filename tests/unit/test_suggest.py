"""What to label next: typical images of what is not covered, later hesitant ones from different places."""

import numpy as np

from adapters import suggest
from adapters.tasks import classification


def clusters(sizes: list[int], seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """Unit vectors around one direction for each size, and which each is of."""
    random = np.random.default_rng(seed)
    of = np.repeat(np.arange(len(sizes)), sizes)
    centres = np.eye(len(sizes), 16)
    x = centres[of] + random.normal(scale=0.05, size=(len(of), 16))
    return (x / np.linalg.norm(x, axis=1, keepdims=True)).astype(np.float32), of


def test_each_kind_is_asked_for_once_before_any_twice():
    x, of = clusters([30, 20, 10])
    assert sorted(of[suggest.typical(x, x[:0], 3)].tolist()) == [0, 1, 2]


def test_what_has_labels_already_comes_last():
    x, of = clusters([30, 20, 10])
    labeled, _ = clusters([5, 0, 0], seed=1)
    wide = np.zeros((5, 16), np.float32)
    wide[:] = labeled
    assert 0 not in of[suggest.typical(x, wide, 2)].tolist()


def test_of_its_kind_a_typical_image_is_taken():
    x, _ = clusters([40])
    (row,) = suggest.typical(x, x[:0], 1)
    similar = (x @ x.T).mean(axis=1)
    assert similar[row] > np.median(similar)


def test_hesitant_images_come_from_different_places():
    x, of = clusters([20, 20])
    hesitation = np.full(40, 0.9, np.float32)
    assert sorted(of[suggest.uncertain(x, hesitation, 2)].tolist()) == [0, 1]


def test_sure_images_are_not_asked_for():
    x, _ = clusters([20, 20])
    hesitation = np.full(40, 0.01, np.float32)
    hesitation[[3, 33]] = 0.95
    assert sorted(suggest.uncertain(x, hesitation, 2)) == [3, 33]


def test_no_image_is_suggested_twice():
    x, _ = clusters([3, 2])
    for count in range(1, 6):
        for rows in (suggest.typical(x, x[:0], count), suggest.uncertain(x, np.ones(5, np.float32), count)):
            assert len(rows) == len(set(rows)) == count


def test_doubt_and_hesitation_are_of_the_calibrated_probabilities():
    answers = {"probabilities": np.array([[0.5, 0.5, 0], [0.9, 0.05, 0.05]], np.float32)}
    np.testing.assert_allclose(classification.doubt(answers), [0.5, 0.1], atol=1e-6)
    np.testing.assert_allclose(classification.hesitation(answers), [1, 0.15], atol=1e-6)
