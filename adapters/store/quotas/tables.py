"""The tables of quotas and rates."""

from sqlalchemy import BigInteger, Column, Double, String, Table

from adapters.store.schema import PASSING, metadata

ALL = ""  # in place of a key's id: all of a tenant's
# Rows keep the name that a rate had before there were texts: a limit that was set then still holds, and serving
# processes of both releases, side by side during an upgrade, go by the same limit and share one rate.
_IN_ROWS = {"inputs_per_second": "images_per_second"}
_FROM_ROWS = {kept: name for name, kept in _IN_ROWS.items()}


def in_rows(name: str) -> str:
    """What rows call the quota of that name."""
    return _IN_ROWS.get(name, name)


def from_rows(kept: str) -> str:
    """The name of the quota that rows call so."""
    return _FROM_ROWS.get(kept, kept)


# What an operator has set; what has no row here is as the settings say.
quotas = Table(
    "quotas", metadata,
    Column("tenant", String(63), primary_key=True),
    Column("key", String(255), primary_key=True),
    Column("name", String(32), primary_key=True),
    Column("value", Double),  # null: unlimited
)  # fmt: skip

blob_sizes = Table(
    "blob_sizes", metadata,
    Column("digest", String(64), primary_key=True),
    Column("bytes", BigInteger, nullable=False),
)  # fmt: skip

# How much of a rate each serving process may give; see `rates`.
rate_shares = Table(
    "rate_shares", metadata,
    Column("tenant", String(63), primary_key=True),
    Column("key", String(255), primary_key=True),
    Column("name", String(32), primary_key=True),
    Column("process", String(40), primary_key=True),
    Column("demand", Double, nullable=False),  # a second, as it was asked for lately
    Column("share", Double, nullable=False),  # a second
    Column("until", Double, nullable=False),  # seconds since 1970 by the database's clock
    info=PASSING,
)  # fmt: skip
