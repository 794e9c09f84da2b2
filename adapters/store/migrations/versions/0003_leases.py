"""Jobs are held by leases and ordered by a sequence; numbers of deleted heads are kept."""

import hashlib
from typing import Any

import sqlalchemy as sa
from alembic import op

revision = "0003_leases"
down_revision = "0002_changes_in_time"
ENDED = ("succeeded", "failed", "rejected", "cancelled")


def upgrade() -> None:
    def count(name: str) -> sa.Column[int]:
        return sa.Column(name, sa.Integer(), nullable=False, server_default=sa.text("0"))

    columns: list[sa.Column[Any]] = [
        count("sequence"),
        sa.Column("worker", sa.String(length=255), nullable=True),
        sa.Column("lease_token", sa.String(length=36), nullable=True),
        sa.Column("lease_until", sa.Float(), nullable=True),
        count("attempts"),
        count("deaths"),
        count("failures"),
        sa.Column("trouble", sa.JSON(), nullable=True),
        sa.Column("due_at", sa.Float(), nullable=True),
        sa.Column("settled", sa.Boolean(), nullable=False, server_default=sa.text("false")),
    ]
    for column in columns:
        op.add_column("jobs", column)
    op.create_index("ix_jobs_settled_sequence", "jobs", ["settled", "sequence"], unique=False)
    op.create_table(
        "counters",
        sa.Column("name", sa.String(length=32), nullable=False),
        sa.Column("value", sa.Integer(), nullable=False),
        sa.PrimaryKeyConstraint("name", name=op.f("pk_counters")),
    )
    op.create_table(
        "deleted_heads",
        sa.Column("name_sha256", sa.String(length=64), nullable=False),
        sa.Column("next_version", sa.Integer(), nullable=False),
        sa.PrimaryKeyConstraint("name_sha256", name=op.f("pk_deleted_heads")),
    )
    _number_jobs(op.get_bind())
    _keep_numbers(op.get_bind())


def downgrade() -> None:
    """Numbers of deleted heads are forgotten but for those that jobs still tell of."""
    op.drop_table("deleted_heads")
    op.drop_table("counters")
    op.drop_index("ix_jobs_settled_sequence", "jobs")
    for name in ("settled", "due_at", "trouble", "failures", "deaths", "attempts", "lease_until", "lease_token",
                 "worker", "sequence"):  # fmt: skip
        op.drop_column("jobs", name)


def _keep_numbers(connection: sa.Connection) -> None:
    """Of heads that were deleted so far, as far as jobs still tell of them."""
    gone = (
        "SELECT head, max(version) + 1 FROM jobs WHERE version IS NOT NULL AND head <> '' "
        "AND head NOT IN (SELECT name FROM heads) GROUP BY head"
    )
    kept = sa.table("deleted_heads", sa.column("name_sha256"), sa.column("next_version"))
    for name, number in connection.execute(sa.text(gone)).all():
        digest = hashlib.sha256(name.encode()).hexdigest()
        connection.execute(kept.insert().values(name_sha256=digest, next_version=number))


def _number_jobs(connection: sa.Connection) -> None:
    """What was accepted so far, in the order that was kept so far; what the release before has begun counts as once
    taken up, since its job engine knows it by the name of a first attempt."""
    jobs = sa.table("jobs", *(sa.column(n) for n in ("id", "created_at", "status", "sequence", "settled", "attempts")))
    job_blobs = sa.table("job_blobs", sa.column("job_id"))
    ids = list(connection.execute(sa.select(jobs.c.id).order_by(jobs.c.created_at, jobs.c.id)).scalars())
    numbered = sa.update(jobs).where(jobs.c.id == sa.bindparam("job")).values(sequence=sa.bindparam("number"))
    if ids:
        connection.execute(numbered, [{"job": job_id, "number": number} for number, job_id in enumerate(ids, 1)])
    connection.execute(sa.text("INSERT INTO counters (name, value) VALUES ('jobs', :count)"), {"count": len(ids)})
    unsettled = sa.or_(jobs.c.status.not_in(ENDED), jobs.c.id.in_(sa.select(job_blobs.c.job_id)))
    connection.execute(sa.update(jobs).values(settled=~unsettled))
    connection.execute(sa.update(jobs).where(unsettled).values(attempts=1))
