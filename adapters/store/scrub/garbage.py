"""What a sweep would remove now, told before it is: the rules of `retention` and `blobs`, asked of all at once."""

from collections.abc import Iterable
from dataclasses import dataclass

import sqlalchemy as sa
from sqlalchemy.engine import Engine

from adapters import tenancy
from adapters.store.audit import log
from adapters.store.database import now, reading
from adapters.store.drift import windows
from adapters.store.objects import blobs
from adapters.store.objects.artifacts import Artifacts
from adapters.store.sampling import samples as sample_store
from adapters.store.schema import (
    blob_holds,
    embeddings,
    examples,
    job_blobs,
    job_examples,
    jobs,
    samples,
    tombstones,
)
from adapters.store.upkeep import retention
from adapters.store.upkeep.retention import Keep

_CHUNK = 500


@dataclass(frozen=True, slots=True)
class Ages:
    """Days that rows are kept which are in nobody's way; 0 days of the audit log: for ever."""

    audit_days: float
    drift_days: float


@dataclass(frozen=True, slots=True)
class Garbage:
    """Rows and blobs that nobody needs."""

    jobs: int
    samples: int
    embeddings: int
    embedding_bytes: int
    blobs: int
    blob_bytes: int
    held_blobs: int = 0  # that would be among these, but that somebody is copying everything: they go after it
    audit_rows: int = 0
    answer_windows: int = 0


def look(engine: Engine, artifacts: Artifacts, keep: Keep, ages: Ages | None = None) -> Garbage:
    """Remove nothing: it costs reading the names of all blobs, and what rows refer to. Raises StorageError."""
    with reading(engine) as connection:
        gone = retention.due(connection, keep, None)
        old = {tuple(row) for row in connection.execute(sample_store.old())}
        wanted = _wanted(connection, gone) | _sampled(connection, old)
        stray = _stray(connection, wanted, _held(connection, set(gone)))
        passing = _candidates(connection, gone) | {sha256 for _, sha256 in old}
        unused = (passing | {sha256 for sha256, _ in stray}) - wanted
        held = blobs.is_all_held(connection)
    sizes = [blob.size for blob in artifacts.list() if blob.name in unused]
    going, later = ([], sizes) if held else (sizes, [])
    rows = (0, 0) if ages is None else (log.due(engine, ages.audit_days), windows.due(engine, ages.drift_days))
    embedded = sum(size for _, size in stray)
    return Garbage(len(gone), len(old), len(stray), embedded, len(going), sum(going), len(later), *rows)


def _stray(connection: sa.Connection, wanted: set[str], held: set[tuple[str, str]]) -> list[tuple[str, int]]:
    """(SHA-256, bytes) of embeddings of inputs that nobody needs, or not the tenant that they are of."""
    size = sa.func.length(embeddings.c.vector)
    found = connection.execute(sa.select(embeddings.c.sha256, embeddings.c.backbone, size))
    return [(sha256, size) for sha256, backbone, size in found if not (
        sha256 in wanted and (not (tenant := tenancy.tenant_of(backbone)) or (tenant, sha256) in held)
    )]  # fmt: skip


def _held(connection: sa.Connection, forgotten: set[str]) -> set[tuple[str, str]]:
    """(Tenant, SHA-256) of inputs that heads have, or jobs that stay; the default tenant's are in nobody's way."""
    of_heads = connection.execute(sa.select(examples.c.head, examples.c.sha256))
    found = {(tenancy.tenant_of(head), sha256) for head, sha256 in of_heads}
    joined = sa.select(jobs.c.id, jobs.c.head, job_examples.c.sha256).where(jobs.c.id == job_examples.c.job_id)
    of_jobs = connection.execute(joined)
    return found | {(tenancy.tenant_of(head), sha256) for job, head, sha256 in of_jobs if job not in forgotten}


def _wanted(connection: sa.Connection, gone: Iterable[str]) -> set[str]:
    """Digests that somebody needs once some jobs are gone."""
    forgotten = set(gone)
    held = sa.select(blob_holds.c.digest).where(blob_holds.c.since >= now() - blobs.PATIENCE)
    found = set(connection.execute(held).scalars()) | blobs.referred(connection, passing=False)
    found |= _of_others(connection, job_examples.c.job_id, job_examples.c.sha256, forgotten)
    return found | _of_others(connection, job_blobs.c.job_id, job_blobs.c.digest, forgotten)


def _sampled(connection: sa.Connection, old: set[tuple[str, ...]]) -> set[str]:
    found = connection.execute(sa.select(samples.c.head, samples.c.sha256))
    return {row.sha256 for row in found if tuple(row) not in old}


def _of_others(connection: sa.Connection, job: sa.Column[str], digest: sa.Column[str], forgotten: set[str]) -> set[str]:
    return {found for job_id, found in connection.execute(sa.select(job, digest)) if job_id not in forgotten}


def _candidates(connection: sa.Connection, gone: list[str]) -> set[str]:
    """Digests that may be nobody's: buried, held by those who are not heard of again, or of jobs that go."""
    found = set(connection.execute(sa.select(tombstones.c.digest)).scalars())
    old = sa.select(blob_holds.c.digest).where(blob_holds.c.since < now() - blobs.PATIENCE)
    found |= set(connection.execute(old).scalars())
    for start in range(0, len(gone), _CHUNK):
        ids = gone[start : start + _CHUNK]
        found |= set(
            connection.execute(sa.select(job_examples.c.sha256).where(job_examples.c.job_id.in_(ids))).scalars()
        )
        found |= set(connection.execute(sa.select(job_blobs.c.digest).where(job_blobs.c.job_id.in_(ids))).scalars())
    return found
