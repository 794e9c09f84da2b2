"""The request, and the trace, that a job was accepted by."""

import sqlalchemy as sa
from alembic import op

revision = "0010_job_origin"
down_revision = "0009_audit_and_quotas"


def upgrade() -> None:
    op.add_column("jobs", sa.Column("request_id", sa.String(length=128), nullable=True))
    op.add_column("jobs", sa.Column("traceparent", sa.String(length=55), nullable=True))


def downgrade() -> None:
    with op.batch_alter_table("jobs") as jobs:
        jobs.drop_column("traceparent")
        jobs.drop_column("request_id")
