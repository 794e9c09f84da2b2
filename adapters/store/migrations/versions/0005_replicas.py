"""Serving processes that live, and which releases may use these tables."""

import sqlalchemy as sa
from alembic import op

revision = "0005_replicas"
down_revision = "0004_blobs_in_use"


def upgrade() -> None:
    op.create_table(
        "replicas",
        sa.Column("id", sa.String(length=32), nullable=False),
        sa.Column("release", sa.String(length=32), nullable=False),
        sa.Column("generation", sa.Integer(), nullable=False),
        sa.Column("behind", sa.JSON(), nullable=False),
        sa.Column("started_at", sa.Float(), nullable=False),
        sa.Column("seen_at", sa.Float(), nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_replicas")),
    )
    op.create_table(
        "compatibility",
        sa.Column("id", sa.Integer(), autoincrement=False, nullable=False),
        sa.Column("oldest", sa.String(length=64), nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_compatibility")),
    )
    op.execute("INSERT INTO compatibility (id, oldest) VALUES (1, '0004_blobs_in_use')")


def downgrade() -> None:
    op.drop_table("compatibility")
    op.drop_table("replicas")
