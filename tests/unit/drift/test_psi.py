"""The size of a drift: nothing where nothing moved, told from chance, and careful where hours are bursts."""

import numpy as np
import pytest

from adapters.drift import psi
from adapters.drift.windows import Window

SHARES = np.array([0.4, 0.3, 0.2, 0.1])


def windows(shares: np.ndarray, answers: int, seed: int, count: int = 24) -> np.ndarray:
    """Independent answers in so many hours, i64 [count, B]."""
    return np.random.default_rng(seed).multinomial(answers // count, shares, count)


def test_psi_of_known_histograms():
    """0.5 against 0.25 and 0.75: 2·0.25·(ln 2 + ln 1.5) − …, by its definition."""
    found = psi.psi(np.array([5e8, 5e8]), np.array([2.5e8, 7.5e8]))
    assert found == pytest.approx(-0.25 * np.log(0.5) + 0.25 * np.log(1.5), rel=1e-6)


def test_what_did_not_move_is_beyond_chance_in_one_of_twenty():
    """300 held-out examples and 2,400 answers, 400 times."""
    beyond = 0
    for seed in range(400):
        reference = np.random.default_rng([1, seed]).multinomial(300, SHARES)
        found = psi.drift(reference, windows(SHARES, 2400, seed))
        beyond += found.psi > found.chance
    assert beyond / 400 <= 0.05 + 2 * np.sqrt(0.05 * 0.95 / 400)


def test_what_moved_far_is_found():
    reference = np.random.default_rng(0).multinomial(300, SHARES)
    found = [psi.drift(reference, windows(SHARES[::-1], 600, seed)).level for seed in range(100)]
    assert found == ["major"] * 100


def test_few_answers_are_not_enough_to_tell():
    reference = [120, 90, 60, 30]
    assert psi.drift(reference, [[1, 1, 0, 0]]).level == "unknown"
    assert psi.drift(reference, []).level == psi.drift([0, 0], [[5, 5]]).level == "unknown"


def test_bursts_count_as_fewer_answers():
    """Each hour one camera that sends copies: 2,400 answers tell no more than 24 do."""
    random = np.random.default_rng(0)
    bursts = np.stack([100 * random.multinomial(1, SHARES) for _ in range(24)])
    found = psi.drift([120, 90, 60, 30], bursts)
    assert found.answers == 2400 and found.effective < 60
    assert psi.drift([120, 90, 60, 30], windows(SHARES, 2400, 0)).effective > 1200


def test_rare_bins_are_put_together():
    """A thousand classes of one example each say nothing of a class."""
    found = psi.drift([300, 300] + [1] * 1000, [[30, 30] + [0] * 900 + [1] * 100])
    assert found.psi < found.chance < psi.MAJOR


def test_bins_on_a_line_are_put_together_with_those_beside_them():
    """Forty examples in twenty bins of novelty are four bins; the uppermost stays as narrow as it can be."""
    even = psi.drift([2] * 20, [[4] * 20] * 2, along=20)
    assert even.psi == pytest.approx(0, abs=1e-9) and even.chance < psi.MAJOR
    assert psi.drift([2] * 20, [[2] * 19 + [40]] * 2, along=20).level == "major"
    two_lines = psi.drift([50] * 20, [[10] * 10 + [0] * 9 + [100]], along=10)
    assert two_lines.level == "major" and psi.drift([0] * 20, [[1] * 20], along=20).level == "unknown"


def test_quantiles_of_chi_squared_are_near():
    for freedom, exact in ((1, 3.841), (3, 7.815), (19, 30.144), (99, 123.225)):
        assert psi.chi_squared(freedom) == pytest.approx(exact, rel=0.03)


def test_windows_add_up_and_survive_json():
    one, other = Window(), Window()
    one.add([0], 0.5)
    other.add([0, 3], 1.0)
    other.add([], None)
    total = Window.of_json(one.plus(other).to_json())
    assert (total.answers, total.labels, total.novelty) == (3, {0: 2, 3: 1}, {10: 1, 19: 1})
