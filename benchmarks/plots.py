"""Plots of results as self-contained SVG: text alone, so that a change of a figure is a change of a line."""

import re
from collections.abc import Callable, Sequence
from html import escape
from typing import Any

from benchmarks.goals import Met

Json = dict[str, Any]
Bar = tuple[str, Json]  # what it is, and its median, least and largest
WIDTH, LEFT, RIGHT, ROW, TOP = 760, 250, 90, 24, 48  # pixels
_GAINED = re.compile(r"accuracy ([+-][0-9.]+)")
OURS, OTHERS = "#2a6f4e", "#9aa7b1"


def peers(results: Json) -> str:
    """Images a second of each system, with one head and with many."""
    rows = [(name, key, row) for name, found in _systems(results) for key, row in _speeds(found)]
    bars = [(f"{name}, {key} head{'s' if key != '1' else ''}", row) for name, key, row in rows]
    return horizontal("Images a second, 16 connections", bars, lambda name: name.startswith("espalier"))


def _systems(results: Json) -> list[tuple[str, Json]]:
    return [(name, found) for name, found in results.items() if name not in ("limits", "notes")]


def _speeds(found: Json) -> list[tuple[str, Json]]:
    prefix = "images_per_second_"
    return [(key.removeprefix(prefix), row) for key, row in found.items() if key.startswith(prefix)]


def heads(results: Json) -> str:
    """Images a second by the number of heads."""
    bars = [(f"{int(number):,} head{'s' if number != '1' else ''}", row) for number, row in _speeds(results)]
    return horizontal("Images a second under Zipf access, 16 connections", bars, lambda _: True)


def matrix(results: Json) -> str:
    """The share of the bare loop's throughput in every combination."""
    bars = [(key.removesuffix(": ratio"), row) for key, row in results.items() if key.endswith(": ratio")]
    return horizontal("Throughput of /predict, as a share of the bare loop's", bars, lambda _: True)


def adaptation(results: Json) -> str:
    """How much more accurate `auto` is than each peer, in points of all settings together."""
    found = [(name.removeprefix("auto against "), _GAINED.search(note)) for name, note in results["notes"].items()]
    bars = [(name, _one(100 * float(gained[1]))) for name, gained in found if gained]
    return horizontal("Points of accuracy that `auto` is above, on average of all settings", bars, lambda _: True)


def goals(found: Sequence[Met]) -> str:
    """Every goal in multiples of itself."""
    bars = [(one.goal.what, one.shares) for one in found]
    kept = {one.goal.what for one in found if one.kept}
    return horizontal("Measured, in multiples of the goal: 1 and more is kept", bars, lambda name: name in kept, 470)


def _one(value: float) -> Json:
    return {"median": value, "min": value, "max": value}


PLOTS: dict[str, Callable[[Json], str]] = {"adaptation": adaptation, "heads": heads, "matrix": matrix, "peers": peers}


def horizontal(title: str, bars: Sequence[Bar], ours: Callable[[str], bool], left: int = LEFT) -> str:
    """Bars of medians, with a line from the least to the largest repetition; names have `left` pixels."""
    height = TOP + ROW * len(bars) + 12
    most = max((row["max"] for _, row in bars), default=1.0)
    scale = (WIDTH - LEFT - RIGHT) / most
    width = WIDTH - LEFT + left
    parts = [_text(12, 26, title, "start", 15)]
    for number, (name, row) in enumerate(bars):
        parts.append(_bar(name, row, (left, TOP + ROW * number), scale, OURS if ours(name) else OTHERS))
    box = f'xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}" width="{width}" height="{height}"'
    style = 'font-family="system-ui, sans-serif" role="img"'
    background = f'<rect width="{width}" height="{height}" fill="#ffffff"/>'
    return "\n".join([f'<svg {box} {style} aria-label="{escape(title)}">', background, *parts, "</svg>", ""])


def _bar(name: str, row: Json, corner: tuple[int, int], scale: float, colour: str) -> str:
    left, top = corner
    middle, low, high = top + ROW / 2, left + row["min"] * scale, left + row["max"] * scale
    width = row["median"] * scale
    return "\n".join([
        _text(left - 10, middle + 4, name, "end"),
        f'<rect x="{left}" y="{top + 4}" width="{width:.1f}" height="{ROW - 8}" fill="{colour}"/>',
        f'<line x1="{low:.1f}" x2="{high:.1f}" y1="{middle}" y2="{middle}" stroke="#1b1f23" stroke-width="1.5"/>',
        _text(max(high, left + width) + 8, middle + 4, f"{row['median']:.3g}"),
    ])  # fmt: skip


def _text(x: float, y: float, text: str, anchor: str = "start", size: int = 12) -> str:
    return (
        f'<text x="{x:.1f}" y="{y:.1f}" font-size="{size}" text-anchor="{anchor}" fill="#1b1f23">{escape(text)}</text>'
    )
