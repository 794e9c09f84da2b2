"""What the workers of this installation can do: written by a worker, read by the service, which loads no torch.

Also what was settled for it once and for all.
"""

import contextlib
from collections.abc import Iterable
from typing import Any

import sqlalchemy as sa
from sqlalchemy.engine import Engine
from sqlalchemy.exc import IntegrityError

from adapters.store.database import reading
from adapters.store.schema import capabilities


def replace_all(engine: Engine, kind: str, schemas: dict[str, dict[str, Any]]) -> None:
    """Make `schemas` (name → JSON schema) all there is of a kind."""
    rows = [{"kind": kind, "name": name, "schema": schema} for name, schema in schemas.items()]
    with engine.begin() as connection:
        connection.execute(capabilities.delete().where(capabilities.c.kind == kind))
        connection.execute(capabilities.insert(), rows)


def record(engine: Engine, kind: str, name: str, schema: dict[str, Any]) -> None:
    """Make `schema` what is known under that name now."""
    with engine.begin() as connection:
        connection.execute(capabilities.delete().where(capabilities.c.kind == kind, capabilities.c.name == name))
        connection.execute(capabilities.insert().values(kind=kind, name=name, schema=schema))


def forget(engine: Engine, kind: str, names: Iterable[str]) -> None:
    """Drop what is known under some names."""
    with engine.begin() as connection:
        connection.execute(
            capabilities.delete().where(capabilities.c.kind == kind, capabilities.c.name.in_(list(names)))
        )


def settle(engine: Engine, kind: str, name: str, schema: dict[str, Any]) -> None:
    """Record `schema` unless that name has one already: of several processes the first decides."""
    with contextlib.suppress(IntegrityError), engine.begin() as connection:
        connection.execute(capabilities.insert().values(kind=kind, name=name, schema=schema))


def of_kind(engine: Engine, kind: str) -> dict[str, dict[str, Any]]:
    """Name → JSON schema; empty until a worker has started for the first time."""
    with reading(engine) as connection:
        query = sa.select(capabilities.c.name, capabilities.c.schema).where(capabilities.c.kind == kind)
        return {name: schema for name, schema in connection.execute(query.order_by(capabilities.c.name))}
