"""benchmarks/results/*.json → docs/benchmarks.md and a page of rows for each: no figure is ever typed by hand."""

import json
from collections.abc import Iterator
from typing import Any

from benchmarks import goals, plots, record

PAGE = record.ROOT / "docs" / "benchmarks.md"
ROWS = PAGE.with_suffix("")  # the folder of pages and plots behind it
INTRODUCTION = """# Benchmarks

Made by `make bench` from `benchmarks/results`; do not edit. Figures are medians, with the least and the largest
repetition beside them: machines drift, so compare within a run, not across. What is in the way where a goal is missed:
[what bounds speed](concepts/what-bounds-speed.md).

| what | goal | measured | kept | command |
|---|---|---|---|---|
"""
SHOWN = ("goals", "peers", "heads", "adaptation")  # plots on the first page
NO_INTERVAL = " ± nan"  # in names of results of one seed, which were recorded so until they had none
BESIDE = ("races", "releases")  # that are given another checkout
Json = dict[str, Any]


def write() -> None:
    """Write the pages and their plots from the results that are there."""
    stored = {path.stem: json.loads(path.read_text()) for path in sorted(record.RESULTS.glob("*.json"))}
    ROWS.mkdir(exist_ok=True)
    for old in ROWS.iterdir():
        old.unlink()
    for name, found in stored.items():
        (ROWS / f"{name}.md").write_text(_page(name, found["about"], found["results"]))
    PAGE.write_text(_first(stored))


def _first(stored: dict[str, Json]) -> str:
    """What a person wants to know."""
    found = list(goals.met({name: one["results"] for name, one in stored.items()}))
    (ROWS / "goals.svg").write_text(plots.goals(found))
    shown = [f"![{name}]({ROWS.name}/{name}.svg)" for name in SHOWN if (ROWS / f"{name}.svg").exists()]
    links = [f"- [{name}]({ROWS.name}/{name}.md): {_made(one['about'])}" for name, one in stored.items()]
    table = "\n".join(_goal(one) for one in found)
    return "\n\n".join([INTRODUCTION + table, *shown, "## All rows", "\n".join(links)]) + "\n"


def _goal(one: goals.Met) -> str:
    row, name = one.row, one.goal.result
    measured = f"{_short(row['median'])} ({_short(row['min'])} – {_short(row['max'])})"
    kept = "yes" if one.kept else "**no**"
    link = f"[`{_command(name)}`]({ROWS.name}/{name}.md)"
    return f"| {one.goal.what} | {one.goal.sense} {one.limit:g} | {measured} | {kept} | {link} |"


def _short(value: float) -> str:
    return f"{value:,.0f}" if abs(value) >= 1000 else f"{value:.3g}"


def _command(name: str) -> str:
    plain, _, precision = name.partition("-")
    if plain in BESIDE:
        return f"python -m benchmarks.{plain} ../before"
    return f"{f'ESPALIER_PRECISION={precision} ' if precision else ''}python -m benchmarks {plain}"


def _made(about: Json) -> str:
    return f"{about['machine']}, commit {about['commit']}, {about['date'][:10]}"


def _page(name: str, about: Json, results: Json) -> str:
    """All rows of a result."""
    versions = ", ".join(f"{package} {number}" for package, number in about["versions"].items())
    lines = [
        f"# {name}", "", "[All benchmarks](../benchmarks.md)", "",
        f"`{_command(name)}` on {about['machine']}, commit {about['commit']}, {about['date']}.",
        f"Python {about['python']}, {versions}. Default backbone in {about.get('precision', 'fp32')}.", "",
        *_plot(name, results),
        *(f"{what}: {note}  " for what, note in results.get("notes", {}).items()), "",
        "| figure | median | least – largest | limit |", "|---|---|---|---|",
    ]  # fmt: skip
    limits = results.get("limits", {})
    for key, row in results.items():
        if key not in ("limits", "notes"):
            lines += _rows(key.replace(NO_INTERVAL, ""), row, limits)
    return "\n".join([*lines, ""]).replace("\n\n\n", "\n\n")


def _plot(name: str, results: Json) -> list[str]:
    """Write the plot of a benchmark that has one; the lines that show it."""
    drawn = plots.PLOTS.get(name.partition("-")[0])
    if drawn is None:
        return []
    (ROWS / f"{name}.svg").write_text(drawn(results))
    return [f"![{name}]({name}.svg)", ""]


def _rows(key: str, row: Json | float, limits: dict[str, float]) -> Iterator[str]:
    limit = limits.get(key, "")
    if not isinstance(row, dict):  # a count, or a mean of many runs
        yield f"| {key} | {row:.3g} |  | {limit} |"
    elif "median" in row:
        yield f"| {key} | {row['median']:.3g} | {row['min']:.3g} – {row['max']:.3g} | {limit} |"
    else:
        for inner, values in row.items():
            yield from _rows(f"{key}: {inner}", values, limits)


if __name__ == "__main__":
    write()
