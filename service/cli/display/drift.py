"""What the command line shows of drift."""

from typing import Any

from rich.markup import escape
from rich.table import Table

from service.cli.display.console import out

Json = dict[str, Any]
COLOURS = {"none": "green", "moderate": "yellow", "major": "red", "unknown": "dim"}
MOST_BINS = 12  # rows of a table: those that moved farthest


def drift(facts: Json) -> None:
    """Levels, and the bins that moved farthest."""
    out.print(f"[bold]{facts['head']}[/]@{facts['version']}: {facts['answers']} answers in {facts['hours']} hours")
    for name in ("labels", "novelty"):
        if facts[name] is not None:
            _figures(name, facts[name])
    out.print(f"[dim]{escape(facts['note'])}[/]")


def _figures(name: str, found: Json) -> None:
    chance = "unknown" if found["chance"] is None else f"{found['chance']:.3f}"
    level = f"[{COLOURS[found['level']]}]{found['level']}[/]"
    out.print(
        f"{name}: {level}, PSI {found['psi']:.3f} (by chance {chance}, {found['effective']:.0f} effective answers)"
    )
    table = Table(name, "taught", "asked")
    rows = sorted(
        zip(found["bins"], found["taught"], found["asked"], strict=True), key=lambda row: -abs(row[1] - row[2])
    )
    for label, taught, asked in rows[:MOST_BINS]:
        table.add_row(escape(label), f"{taught:.1%}", f"{asked:.1%}")
    out.print(table)
