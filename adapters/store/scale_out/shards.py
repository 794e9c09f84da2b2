"""Shards: parts of a large job's inputs, each embedded by whichever worker takes it up, the job's own or an idle one.

A shard is held like a job (`adapters.store.leases`): by a token, for `LEASE` seconds by the database's clock, renewed
with each word on how far it is. One whose lease is over is anybody's again. What a shard leaves is in the cache of
embeddings, by content: done twice it is the same, so a worker that was passed by does no harm.
"""

import secrets
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import sqlalchemy as sa
from sqlalchemy.engine import Engine

from adapters.store.database import clock, reading
from adapters.store.schema import job_shards as shards
from adapters.store.schema import jobs

LEASE = 60.0  # seconds that a shard stays somebody's without a word from him
MOST = 1000  # that are counted: nobody has as many workers
EMBEDDING = "embedding"  # the phase of a job in which its shards are done
_OF_JOB = ("head", "request_id", "traceparent")


class ShardLost(Exception):
    """The shard is another worker's now, or its job does not want it any more."""


@dataclass(frozen=True, slots=True)
class Shard:
    """Inputs of a job, taken up by a worker."""

    job_id: str
    position: int
    inputs: list[list[str]]  # [SHA-256, file name]
    views: list[str]
    token: str
    head: str = ""  # of the job …
    request_id: str | None = None  # … the request that asked for it …
    traceparent: str | None = None  # … and its trace


@dataclass(frozen=True, slots=True)
class State:
    """How far all shards of a job are."""

    open: int  # shards that are not done
    done: int  # inputs
    problems: list[dict[str, Any]]  # {"code", "message", "item"} of inputs that cannot be used, in order


def plan(engine: Engine, job_id: str, parts: Sequence[Sequence[tuple[str, str]]], views: Sequence[str]) -> None:
    """Make a job's inputs, (SHA-256, file name) each, shards that anybody may take up; earlier ones are forgotten."""
    rows = [
        {"job_id": job_id, "position": n, "images": [list(one) for one in part], "views": list(views), "done": 0}
        for n, part in enumerate(parts)
    ]
    with engine.begin() as connection:
        connection.execute(shards.delete().where(shards.c.job_id == job_id))
        connection.execute(shards.insert(), rows)


def claim(engine: Engine, job_id: str | None = None) -> Shard | None:
    """Take up a shard that nobody is at work on, of that job or of the one accepted first; None: there is none."""
    with reading(engine) as connection:  # most of the time there is none, and to look costs no write
        if connection.execute(_free(job_id)).first() is None:
            return None
    with engine.begin() as connection:
        row = connection.execute(_free(job_id).with_for_update(skip_locked=True, of=shards)).mappings().first()
        if row is None:
            return None
        of_job = {name: row[name] for name in _OF_JOB}
        found = Shard(row["job_id"], row["position"], row["images"], row["views"], secrets.token_hex(16), **of_job)
        taken = {"token": found.token, "lease_until": clock() + LEASE}
        connection.execute(shards.update().where(*_named(found.job_id, found.position)).values(**taken))
        return found


def tell(engine: Engine, shard: Shard, done: int) -> None:
    """So many of its inputs are done, and whoever is at it lives. Raises ShardLost."""
    _write(engine, shard, {"done": done, "lease_until": clock() + LEASE})


def finish(engine: Engine, shard: Shard, problems: Sequence[dict[str, Any]]) -> None:
    """All of its inputs are done, but for those that cannot be used. Raises ShardLost."""
    ended = {"done": len(shard.inputs), "problems": list(problems), "lease_until": None, "ended": True}
    _write(engine, shard, ended)


def give_back(engine: Engine, shard: Shard) -> None:
    """Leave it to whoever comes next. Raises ShardLost."""
    _write(engine, shard, {"token": None, "lease_until": None})


def state(engine: Engine, job_id: str) -> State:
    """How far all of a job's are."""
    query = sa.select(shards.c.ended, shards.c.done, shards.c.problems).where(shards.c.job_id == job_id)
    with reading(engine) as connection:
        rows = connection.execute(query.order_by(shards.c.position)).all()
    problems = [problem for row in rows for problem in row.problems or []]
    return State(sum(not row.ended for row in rows), sum(row.done for row in rows), problems)


def forget(engine: Engine, job_id: str) -> None:
    """The job's inputs are embedded, or it has ended otherwise."""
    with engine.begin() as connection:
        connection.execute(shards.delete().where(shards.c.job_id == job_id))


def wait(connection: sa.Connection) -> bool:
    """Whether one of a job that somebody asked for could be taken up now."""
    return connection.execute(_asked_for()).first() is not None


def count_free() -> sa.ScalarSelect[int]:
    """How many of jobs that somebody asked for could be taken up now; counts to `MOST`."""
    free = _asked_for().with_only_columns(shards.c.job_id).order_by(None).limit(MOST).subquery()
    return sa.select(sa.func.count()).select_from(free).scalar_subquery()


def _asked_for() -> sa.Select[Any]:
    """The first that may be taken up of a job that somebody asked for."""
    return _free(None).where(jobs.c.stage == 0)


def _free(job_id: str | None) -> sa.Select[Any]:
    """The first that may be taken up, of a job that is embedding; next stages come last."""
    until = shards.c.lease_until
    free = sa.or_(until.is_(None), until <= clock(), until > clock() + 2 * LEASE)
    query = sa.select(shards, *(jobs.c[name] for name in _OF_JOB)).join(jobs, jobs.c.id == shards.c.job_id)
    query = query.where(shards.c.ended.is_(False), free, jobs.c.status == EMBEDDING)
    if job_id is not None:
        query = query.where(shards.c.job_id == job_id)
    return query.order_by(jobs.c.stage, jobs.c.sequence, shards.c.job_id, shards.c.position).limit(1)


def _write(engine: Engine, shard: Shard, values: dict[str, Any]) -> None:
    wanted = sa.exists().where(jobs.c.id == shards.c.job_id, jobs.c.status == EMBEDDING)
    mine = (*_named(shard.job_id, shard.position), shards.c.token == shard.token, wanted)
    with engine.begin() as connection:
        if connection.execute(shards.update().where(*mine).values(**values)).rowcount == 0:
            raise ShardLost(f"shard {shard.position} of {shard.job_id} is no longer this worker's")


def _named(job_id: str, position: int) -> tuple[sa.ColumnElement[bool], ...]:
    return shards.c.job_id == job_id, shards.c.position == position
