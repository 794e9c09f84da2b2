"""Rows that were measured, kept from run to run: all of them take longer than a machine is free at a time.

A row counts as long as nothing has changed that trains: it is kept under the last commit of that. Plain loops in torch
are code of their own.
"""

import json
import subprocess
from functools import cache
from typing import Any

from benchmarks import datasets, record

FILE = datasets.CACHE / "deep.jsonl"
TRAINS = ("adapters/training", "adapters/methods", "adapters/fitting", "adapters/modalities", "benchmarks/deep")
OF_PART = {"loops": ("benchmarks/deep/loops.py",)}

Row = dict[str, Any]
Key = tuple[Any, ...]
KEYS = ("part", "precision", "data", "shots", "seed", "way")


def kept() -> list[Row]:
    """Those of this state of the code, the newest where one was measured twice."""
    rows = map(json.loads, FILE.read_text().splitlines() if FILE.exists() else [])
    return list({key(row): row for row in rows if row["commit"] == commit(row["part"])}.values())


def keep(row: Row) -> Row:
    """Write it down, so that it is there whatever ends the run."""
    FILE.parent.mkdir(parents=True, exist_ok=True)
    with FILE.open("a") as file:
        file.write(json.dumps(row | {"commit": commit(row["part"])}) + "\n")
    return row


def key(row: Row) -> Key:
    """What a row is of."""
    return tuple(row.get(name) for name in KEYS)


@cache
def commit(part: str) -> str:
    """The last that changed what is measured."""
    command = ["git", "log", "-1", "--format=%h", "--", *OF_PART.get(part, TRAINS)]
    return subprocess.run(command, cwd=record.ROOT, capture_output=True, text=True).stdout.strip()
