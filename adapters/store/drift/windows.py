"""Counts of answers by version and hour. Nothing of what was asked is in them."""

import time
from collections.abc import Sequence
from typing import Any, TypeAlias

import sqlalchemy as sa
from sqlalchemy.engine import Engine

from adapters.drift.windows import Window
from adapters.store import conflicts
from adapters.store.database import reading
from adapters.store.schema import answer_windows as table
from adapters.store.schema import versions

Key: TypeAlias = tuple[str, int, int]  # head, version, hours since 1970
BATCH = 100  # windows a transaction: nobody waits long behind one
HOUR = 3600  # seconds


def add(engine: Engine, counted: dict[Key, Window]) -> None:
    """Add counts to those that are there, and take away what was added; of versions that are gone they are left out."""
    while keys := sorted(counted)[:BATCH]:
        with engine.begin() as connection:
            for key in _present(connection, keys):
                _add(connection, key, counted[key])
        for key in keys:
            del counted[key]


def _present(connection: sa.Connection, keys: Sequence[Key]) -> list[Key]:
    rows = connection.execute(_of(sorted({key[:2] for key in keys})).with_for_update(read=True))
    there = {(row.head, row.number) for row in rows}
    return [key for key in keys if key[:2] in there]


def existing(engine: Engine, pairs: Sequence[tuple[str, int]]) -> set[tuple[str, int]]:
    """Those of some versions, as (head, number), that were not deleted meanwhile."""
    found: set[tuple[str, int]] = set()
    with reading(engine) as connection:
        for start in range(0, len(pairs), BATCH):
            rows = connection.execute(_of(pairs[start : start + BATCH]))
            found |= {(row.head, row.number) for row in rows}
    return found


def _of(pairs: Sequence[tuple[str, int]]) -> sa.Select[Any]:
    return sa.select(versions.c.head, versions.c.number).where(sa.tuple_(versions.c.head, versions.c.number).in_(pairs))


def _add(connection: sa.Connection, key: Key, more: Window) -> None:
    head, version, hour = key
    mine = (table.c.head == head, table.c.version == version, table.c.hour == hour)
    fresh = {"head": head, "version": version, "hour": hour, "counts": Window().to_json()}
    connection.execute(conflicts.insert(connection, table).values(**fresh).on_conflict_do_nothing())
    there = connection.execute(sa.select(table.c.counts).where(*mine).with_for_update()).scalar_one()
    total = Window.of_json(there).plus(more)
    connection.execute(table.update().where(*mine).values(counts=total.to_json()))


def of_version(engine: Engine, head: str, version: int, hours: int) -> dict[int, Window]:
    """Windows by hour, of the last so many hours, the present one included."""
    since = present_hour() - (hours - 1)
    query = sa.select(table.c.hour, table.c.counts).where(
        table.c.head == head, table.c.version == version, table.c.hour >= since
    )
    with reading(engine) as connection:
        return {row.hour: Window.of_json(row.counts) for row in connection.execute(query.order_by(table.c.hour))}


def forget(engine: Engine, days: float) -> None:
    """Windows older than that."""
    if not due(engine, days):
        return
    with engine.begin() as connection:
        connection.execute(table.delete().where(_older(days)))


def due(engine: Engine, days: float) -> int:
    """How many windows are older."""
    with reading(engine) as connection:
        query = sa.select(sa.func.count()).select_from(table).where(_older(days))
        return int(connection.execute(query).scalar_one())


def _older(days: float) -> sa.ColumnElement[bool]:
    return table.c.hour < present_hour() - round(days * 24)


def present_hour() -> int:
    """Hours since 1970."""
    return int(time.time() // HOUR)
