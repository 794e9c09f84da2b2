"""The rows of one moment, in a SQLite file, while others go on writing."""

import sqlite3
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from pathlib import Path

import sqlalchemy as sa
from sqlalchemy.engine import Engine

from adapters.errors import Conflict
from adapters.store import database
from adapters.store.backup import tables


def take(source: Engine, file: Path, tell: Callable[[], None] = lambda: None, cache: bool = True) -> None:
    """Write the rows of `source` as they are now to a new file, without the cache of embeddings if so wished.

    `tell` is called now and then. Raises NotReady where the tables are not this release's, Conflict where rows refer
    to others that are gone.
    """
    database.require_newest(source)
    target = database.connect(f"sqlite:///{file}")
    try:
        database.migrate(target)
        with frozen(source) as there, target.begin() as here:
            tables.copy(there, here, tell, cache)
    except sa.exc.IntegrityError as error:
        hint = "espalier check --repair mends that"
        raise Conflict(f"rows of the database refer to others that are not there; {hint}") from error
    finally:
        target.dispose()
    close(file)


@contextmanager
def frozen(engine: Engine) -> Iterator[sa.Connection]:
    """A transaction that reads, in which nothing changes, and for which nobody has to wait.

    SQLite: what is read first is what all of it sees (WAL). Postgres: a transaction that is REPEATABLE READ.
    """
    options: dict[str, object] = {"read_only": True}
    if engine.dialect.name == "postgresql":
        options |= {"isolation_level": "REPEATABLE READ", "postgresql_readonly": True}
    with engine.connect().execution_options(**options) as connection, connection.begin():
        yield connection


def close(file: Path) -> None:
    """All of it in one file, without a log of writes beside it."""
    with closing(sqlite3.connect(file)) as connection:
        connection.execute("PRAGMA journal_mode=DELETE")
