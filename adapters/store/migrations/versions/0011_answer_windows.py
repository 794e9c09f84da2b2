"""How often each version answered what, by hour."""

import sqlalchemy as sa
from alembic import op

revision = "0011_answer_windows"
down_revision = "0010_job_origin"
HEAD = sa.String(63).with_variant(sa.String(128), "postgresql")


def upgrade() -> None:
    op.create_table(
        "answer_windows",
        sa.Column("head", HEAD, nullable=False),
        sa.Column("version", sa.Integer(), autoincrement=False, nullable=False),
        sa.Column("hour", sa.Integer(), autoincrement=False, nullable=False),
        sa.Column("counts", sa.JSON(), nullable=False),
        sa.ForeignKeyConstraint(
            ["head", "version"],
            ["versions.head", "versions.number"],
            name=op.f("fk_answer_windows_head_version"),
            ondelete="CASCADE",
        ),
        sa.PrimaryKeyConstraint("head", "version", "hour", name=op.f("pk_answer_windows")),
    )
    op.create_index("ix_answer_windows_hour", "answer_windows", ["hour"], unique=False)


def downgrade() -> None:
    op.drop_table("answer_windows")
