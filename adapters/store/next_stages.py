"""Next stages of a head's jobs: who ends them before they publish, and in which order rows are locked for that.

A next stage is made of the data and in the place of the version that went live before it. Whoever changes that data,
moves `live` or begins a roll-out has decided otherwise, and ends it in the same transaction.

A next stage that publishes has its own row locked and then wants the head's, so whoever ends one locks that row before
any other of the head: else, on Postgres, each could wait for the other.
"""

import sqlalchemy as sa

from adapters.store import jobs as job_store
from adapters.store.schema import jobs


def hold(connection: sa.Connection, head: str) -> list[str]:
    """Those of a head that have not ended; none of them publishes or ends until this transaction does."""
    query = sa.select(jobs.c.id).where(*job_store.is_unfinished(head, stage=1)).order_by(jobs.c.id)
    return list(connection.execute(query.with_for_update()).scalars())


def supersede(connection: sa.Connection, head: str, why: str, but: str = "") -> list[str]:
    """End those of a head, `but` one; returns those that have ended now.

    Whoever is at work on one stops at its next look, and who takes it up then lets go of what it holds.
    """
    ended = [job_id for job_id in hold(connection, head) if job_id != but]
    for job_id in ended:
        end(connection, job_id, why)
    return ended


def end(connection: sa.Connection, job_id: str, why: str) -> None:
    """End one as cancelled; its report says why."""
    of = connection.execute(sa.select(jobs.c.request).where(jobs.c.id == job_id)).scalar_one()["of"]
    job_store.finish(connection, job_id, "cancelled", report={"deep": {"stage": "deep", "of": of, "why": why}})
