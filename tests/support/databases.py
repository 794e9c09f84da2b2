"""Databases that a test may do anything to."""

import sqlalchemy as sa
from sqlalchemy.engine import Engine

from adapters.store.schema import metadata


def empty(engine: Engine) -> None:
    """Take all of our tables away."""
    with engine.begin() as connection:
        metadata.drop_all(connection)
        connection.execute(sa.text("DROP TABLE IF EXISTS alembic_version"))
