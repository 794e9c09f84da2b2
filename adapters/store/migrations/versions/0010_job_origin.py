"""The request, and the trace, that a job was accepted by."""

import sqlalchemy as sa
from alembic import op

revision = "0010_job_origin"
down_revision = "0009_audit_and_quotas"


def upgrade() -> None:
    op.add_column("jobs", sa.Column("request_id", sa.String(length=128), nullable=True))
    op.add_column("jobs", sa.Column("traceparent", sa.String(length=55), nullable=True))


def downgrade() -> None:
    op.drop_column("jobs", "traceparent")  # not in a batch, which makes the table anew: what refers to it would go
    op.drop_column("jobs", "request_id")
