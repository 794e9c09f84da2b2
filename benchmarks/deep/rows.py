"""Rows that were measured, kept from run to run: all of them take longer than a machine is free at a time.

They are part of the repository, so another machine goes on. A row counts for the round that it was measured in:
whoever changes what a row says begins another. Rows know their commit.
"""

import json
from typing import Any

from benchmarks import record

FILE = record.ROOT / "benchmarks" / "results" / "deep.jsonl"
ROUND = {"tables": 1, "loops": 1, "texts": 1}  # by part

Row = dict[str, Any]
Key = tuple[Any, ...]
KEYS = ("part", "precision", "data", "shots", "seed", "way")


def kept() -> list[Row]:
    """Those of this round, the newest where one was measured twice."""
    rows = map(json.loads, FILE.read_text().splitlines() if FILE.exists() else [])
    return list({key(row): row for row in rows if row["round"] == ROUND[row["part"]]}.values())


def keep(row: Row) -> Row:
    """Write it down, so that it is there whatever ends the run."""
    with FILE.open("a") as file:
        file.write(json.dumps(row | {"round": ROUND[row["part"]], "commit": record.commit()}) + "\n")
    return row


def key(row: Row) -> Key:
    """What a row is of."""
    return tuple(row.get(name) for name in KEYS)
