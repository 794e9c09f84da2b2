"""The report of a version as one page of HTML: no script, no file beside it, nothing fetched from anywhere."""

import base64
import functools
import hashlib
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from jinja2 import Environment, FileSystemLoader

from adapters import modalities
from adapters.errors import CorruptArtifact, ExampleNotFound, InvalidInput
from adapters.labels import words
from service.web import charts

Json = dict[str, Any]
TEMPLATES = Path(__file__).parent / "templates"
SIDE = 160  # pixels of a preview; shown at half of it, for dense screens
SHOWN = {"suspected": 10, "worst": 6, "outliers": 4, "duplicates": 4}  # previews a section: 24 in all
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
}  # else the words of the figure
SHARES = ("accuracy", "f1", "recall", "precision", "ece", "before", "match", "baseline")  # read best in per cent


def policy() -> str:
    """The page's Content-Security-Policy: its own style sheet by its hash, pictures inside it, and nothing else."""
    style = base64.b64encode(hashlib.sha256(_css().encode()).digest()).decode()
    return f"default-src 'none'; style-src 'sha256-{style}'; img-src data:; base-uri 'none'; form-action 'none'"


def render(view: Json, read: Callable[[str], bytes], modality: str, most: int, drift: Json | None = None) -> str:
    """A report (as of GET /heads/{head}/report) → HTML; `read` gives the bytes of an example.

    `modality` is what the head reads and `most` what one input of it may have, `drift` is what GET /heads/{head}/drift
    says of a week.
    """
    kind = modalities.get(modality)
    previews = {sha: shown for sha in _pictured(view) if (shown := _preview(sha, read, kind, most))}
    copies = getattr(kind, "COPIES", f"Copies of one {kind.NOUN}, or almost that.")
    template = _environment().get_template("report.html")
    page = {"css": _css(), "policy": policy(), "previews": previews, "figures": _figures(view["metrics"], kind.NOUN)}
    return template.render(
        r=view,
        noun=kind.NOUN,
        copies_are=copies,
        drift=drift,
        charts=charts,
        shown=SHOWN,
        percent=charts.percent,
        **page,
    )


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


def _preview(sha256: str, read: Callable[[str], bytes], kind: Any, most: int) -> Json | None:
    """{"text"} or {"uri"}, a data: URI; None for an input that is kept no more, or cannot be shown."""
    try:
        shown = kind.preview(read(sha256), SIDE, most=most)
    except (CorruptArtifact, ExampleNotFound, InvalidInput):
        return None
    if shown.text is not None:
        return {"text": shown.text}
    return {"uri": f"data:{shown.media_type};base64,{base64.b64encode(shown.data).decode()}"}


def _figures(metrics: Json, noun: str) -> list[Json]:
    """The numbers of a task's metrics, whatever they are, in words: {"name", "value", "interval"}.

    Those with an interval come first.
    """
    rows = []
    for key, value in metrics.items():
        if isinstance(value, bool) or not isinstance(value, int | float):
            continue
        interval = metrics.get(f"{key}_interval")
        name = f"held-out {noun}s" if key == "examples" else NAMES.get(key, key.replace("_", " "))
        shown = [_figure(key, v) for v in interval] if interval else None
        rows.append({"name": name, "value": _figure(key, value), "interval": shown})
    return sorted(rows, key=lambda row: row["interval"] is None)


def _figure(key: str, value: float) -> str:
    if isinstance(value, int):
        return f"{value:,}"
    return charts.percent(value) if key.endswith(SHARES) else f"{value:.3f}"
