"""What the command line shows of a roll-out."""

from typing import Any

from rich.markup import escape
from rich.table import Table

from service.cli.display.console import out

Json = dict[str, Any]
COLOURS = {"promoted": "green", "rolled_back": "red", "stopped": "yellow", "running": "cyan"}


def rollout(facts: Json) -> None:
    """Who answers, what was counted, how sure it is, and what was decided."""
    status = f"[{COLOURS[facts['status']]}]{facts['status']}[/]"
    what = f"{facts['mode']} of {facts['weight']:.0%}, version {facts['version']} beside {facts['base']}"
    out.print(f"[bold]{facts['head']}[/]: {what}, {status}")
    if facts["reason"]:
        out.print(escape(facts["reason"]))
    _counts(facts["counts"])
    for name, found in facts["evidence"].items():
        estimate = "–" if found["estimate"] is None else f"{found['estimate']:.4f}"
        out.print(f"{name}: {estimate} ({found['low']:.4f} to {found['high']:.4f})")
    for event in facts["events"]:
        out.print(f"[dim]{event['created_at'][:19]} {event['type']} {escape(event['data'].get('reason') or '')}[/]")


def _counts(counts: Json) -> None:
    table = Table("version", "requests", "failed", "novel")
    for name in ("live", "candidate"):
        table.add_row(name, *(str(counts[name][key]) for key in ("asked", "errors", "novel")))
    out.print(table)
    out.print(f"compared {counts['compared']}, of which {counts['disagreed']} disagree; left out {counts['dropped']}")
