"""benchmarks/results/*.json → the tables of docs/benchmarks.md, so that no figure is ever typed by hand."""

import json
from typing import Any

from benchmarks import record

PAGE = record.ROOT / "docs" / "benchmarks.md"
INTRODUCTION = """# Benchmarks

Made by `make bench`; do not edit. Each figure is the median of repetitions in one run, with the least and the largest
beside it, because machines drift: compare within a table, not across. A limit that a row has to keep stands beside it.
"""


def write() -> None:
    """Write the page from the results that are there."""
    parts = [INTRODUCTION]
    for path in sorted(record.RESULTS.glob("*.json")):
        stored = json.loads(path.read_text())
        parts.append(_section(path.stem, stored["about"], stored["results"]))
    PAGE.write_text("\n".join(parts))


def _section(name: str, about: dict[str, Any], results: dict[str, Any]) -> str:
    versions = ", ".join(f"{package} {number}" for package, number in about["versions"].items())
    lines = [
        f"## {name}", "",
        f"`python -m benchmarks {name}` on {about['machine']}, commit {about['commit']}, {about['date']}.",
        f"Python {about['python']}, {versions}.", "",
        "| figure | median | least – largest | limit |", "|---|---|---|---|",
    ]  # fmt: skip
    limits = results.get("limits", {})
    for key, row in results.items():
        if key != "limits":
            lines += _rows(key, row, limits)
    return "\n".join([*lines, ""])


def _rows(key: str, row: dict[str, Any], limits: dict[str, float]) -> list[str]:
    if "median" in row:
        limit = limits.get(key, "")
        return [f"| {key} | {row['median']:.3g} | {row['min']:.3g} – {row['max']:.3g} | {limit} |"]
    return [line for inner, values in row.items() for line in _rows(f"{key}: {inner}", values, limits)]


if __name__ == "__main__":
    write()
