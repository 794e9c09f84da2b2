"""How much memory each worker has for training: told by workers, read where jobs are accepted.

A worker tells again whenever it sweeps, so that one that has gone is not counted on for long.
"""

import time
from collections.abc import Mapping
from typing import Any

from sqlalchemy.engine import Engine

from adapters.store import capabilities

KIND = "memory"
SILENT = 3600.0  # seconds after which a worker counts as gone


def tell(engine: Engine, worker: str, size: int) -> None:
    """Record the bytes that a worker has for training when it is idle, and forget workers that have gone."""
    capabilities.record(engine, KIND, worker, {"bytes": size, "at": time.time()})
    told = capabilities.of_kind(engine, KIND)
    gone = [name for name, facts in told.items() if not _is_there(facts)]
    if gone:
        capabilities.forget(engine, KIND, gone)


def largest(engine: Engine) -> int | None:
    """The most bytes that a worker has; None where none has told."""
    told = capabilities.of_kind(engine, KIND).values()
    return max((int(facts["bytes"]) for facts in told if _is_there(facts)), default=None)


def _is_there(facts: Mapping[str, Any]) -> bool:
    return time.time() - float(facts.get("at", 0)) < SILENT
