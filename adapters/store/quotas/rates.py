"""Shares of rates: several serving processes give together what a tenant or a key may ask, and none asks another.

Each process says every second how much was asked of it, and gets a share of the rate that is in proportion to that, as
far as the others have not got it: shares that are in force never add up to more than the rate. One that is not heard of
for `LIFE` seconds has lost its share.
"""

from collections.abc import Iterable, Mapping
from typing import NamedTuple

import sqlalchemy as sa
from sqlalchemy.engine import Engine

from adapters.store.database import clock
from adapters.store.quotas.tables import from_rows, in_rows, rate_shares

LIFE = 5.0  # seconds
LOCK = 4918276  # number of a lock in Postgres
LEAST = 0.05  # of the rate: what a process counts for at least, so that one that begins is not left without any
_CHUNK = 200


class Rate(NamedTuple):
    """A rate of which processes have shares. `key` is ALL where it is the tenant's."""

    tenant: str
    key: str
    name: str


def exchange(
    engine: Engine, process: str, asked: Mapping[Rate, tuple[float, float]], left: Iterable[Rate] = ()
) -> dict[Rate, float]:
    """rate → (what it is a second, what was asked of this process a second) → rate → this process's share a second.

    `left` are rates of which this process needs no share any more.
    """
    with engine.begin() as connection:
        if connection.dialect.name == "postgresql":  # processes take turns, as they do on SQLite
            connection.execute(sa.text(f"SELECT pg_advisory_xact_lock({LOCK})"))
        moment = float(connection.execute(sa.select(clock())).scalar_one())
        others = _others(connection, process, moment)
        shares = {rate: _share(whole, demand, others.get(rate, [])) for rate, (whole, demand) in asked.items()}
        _drop(connection, process, moment, [*asked, *left])
        rows = [
            {**_row(rate), "process": process, "demand": asked[rate][1], "share": share, "until": moment + LIFE}
            for rate, share in shares.items()
        ]
        if rows:
            connection.execute(rate_shares.insert(), rows)
    return shares


def _share(whole: float, demand: float, others: list[tuple[float, float]]) -> float:
    """`others` are (demand, share) of those who have one."""
    least = LEAST * whole
    wanted = [max(demand, least), *(max(theirs, least) for theirs, _ in others)]
    fair = whole * wanted[0] / sum(wanted) if whole else 0.0
    return max(0.0, min(fair, whole - sum(share for _, share in others)))


def _others(connection: sa.Connection, process: str, moment: float) -> dict[Rate, list[tuple[float, float]]]:
    """Of all rates, since a process looks at all that it has at once."""
    live = rate_shares.c.until.between(moment, moment + 2 * LIFE)  # later ones are from before a jump of the clock
    found: dict[Rate, list[tuple[float, float]]] = {}
    for row in connection.execute(sa.select(rate_shares).where(rate_shares.c.process != process, live)):
        found.setdefault(Rate(row.tenant, row.key, from_rows(row.name)), []).append((row.demand, row.share))
    return found


def _drop(connection: sa.Connection, process: str, moment: float, mine: list[Rate]) -> None:
    """What this process had of these rates, and what nobody has any more."""
    over = ~rate_shares.c.until.between(moment, moment + 2 * LIFE)
    connection.execute(rate_shares.delete().where(over))
    columns = sa.tuple_(rate_shares.c.tenant, rate_shares.c.key, rate_shares.c.name)
    for start in range(0, len(mine), _CHUNK):
        these = columns.in_([tuple(_row(rate).values()) for rate in mine[start : start + _CHUNK]])
        connection.execute(rate_shares.delete().where(rate_shares.c.process == process, these))


def _row(rate: Rate) -> dict[str, str]:
    return {"tenant": rate.tenant, "key": rate.key, "name": in_rows(rate.name)}


def leave(engine: Engine, process: str) -> None:
    """A process that ends gives its shares back."""
    with engine.begin() as connection:
        connection.execute(rate_shares.delete().where(rate_shares.c.process == process))
