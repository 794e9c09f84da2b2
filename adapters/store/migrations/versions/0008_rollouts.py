"""Roll-outs of heads and what became of them."""

import sqlalchemy as sa
from alembic import op

revision = "0008_rollouts"
down_revision = "0007_job_shards"
HEAD = sa.String(63).with_variant(sa.String(128), "postgresql")
COUNTS = (
    "live_asked", "live_errors", "live_novel", "candidate_asked", "candidate_errors", "candidate_novel", "compared",
    "disagreed", "dropped",
)  # fmt: skip


def upgrade() -> None:
    op.create_table(
        "rollouts",
        sa.Column("head", HEAD, nullable=False),
        sa.Column("id", sa.String(length=40), nullable=False),
        sa.Column("version", sa.Integer(), nullable=False),
        sa.Column("base", sa.Integer(), nullable=False),
        sa.Column("mode", sa.String(length=16), nullable=False),
        sa.Column("weight", sa.Float(), nullable=False),
        sa.Column("rules", sa.JSON(), nullable=False),
        sa.Column("status", sa.String(length=16), nullable=False),
        sa.Column("reason", sa.Text(), nullable=True),
        *(sa.Column(name, sa.BigInteger(), nullable=False) for name in COUNTS),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("ended_at", sa.DateTime(timezone=True), nullable=True),
        sa.ForeignKeyConstraint(["head"], ["heads.name"], name=op.f("fk_rollouts_head"), ondelete="CASCADE"),
        sa.ForeignKeyConstraint(
            ["head", "version"],
            ["versions.head", "versions.number"],
            name=op.f("fk_rollouts_head_version"),
            ondelete="CASCADE",
        ),
        sa.PrimaryKeyConstraint("head", name=op.f("pk_rollouts")),
    )
    op.create_index("ix_rollouts_status", "rollouts", ["status"], unique=False)
    op.create_table(
        "rollout_events",
        sa.Column("head", HEAD, nullable=False),
        sa.Column("sequence", sa.Integer(), autoincrement=False, nullable=False),
        sa.Column("type", sa.String(length=16), nullable=False),
        sa.Column("data", sa.JSON(), nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.ForeignKeyConstraint(["head"], ["heads.name"], name=op.f("fk_rollout_events_head"), ondelete="CASCADE"),
        sa.PrimaryKeyConstraint("head", "sequence", name=op.f("pk_rollout_events")),
    )


def downgrade() -> None:
    op.drop_table("rollout_events")
    op.drop_table("rollouts")
