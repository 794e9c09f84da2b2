"""Where a job that was left in the middle goes on from: one blob, in its care, and each takes the place of the last."""

import logging

import sqlalchemy as sa
from sqlalchemy.engine import Engine

from adapters.errors import CorruptArtifact
from adapters.store.database import reading
from adapters.store.objects import blobs
from adapters.store.objects.blobs import JobArtifacts
from adapters.store.schema import jobs

log = logging.getLogger("espalier.checkpoints")


def keep(engine: Engine, scratch: JobArtifacts, job_id: str, state: bytes) -> None:
    """Go on from this state. It is in the store before the job's row names it; the one before goes afterwards.

    Raises StorageError, StorageFull, and LeaseLost of whoever has no lease any more.
    """
    before, digest = _named(engine, job_id), scratch.put(state)
    if digest == before:
        return
    with blobs.alone(engine) as connection:
        connection.execute(jobs.update().where(jobs.c.id == job_id).values(checkpoint=digest))
        if before is not None:
            blobs.drop(connection, job_id, before)
    blobs.sweep(engine, scratch)


def find(engine: Engine, scratch: JobArtifacts, job_id: str) -> bytes | None:
    """The last state; None where there is none, or it is damaged: then the job begins anew."""
    digest = _named(engine, job_id)
    if digest is None:
        return None
    try:
        return scratch.get(digest)
    except CorruptArtifact as error:
        log.warning("the job %s begins anew: its checkpoint is damaged (%s)", job_id, error.message)
        return None


def _named(engine: Engine, job_id: str) -> str | None:
    with reading(engine) as connection:
        return connection.execute(sa.select(jobs.c.checkpoint).where(jobs.c.id == job_id)).scalar()
