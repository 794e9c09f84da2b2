"""Lines that the command line shows of deep stages, versions and what was forgotten."""

from collections.abc import Iterator
from typing import Any

from rich.markup import escape

Json = dict[str, Any]


def of_job(facts: Json) -> Iterator[str]:
    """Which stage a job is, and what follows it."""
    stage = facts.get("deep") or {}
    if stage.get("next"):
        yield f"next stage: {stage['next']} trains the backbone's last part, too (espalier jobs show {stage['next']})"
    elif stage.get("why"):
        yield f"[dim]{'deep' if stage['stage'] == 'deep' else 'no next stage'}: {escape(stage['why'])}[/]"
    if "cut" in (found := (facts.get("report") or {}).get("deep", {})):
        yield f"trained from {escape(found['cut']['name'])} on, {found['cut']['share']:.0%} of the backbone's work"


def of_report(deep: Json | None) -> Iterator[str]:
    """What training deeper brought to a version, and how it went."""
    if deep is None:
        return
    where = f"trained from {escape(deep['cut']['name'])} on" if "cut" in deep else "tried, and not kept"
    evidence = deep["evidence"]
    if "gain" in evidence:
        low, high = evidence["interval"]
        where += f": {evidence['gain']:+.4f} {evidence['merit'].replace('_', ' ')} (95 % {low:+.4f} to {high:+.4f})"
    if "begun_at" in deep:
        where += f"; begun at version {deep['begun_at']}, whose examples were not kept"
    yield f"the backbone's last part: {where}"
    yield f"[dim]{escape(deep['losses']['meaning'])}[/]"
    if "precision" in deep:
        yield f"[dim]served in {deep['precision']['precision']}: {escape(deep['precision']['why'])}[/]"


def of_comparison(forgetting: Json | None) -> Iterator[str]:
    """What became of earlier classes."""
    if forgetting is not None:
        yield escape(forgetting["meaning"])
