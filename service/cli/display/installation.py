"""What an installation has: backbones, keys, replicas; and facts of anything, one a line."""

from collections.abc import Sequence

from rich.markup import escape
from rich.table import Table

from service.cli.display.console import Json, out


def keys(rows: Sequence[Json]) -> None:
    """One row an API key."""
    table = Table("key", "tenant", "name", "scopes", "status", "ends", "last used")
    for row in rows:
        moments = [(row[name] or "")[:19] for name in ("expires_at", "last_used_at")]
        told = (row["tenant"] or "default", escape(row["name"]), ", ".join(row["scopes"]), row["status"])
        table.add_row(row["id"], *told, *moments)
    out.print(table)


def _read_by(row: Json) -> str:
    """What a backbone reads: pixels a side of images, the modality of what else."""
    size = (row.get("preprocessing") or {}).get("size")
    return f"{size}×{size}" if size else f"{row['modality']}s"


def backbones(rows: Sequence[Json]) -> None:
    """One row a backbone."""
    table = Table("backbone", "numbers", "with taps", "input", "precision", "licence", "digest")
    for row in rows:
        licence = str(row["details"].get("licence", ""))
        numbers = (str(row["dimension"]), str(row["length"]))
        table.add_row(row["name"], *numbers, _read_by(row), row["precision"], licence, row["digest"][:12])
    out.print(table)


def facts(row: Json) -> None:
    """Everything, one fact a line."""
    table = Table(show_header=False)
    for key, value in row.items():
        table.add_row(key, escape(str(value)))
    out.print(table)


def replicas(found: Json) -> None:
    """Serving processes that live."""
    table = Table("id", "release", "generation", "behind with", "known for", "last heard of")
    for row in found["replicas"]:
        since = [f"{row[key]:.0f} s" for key in ("known_for_seconds", "silent_for_seconds")]
        late = "" if row["generation"] >= found["generation"] else f" of {found['generation']}"
        heads = f"{row['behind']} heads" if row["behind"] else ""
        table.add_row(row["id"], row["release"], f"{row['generation']}{late}", heads, *since)
    out.print(table)
