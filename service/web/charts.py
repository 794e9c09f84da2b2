"""Plots as inline SVG, made of text alone: no script, no style attribute, colours from the page's style sheet.

Everything that came from a caller (labels, names) goes through `escape`.
"""

import math
from collections.abc import Sequence
from typing import Any

from markupsafe import Markup, escape

from adapters.backbones.parts import POOLED
from adapters.modalities import NONE

Json = dict[str, Any]
MOST_ROWS = 10  # of the race
SCORES = {"accuracy": "accuracy", "label_accuracy": "labels right", "r2": "R²"}  # of a race's rows, and their names
MOST_CLASSES = 40  # of a confusion matrix: more cells are too small to read


def learning_curve(points: Sequence[Json], measure: str, noun: str) -> Markup:
    """How good a head is by training inputs, which are called by that noun, with intervals."""
    frame = _Frame(440, 260, left=52, right=34, top=16, bottom=44)
    low = max(0.0, math.floor((min(p["interval"][0] for p in points) - 0.02) * 20) / 20)
    high = min(1.0, math.ceil(max(p["interval"][1] for p in points) * 20) / 20)
    sizes = [math.log(p["examples"]) for p in points]
    span = max(sizes[-1] - sizes[0], 1e-9)
    at = [(0.06 + 0.88 * (s - sizes[0]) / span) for s in sizes]
    parts = [frame.grid([low, (low + high) / 2, high], low, high)]
    dots = [(frame.x(a), frame.y(p["score"], low, high)) for a, p in zip(at, points, strict=True)]
    parts.append(f'<polyline class="line" points="{" ".join(f"{x:.1f},{y:.1f}" for x, y in dots)}"/>')
    for (x, y), p in zip(dots, points, strict=True):
        bottom, top = (frame.y(v, low, high) for v in p["interval"])
        parts.append(f'<line class="bar" x1="{x:.1f}" x2="{x:.1f}" y1="{bottom:.1f}" y2="{top:.1f}"/>')
        parts.append(f'<circle class="dot" cx="{x:.1f}" cy="{y:.1f}" r="5"/>')
        parts.append(_text(x + 9, y + 16, percent(p["score"]), "strong"))
        parts.append(_text(x, frame.bottom + 17, f"{p['examples']:,}", anchor="middle"))
    parts.append(_text(frame.left, frame.height - 6, f"training {noun}s (each step doubles them)", "quiet"))
    return frame.svg(f"{measure.capitalize()} by number of training {noun}s", parts)


def reliability(bins: Sequence[Json]) -> Markup:
    """How often answers of each confidence are right; on the diagonal, as often as they claim."""
    frame = _Frame(350, 320, left=52, right=30, top=14, bottom=46)
    parts = [frame.grid([0, 0.25, 0.5, 0.75, 1], 0, 1)]
    ends = (frame.x(0), frame.y(0, 0, 1), frame.x(1), frame.y(1, 0, 1))
    parts.append('<line class="ideal" x1="{:.1f}" y1="{:.1f}" x2="{:.1f}" y2="{:.1f}"/>'.format(*ends))
    most = max(b["examples"] for b in bins)
    for b in bins:
        x, y = frame.x(b["confidence"]), frame.y(b["accuracy"], 0, 1)
        bottom, top = (frame.y(v, 0, 1) for v in b["interval"])
        radius = 3 + 7 * math.sqrt(b["examples"] / most)
        title = f"{b['examples']:,} answers: {percent(b['confidence'])} sure, {percent(b['accuracy'])} right"
        parts.append(f'<line class="bar" x1="{x:.1f}" x2="{x:.1f}" y1="{bottom:.1f}" y2="{top:.1f}"/>')
        parts.append(f'<circle class="dot" cx="{x:.1f}" cy="{y:.1f}" r="{radius:.1f}"><title>{title}</title></circle>')
    for tick in (0, 0.5, 1):
        parts.append(_text(frame.x(tick), frame.bottom + 17, percent(tick, 0), anchor="middle"))
    parts.append(_text(frame.x(0.5), frame.height - 6, "how sure the head is", "quiet", "middle"))
    return frame.svg("Share of right answers by confidence", parts)


def race(rows: Sequence[Json], winner: Json) -> Markup:
    """Loss with its standard error for the best candidates: further left is better."""
    shown = list(rows[:MOST_ROWS])
    frame = _Frame(680, 34 + 26 * len(shown), left=264, right=82, top=6, bottom=28)
    score = next(name for name in SCORES if name in shown[0])
    low = min(r["loss"] - r["standard_error"] for r in shown)
    high = max(r["loss"] + r["standard_error"] for r in shown)
    span = max(high - low, 1e-9)
    parts = []
    for number, r in enumerate(shown):
        y = frame.top + 26 * number + 13
        won = all(r.get(key) == winner.get(key) for key in ("method", "hyperparameters", "views", "reads"))
        left, x, right = (
            frame.x((r["loss"] + k * r["standard_error"] - low) / span) for k in (-1, 0, 1)
        )  # fmt: skip
        parts.append(_text(frame.left - 14, y + 4, _candidate(r), "strong" if won else "", "end"))
        parts.append(f'<line class="bar" x1="{left:.1f}" x2="{right:.1f}" y1="{y}" y2="{y}"/>')
        parts.append(f'<circle class="{"dot" if won else "dot other"}" cx="{x:.1f}" cy="{y}" r="5"/>')
        parts.append(_text(frame.width - 4, y + 4, percent(r[score]), "strong" if won else "quiet", "end"))
    for tick in (low, high):
        parts.append(_text(frame.x((tick - low) / span), frame.height - 6, f"{tick:.3f}", "quiet", "middle"))
    parts.append(_text(frame.x(0.5), frame.height - 6, "loss, less is better", "quiet", "middle"))
    parts.append(_text(frame.width - 4, frame.height - 6, SCORES[score], "quiet", "end"))
    return frame.svg("The race of candidates", parts)


def losses(rows: Sequence[Json], kept: int | None) -> Markup:
    """Loss by epoch on training examples and on held-out ones, which are drawn stronger; the kept epoch is marked."""
    frame = _Frame(440, 240, left=52, right=96, top=16, bottom=44)
    values = [row[name] for row in rows for name in ("train_loss", "held_out_loss")]
    low, high = min(0.0, *values), max(values)
    at = {row["epoch"]: frame.x(position / max(len(rows) - 1, 1)) for position, row in enumerate(rows)}
    parts = []
    for tick in (low, (low + high) / 2, high):
        y = frame.y(tick, low, high)
        parts.append(f'<line class="grid" x1="{frame.left}" x2="{frame.right}" y1="{y:.1f}" y2="{y:.1f}"/>')
        parts.append(_text(frame.left - 8, y + 4, f"{tick:.2f}", "quiet", "end"))
    if kept in at:
        x = at[kept]
        parts.append(f'<line class="ideal" x1="{x:.1f}" x2="{x:.1f}" y1="{frame.top}" y2="{frame.bottom}"/>')
        parts.append(_text(x, frame.bottom + 17, f"epoch {kept}", "", "middle"))
    for name, kind, said in (("train_loss", "ideal", "training"), ("held_out_loss", "line", "held out")):
        dots = [(at[row["epoch"]], frame.y(row[name], low, high)) for row in rows]
        parts.append(f'<polyline class="{kind} line" points="{" ".join(f"{x:.1f},{y:.1f}" for x, y in dots)}"/>')
        parts.append(_text(dots[-1][0] + 8, dots[-1][1] + 4, said, "strong" if kind == "line" else "quiet"))
    parts.append(_text(frame.left, frame.height - 6, f"loss by epoch, 1 to {rows[-1]['epoch']}", "quiet"))
    return frame.svg("Loss by epoch on training and on held-out examples", parts)


def confusion(labels: Sequence[str], matrix: Sequence[Sequence[int]]) -> Markup:
    """Rows are true classes, columns answers; the diagonal is right."""
    count = len(labels)
    side = max(16, min(46, 420 // count))
    left, top = 18 + 7.2 * min(18, max(len(name) for name in labels)), 20 + 5.2 * min(18, max(map(len, labels)))
    size = side * count
    parts = [_cells(matrix, left, top, side)]
    for i, name in enumerate(labels):
        middle = i * side + side / 2
        parts.append(_text(left - 8, top + middle + 4, _cut(name), "", "end"))
        x, y = left + middle + 3, top - 7
        parts.append(
            f'<text x="{x:.1f}" y="{y:.1f}" transform="rotate(-40 {x:.1f} {y:.1f})">{escape(_cut(name))}</text>'
        )
    width, height = left + size + 60, top + size + 8
    return _svg(width, height, "Confusion matrix: rows are labels, columns are answers", parts)


def _cells(matrix: Sequence[Sequence[int]], left: float, top: float, side: int) -> str:
    parts = []
    for i, row in enumerate(matrix):
        total = max(sum(row), 1)
        for j, value in enumerate(row):
            x, y, share = left + j * side, top + i * side, value / total
            kind = "right" if i == j else "wrong"
            strength = 0.0 if not value else 0.12 + 0.88 * (share if i == j else min(1.0, 2.5 * share))
            box = f'x="{x:.1f}" y="{y:.1f}" width="{side - 2}" height="{side - 2}" rx="3"'
            parts.append(f'<rect class="cell" {box}/><rect class="{kind}" {box} fill-opacity="{strength:.2f}"/>')
            if value and side >= 24:
                tone = "on" if strength > 0.6 else ""
                parts.append(_text(x + side / 2 - 1, y + side / 2 + 3, f"{value:,}", tone, "middle"))
    return "".join(parts)


def bar(share: float, width: int = 90) -> Markup:
    """A share of 1 as a bar in a table."""
    inner = f'<rect class="track" width="{width}" height="8" rx="4"/>'
    inner += f'<rect class="fill" width="{max(0.0, min(1.0, share)) * width:.1f}" height="8" rx="4"/>'
    return Markup(f'<svg class="inline" width="{width}" height="8" aria-hidden="true">{inner}</svg>')


def percent(share: float, digits: int = 1) -> str:
    """0.946 → 94.6 %."""
    return f"{100 * share:.{digits}f} %"


class _Frame:
    """A plot's rectangle and its scales."""

    def __init__(self, width: float, height: float, *, left: float, right: float, top: float, bottom: float) -> None:
        self.width, self.height, self.left, self.top = width, height, left, top
        self.right, self.bottom = width - right, height - bottom

    def x(self, share: float) -> float:
        return self.left + share * (self.right - self.left)

    def y(self, value: float, low: float, high: float) -> float:
        return self.bottom - (value - low) / max(high - low, 1e-9) * (self.bottom - self.top)

    def grid(self, ticks: Sequence[float], low: float, high: float) -> str:
        """Horizontal lines with their values in per cent."""
        parts = []
        for tick in ticks:
            y = self.y(tick, low, high)
            parts.append(f'<line class="grid" x1="{self.left}" x2="{self.right}" y1="{y:.1f}" y2="{y:.1f}"/>')
            digits = 0 if abs(tick * 100 - round(tick * 100)) < 1e-6 else 1
            parts.append(_text(self.left - 8, y + 4, percent(tick, digits), "quiet", "end"))
        return "".join(parts)

    def svg(self, title: str, parts: Sequence[str]) -> Markup:
        return _svg(self.width, self.height, title, parts)


def _svg(width: float, height: float, title: str, parts: Sequence[str]) -> Markup:
    box = f'viewBox="0 0 {width:.0f} {height:.0f}" width="{width:.0f}" height="{height:.0f}"'
    return Markup(f'<svg class="plot" role="img" aria-label="{escape(title)}" {box}>{"".join(parts)}</svg>')


def _text(x: float, y: float, text: str, kind: str = "", anchor: str = "start") -> str:
    return f'<text class="{kind}" x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}">{escape(text)}</text>'


def _candidate(row: Json) -> str:
    values = [f"{v:.3g}" if isinstance(v, float) else str(v) for v in row["hyperparameters"].values()]
    plain = {NONE, POOLED}
    sources = [name for name in (row.get("reads", POOLED), row.get("views", NONE)) if name not in plain]
    return _cut(f"{row['method']}  {', '.join([*sources, *values])}", 36)


def _cut(text: str, most: int = 18) -> str:
    return text if len(text) <= most else text[: most - 1] + "…"
