"""For which heads hard inputs are kept. Off is the absence of a row."""

import sqlalchemy as sa
from sqlalchemy.engine import Engine

from adapters.sampling.facts import Sampling
from adapters.store.audit.recording import record
from adapters.store.database import clock, reading
from adapters.store.heads import missing
from adapters.store.objects import blobs
from adapters.store.sampling import samples
from adapters.store.schema import counters, heads, sampling

VERSION = "sampling"  # of counters: raised by each change, so that a process that looks reads one row


def find(engine: Engine, head: str) -> Sampling | None:
    """What a head's owner has switched on; None where nothing is kept. Raises HeadNotFound."""
    with reading(engine) as connection:
        row = connection.execute(sa.select(sampling).where(sampling.c.head == head)).first()
        if row is None:
            _require(connection, head)
    return None if row is None else Sampling(row.head, row.keep, row.days, row.since)


def switch_on(engine: Engine, head: str, keep: int, days: float) -> None:
    """From now on, or with other bounds; what is there beyond a smaller `keep` goes. Raises HeadNotFound."""
    with blobs.alone(engine) as connection:
        _require(connection, head)
        mine, values = sampling.c.head == head, {"keep": keep, "days": days}
        if connection.execute(sampling.update().where(mine).values(**values)).rowcount == 0:
            connection.execute(sampling.insert().values(head=head, since=clock(), **values))
        samples.cut(connection, head, keep)
        _raise_version(connection)
        record(connection, "sampling.set", head=head, enabled=True, keep=keep, days=days)


def switch_off(engine: Engine, head: str) -> list[str]:
    """Keep nothing more, and delete what was kept; gives digests that nothing uses now. Raises HeadNotFound."""
    with blobs.alone(engine) as connection:
        _require(connection, head)
        connection.execute(sampling.delete().where(sampling.c.head == head))
        freed = samples.drop(connection, head)
        _raise_version(connection)
        record(connection, "sampling.set", head=head, enabled=False)
    return freed


def version(engine: Engine) -> int:
    """A number that has changed since it was last asked for if anybody switched anything on or off."""
    with reading(engine) as connection:
        query = sa.select(counters.c.value).where(counters.c.name == VERSION)
        return int(connection.execute(query).scalar() or 0)


def switched_on(engine: Engine) -> frozenset[str]:
    """The heads of which hard inputs are kept."""
    with reading(engine) as connection:
        return frozenset(connection.execute(sa.select(sampling.c.head)).scalars())


def _require(connection: sa.Connection, head: str) -> None:
    query = sa.select(heads.c.name).where(heads.c.name == head)
    if connection.execute(query).scalar() is None:
        raise missing(head)


def _raise_version(connection: sa.Connection) -> None:
    raised = counters.update().where(counters.c.name == VERSION).values(value=counters.c.value + 1)
    if connection.execute(raised).rowcount == 0:
        connection.execute(counters.insert().values(name=VERSION, value=1))
