"""Benchmarks of requests and of design run, with tiny settings, and have a figure for each of their limits."""

import subprocess
import sys

import pytest
from support.figures import figures
from support.services import ROOT

from benchmarks import damage_checks, heads_page, small_requests
from benchmarks.peers import measure as peers

pytestmark = [pytest.mark.slow, pytest.mark.timeout(900), pytest.mark.usefixtures("quick_homes")]


@pytest.mark.parametrize("module", [heads_page, small_requests, damage_checks], ids=lambda m: m.__name__)
def test_a_benchmark_runs(module):
    results = module.main(quick=True)
    assert set(results["limits"]) <= set(figures(results))


def test_peers_answer_as_espalier_does():
    """Those whose packages Espalier has anyway; `measure` compares their probabilities."""
    results = peers.main(quick=True, names=("fastapi_onnx", "fastapi_onnx_shared"))
    assert set(results["limits"]) <= set(figures(results))


def test_what_needs_a_gpu_runs_without_one():
    """Every step but those of CUDA's own, so that a borrowed GPU is not spent on typing errors."""
    command = [sys.executable, "-m", "benchmarks.gpu", "--device", "cpu", "--quick"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0 and done.stdout.endswith("all checks passed\n"), done.stdout + done.stderr
    left_out = [line.split(":")[0].strip() for line in done.stdout.splitlines() if ": left out: " in line]
    assert left_out == [
        "placement", "tensorrt", "option exhaustive", "option channels_last", "option tf32", "torch compiled, fp16",
    ]  # fmt: skip


def test_layers_are_told_apart():
    """In a process of its own: bentoml's imports warn, and here a warning is an error."""
    done = subprocess.run(
        [sys.executable, "-m", "benchmarks", "layers", "--quick"], capture_output=True, text=True, cwd=ROOT
    )
    assert done.returncode == 0, done.stderr
    assert "whole_application_us" in done.stdout and "saved_us" in done.stdout
