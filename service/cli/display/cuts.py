"""A backbone, and where it can be cut."""

from typing import Any

from rich.table import Table

from service.cli import display
from service.cli.display.console import Json, out


def backbone(row: Json) -> None:
    """Everything, one fact a line, and a table of its cuts."""
    details = dict(row["details"])
    cuts: list[dict[str, Any]] = details.pop("cuts", [])
    display.facts(row | {"details": details})
    if cuts:
        out.print(_table(cuts))


def _table(cuts: list[Json]) -> Table:
    title = "where it can be cut: what a deep version trains comes after"
    table = Table("cut", "kind", "shape", "pixels a step", "work after it", "weights after it", title=title)
    for cut in cuts:
        shape, stride = "×".join(map(str, cut["shape"])), cut["stride"]
        left = (f"{cut['share']:.1%}", f"{cut['bytes'] / 1e6:.1f} MB")
        table.add_row(cut["name"], f"{cut['kind']} {cut['dtype']}", shape, "" if stride is None else str(stride), *left)
    return table
