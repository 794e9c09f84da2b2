"""Databases that a test may do anything to."""

import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import sqlalchemy as sa
from sqlalchemy.engine import Engine

from adapters.store.schema import metadata


def empty(engine: Engine) -> None:
    """Take all of our tables away."""
    with engine.begin() as connection:
        metadata.drop_all(connection)
        connection.execute(sa.text("DROP TABLE IF EXISTS alembic_version"))


@contextmanager
def locked(home: Path) -> Iterator[None]:
    """Nobody else can write to SQLite, as while a backup or an administrator's shell is at it."""
    connection = sqlite3.connect(home / "espalier.sqlite", isolation_level=None, timeout=60)
    connection.execute("BEGIN IMMEDIATE")
    try:
        yield
    finally:
        connection.execute("ROLLBACK")
        connection.close()
