"""What is forgotten in time: ended jobs with all that they told, samples, changes that all have seen, stray embeddings.

Versions, their reports and what they were taught stay for as long as the head does: none of them needs its job's row,
but for the one job whose data are the head's present ones. Changes of these are trained as it was.
Everything here is done in small transactions, so that nobody waits for it, and twice does no harm.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

import sqlalchemy as sa
from sqlalchemy.engine import Engine

from adapters.store import examples as example_store
from adapters.store import jobs as job_store
from adapters.store.database import now, reading
from adapters.store.heads import ANY
from adapters.store.objects import blobs
from adapters.store.objects.artifacts import Artifacts
from adapters.store.sampling import samples
from adapters.store.schema import changes, embeddings, examples, job_examples, jobs
from adapters.tenancy import SEPARATOR

BATCH = 200  # jobs, or inputs, a transaction
STUCK = timedelta(days=1)  # after its end a job holds nothing any more, unless what ran it has gone for good
DIGEST = 64  # characters of a SHA-256
SEEN = timedelta(hours=1)  # replicas look every second; one that was away for longer looks at all that it has


@dataclass(frozen=True, slots=True)
class Keep:
    """How much of ended jobs is kept: whichever is reached first."""

    days: float
    jobs: int


def sweep(engine: Engine, artifacts: Artifacts, keep: Keep) -> None:
    """Forget what is due, and blobs that nothing uses any more by then."""
    while _forget_jobs(engine, keep):
        blobs.sweep(engine, artifacts)
    samples.forget_old(engine)
    _sum_up_changes(engine)
    _drop_stray_embeddings(engine)
    blobs.sweep(engine, artifacts)  # also what those left who were killed, and what a store did not let go of


def ended(engine: Engine, job_ids: Sequence[str]) -> set[str]:
    """Those of the jobs for which nothing is left to be done, or that are gone."""
    alive = sa.select(jobs.c.id).where(jobs.c.id.in_(job_ids), jobs.c.settled.is_(False))
    with reading(engine) as connection:
        return set(job_ids) - set(connection.execute(alive).scalars())


def _forget_jobs(engine: Engine, keep: Keep) -> bool:
    """A batch of ended jobs that are too old or too many; False when there are none left."""
    with blobs.alone(engine) as connection:
        ids = due(connection, keep)
        for job_id in ids:
            job_store.let_go(connection, job_id)
        connection.execute(jobs.delete().where(jobs.c.id.in_(ids)))  # events go with them
    return bool(ids)


def due(connection: sa.Connection, keep: Keep, batch: int | None = BATCH) -> list[str]:
    """Jobs that are to be forgotten: some of them, or with `batch` None all."""
    found = list(connection.execute(_old(keep).limit(batch)).scalars())
    if found and batch is not None:
        return found
    newest = _ended().where(jobs.c.id.not_in(_old(keep))).order_by(jobs.c.sequence.desc()).offset(keep.jobs)
    return found + list(connection.execute(newest.limit(batch)).scalars())


def _old(keep: Keep) -> sa.Select[Any]:
    old = sa.or_(jobs.c.finished_at < now() - timedelta(days=keep.days), jobs.c.head == job_store.DELETED)
    return _ended().where(old)


def _ended() -> sa.Select[Any]:
    at_rest = sa.or_(jobs.c.settled, jobs.c.finished_at < now() - STUCK)
    query = sa.select(jobs.c.id)
    return query.where(jobs.c.status.in_(job_store.ENDED), at_rest, jobs.c.id.is_distinct_from(_of_head()))


def _of_head() -> sa.ScalarSelect[str]:
    """The job that the present data of a job's head are from."""
    return sa.select(examples.c.job_id).where(examples.c.head == jobs.c.head).limit(1).scalar_subquery()


def _sum_up_changes(engine: Engine) -> None:
    """Put one row for any head in the place of all changes that every replica has seen, and of their names."""
    seen = sa.or_(changes.c.created_at < now() - SEEN, changes.c.created_at.is_(None))
    with reading(engine) as connection:
        last = connection.execute(sa.select(sa.func.max(changes.c.generation)).where(seen)).scalar()
        head = connection.execute(sa.select(changes.c.head).where(changes.c.generation == last)).scalar()
    if head in (None, ANY):
        return
    with engine.begin() as connection:
        connection.execute(changes.delete().where(changes.c.generation < last))
        connection.execute(changes.update().where(changes.c.generation == last).values(head=ANY))


def _drop_stray_embeddings(engine: Engine) -> None:
    """Those of inputs that no head and no job holds: a job that was cancelled while it embedded may leave some."""
    held = (sa.exists().where(table.c.sha256 == embeddings.c.sha256) for table in (examples, job_examples))
    with reading(engine) as connection:
        stray = list(connection.execute(sa.select(embeddings.c.sha256).distinct().where(~sa.or_(*held))).scalars())
    for start in range(0, len(stray), BATCH):
        with blobs.alone(engine) as connection:
            example_store.forget_unused(connection, stray[start : start + BATCH])
    _drop_those_of_tenants(engine)


def _drop_those_of_tenants(engine: Engine) -> None:
    """Embeddings that a tenant has of inputs which only others hold by now."""
    backbone = embeddings.c.backbone
    whose = sa.func.substr(backbone, 1, sa.func.length(backbone) - DIGEST).concat("%")  # `acme/…` → `acme/%`
    of_job = sa.exists().where(
        job_examples.c.sha256 == embeddings.c.sha256, jobs.c.id == job_examples.c.job_id, jobs.c.head.like(whose)
    )
    held = sa.exists().where(examples.c.sha256 == embeddings.c.sha256, examples.c.head.like(whose)) | of_job
    stray = (backbone.like(f"%{SEPARATOR}%"), ~held)
    query = sa.select(embeddings.c.sha256).where(*stray).distinct()  # answered from the index, while nobody waits
    with reading(engine) as connection:
        found = list(connection.execute(query).scalars())
    for start in range(0, len(found), BATCH):
        some = embeddings.c.sha256.in_(found[start : start + BATCH])
        with blobs.alone(engine) as connection:
            connection.execute(embeddings.delete().where(some, *stray))
