"""Sizes of what earlier releases have stored, who did not write them down: looked up once, when a worker starts."""

import sqlalchemy as sa
from sqlalchemy.engine import Engine

from adapters.store.database import reading
from adapters.store.objects.artifacts import Artifacts
from adapters.store.quotas.tables import blob_sizes
from adapters.store.quotas.usage import note_sizes
from adapters.store.schema import examples, job_examples

BATCH = 500  # sizes written in one transaction


def measure(engine: Engine, artifacts: Artifacts) -> int:
    """Note the sizes of examples that have none yet; returns how many there were. Raises StorageError."""
    wanted, found = _unmeasured(engine), dict[str, int]()
    if not wanted:
        return 0
    for blob in artifacts.list():
        if blob.name in wanted:
            found[blob.name] = blob.size
        if len(found) >= BATCH:
            _note(engine, found)
            found = {}
    _note(engine, found)
    return len(wanted)


def _unmeasured(engine: Engine) -> set[str]:
    known = sa.select(blob_sizes.c.digest)
    with reading(engine) as connection:
        return {
            sha256
            for table in (examples, job_examples)
            for sha256 in connection.execute(
                sa.select(table.c.sha256).where(table.c.sha256.not_in(known)).distinct()
            ).scalars()
        }


def _note(engine: Engine, sizes: dict[str, int]) -> None:
    with engine.begin() as connection:
        note_sizes(connection, sizes)
