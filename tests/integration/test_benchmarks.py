"""Every benchmark that runs by name runs, with tiny settings, and has a figure for each of its limits."""

import subprocess
import sys
from collections.abc import Iterator
from typing import Any

import pytest
from support.services import ROOT

from benchmarks import (
    beside,
    crowd,
    damage_checks,
    deep_serving,
    heads,
    heads_page,
    many_examples,
    matrix,
    overload,
    propagation,
    small_requests,
    soak,
    swaps,
)
from benchmarks.deep import measure as deep
from benchmarks.peers import measure as peers


def figures(results: dict[str, Any], prefix: str = "") -> Iterator[str]:
    """Names as docs/benchmarks.md has them."""
    for key, row in results.items():
        if key not in ("limits", "notes"):
            yield from [prefix + key] if "median" in row else figures(row, f"{prefix}{key}: ")


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore::DeprecationWarning")  # torch and timm say this of the exporter that we use …
@pytest.mark.filterwarnings("ignore::torch.jit.TracerWarning")  # … and of what it traces
@pytest.mark.parametrize(
    "module",
    [heads, heads_page, matrix, beside, overload, small_requests, damage_checks, deep, deep_serving],
    ids=lambda m: m.__name__,
)
def test_a_benchmark_runs(module):
    results = module.main(quick=True)
    assert set(results["limits"]) <= set(figures(results))


@pytest.mark.slow
def test_many_examples_are_taught_within_the_bound():
    results = many_examples.main(quick=True)
    assert set(results["limits"]) <= set(figures(results))
    assert results["succeeded"]["median"] == 1
    assert results["together_peak_mib"]["max"] < results["limits"]["together_peak_mib"]


@pytest.mark.slow
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


@pytest.mark.slow
def test_swaps_are_seen_and_never_mixed():
    results = swaps.main(quick=True)
    assert set(results["limits"]) <= set(figures(results))
    assert results["failed"]["median"] == results["mixed"]["median"] == 0
    assert results["versions_that_answered"]["median"] > 1


@pytest.mark.slow
@pytest.mark.timeout(900)
@pytest.mark.parametrize("module", [crowd, propagation], ids=lambda m: m.__name__)
def test_a_benchmark_of_several_replicas_runs(module):
    results = module.main(quick=True)
    assert set(results["limits"]) <= set(figures(results))
    for name in ("jobs_that_did_not_end_well", "predictions_failed", "wrong_after_wait_all"):
        assert results.get(name, {"median": 0})["median"] == 0, name


@pytest.mark.slow
def test_peers_answer_as_espalier_does():
    """Those whose packages Espalier has anyway; `measure` compares their probabilities."""
    results = peers.main(quick=True, names=("fastapi_onnx", "fastapi_onnx_shared"))
    assert set(results["limits"]) <= set(figures(results))


@pytest.mark.slow
def test_what_needs_a_gpu_runs_without_one():
    """Every step but those of CUDA's own, so that a borrowed GPU is not spent on typing errors."""
    command = [sys.executable, "-m", "benchmarks.gpu", "--device", "cpu", "--quick"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0 and done.stdout.endswith("all checks passed\n"), done.stdout + done.stderr
    left_out = [line.split(":")[0].strip() for line in done.stdout.splitlines() if ": left out: " in line]
    assert left_out == [
        "placement", "tensorrt", "option exhaustive", "option channels_last", "option tf32", "torch compiled, fp16",
    ]  # fmt: skip


@pytest.mark.slow
def test_layers_are_told_apart():
    """In a process of its own: bentoml's imports warn, and here a warning is an error."""
    done = subprocess.run(
        [sys.executable, "-m", "benchmarks", "layers", "--quick"], capture_output=True, text=True, cwd=ROOT
    )
    assert done.returncode == 0, done.stderr
    assert "whole_application_us" in done.stdout and "saved_us" in done.stdout
