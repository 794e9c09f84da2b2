"""Retiring versions: they go when a newer one takes their place, and aliases that pointed at them follow it."""

from collections.abc import Sequence
from typing import Any

import sqlalchemy as sa

from adapters.store.database import now
from adapters.store.objects import blobs
from adapters.store.rollouts import changes as rollout_changes
from adapters.store.schema import aliases, jobs, versions

RETIRED = "the version was deleted; it may have known examples that were taken back"  # what is left of a report


def retire(connection: sa.Connection, head: str, numbers: Sequence[int], successor: int, job_id: str) -> dict[str, Any]:
    """Delete versions of a head; returns {"versions", "aliases"}: what went, and which aliases now mean `successor`.

    Their graphs and lists go to the job, which lets go of them at its end as of what it wrote itself.
    """
    chosen = (versions.c.head == head, versions.c.number.in_(numbers))
    # Locked first: an alias that somebody points at one of them just now must wait, and then find it gone.
    query = sa.select(versions).where(*chosen).order_by(versions.c.number).with_for_update()
    rows = connection.execute(query).all()
    moved = _follow(connection, head, numbers, successor)
    rollout_changes.versions_retired(connection, head, numbers)
    connection.execute(versions.delete().where(*chosen))
    _empty_reports(connection, head, job_id)
    blobs.note(connection, job_id, [digest for row in rows for digest in blobs.of_version(row.digest, row.manifest)])
    return {"versions": [row.number for row in rows], "aliases": moved}


def _follow(connection: sa.Connection, head: str, numbers: Sequence[int], successor: int) -> list[str]:
    """An alias left behind would name a version that is gone; one removed would fail everybody who asks by it."""
    pointing = (aliases.c.head == head, aliases.c.number.in_(numbers))
    names = sorted(connection.execute(sa.select(aliases.c.alias).where(*pointing)).scalars())
    connection.execute(aliases.update().where(*pointing).values(number=successor, updated_at=now()))
    return names


def _empty_reports(connection: sa.Connection, head: str, job_id: str) -> None:
    """Reports may name examples. Those of versions deleted earlier as well: nobody can tell any more what they knew."""
    there = sa.select(versions.c.job_id).where(versions.c.head == head)
    gone = (jobs.c.head == head, jobs.c.version.is_not(None), jobs.c.id.not_in(there))
    connection.execute(jobs.update().where(*gone).values(report={"deploy": RETIRED, "retired_by": job_id}))
