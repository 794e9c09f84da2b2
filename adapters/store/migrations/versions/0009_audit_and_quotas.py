"""The audit log with its triggers; quotas, sizes of blobs and shares of rates; who handed a job in."""

import sqlalchemy as sa
from alembic import op

revision = "0009_audit_and_quotas"
down_revision = "0008_rollouts"

REFUSAL = "the audit log is append-only"
UNSTUBBED = "OLD.sequence > (SELECT COALESCE(MAX(through), 0) FROM audit_stubs)"
# REPLACE deletes without the triggers of DELETE, so an insertion in the place of a row is refused by itself.
TAKEN = "EXISTS (SELECT 1 FROM {table} WHERE {key} = NEW.{key})"
SQLITE = [
    *(
        f"CREATE TRIGGER {table}_{verb.lower()} BEFORE {verb} ON {table} WHEN {when} "
        f"BEGIN SELECT RAISE(ABORT, '{REFUSAL}'); END"
        for table, verb, when in (
            ("audit", "UPDATE", "1"),
            ("audit", "DELETE", UNSTUBBED),
            ("audit", "INSERT", TAKEN.format(table="audit", key="sequence")),
            ("audit_stubs", "UPDATE", "1"),
            ("audit_stubs", "DELETE", "1"),
            ("audit_stubs", "INSERT", TAKEN.format(table="audit_stubs", key="through")),
        )
    ),
]
POSTGRES = [
    f"""CREATE OR REPLACE FUNCTION espalier_append_only() RETURNS trigger LANGUAGE plpgsql AS $$
    BEGIN
        IF TG_OP = 'DELETE' AND TG_TABLE_NAME = 'audit' THEN
            IF NOT ({UNSTUBBED}) THEN RETURN OLD; END IF;
        END IF;
        RAISE EXCEPTION '{REFUSAL}';
    END $$""",
    *(
        f"CREATE TRIGGER {table}_rows BEFORE UPDATE OR DELETE ON {table} "
        "FOR EACH ROW EXECUTE FUNCTION espalier_append_only()"
        for table in ("audit", "audit_stubs")
    ),
    *(
        f"CREATE TRIGGER {table}_all BEFORE TRUNCATE ON {table} "
        "FOR EACH STATEMENT EXECUTE FUNCTION espalier_append_only()"
        for table in ("audit", "audit_stubs")
    ),
]


def upgrade() -> None:
    op.add_column("jobs", sa.Column("principal", sa.String(length=255), nullable=True))
    _audit()
    _quotas()
    for statement in SQLITE if op.get_bind().dialect.name == "sqlite" else POSTGRES:
        op.execute(statement)


def _audit() -> None:
    op.create_table(
        "audit",
        sa.Column("sequence", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("at", sa.BigInteger(), nullable=False),
        sa.Column("tenant", sa.String(length=63), nullable=False),
        sa.Column("principal", sa.String(length=255), nullable=False),
        sa.Column("address", sa.String(length=64), nullable=False),
        sa.Column("request_id", sa.String(length=64), nullable=False),
        sa.Column("action", sa.String(length=64), nullable=False),
        sa.Column("what", sa.Text(), nullable=False),
        sa.Column("outcome", sa.String(length=8), nullable=False),
        sa.Column("status", sa.Integer(), nullable=True),
        sa.Column("previous", sa.String(length=64), nullable=False),
        sa.Column("hash", sa.String(length=64), nullable=False),
        sa.PrimaryKeyConstraint("sequence", name=op.f("pk_audit")),
    )
    op.create_index("ix_audit_tenant_sequence", "audit", ["tenant", "sequence"], unique=False)
    op.create_index("ix_audit_at", "audit", ["at"], unique=False)
    op.create_table(
        "audit_chain_end",
        sa.Column("id", sa.Integer(), autoincrement=False, nullable=False),
        sa.Column("sequence", sa.BigInteger(), nullable=False),
        sa.Column("hash", sa.String(length=64), nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_audit_chain_end")),
    )
    op.execute("INSERT INTO audit_chain_end (id, sequence, hash) VALUES (1, 0, '')")
    op.create_table(
        "audit_stubs",
        sa.Column("through", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("hash", sa.String(length=64), nullable=False),
        sa.Column("count", sa.BigInteger(), nullable=False),
        sa.Column("at", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("through", name=op.f("pk_audit_stubs")),
    )


def _quotas() -> None:
    def whose() -> list[sa.Column[str]]:
        lengths = {"tenant": 63, "key": 255, "name": 32}
        return [sa.Column(name, sa.String(length=length), nullable=False) for name, length in lengths.items()]

    op.create_table(
        "quotas",
        *whose(),
        sa.Column("value", sa.Double(), nullable=True),
        sa.PrimaryKeyConstraint("tenant", "key", "name", name=op.f("pk_quotas")),
    )
    op.create_table(
        "blob_sizes",
        sa.Column("digest", sa.String(length=64), nullable=False),
        sa.Column("bytes", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("digest", name=op.f("pk_blob_sizes")),
    )
    op.create_table(
        "rate_shares",
        *whose(),
        sa.Column("process", sa.String(length=40), nullable=False),
        sa.Column("demand", sa.Double(), nullable=False),
        sa.Column("share", sa.Double(), nullable=False),
        sa.Column("until", sa.Double(), nullable=False),
        sa.PrimaryKeyConstraint("tenant", "key", "name", "process", name=op.f("pk_rate_shares")),
    )


def downgrade() -> None:
    for table in ("rate_shares", "blob_sizes", "quotas", "audit_stubs", "audit_chain_end", "audit"):
        op.drop_table(table)  # its triggers go with it
    if op.get_bind().dialect.name == "postgresql":
        op.execute("DROP FUNCTION espalier_append_only()")
    op.drop_column("jobs", "principal")
