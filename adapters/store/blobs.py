"""Which blobs are still needed: those of versions, and those that a job has written and not let go of yet."""

import hashlib
from collections.abc import Iterable
from typing import Any

import sqlalchemy as sa
from sqlalchemy.engine import Engine

from adapters.store.artifacts import Artifacts
from adapters.store.schema import job_blobs, versions

_OF_DATA = ("digest", "answers", "report")  # of a manifest's data: the list of it, cross-validated answers, the report


class JobArtifacts(Artifacts):
    """The artifact store as one job writes to it: what it puts is noted first, so that nothing outlives its use."""

    def __init__(self, engine: Engine, artifacts: Artifacts, job_id: str) -> None:
        self._folder, self._store = artifacts._folder, artifacts._store
        self._engine, self._job_id = engine, job_id

    def put(self, data: bytes | memoryview) -> str:
        """Store bytes until the job lets go of them, or for good when a version holds them by then."""
        with self._engine.begin() as connection:
            note(connection, self._job_id, [hashlib.sha256(data).hexdigest()])
        return super().put(data)


def note(connection: sa.Connection, job_id: str, digests: Iterable[str]) -> None:
    """Put blobs into a job's care: what nothing else uses at its end is deleted then."""
    known = set(connection.execute(sa.select(job_blobs.c.digest).where(job_blobs.c.job_id == job_id)).scalars())
    fresh = [{"job_id": job_id, "digest": digest} for digest in dict.fromkeys(digests) if digest not in known]
    if fresh:
        connection.execute(job_blobs.insert(), fresh)


def drop_job(connection: sa.Connection, job_id: str) -> list[str]:
    """Forget what a job wrote; returns the digests that nothing else uses."""
    digests = list(connection.execute(sa.select(job_blobs.c.digest).where(job_blobs.c.job_id == job_id)).scalars())
    connection.execute(job_blobs.delete().where(job_blobs.c.job_id == job_id))
    return unused(connection, digests)


def of_versions(digests: Iterable[str], manifests: Iterable[dict[str, Any]]) -> list[str]:
    """What versions keep in the artifact store: graphs, and what _OF_DATA says."""
    data = [manifest.get("data", {}) for manifest in manifests]
    return [*digests, *(facts[name] for facts in data for name in _OF_DATA if name in facts)]


def unused(connection: sa.Connection, digests: list[str]) -> list[str]:
    """Those that neither a version nor a job at work needs."""
    used: set[str] = set()
    data = versions.c.manifest["data"]
    columns: list[Any] = [versions.c.digest, *(data[name].as_string() for name in _OF_DATA)]
    for column in (*columns, job_blobs.c.digest):
        used |= set(connection.execute(sa.select(column).where(column.in_(digests))).scalars())
    return sorted(set(digests) - used)
