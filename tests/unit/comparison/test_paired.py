"""The paired comparison says no more than the disagreements allow."""

import json

import numpy as np
import pytest
from scipy.stats import binomtest

from adapters.comparison.paired import figures, interval


def answers(both: int, only_a: int, only_b: int, neither: int) -> tuple[np.ndarray, np.ndarray]:
    a = [True] * both + [True] * only_a + [False] * only_b + [False] * neither
    b = [True] * both + [False] * only_a + [True] * only_b + [False] * neither
    return np.array(a, np.float32), np.array(b, np.float32)


@pytest.mark.parametrize(("only_a", "only_b"), [(0, 0), (5, 0), (0, 5), (10, 3), (7, 7), (60, 40)])
def test_p_is_that_of_the_exact_two_sided_mcnemar_test(only_a, only_b):
    found = figures(*answers(50, only_a, only_b, 5))
    wanted = binomtest(only_a, only_a + only_b).pvalue if only_a + only_b else 1.0
    assert found["p_value"] == pytest.approx(wanted)
    assert found["difference"] == pytest.approx((only_b - only_a) / found["examples"])
    json.dumps(found, allow_nan=False)


def test_the_interval_is_its_authors_own():
    """Bonett's R package statpsych documents ci.prop.ps(.05, 12, 4, 26, 6) as 0.2548067 to 0.6251933."""
    assert interval(4, 26, 48) == pytest.approx((0.2548067, 0.6251933), abs=1e-7)
    assert interval(26, 4, 48) == pytest.approx((-0.6251933, -0.2548067), abs=1e-7)


def test_the_interval_keeps_its_level_where_hardly_anything_differs():
    """10,000 draws of 40 examples that a and b answer differently in 3 and 6 % of cases: at least 94 % hold 0.03."""
    draws = np.random.default_rng(0).multinomial(40, [0.03, 0.06, 0.91], size=10_000)
    bounds = np.array([interval(a, b, 40) for a, b, _ in draws.tolist()])
    assert ((bounds[:, 0] <= 0.03) & (bounds[:, 1] >= 0.03)).mean() >= 0.94


def test_nothing_in_common_says_nothing():
    found = figures(*answers(0, 0, 0, 0))
    assert found["difference"] is None and found["difference_interval"] is None and found["p_value"] == 1
