"""Jobs that are the next stage of another, and where one that was left goes on from."""

import sqlalchemy as sa
from alembic import op

revision = "0013_next_stages"
down_revision = "0012_samples"


def upgrade() -> None:
    op.add_column("jobs", sa.Column("stage", sa.Integer(), nullable=False, server_default=sa.text("0")))
    op.add_column("jobs", sa.Column("checkpoint", sa.String(length=64), nullable=True))


def downgrade() -> None:
    op.drop_column("jobs", "checkpoint")  # not in a batch, which makes the table anew: what refers to it would go
    op.drop_column("jobs", "stage")
