"""What we depend on reports to nobody: ONNX Runtime would, and keeps files in the home folder to that end."""

import os
import subprocess
import sys
from pathlib import Path

import onnxruntime
import pytest
from support.services import ROOT


def left_by(program: str, home: Path) -> list[str]:
    """The files that a program leaves in a home folder of its own; nothing in its environment keeps it quiet."""
    kept = {"PATH": os.environ["PATH"], "HOME": str(home), "PYTHONPATH": str(ROOT)}
    home.mkdir()
    subprocess.run([sys.executable, "-c", program], env=kept, check=True, timeout=120)
    return [str(path.relative_to(home)) for path in home.rglob("*") if path.is_file()]


def test_an_onnxruntime_of_its_own_would_report(tmp_path):
    """Else the next test shows nothing."""
    if not left_by("import onnxruntime", tmp_path / "home"):
        pytest.skip(f"onnxruntime {onnxruntime.__version__} here reports nothing by itself")


@pytest.mark.parametrize(
    "module",
    [
        "adapters.runtime.onnx.session",
        "adapters.runtime.onnx.devices",
        "adapters.predict",
        "adapters.training.backbone.precisions.int8",
    ],
)
def test_ours_reports_nothing(module, tmp_path):
    assert left_by(f"import {module}, onnxruntime", tmp_path / "home") == []
