"""Temperature scaling, and the temperature of a head that was chosen among many."""

import numpy as np
import pytest

from adapters.training.trust.calibrate import HIGHEST, LOWEST, correction, spread, temperature


def sampled(scale: float, count: int = 4000) -> tuple[np.ndarray, np.ndarray]:
    """Logits that are `scale` times too large for the targets drawn from them."""
    random = np.random.default_rng(0)
    logits = random.normal(size=(count, 5)) * 2
    odds = np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)
    targets = np.array([random.choice(5, p=row) for row in odds])
    return (logits * scale).astype(np.float32), targets


@pytest.mark.parametrize("scale", [0.2, 1.0, 5.0])
def test_it_finds_by_how_much_logits_are_too_large(scale):
    assert temperature(*sampled(scale)) == pytest.approx(scale, rel=0.08)


@pytest.mark.parametrize("scale", [1e-4, 1e4])
def test_it_stays_within_its_bounds(scale):
    assert LOWEST * 0.99 <= temperature(*sampled(scale)) <= HIGHEST * 1.01


def test_a_few_separable_examples_claim_no_more_than_laplace_allows():
    logits = np.eye(4, dtype=np.float32) * 8
    for count in (4, 40):
        z, targets = np.tile(logits, (count // 4, 1)), np.tile(np.arange(4), count // 4)
        p = np.exp(z / temperature(z, targets))
        sure = (p / p.sum(axis=1, keepdims=True)).max(axis=1).mean()
        assert sure == pytest.approx((count + 1) / (count + 2), abs=0.01)


def test_no_examples_leave_the_logits_alone():
    assert temperature(np.zeros((0, 3), np.float32), np.zeros(0, np.int64)) == 1.0


def test_shifting_the_logits_changes_nothing():
    logits, targets = sampled(2.0, 200)
    assert temperature(logits + 1000, targets) == pytest.approx(temperature(logits, targets), rel=1e-3)


def folds(rows: np.ndarray) -> list[np.ndarray]:
    return np.array_split(rows, 5)


def calibrated(logits: np.ndarray, targets: np.ndarray) -> np.ndarray:
    return logits / temperature(logits, targets)


def test_one_candidate_and_plenty_of_examples_need_no_correction():
    logits, targets = sampled(3.0)
    own = folds(calibrated(logits, targets))
    assert correction(own, [own], folds(targets)) == pytest.approx(1.0, abs=0.02)


def test_among_candidates_that_know_nothing_the_luckiest_is_not_believed():
    random = np.random.default_rng(0)
    targets = np.arange(40) % 2
    rivals = [calibrated(random.normal(size=(40, 2)).astype(np.float32), targets) for _ in range(200)]
    lucky = min(rivals, key=lambda z: (np.logaddexp(z[:, 0], z[:, 1]) - z[np.arange(40), targets]).mean())
    assert correction(folds(lucky), [folds(z) for z in rivals], folds(targets)) > 1.4


@pytest.mark.parametrize("count", [12, 400])
def test_a_head_that_was_right_throughout_may_be_surer_the_more_it_has_shown(count):
    """Of many examples about (2N+1)/(2N+2) where `temperature` allows (N+1)/(N+2); of few, hardly more than that."""
    targets = np.arange(count) % 4
    z = calibrated(np.eye(4, dtype=np.float32)[targets] * 8, targets)
    odds = np.exp(z / correction(folds(z), [folds(z)], folds(targets)))
    doubt = 1 - (odds / odds.sum(axis=1, keepdims=True)).max(axis=1).mean()
    assert 0.8 / (2 * count + 2) < doubt < 1 / (count + 2)
    assert (doubt * (count + 2) < 0.6) == (count == 400)


@pytest.mark.parametrize("count", [1, 2])
def test_so_few_folds_leave_nothing_to_choose_on(count):
    logits, targets = sampled(2.0, 200)
    own, rival = (np.array_split(z, count) for z in (logits, logits * 2))
    assert correction(own, [own, rival], np.array_split(targets, count)) == 1.0


def test_spread_is_of_each_example_and_not_between_them():
    assert spread(np.array([[1, -1], [101, 99]], np.float32)) == pytest.approx(1.0)
