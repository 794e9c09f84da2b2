"""Parts of a large job's images, which several workers embed."""

import sqlalchemy as sa
from alembic import op

revision = "0007_job_shards"
down_revision = "0006_api_keys"


def upgrade() -> None:
    op.create_table(
        "job_shards",
        sa.Column("job_id", sa.String(length=40), nullable=False),
        sa.Column("position", sa.Integer(), autoincrement=False, nullable=False),
        sa.Column("images", sa.JSON(), nullable=False),
        sa.Column("views", sa.JSON(), nullable=False),
        sa.Column("done", sa.Integer(), nullable=False),
        sa.Column("ended", sa.Boolean(), nullable=False, server_default=sa.text("false")),
        sa.Column("problems", sa.JSON(), nullable=True),
        sa.Column("token", sa.String(length=36), nullable=True),
        sa.Column("lease_until", sa.Float(), nullable=True),
        sa.ForeignKeyConstraint(["job_id"], ["jobs.id"], name=op.f("fk_job_shards_job_id"), ondelete="CASCADE"),
        sa.PrimaryKeyConstraint("job_id", "position", name=op.f("pk_job_shards")),
    )


def downgrade() -> None:
    op.drop_table("job_shards")
