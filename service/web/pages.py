"""The report of a version as one page of HTML: no script, no file beside it, nothing fetched from anywhere."""

import base64
import functools
import hashlib
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from jinja2 import Environment, FileSystemLoader

from adapters.errors import CorruptArtifact, InvalidInput
from adapters.labels import words
from adapters.modalities import image
from service.web import charts

Json = dict[str, Any]
TEMPLATES = Path(__file__).parent / "templates"
SIDE = 160  # pixels of a thumbnail; shown at half of it, for dense screens
SHOWN = {"suspected": 10, "worst": 6, "outliers": 4, "duplicates": 4}  # pictures a section: 24 in all
NAMES = {
    "ece": "calibration error",
    "ece_before": "calibration error before calibration",
    "macro_f1": "macro F1",
    "micro_f1": "micro F1",
    "mae": "mean absolute error",
    "rmse": "root mean squared error",
    "r2": "R²",
    "mean_baseline_mae": "error of always the mean",
    "log_loss": "log-loss",
    "examples": "held-out images",
}  # else the words of the figure
SHARES = ("accuracy", "f1", "recall", "precision", "ece", "before", "match", "baseline")  # read best in per cent


def policy() -> str:
    """The page's Content-Security-Policy: its own style sheet by its hash, pictures inside it, and nothing else."""
    style = base64.b64encode(hashlib.sha256(_css().encode()).digest()).decode()
    return f"default-src 'none'; style-src 'sha256-{style}'; img-src data:; base-uri 'none'; form-action 'none'"


def render(view: Json, read: Callable[[str], bytes], max_pixels: int, drift: Json | None = None) -> str:
    """A report (as of GET /heads/{head}/report) → HTML; `read` gives the bytes of an example.

    `drift` is what GET /heads/{head}/drift says of a week.
    """
    pictures = {sha: uri for sha in _pictured(view) if (uri := _thumbnail(sha, read, max_pixels))}
    template = _environment().get_template("report.html")
    page = {"css": _css(), "policy": policy(), "pictures": pictures, "figures": _figures(view["metrics"])}
    return template.render(r=view, drift=drift, charts=charts, shown=SHOWN, percent=charts.percent, **page)


@functools.cache
def _environment() -> Environment:
    made = Environment(loader=FileSystemLoader(TEMPLATES), autoescape=True, trim_blocks=True, lstrip_blocks=True)
    made.filters["words"] = words
    return made


@functools.cache
def _css() -> str:
    return (TEMPLATES / "report.css").read_text()


def _pictured(view: Json) -> Iterator[str]:
    """Which examples are shown: a few of every section."""
    findings = view["findings"]
    sections = {
        "suspected": findings.get("suspected_labels", {}).get("list", []),
        "worst": view.get("worst", []),
        "outliers": findings.get("outliers", {}).get("list", []),
        "duplicates": [row for group in findings["duplicates"]["list"] for row in group[:2]],
    }
    return (row["sha256"] for name, rows in sections.items() for row in rows[: SHOWN[name]])


def _thumbnail(sha256: str, read: Callable[[str], bytes], max_pixels: int) -> str | None:
    """A data: URI; None for an image that is kept no more, or cannot be drawn."""
    try:
        small = image.preview(read(sha256), SIDE, most=max_pixels).data
    except (CorruptArtifact, InvalidInput):
        return None
    return "data:image/jpeg;base64," + base64.b64encode(small).decode()


def _figures(metrics: Json) -> list[Json]:
    """The numbers of a task's metrics, whatever they are, in words: {"name", "value", "interval"}.

    Those with an interval come first.
    """
    rows = []
    for key, value in metrics.items():
        if isinstance(value, bool) or not isinstance(value, int | float):
            continue
        interval = metrics.get(f"{key}_interval")
        name = NAMES.get(key, key.replace("_", " "))
        shown = [_figure(key, v) for v in interval] if interval else None
        rows.append({"name": name, "value": _figure(key, value), "interval": shown})
    return sorted(rows, key=lambda row: row["interval"] is None)


def _figure(key: str, value: float) -> str:
    if isinstance(value, int):
        return f"{value:,}"
    return charts.percent(value) if key.endswith(SHARES) else f"{value:.3f}"
