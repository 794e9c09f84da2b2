"""Temperature scaling."""

import numpy as np
import pytest

from adapters.training.calibrate import HIGHEST, LOWEST, temperature


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
