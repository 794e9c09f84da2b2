"""Events of jobs: what happened, in order and without gaps, for whoever follows one."""

from collections.abc import Mapping
from typing import Any, NamedTuple

import sqlalchemy as sa
from sqlalchemy.engine import Engine

from adapters.store.database import aware, now, reading
from adapters.store.schema import job_events, jobs

TOGETHER = 200  # jobs whose events are asked for in one query


def of_job(engine: Engine, job_id: str, after: int = 0) -> list[dict[str, Any]]:
    """A job's events after a sequence number: {"id", "type", "data", "at"}."""
    query = sa.select(job_events).where(job_events.c.job_id == job_id, job_events.c.sequence > after)
    with reading(engine) as connection:
        rows = connection.execute(query.order_by(job_events.c.sequence)).mappings().all()
    return [_event(row) for row in rows]


class News(NamedTuple):
    """Of one job."""

    status: str
    newest: int  # the number of its last event; 0 without any
    events: list[dict[str, Any]]  # those that were asked for, in order


def news(engine: Engine, seen: Mapping[str, int | None]) -> dict[str, News]:
    """Status and events of several jobs, after the number of the event that was seen of each; None: no events.

    Two queries, however many jobs (up to hundreds that have news at once). The status is looked at first: of a job that
    has ended no event is missed.
    """
    newest = sa.func.max(job_events.c.sequence).label("newest")
    query = sa.select(jobs.c.id, jobs.c.status, newest).outerjoin(job_events, job_events.c.job_id == jobs.c.id)
    with reading(engine) as connection:
        rows = connection.execute(query.where(jobs.c.id.in_(seen)).group_by(jobs.c.id, jobs.c.status)).all()
        found = {row.id: News(row.status, row.newest or 0, []) for row in rows}
        behind = {row.id: after for row in rows if (after := seen[row.id]) is not None and (row.newest or 0) > after}
        wanted = [(job_events.c.job_id == job_id) & (job_events.c.sequence > after) for job_id, after in behind.items()]
        for start in range(0, len(wanted), TOGETHER):
            ordered = sa.select(job_events).where(sa.or_(*wanted[start : start + TOGETHER]))
            for row in connection.execute(ordered.order_by(job_events.c.sequence)).mappings():
                found[row["job_id"]].events.append(_event(row))
    return found


def _event(row: sa.RowMapping) -> dict[str, Any]:
    return {"id": row["sequence"], "type": row["type"], "data": row["data"], "at": aware(row["created_at"])}


def add(connection: sa.Connection, job_id: str, type: str, data: dict[str, Any]) -> None:
    """Add an event to a job's stream, in a transaction that holds its row."""
    last = connection.execute(
        sa.select(sa.func.max(job_events.c.sequence)).where(job_events.c.job_id == job_id)
    ).scalar()
    row = {"job_id": job_id, "sequence": (last or 0) + 1, "type": type, "data": data, "created_at": now()}
    connection.execute(job_events.insert().values(**row))
