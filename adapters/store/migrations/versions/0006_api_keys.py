"""API keys, and room for a tenant's name before the name of a head and before the digest of a backbone."""

import sqlalchemy as sa
from alembic import op

revision = "0006_api_keys"
down_revision = "0005_replicas"
HEADS = (
    ("heads", "name"),
    ("versions", "head"),
    ("aliases", "head"),
    ("examples", "head"),
    ("jobs", "head"),
    ("version_blobs", "head"),
    ("changes", "head"),
)


def upgrade() -> None:
    op.create_table(
        "api_keys",
        sa.Column("id", sa.String(length=16), nullable=False),
        sa.Column("tenant", sa.String(length=40), nullable=False),
        sa.Column("name", sa.String(length=200), nullable=False),
        sa.Column("digest", sa.String(length=64), nullable=False),
        sa.Column("scopes", sa.JSON(), nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("expires_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("revoked_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("last_used_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("replaces", sa.String(length=16), nullable=True),
        sa.Column("changed", sa.Integer(), nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_api_keys")),
    )
    op.create_index(op.f("ix_api_keys_tenant"), "api_keys", ["tenant"], unique=False)
    if op.get_bind().dialect.name == "sqlite":  # looks at no length
        return
    for table, column in HEADS:
        op.alter_column(table, column, existing_type=sa.String(63), type_=sa.String(128))
    op.alter_column("embeddings", "backbone", existing_type=sa.String(64), type_=sa.String(128))


def downgrade() -> None:
    """Raises where a name needs the room: the release before could not know whose the head is."""
    op.drop_table("api_keys")
    if op.get_bind().dialect.name == "sqlite":
        return
    for table, column in HEADS:
        op.alter_column(table, column, existing_type=sa.String(128), type_=sa.String(63))
    op.alter_column("embeddings", "backbone", existing_type=sa.String(128), type_=sa.String(64))
