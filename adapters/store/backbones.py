"""Rows of built backbones; their ONNX files are blobs."""

import hashlib
from typing import Any

import sqlalchemy as sa
from sqlalchemy.engine import Engine

from adapters.backbones import cuts
from adapters.backbones.facts import from_json, to_json
from adapters.errors import BackboneDamaged, BackboneNotFound, Conflict, CorruptArtifact, InvalidInput
from adapters.store.database import now, reading
from adapters.store.objects import blobs
from adapters.store.objects.artifacts import Artifacts
from adapters.store.schema import backbones, versions
from adapters.types import ORIGINAL, Backbone

# The release before modalities reads every row, and must start beside this one and after it (docs/guides/upgrade.md).
# Rows of what it does not know look to it like one of images that no head of its own is on.
READS = "reads"  # the detail that holds modality and spec of such a row
LOOKS_LIKE = {"size": 1, "crop_pct": 1.0, "interpolation": "bilinear", "mean": [0.0] * 3, "std": [1.0] * 3}


def add(engine: Engine, artifacts: Artifacts, backbone: Backbone, graph: bytes) -> None:
    """Store a graph and record its backbone. Raises InvalidInput when it is not the backbone's, Conflict as `save`."""
    if hashlib.sha256(graph).hexdigest() != backbone.artifact:
        raise InvalidInput(f"that is not the graph which the backbone {backbone.name!r} is made of", item=backbone.name)
    with blobs.holding(engine, artifacts, [backbone.artifact]):
        artifacts.put(graph)
        save(engine, backbone)


def save(engine: Engine, backbone: Backbone) -> None:
    """Record a backbone under its name; its graph must be held.

    Raises Conflict when the name stands for another digest that heads were trained on: they would go wrong.
    """
    row = {"digest": backbone.digest, "facts": _row(backbone), "created_at": now()}
    with blobs.alone(engine) as connection:
        old = connection.execute(sa.select(backbones).where(backbones.c.name == backbone.name)).mappings().first()
        if old is None:
            connection.execute(backbones.insert().values(name=backbone.name, **row))
            return
        if old["digest"] != backbone.digest and _users(connection, old["digest"]):
            raise Conflict(f"heads use the present {backbone.name!r}; add the new one as --name", item=backbone.name)
        connection.execute(backbones.update().where(backbones.c.name == backbone.name).values(**row))
        blobs.bury(connection, [old["facts"]["artifact"]])


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


def find_source(engine: Engine, source: str | cuts.Part) -> Backbone:
    """What serving asked for: the backbone of a digest, or a part of one. Raises BackboneNotFound."""
    if isinstance(source, str):
        return find_digest(engine, source)
    return cuts.of(find_digest(engine, source.backbone), source)


def stored(artifacts: Artifacts, backbone: Backbone) -> bytes:
    """The graph of a backbone, or of a part of one. Raises BackboneDamaged, StorageError."""
    try:
        return artifacts.get(backbone.artifact)
    except CorruptArtifact as error:
        what, cut = f"the backbone {backbone.name!r}", backbone.details.get("cut")
        if cut is not None:
            what = f"what deep versions read of {what} at {cut['name']!r}"
        message = f"{what} is damaged in the store; `espalier check --repair` mends it or says how"
        raise BackboneDamaged(message, item=backbone.name) from error


def list_all(engine: Engine) -> list[Backbone]:
    """Every backbone, by name."""
    with reading(engine) as connection:
        rows = connection.execute(sa.select(backbones.c.facts).order_by(backbones.c.name)).scalars().all()
    return [_backbone(row) for row in rows]


def remove(engine: Engine, name: str) -> Backbone:
    """Forget a backbone and return what it was; `blobs.sweep` deletes its graph.

    Raises BackboneNotFound; Conflict while heads use it.
    """
    backbone = find(engine, name)
    with blobs.alone(engine) as connection:
        users = _users(connection, backbone.digest)
        if users:
            raise Conflict(f"{name!r} is used by the heads {', '.join(users[:5])}; delete them first", item=name)
        connection.execute(backbones.delete().where(backbones.c.name == name))
        blobs.bury(connection, [backbone.artifact])
    return backbone


def _users(connection: sa.Connection, digest: str) -> list[str]:
    used = versions.c.manifest["backbone"]["digest"].as_string() == digest
    return list(connection.execute(sa.select(versions.c.head).where(used).distinct()).scalars())


def _row(backbone: Backbone) -> dict[str, Any]:
    facts = to_json(backbone)
    if backbone.modality == ORIGINAL:
        return facts
    reads = {key: facts.pop(key) for key in ("modality", "spec")}
    return facts | {"preprocessing": LOOKS_LIKE, "details": backbone.details | {READS: reads}}


def _backbone(facts: dict[str, Any]) -> Backbone:
    details = dict(facts["details"])
    reads = details.pop(READS, None)
    return from_json(facts if reads is None else facts | reads | {"details": details})
