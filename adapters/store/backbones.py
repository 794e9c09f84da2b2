"""Rows of built backbones; their ONNX files are blobs."""

from dataclasses import asdict
from typing import Any

import sqlalchemy as sa
from sqlalchemy.engine import Engine

from adapters.errors import BackboneNotFound, Conflict
from adapters.store.database import now, reading
from adapters.store.schema import backbones, versions
from adapters.types import Backbone, Preprocessing


def save(engine: Engine, backbone: Backbone) -> None:
    """Record a backbone under its name.

    Raises Conflict when the name stands for another digest that heads were trained on: they would go wrong.
    """
    row = {"digest": backbone.digest, "facts": asdict(backbone), "created_at": now()}
    with engine.begin() as connection:
        old = connection.execute(sa.select(backbones).where(backbones.c.name == backbone.name)).mappings().first()
        if old is None:
            connection.execute(backbones.insert().values(name=backbone.name, **row))
            return
        if old["digest"] != backbone.digest and _users(connection, old["digest"]):
            raise Conflict(f"heads use the present {backbone.name!r}; add the new one as --name", item=backbone.name)
        connection.execute(backbones.update().where(backbones.c.name == backbone.name).values(**row))


def find(engine: Engine, name: str) -> Backbone:
    """The backbone of a name. Raises BackboneNotFound."""
    with reading(engine) as connection:
        row = connection.execute(sa.select(backbones.c.facts).where(backbones.c.name == name)).scalar()
    if row is None:
        known = ", ".join(b.name for b in list_all(engine)) or "none yet"
        raise BackboneNotFound(f"no backbone is called {name!r}; there are: {known}", item=name)
    return _backbone(row)


def find_digest(engine: Engine, digest: str) -> Backbone:
    """The backbone of a digest. Raises BackboneNotFound."""
    with reading(engine) as connection:
        row = connection.execute(sa.select(backbones.c.facts).where(backbones.c.digest == digest)).scalar()
    if row is None:
        raise BackboneNotFound(f"no backbone has the digest {digest[:12]}…; add the one the head was trained on")
    return _backbone(row)


def list_all(engine: Engine) -> list[Backbone]:
    """Every backbone, by name."""
    with reading(engine) as connection:
        rows = connection.execute(sa.select(backbones.c.facts).order_by(backbones.c.name)).scalars().all()
    return [_backbone(row) for row in rows]


def remove(engine: Engine, name: str) -> Backbone:
    """Forget a backbone and return what it was. Raises BackboneNotFound; Conflict while heads use it."""
    backbone = find(engine, name)
    with engine.begin() as connection:
        users = _users(connection, backbone.digest)
        if users:
            raise Conflict(f"{name!r} is used by the heads {', '.join(users[:5])}; delete them first", item=name)
        connection.execute(backbones.delete().where(backbones.c.name == name))
    return backbone


def _users(connection: sa.Connection, digest: str) -> list[str]:
    used = versions.c.manifest["backbone"]["digest"].as_string() == digest
    return list(connection.execute(sa.select(versions.c.head).where(used).distinct()).scalars())


def _backbone(facts: dict[str, Any]) -> Backbone:
    shape = dict(facts["preprocessing"])
    shape |= {"mean": tuple(shape["mean"]), "std": tuple(shape["std"])}
    return Backbone(**(facts | {"preprocessing": Preprocessing(**shape)}))
