"""Leases: who is at work on a job. One place keeps the rule that an unfinished job is always somebody's or anybody's.

A worker that takes a job up gets a lease on it: a token, good for `LEASE` seconds by the database's clock, and renewed
while the worker lives. A job without a live lease is anybody's, whatever became of whoever had it. Whoever lost its
lease may not know yet (it slept, or its database was away), so the token is a fence: each transaction of a worker for
its job begins by looking whether the lease is still its own (`fenced`), and holds the job's row until it commits.
(Gray & Cheriton 1989; the token as a fence: Kleppmann 2016, "How to do distributed locking".)
"""

import secrets
from dataclasses import dataclass
from typing import Any

import sqlalchemy as sa
from sqlalchemy.engine import Engine

from adapters.store import events
from adapters.store.database import clock, now, reading
from adapters.store.scale_out import shards
from adapters.store.schema import jobs
from adapters.types import TERMINAL

LEASE = 15.0  # seconds that a job stays somebody's without a word from him
_TERMINAL = sorted(TERMINAL)


class LeaseLost(Exception):
    """The job is no longer this worker's: it was cancelled, or another worker has taken it up."""


class GaveWay(Exception):
    """A job is left for one that somebody waits for, or as its worker stops; it goes on from its last checkpoint."""


@dataclass(frozen=True, slots=True)
class Lease:
    """A job that a worker has taken up."""

    job_id: str
    head: str
    token: str
    attempt: int  # 1 is the first
    deaths: int  # attempts before this one that nobody gave back: their workers died, or were cut off
    failures: int  # attempts before this one that failed of something else than the caller's data
    trouble: dict[str, Any] | None  # what the last of those failed of
    request_id: str | None = None  # of the request that asked for it …
    traceparent: str | None = None  # … and its trace


def claim(engine: Engine, worker: str, asked_for: bool = False) -> Lease | None:
    """Take up the job that was accepted first of those that nobody is at work on; None where there is none.

    Of a head's unfinished jobs only the first may be taken up, so that its versions follow each other. Next stages come
    after all that somebody asked for; with `asked_for` not at all.
    """
    query = _asked_for() if asked_for else _free()
    with reading(engine) as connection:  # most of the time there is none, and to look costs no write
        if connection.execute(query).first() is None:
            return None
    with engine.begin() as connection:
        row = connection.execute(query.with_for_update(skip_locked=True)).mappings().first()
        return None if row is None else _take(connection, row, worker)


def _take(connection: sa.Connection, row: sa.RowMapping, worker: str) -> Lease:
    died = row["lease_token"] is not None
    lease = Lease(
        row["id"], row["head"], secrets.token_hex(16), row["attempts"] + 1, row["deaths"] + died, row["failures"],
        row["trouble"], row["request_id"], row["traceparent"],
    )  # fmt: skip
    connection.execute(
        jobs.update().where(jobs.c.id == lease.job_id).values(
            worker=worker, lease_token=lease.token, lease_until=clock() + LEASE, attempts=lease.attempt,
            deaths=lease.deaths, due_at=None,
        )
    )  # fmt: skip
    return lease


def others_wait(engine: Engine) -> bool:
    """Whether a job that somebody asked for, or a part of one, could be taken up now: a next stage gives way to it."""
    with reading(engine) as connection:
        return connection.execute(_asked_for()).first() is not None or shards.wait(connection)


def count_waiting(engine: Engine) -> int:
    """How many jobs that somebody asked for, and parts of such jobs, could be taken up now."""
    with reading(engine) as connection:
        return sum(connection.execute(sa.select(_count_free(), shards.count_free())).one())


def count_held(engine: Engine) -> int:
    """How many jobs somebody is at work on, next stages among them: a worker has one at a time."""
    with reading(engine) as connection:
        held = sa.not_(_is_free(jobs.c.lease_until, jobs.c.due_at)[0])
        return int(connection.scalar(sa.select(sa.func.count()).where(jobs.c.settled.is_(False), held)) or 0)


def _count_free() -> sa.ScalarSelect[int]:
    """How many `_asked_for` is the first of.

    Each serving process counts every second. `_free` looks for each job whether its head has an older one: for 1,000
    jobs of one head Postgres took 7 s. A window over those that wait or run, `max_jobs` at most, takes 0.02 s.
    """
    unfinished = sa.func.sum(sa.case((jobs.c.status.not_in(_TERMINAL), 1), else_=0))
    in_order = [jobs.c.sequence, jobs.c.id]
    ahead = unfinished.over(partition_by=jobs.c.head, order_by=in_order, rows=(None, -1))
    columns = (jobs.c.lease_until, jobs.c.due_at, sa.func.coalesce(ahead, 0).label("ahead"))
    seen = sa.select(*columns).where(jobs.c.settled.is_(False), jobs.c.stage == 0).subquery()
    free = (seen.c.ahead == 0, *_is_free(seen.c.lease_until, seen.c.due_at))
    return sa.select(sa.func.count()).select_from(seen).where(*free).scalar_subquery()


def is_held(engine: Engine, job_id: str) -> bool:
    """Whether somebody is at work on a job now."""
    with reading(engine) as connection:
        until = sa.select(jobs.c.lease_until).where(jobs.c.id == job_id, jobs.c.lease_until > clock())
        return connection.execute(until).first() is not None


def renew(engine: Engine, lease: Lease) -> None:
    """Hold a job for another `LEASE` seconds, also where they were over but nobody came. Raises LeaseLost."""
    with engine.begin() as connection:
        _write(connection, lease, {"lease_until": clock() + LEASE})


def give_back(engine: Engine, lease: Lease) -> None:
    """Leave a job to whoever comes next: this worker stops in order, which counts as nothing. Raises LeaseLost."""
    with engine.begin() as connection:
        _give_back(connection, lease, {})


def postpone(engine: Engine, lease: Lease, trouble: dict[str, Any], seconds: float) -> None:
    """Give a job back after a failure, to be tried again in so many seconds; its owner is told. Raises LeaseLost.

    `trouble` has "code", "message" and "item", as the error of a job that fails.
    """
    failures = lease.failures + 1
    with engine.begin() as connection:
        again = {"failures": failures, "trouble": trouble, "due_at": clock() + seconds}
        status = _give_back(connection, lease, again)
        if status not in TERMINAL:
            told = {"failures": failures, "retry_in_seconds": seconds} | trouble
            events.add(connection, lease.job_id, "retry", told)


def give_up(engine: Engine, worker: str | None = None) -> None:
    """End the leases of a worker that is known to be dead, or of all: their jobs may be taken up at once."""
    whose = jobs.c.lease_token.is_not(None) if worker is None else jobs.c.worker == worker
    held = (jobs.c.settled.is_(False), whose, jobs.c.lease_until > 0)
    with reading(engine) as connection:
        if connection.execute(sa.select(jobs.c.id).where(*held)).first() is None:
            return
    with engine.begin() as connection:
        connection.execute(jobs.update().where(*held).values(lease_until=0.0))


def fenced(engine: Engine, lease: Lease) -> Engine:
    """The same database for who has a lease: every transaction that may write raises LeaseLost once it is lost."""
    return engine.execution_options(check=lambda connection: _check(connection, lease))


def _check(connection: sa.Connection, lease: Lease) -> None:
    own = sa.select(jobs.c.id).where(*_is(lease)).with_for_update()
    if connection.execute(own).first() is None:
        raise _lost(lease)


def _free() -> sa.Select[Any]:
    """The first job that may be taken up."""
    older = jobs.alias("older")
    ahead = sa.exists().where(
        older.c.settled.is_(False), older.c.head == jobs.c.head, older.c.status.not_in(_TERMINAL),
        sa.tuple_(older.c.stage, older.c.sequence, older.c.id)
        < sa.tuple_(jobs.c.stage, jobs.c.sequence, jobs.c.id),
    )  # fmt: skip
    free = _is_free(jobs.c.lease_until, jobs.c.due_at)
    query = sa.select(jobs).where(jobs.c.settled.is_(False), *free, ~ahead)
    return query.order_by(jobs.c.stage, jobs.c.sequence, jobs.c.id).limit(1)


def _is_free(until: sa.ColumnElement[Any], due: sa.ColumnElement[Any]) -> tuple[sa.ColumnElement[bool], ...]:
    """Nobody is at work on it, and it may be tried. Its lease is over also where it ends later than any that is given
    now would: then the clock has jumped, and nobody knows how old it is."""
    free = sa.or_(until.is_(None), until <= clock(), until > clock() + 2 * LEASE)
    return free, sa.or_(due.is_(None), due <= clock(), due > clock() + 3600)


def _asked_for() -> sa.Select[Any]:
    """The same of those that somebody waits for."""
    return _free().where(jobs.c.stage == 0)


def _give_back(connection: sa.Connection, lease: Lease, values: dict[str, Any]) -> str:
    """Returns the job's status before."""
    status = str(connection.execute(sa.select(jobs.c.status).where(jobs.c.id == lease.job_id)).scalar())
    free: dict[str, Any] = {"worker": None, "lease_token": None, "lease_until": None, "updated_at": now()} | values
    if status not in TERMINAL:
        free |= {"status": "queued", "progress": {}}
    _write(connection, lease, free)
    if status not in (*TERMINAL, "queued"):
        events.add(connection, lease.job_id, "status", {"status": "queued"})
    return status


def _write(connection: sa.Connection, lease: Lease, values: dict[str, Any]) -> None:
    if connection.execute(jobs.update().where(*_is(lease)).values(**values)).rowcount == 0:
        raise _lost(lease)


def _is(lease: Lease) -> tuple[sa.ColumnElement[bool], ...]:
    return jobs.c.id == lease.job_id, jobs.c.lease_token == lease.token


def _lost(lease: Lease) -> LeaseLost:
    return LeaseLost(f"the job {lease.job_id} is no longer this worker's: it was cancelled, or another took it up")
