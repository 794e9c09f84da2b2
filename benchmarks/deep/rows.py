"""Rows that were measured, kept from run to run: all of them take longer than a machine is free at a time.

A row counts as long as nothing has changed that trains: it is kept under the last commit of that.
"""

import json
import subprocess
from typing import Any

from benchmarks import datasets, record

FILE = datasets.CACHE / "deep.jsonl"
TRAINS = ("adapters/training", "adapters/methods", "adapters/fitting", "adapters/modalities", "benchmarks/deep")

Row = dict[str, Any]
Key = tuple[Any, ...]
KEYS = ("part", "precision", "data", "shots", "seed", "way")


def kept() -> list[Row]:
    """Those of this state of the code, the newest where one was measured twice."""
    lines = FILE.read_text().splitlines() if FILE.exists() else []
    found = {key(row): row for row in map(json.loads, lines) if row["commit"] == commit()}
    return list(found.values())


def keep(row: Row) -> Row:
    """Write it down, so that it is there whatever ends the run."""
    FILE.parent.mkdir(parents=True, exist_ok=True)
    with FILE.open("a") as file:
        file.write(json.dumps(row | {"commit": commit()}) + "\n")
    return row


def key(row: Row) -> Key:
    """What a row is of."""
    return tuple(row.get(name) for name in KEYS)


def commit() -> str:
    """The last that changed what trains."""
    command = ["git", "log", "-1", "--format=%h", "--", *TRAINS]
    return subprocess.run(command, cwd=record.ROOT, capture_output=True, text=True).stdout.strip()
