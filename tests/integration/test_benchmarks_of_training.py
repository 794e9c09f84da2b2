"""Benchmarks of training and of long lives run, with tiny settings, and have a figure for each of their limits."""

import pytest
from support.figures import figures

from benchmarks import deep_serving, many_examples, soak
from benchmarks.deep import measure as deep

pytestmark = [pytest.mark.slow, pytest.mark.timeout(900), pytest.mark.usefixtures("quick_homes")]


@pytest.mark.filterwarnings("ignore::DeprecationWarning")  # torch and timm say this of the exporter that we use …
@pytest.mark.filterwarnings("ignore::torch.jit.TracerWarning")  # … and of what it traces
@pytest.mark.parametrize("module", [deep, deep_serving], ids=lambda m: m.__name__)
def test_a_benchmark_runs(module):
    results = module.main(quick=True)
    assert set(results["limits"]) <= set(figures(results))


def test_many_examples_are_taught_within_the_bound():
    results = many_examples.main(quick=True)
    assert set(results["limits"]) <= set(figures(results))
    assert results["succeeded"]["median"] == 1
    assert results["together_peak_mib"]["max"] < results["limits"]["together_peak_mib"]


@pytest.mark.timeout(1800)
def test_a_long_life_takes_no_more_than_a_short_one(monkeypatch):
    """Each job left 0.2 MiB in the server and half as much in files: more than these limits after 140 of them."""
    monkeypatch.setattr(soak, "QUICK", soak.Plan(jobs=150, heads=5, warm_up=60, every=20, keep_jobs=10, looking=1.0))
    results = soak.main(quick=True)
    assert set(results["limits"]) <= set(figures(results))
    grown = {name: row["max"] - row["min"] for name, row in results.items() if name.startswith("server_mib")}
    assert grown["server_mib"] < 20
    assert results["server_descriptors"]["max"] - results["server_descriptors"]["min"] < 10
    assert results["worker_descriptors"]["max"] - results["worker_descriptors"]["min"] < 10
    assert results["jobs_database_mib_on_disk"]["max"] < 16
