"""Suspected labels: flipped ones rank first, sound ones are left alone."""

import numpy as np

from adapters.suspicion import suspicion

CLASSES = 4


def answers(count: int, sure: float, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """Probabilities of a head that is mostly right, f32 [N, K], and the true classes."""
    random = np.random.default_rng(seed)
    truth = np.arange(count) % CLASSES
    logits = random.normal(size=(count, CLASSES))
    logits[np.arange(count), truth] += sure
    spread = np.exp(logits)
    return (spread / spread.sum(axis=1, keepdims=True)).astype(np.float32), truth


def flipped(truth: np.ndarray, share: float) -> tuple[np.ndarray, np.ndarray]:
    """Labels with a share of them wrong, and which."""
    wrong = np.random.default_rng(1).random(len(truth)) < share
    return np.where(wrong, (truth + 1) % CLASSES, truth), wrong


def auroc(score: np.ndarray, wrong: np.ndarray) -> float:
    """The chance that a wrong label scores above a sound one."""
    rank = np.empty(len(score))
    rank[np.argsort(score)] = np.arange(1, len(score) + 1)
    ones = int(wrong.sum())
    return float((rank[wrong].sum() - ones * (ones + 1) / 2) / (ones * (len(score) - ones)))


def test_wrong_labels_score_above_sound_ones():
    probabilities, truth = answers(800, sure=4)
    labels, wrong = flipped(truth, 0.1)
    found = suspicion(probabilities, labels)
    assert auroc(found.score, wrong) > 0.95
    assert (found.suggested[wrong] == truth[wrong]).mean() > 0.9


def test_most_of_what_is_flagged_is_wrong_and_the_estimate_is_near():
    probabilities, truth = answers(800, sure=5)
    labels, wrong = flipped(truth, 0.1)
    found = suspicion(probabilities, labels)
    assert wrong[found.flagged].mean() > 0.8 and found.flagged[wrong].mean() > 0.5
    assert abs(found.estimate - wrong.sum()) < 0.5 * wrong.sum()


def test_hardly_a_sound_label_is_suspected():
    probabilities, truth = answers(800, sure=6)
    assert suspicion(probabilities, truth).flagged.mean() < 0.02


def test_scores_lie_between_zero_and_one_and_above_one_half_when_the_suggestion_is_likelier():
    probabilities = np.array([[0.9, 0.1, 0.0], [0.0, 0.0, 1.0], [0.2, 0.5, 0.3]], np.float32)
    found = suspicion(probabilities, np.array([0, 0, 0]))
    assert found.suggested.tolist() == [1, 2, 1]
    assert ((found.score >= 0) & (found.score <= 1)).all()
    assert (found.score > 0.5).tolist() == [False, True, True]


def test_a_class_without_examples_is_nobodys_class():
    probabilities = np.array([[0.4, 0.0, 0.6], [0.1, 0.9, 0.0]], np.float32)
    assert not suspicion(probabilities, np.array([0, 1])).flagged.any()


def test_the_answers_are_left_as_they_are():
    probabilities, truth = answers(20, sure=1)
    before = probabilities.copy()
    suspicion(probabilities, truth)
    np.testing.assert_array_equal(probabilities, before)
