"""When a change was made, so that old ones can be forgotten."""

import sqlalchemy as sa
from alembic import op

revision = "0002_changes_in_time"
down_revision = "0001_first"


def upgrade() -> None:
    op.add_column("changes", sa.Column("created_at", sa.DateTime(timezone=True), nullable=True))


def downgrade() -> None:
    op.drop_column("changes", "created_at")
