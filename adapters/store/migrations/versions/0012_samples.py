"""Hard inputs that are kept for labeling."""

import sqlalchemy as sa
from alembic import op

revision = "0012_samples"
down_revision = "0011_answer_windows"
HEAD = sa.String(63).with_variant(sa.String(128), "postgresql")


def upgrade() -> None:
    op.create_table(
        "sampling",
        sa.Column("head", HEAD, nullable=False),
        sa.Column("keep", sa.Integer(), nullable=False),
        sa.Column("days", sa.Float(), nullable=False),
        sa.Column("since", sa.Float(), nullable=False),
        sa.ForeignKeyConstraint(["head"], ["heads.name"], name=op.f("fk_sampling_head"), ondelete="CASCADE"),
        sa.PrimaryKeyConstraint("head", name=op.f("pk_sampling")),
    )
    op.create_table(
        "samples",
        sa.Column("head", HEAD, nullable=False),
        sa.Column("sha256", sa.String(64), nullable=False),
        sa.Column("version", sa.Integer(), nullable=False),
        sa.Column("backbone", sa.String(64), nullable=False),
        sa.Column("vector", sa.LargeBinary(), nullable=False),
        sa.Column("answer", sa.JSON(), nullable=False),
        sa.Column("why", sa.JSON(), nullable=False),
        sa.Column("hardness", sa.Float(), nullable=False),
        sa.Column("bytes", sa.BigInteger(), nullable=False),
        sa.Column("asked_at", sa.Float(), nullable=False),
        sa.ForeignKeyConstraint(["head"], ["heads.name"], name=op.f("fk_samples_head"), ondelete="CASCADE"),
        sa.PrimaryKeyConstraint("head", "sha256", name=op.f("pk_samples")),
    )
    op.create_index("ix_samples_sha256", "samples", ["sha256"], unique=False)


def downgrade() -> None:
    op.drop_table("samples")
    op.drop_table("sampling")
