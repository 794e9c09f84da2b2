"""`INSERT … ON CONFLICT`, which both databases have and SQLAlchemy spells by dialect."""

from typing import Any

import sqlalchemy as sa


def insert(connection: sa.Connection, table: sa.Table) -> Any:
    """An insert into a table that has `on_conflict_do_nothing` and `on_conflict_do_update`.

    Only the dialect that is spoken is imported: PostgreSQL's brings six drivers' worth of modules, 2 MiB.
    """
    if connection.dialect.name == "postgresql":
        from sqlalchemy.dialects.postgresql import insert as of_postgresql

        return of_postgresql(table)
    from sqlalchemy.dialects.sqlite import insert as of_sqlite

    return of_sqlite(table)
