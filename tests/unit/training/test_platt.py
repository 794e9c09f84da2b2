"""Platt's scaling: label by label, near what fits all labels where there is little to go by."""

import numpy as np
import pytest

from adapters.training.trust.calibrate import platt


def sampled(count: int, scale: float, shift: float, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """Logits, and labels drawn with the probability σ((z − shift)·scale)."""
    random = np.random.default_rng(seed)
    z = random.normal(scale=3, size=(count, 1))
    y = random.random((count, 1)) < 1 / (1 + np.exp(-(z - shift) * scale))
    return z.astype(np.float32), y.astype(np.float32)


@pytest.mark.parametrize(("scale", "shift"), [(1.0, 0.0), (0.4, 1.0), (2.0, -0.5)])
def test_it_finds_what_the_labels_were_drawn_with(scale, shift):
    found = platt(*sampled(20_000, scale, shift))
    assert found[1][0] == pytest.approx(scale, rel=0.08) and found[0][0] == pytest.approx(shift, abs=0.12)


def test_logits_of_any_size_give_the_same_probabilities():
    z, y = sampled(300, 1.0, 0.5)
    small, large = platt(z, y), platt(1000 * z, y)
    np.testing.assert_allclose((z - small[0]) * small[1], (1000 * z - large[0]) * large[1], rtol=1e-3, atol=1e-3)


def test_separable_labels_stay_finite_and_modest():
    z = np.linspace(-1, 1, 10, dtype=np.float32)[:, None]
    shift, scale = platt(z, (z > 0).astype(np.float32))
    top = 1 / (1 + np.exp(-(1 - shift[0]) * scale[0]))
    assert 0.6 < top < 0.999


def test_a_label_that_nobody_has_is_improbable_and_finite():
    z = np.random.default_rng(0).normal(size=(50, 2)).astype(np.float32)
    y = np.stack([z[:, 0] > 0, np.zeros(50)], axis=1).astype(np.float32)
    shift, scale = platt(z, y)
    assert np.isfinite(shift).all() and np.isfinite(scale).all() and (scale > 0).all()
    assert (1 / (1 + np.exp(-(z[:, 1] - shift[1]) * scale[1]))).mean() < 0.3


def test_of_no_answers_nothing_is_changed():
    shift, scale = platt(np.zeros((0, 3), np.float32), np.zeros((0, 3), np.float32))
    assert shift.tolist() == [0, 0, 0] and scale.tolist() == [1, 1, 1]
