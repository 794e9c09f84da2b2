"""The tables of the audit log. Triggers (migration `audit_and_quotas`) refuse updates, and deletions but pruning."""

from sqlalchemy import BigInteger, Column, Index, Integer, String, Table, Text

from adapters.store.schema import metadata

audit = Table(
    "audit", metadata,
    Column("sequence", BigInteger, primary_key=True, autoincrement=False),
    Column("at", BigInteger, nullable=False),  # milliseconds since 1970 by the database's clock
    Column("tenant", String(63), nullable=False),
    Column("principal", String(255), nullable=False),  # id of a key, subject of a token, "operator", "worker:…"
    Column("address", String(64), nullable=False),
    Column("request_id", String(64), nullable=False),
    Column("action", String(64), nullable=False),
    Column("what", Text, nullable=False),  # JSON: names and numbers of what was changed; text, as it is hashed
    Column("outcome", String(8), nullable=False),
    Column("status", Integer),  # of the answer, where that was known when the row was written
    Column("previous", String(64), nullable=False),
    Column("hash", String(64), nullable=False),
    Index("ix_audit_tenant_sequence", "tenant", "sequence"),
    Index("ix_audit_at", "at"),
)  # fmt: skip

# One row: the end of the chain. Updating it locks it, so rows are committed in the order of their numbers, and a log
# whose last rows were cut off does not end where this says that it does.
chain_end = Table(
    "audit_chain_end", metadata,
    Column("id", Integer, primary_key=True, autoincrement=False),
    Column("sequence", BigInteger, nullable=False),
    Column("hash", String(64), nullable=False),
)  # fmt: skip

# What stands for rows that were pruned: the last of them, and the hash with which the next one begins.
stubs = Table(
    "audit_stubs", metadata,
    Column("through", BigInteger, primary_key=True, autoincrement=False),
    Column("hash", String(64), nullable=False),
    Column("count", BigInteger, nullable=False),
    Column("at", BigInteger, nullable=False),
)  # fmt: skip
