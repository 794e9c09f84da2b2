"""Hard inputs that are kept: looked at, taken back, forgotten."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import sqlalchemy as sa
from sqlalchemy.engine import Engine

from adapters.errors import CorruptArtifact, ExampleDamaged, SampleNotFound
from adapters.sampling.facts import Sample
from adapters.store.audit.recording import record
from adapters.store.database import clock, reading
from adapters.store.objects import blobs
from adapters.store.objects.artifacts import Artifacts
from adapters.store.schema import examples, job_examples, jobs, samples, sampling
from adapters.tenancy import shown
from adapters.types import TERMINAL

BATCH = 200  # samples forgotten in one transaction
DAY = 86_400.0  # seconds


@dataclass(frozen=True, slots=True)
class After:
    """The last sample of a page: the next begins behind it."""

    hardness: float
    sha256: str


def page(engine: Engine, head: str, limit: int, after: After | None = None) -> list[Sample]:
    """Samples without those that a job is learning just now, the hardest first."""
    query = sa.select(samples).where(samples.c.head == head, samples.c.sha256.not_in(_being_taught(head)))
    if after is not None:
        beside = (samples.c.hardness == after.hardness) & (samples.c.sha256 > after.sha256)
        query = query.where((samples.c.hardness < after.hardness) | beside)
    ordered = query.order_by(samples.c.hardness.desc(), samples.c.sha256).limit(limit)
    with reading(engine) as connection:
        return [_sample(row) for row in connection.execute(ordered)]


def sizes(engine: Engine, head: str) -> dict[str, int]:
    """SHA-256 → bytes of all that is kept of a head."""
    query = sa.select(samples.c.sha256, samples.c.bytes).where(samples.c.head == head)
    with reading(engine) as connection:
        return {sha256: size for sha256, size in connection.execute(query)}


def find(engine: Engine, head: str, sha256: str) -> Sample:
    """One sample. Raises SampleNotFound."""
    query = sa.select(samples).where(samples.c.head == head, samples.c.sha256 == sha256)
    with reading(engine) as connection:
        row = connection.execute(query).first()
    if row is None:
        raise missing(head, sha256)
    return _sample(row)


def stored(artifacts: Artifacts, sha256: str) -> bytes:
    """The bytes of a sample, as they were asked. Raises ExampleDamaged, StorageError."""
    try:
        return artifacts.get(sha256)
    except CorruptArtifact as error:
        message = f"the sample {sha256} is damaged in the store, or was deleted just now; delete it, it may come again"
        raise ExampleDamaged(message, item=sha256) from error


def missing(head: str, sha256: str) -> SampleNotFound:
    """The error for an input that is not kept."""
    where = f"GET /heads/{shown(head)}/samples lists what is kept"
    return SampleNotFound(f"no sample {sha256} of the head {shown(head)!r} is kept; {where}", item=sha256)


def delete(engine: Engine, head: str, sha256: str | None = None) -> list[str]:
    """One sample or all; gives digests that nothing uses now. Raises SampleNotFound for one that is not there."""
    with blobs.alone(engine) as connection:
        mine = [samples.c.head == head] + ([] if sha256 is None else [samples.c.sha256 == sha256])
        found = list(connection.execute(sa.select(samples.c.sha256).where(*mine)).scalars())
        if sha256 is not None and not found:
            raise missing(head, sha256)
        freed = drop(connection, head, found)
        if found:
            record(connection, "samples.delete", head=head, samples=len(found), sha256=sha256)
    return freed


def drop(connection: sa.Connection, head: str, sha256s: Sequence[str] | None = None) -> list[str]:
    """Forget samples of a head, some or all; gives digests that nothing uses now. To be called under `blobs.alone`."""
    if sha256s is None:
        sha256s = list(connection.execute(sa.select(samples.c.sha256).where(samples.c.head == head)).scalars())
    connection.execute(samples.delete().where(samples.c.head == head, samples.c.sha256.in_(sha256s)))
    return blobs.bury(connection, sha256s)


def cut(connection: sa.Connection, head: str, keep: int) -> list[str]:
    """Forget the least hard of more than so many. To be called under `blobs.alone`."""
    hardest = sa.select(samples.c.sha256).where(samples.c.head == head)
    ordered = hardest.order_by(samples.c.hardness.desc(), samples.c.sha256).offset(keep)
    surplus = list(connection.execute(ordered).scalars())
    return drop(connection, head, surplus) if surplus else []


def drop_taught(connection: sa.Connection, head: str, job_id: str) -> None:
    """Those that a head holds as examples by now, and those that a job brought or took back: its blobs are the job's.

    What was taken back is forgotten here, too.
    """
    held = sa.select(examples.c.sha256).where(examples.c.head == head)
    named = sa.select(job_examples.c.sha256).where(job_examples.c.job_id == job_id)
    known = samples.c.sha256.in_(held) | samples.c.sha256.in_(named)
    connection.execute(samples.delete().where(samples.c.head == head, known))


def forget_old(engine: Engine) -> None:
    """Samples that are older than their head's owner said."""
    while _forget_some(engine):
        pass


def _forget_some(engine: Engine) -> bool:
    with reading(engine) as connection:
        found = connection.execute(old().limit(BATCH)).all()
    for head in {row.head for row in found}:
        with blobs.alone(engine) as connection:
            drop(connection, head, [row.sha256 for row in found if row.head == head])
    return len(found) == BATCH


def old() -> sa.Select[Any]:
    """(head, sha256) of what is to be forgotten; of heads that keep nothing, all."""
    joined = samples.outerjoin(sampling, sampling.c.head == samples.c.head)
    due = sampling.c.head.is_(None) | (samples.c.asked_at < clock() - sampling.c.days * DAY)
    return sa.select(samples.c.head, samples.c.sha256).select_from(joined).where(due)


def taught(connection: sa.Connection, head: str, sha256s: Sequence[str]) -> set[str]:
    """Those that a head holds as examples, or is learning."""
    held = sa.select(examples.c.sha256).where(examples.c.head == head, examples.c.sha256.in_(sha256s))
    found = set(connection.execute(held).scalars())
    coming = _being_taught(head).where(job_examples.c.sha256.in_(sha256s))
    return found | set(connection.execute(coming).scalars())


def _being_taught(head: str) -> sa.Select[Any]:
    joined = sa.select(job_examples.c.sha256).join(jobs, jobs.c.id == job_examples.c.job_id)
    return joined.where(jobs.c.head == head, jobs.c.status.not_in(sorted(TERMINAL)))


def _sample(row: Any) -> Sample:
    return Sample(row.sha256, row.version, row.answer, tuple(row.why), row.hardness, row.bytes, row.asked_at)
