"""What versions keep in the artifact store, blobs that are held, and blobs that wait to be deleted."""

import sqlalchemy as sa
from alembic import op

revision = "0004_blobs_in_use"
down_revision = "0003_leases"
OF_DATA = ("digest", "answers", "report")  # as it was when this was written


def upgrade() -> None:
    op.create_table(
        "version_blobs",
        sa.Column("head", sa.String(length=63), nullable=False),
        sa.Column("number", sa.Integer(), autoincrement=False, nullable=False),
        sa.Column("digest", sa.String(length=64), nullable=False),
        sa.ForeignKeyConstraint(
            ["head", "number"],
            ["versions.head", "versions.number"],
            name=op.f("fk_version_blobs_head_number"),
            ondelete="CASCADE",
        ),
        sa.PrimaryKeyConstraint("head", "number", "digest", name=op.f("pk_version_blobs")),
    )
    op.create_index("ix_version_blobs_digest", "version_blobs", ["digest"], unique=False)
    op.create_table(
        "blob_holds",
        sa.Column("holder", sa.String(length=32), nullable=False),
        sa.Column("digest", sa.String(length=64), nullable=False),
        sa.Column("since", sa.DateTime(timezone=True), nullable=False),
        sa.PrimaryKeyConstraint("holder", "digest", name=op.f("pk_blob_holds")),
    )
    op.create_index("ix_blob_holds_digest", "blob_holds", ["digest"], unique=False)
    op.create_index("ix_blob_holds_since", "blob_holds", ["since"], unique=False)
    op.create_table(
        "tombstones",
        sa.Column("digest", sa.String(length=64), nullable=False),
        sa.Column("since", sa.DateTime(timezone=True), nullable=False),
        sa.PrimaryKeyConstraint("digest", name=op.f("pk_tombstones")),
    )
    _fill()


def downgrade() -> None:
    """What was held or waited to be deleted is found by the sweep of the release before, as leftovers."""
    for table in ("tombstones", "blob_holds", "version_blobs"):
        op.drop_table(table)


def _fill() -> None:
    connection = op.get_bind()
    versions = sa.table(
        "versions", sa.column("head"), sa.column("number"), sa.column("digest"), sa.column("manifest", sa.JSON)
    )
    target = sa.table("version_blobs", sa.column("head"), sa.column("number"), sa.column("digest"))
    query = sa.select(versions).order_by(versions.c.head, versions.c.number)
    for page in connection.execute(query).partitions(500):
        rows = [
            {"head": row.head, "number": row.number, "digest": digest}
            for row in page
            for digest in dict.fromkeys([row.digest, *_of_data(row.manifest.get("data", {}))])
        ]
        connection.execute(target.insert(), rows)


def _of_data(data: dict[str, str]) -> list[str]:
    return [data[name] for name in OF_DATA if name in data]
