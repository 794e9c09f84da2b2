"""What the command line shows of samples."""

from typing import Any

from rich.markup import escape
from rich.table import Table

from service.cli.display.console import out

Json = dict[str, Any]


def switch(facts: Json) -> None:
    """On or off, and what there is."""
    there = f"{facts['samples']} samples, {facts['bytes'] / 2**20:.1f} MiB"
    if not facts["enabled"]:
        out.print(f"[bold]{facts['head']}[/]: off, {there}")
        return
    out.print(f"[bold]{facts['head']}[/]: on, at most {facts['keep']} for {facts['days']:g} days; {there}")


def samples(found: list[Json]) -> None:
    """A row each."""
    table = Table("sha256", "answer", "why", "hardness", "version", "asked")
    for one in found:
        label = escape(str(one["answer"].get("label"))[:60])
        row = [one["sha256"], label, ", ".join(one["why"]), f"{one['hardness']:.3f}", str(one["version"])]
        table.add_row(*row, one["asked_at"][:19])
    out.print(table)
