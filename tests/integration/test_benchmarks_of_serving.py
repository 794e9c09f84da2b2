"""Benchmarks of serving run, with tiny settings, and have a figure for each of their limits."""

import pytest
from support.figures import figures

from benchmarks import beside, crowd, heads, matrix, overload, propagation, swaps

pytestmark = [pytest.mark.slow, pytest.mark.timeout(900), pytest.mark.usefixtures("quick_homes")]


@pytest.mark.parametrize("module", [heads, matrix, beside, overload], ids=lambda m: m.__name__)
def test_a_benchmark_runs(module):
    results = module.main(quick=True)
    assert set(results["limits"]) <= set(figures(results))


def test_swaps_are_seen_and_never_mixed():
    results = swaps.main(quick=True)
    assert set(results["limits"]) <= set(figures(results))
    assert results["failed"]["median"] == results["mixed"]["median"] == 0
    assert results["versions_that_answered"]["median"] > 1


@pytest.mark.timeout(900)
@pytest.mark.parametrize("module", [crowd, propagation], ids=lambda m: m.__name__)
def test_a_benchmark_of_several_replicas_runs(module):
    results = module.main(quick=True)
    assert set(results["limits"]) <= set(figures(results))
    for name in ("jobs_that_did_not_end_well", "predictions_failed", "wrong_after_wait_all"):
        assert results.get(name, {"median": 0})["median"] == 0, name
