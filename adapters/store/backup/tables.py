"""Rows from one database to another, SQLite or Postgres, exactly: the same text of JSON, the same moments and NULLs.

The tables are those of `adapters.store.schema`; what is marked PASSING there stays behind.
"""

import hashlib
import json
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

import sqlalchemy as sa
from sqlalchemy.ext.compiler import compiles
from sqlalchemy.sql.functions import FunctionElement

from adapters.store.schema import PASSING, metadata

BATCH = 500  # rows a statement
CACHE = "embeddings"  # the one table that is a cache, and the largest


@dataclass(frozen=True, slots=True)
class Content:
    """How much is in a table, and what: the sum of the SHA-256 of its rows, which is the same in any order."""

    rows: int
    sha256: str


class _as_json(FunctionElement[str]):
    """Text that is JSON, for a column of it."""

    inherit_cache = True


@compiles(_as_json)
def _plain(element: Any, compiler: Any, **options: Any) -> str:
    return str(compiler.process(element.clauses, **options))


@compiles(_as_json, "postgresql")
def _cast(element: Any, compiler: Any, **options: Any) -> str:
    return f"CAST({compiler.process(element.clauses, **options)} AS JSON)"


class _JsonText(sa.types.TypeDecorator[str]):
    """JSON as the text that is stored: parsed and written again it might be another, and `null` become NULL."""

    impl = sa.Text
    cache_ok = True

    def bind_expression(self, bindparam: Any) -> Any:
        return _as_json(bindparam)

    def column_expression(self, column: Any) -> Any:
        return sa.cast(column, sa.Text)


class _Moment(sa.types.TypeDecorator[datetime]):
    """In UTC everywhere: SQLite keeps no time zone, Postgres answers in that of the connection."""

    impl = sa.DateTime(timezone=True)
    cache_ok = True

    def process_bind_param(self, value: datetime | None, dialect: Any) -> datetime | None:
        return None if value is None else value.astimezone(UTC)

    def process_result_value(self, value: datetime | None, dialect: Any) -> datetime | None:
        if value is None:
            return None
        return value.replace(tzinfo=UTC) if value.tzinfo is None else value.astimezone(UTC)


def copied(cache: bool = True) -> list[sa.Table]:
    """The tables of a copy, those that others refer to first."""
    return [t for t in metadata.sorted_tables if not _passing(t) and (cache or t.name != CACHE)]


def copy(source: sa.Connection, target: sa.Connection, tell: Callable[[], None], cache: bool = True) -> None:
    """Make the rows of `target` those of `source`, in the transactions of the two; `tell` is called now and then."""
    for table in reversed(copied()):
        if _count(target, table):  # migrations make a few
            target.execute(table.delete())
    for table in copied(cache):
        insert = _exact(table).insert()
        for rows in _batches(source, table):
            target.execute(insert, [dict(row._mapping) for row in rows])
            tell()
    if target.dialect.name == "postgresql":
        _count_on(target)


def contents(connection: sa.Connection, cache: bool = True) -> dict[str, Content]:
    """What each table has, by name."""
    return {table.name: _content(connection, table) for table in copied(cache)}


def filled(connection: sa.Connection, besides: Iterable[str]) -> dict[str, int]:
    """Rows of each table that has any, but for some."""
    counts = {table.name: _count(connection, table) for table in copied() if table.name not in set(besides)}
    return {name: count for name, count in counts.items() if count}


def _count(connection: sa.Connection, table: sa.Table) -> int:
    return int(connection.execute(sa.select(sa.func.count()).select_from(table)).scalar_one())


def _content(connection: sa.Connection, table: sa.Table) -> Content:
    count, total = 0, 0
    for rows in _batches(connection, table):
        for row in rows:
            text = json.dumps([_canonical(value) for value in row])
            total += int.from_bytes(hashlib.sha256(text.encode()).digest(), "big")
        count += len(rows)
    return Content(count, f"{total % 2**256:064x}")


def _canonical(value: Any) -> Any:
    if isinstance(value, datetime):
        return value.isoformat()
    return value.hex() if isinstance(value, bytes) else value


def _batches(connection: sa.Connection, table: sa.Table) -> Iterator[Sequence[sa.Row[Any]]]:
    exact = _exact(table)
    passing = {column.name for column in table.c if _passing(column)}
    columns = [sa.null().label(c.name) if c.name in passing else c for c in exact.c]
    query = sa.select(*columns).select_from(exact)
    found = connection.execution_options(stream_results=True).execute(query)
    yield from found.partitions(BATCH)


def _passing(item: Any) -> bool:
    return PASSING.items() <= item.info.items()


def _exact(table: sa.Table) -> Any:
    return sa.table(table.name, *(sa.column(c.name, _type(c.type)) for c in table.c))


def _type(kind: sa.types.TypeEngine[Any]) -> sa.types.TypeEngine[Any]:
    if isinstance(kind, sa.JSON):
        return _JsonText()
    return _Moment() if isinstance(kind, sa.DateTime) else kind


def _count_on(connection: sa.Connection) -> None:
    """Numbers that Postgres gives out itself go on behind those that were copied."""
    for table in copied():
        for column in table.primary_key:
            names = {"table": table.name, "column": column.name}
            sequence = connection.execute(sa.text("SELECT pg_get_serial_sequence(:table, :column)"), names).scalar()
            last = connection.execute(sa.select(sa.func.max(column))).scalar() if sequence else None
            if last is not None:
                connection.execute(sa.text("SELECT setval(:sequence, :last)"), {"sequence": sequence, "last": last})
