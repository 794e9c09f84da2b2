"""Where a figure comes from: machine, commit and versions beside every result."""

import json
import os
import platform
import statistics
import subprocess
from collections.abc import Sequence
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from typing import Any

from adapters.runtime.onnx import processor
from service.settings import Settings

ROOT = Path(__file__).resolve().parent.parent
RESULTS = ROOT / "benchmarks" / "results"
PACKAGES = ("bentoml", "fastapi", "numpy", "onnxruntime", "pillow", "simplejpeg", "torch", "timm", "uvicorn")


def spread(values: Sequence[float]) -> dict[str, float]:
    """Median, least and largest of repetitions."""
    return {"median": statistics.median(values), "min": min(values), "max": max(values), "repetitions": len(values)}


def show(results: dict[str, Any]) -> None:
    """Print a line for each figure."""
    for name, row in results.items():
        if isinstance(row, dict) and "median" not in row and all(isinstance(v, dict) for v in row.values()):
            show({f"{name}: {key}": value for key, value in row.items()})
        else:
            print(f"  {name:34} {row}")


def save(name: str, results: dict[str, Any]) -> Path:
    """Write results with their circumstances to benchmarks/results/<name>.json.

    Those of a run with ESPALIER_PRECISION set have it in their name.
    """
    RESULTS.mkdir(parents=True, exist_ok=True)
    chosen = Settings().precision
    path = RESULTS / f"{name if chosen == 'auto' else f'{name}-{chosen}'}.json"
    path.write_text(json.dumps({"about": about(), "results": results}, indent=2) + "\n")
    return path


def about() -> dict[str, Any]:
    """The circumstances of a run."""
    return {
        "date": datetime.now(UTC).isoformat(timespec="seconds"), "commit": commit(), "machine": machine(),
        "python": platform.python_version(), "precision": precision(),
        "versions": {p: v for p in PACKAGES if (v := _version(p))},
    }  # fmt: skip


def precision() -> str:
    """That of the default backbone, in an installation that a benchmark makes."""
    chosen = Settings().precision
    return chosen if chosen != "auto" else "int8" if processor.fast_int8() else "fp32"


def machine() -> str:
    """The processor and how many of its cores we have."""
    lines = Path("/proc/cpuinfo").read_text().splitlines() if Path("/proc/cpuinfo").exists() else []
    model = next((line.partition(": ")[2] for line in lines if line.startswith("model name")), platform.processor())
    return f"{model or 'unknown processor'}, {len(os.sched_getaffinity(0))} cores"


def commit(folder: Path = ROOT) -> str:
    """The one that is checked out there; said where Python files differ from it."""

    def git(*arguments: str) -> str:
        return subprocess.run(["git", *arguments], cwd=folder, capture_output=True, text=True).stdout.strip()

    return git("rev-parse", "--short", "HEAD") + (" with changes" if git("status", "--porcelain", "--", "*.py") else "")


def _version(package: str) -> str | None:
    try:
        return version(package)
    except Exception:
        return None
