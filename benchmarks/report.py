"""benchmarks/results/*.json → tables and plots of docs/benchmarks.md, so that no figure is ever typed by hand."""

import json
from pathlib import Path
from typing import Any

from benchmarks import plots, record

PAGE = record.ROOT / "docs" / "benchmarks.md"
INTRODUCTION = """# Benchmarks

Made by `make bench`; do not edit. Each figure is the median of repetitions in one run, with the least and the largest
beside it, because machines drift: compare within a table, not across. A limit that a row has to keep stands beside it.
`make bench` runs those that take little time; the others run by name, `make bench ARGS=peers`.
What is in the way where a goal is missed: [what bounds speed](concepts/what-bounds-speed.md).
"""


def write() -> None:
    """Write the page and its plots from the results that are there."""
    parts = [INTRODUCTION]
    for path in sorted(record.RESULTS.glob("*.json")):
        stored = json.loads(path.read_text())
        parts.append(_section(path.stem, stored["about"], stored["results"]))
    PAGE.write_text("\n".join(parts))


def _section(name: str, about: dict[str, Any], results: dict[str, Any]) -> str:
    versions = ", ".join(f"{package} {number}" for package, number in about["versions"].items())
    plain, _, precision = name.partition("-")
    command = f"{f'ESPALIER_PRECISION={precision} ' if precision else ''}python -m benchmarks {plain}"
    lines = [
        f"## {name}", "",
        f"`{command}` on {about['machine']}, commit {about['commit']}, {about['date']}.",
        f"Python {about['python']}, {versions}. Default backbone in {about.get('precision', 'fp32')}.", "",
        *_plot(name, results, PAGE.with_suffix("") / f"{name}.svg"),
        *(f"{what}: {note}  " for what, note in results.get("notes", {}).items()), "",
        "| figure | median | least – largest | limit |", "|---|---|---|---|",
    ]  # fmt: skip
    limits = results.get("limits", {})
    for key, row in results.items():
        if key not in ("limits", "notes"):
            lines += _rows(key, row, limits)
    return "\n".join([*lines, ""]).replace("\n\n\n", "\n\n")


def _plot(name: str, results: dict[str, Any], path: Path) -> list[str]:
    """Write the plot of a benchmark that has one; the lines that show it."""
    drawn = plots.PLOTS.get(name.partition("-")[0])
    if drawn is None:
        return []
    path.parent.mkdir(exist_ok=True)
    path.write_text(drawn(results))
    return [f"![{name}]({path.parent.name}/{path.name})", ""]


def _rows(key: str, row: dict[str, Any] | float, limits: dict[str, float]) -> list[str]:
    limit = limits.get(key, "")
    if not isinstance(row, dict):  # a count, or a mean of many runs
        return [f"| {key} | {row:.3g} |  | {limit} |"]
    if "median" in row:
        return [f"| {key} | {row['median']:.3g} | {row['min']:.3g} – {row['max']:.3g} | {limit} |"]
    return [line for inner, values in row.items() for line in _rows(f"{key}: {inner}", values, limits)]


if __name__ == "__main__":
    write()
