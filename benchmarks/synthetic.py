"""Heads that nobody trained: rows and graphs as a worker writes them, thousands in seconds."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import sqlalchemy as sa
from onnx import numpy_helper
from sqlalchemy.engine import Engine

from adapters.store import backbones, database, heads, jobs, leases, publishing
from adapters.store.database import now
from adapters.store.objects.artifacts import Artifacts
from adapters.store.schema import aliases, changes, generation, versions
from adapters.store.schema import heads as heads_table
from adapters.store.schema import jobs as jobs_table
from adapters.training.publish import export
from adapters.types import Backbone, Floats, HeadProgram, HeadRef, HeadVersion, JobRequest, Linear, Softmax
from service.processes import default_backbone
from service.settings import Settings

BATCH = 500  # heads a transaction


@dataclass(frozen=True, slots=True)
class Store:
    """What an installation keeps, opened from outside of it."""

    engine: Engine
    artifacts: Artifacts
    backbone: Backbone

    @classmethod
    def of(cls, home: Path, **settings: Any) -> "Store":
        """The store of a home that was prepared under these settings."""
        return cls._under(Settings(home=home, **settings))

    @classmethod
    def _under(cls, settings: Settings) -> "Store":
        engine = database.connect(settings.database)
        backbone = backbones.find(engine, default_backbone.name(settings, engine))
        return cls(engine, Artifacts(settings.artifacts), backbone)

    def live(self, name: str) -> HeadVersion:
        """The version that a head serves."""
        return heads.resolve(self.engine, HeadRef(name))


@dataclass(frozen=True, slots=True)
class Made:
    """A head to be."""

    name: str
    graph: bytes
    manifest: dict[str, Any]


def linear(backbone: Backbone, name: str, weight: Floats, bias: Floats, classes: Sequence[str]) -> Made:
    """A head of one matrix and softmax: weight f32 [D, K], bias f32 [K]."""
    program = HeadProgram((Linear(weight, bias), Softmax()))
    graph = export.to_onnx(program, backbone.dimension, classes, {"espalier.head": name})
    facts = {"name": backbone.name, "digest": backbone.digest, "precision": backbone.precision}
    manifest = {"task": "classification", "method": "logistic", "classes": list(classes), "metrics": {}, "trust": {}}
    return Made(name, graph, manifest | {"backbone": facts})


def copies(store: Store, name: str, names: Iterable[str]) -> Iterable[Made]:
    """Heads like a trained one, as large and as slow, each with weights of its own: no two share a graph."""
    version = store.live(name)
    model = onnx.load_from_string(store.artifacts.get(version.digest))
    tensor = max(model.graph.initializer, key=lambda t: len(t.raw_data))
    original = numpy_helper.to_array(tensor)
    for number, copy in enumerate(names):
        noise = np.random.default_rng(number).normal(0, 1e-3, original.shape[-1])
        tensor.CopyFrom(numpy_helper.from_array((original + noise).astype(np.float32), tensor.name))
        yield Made(copy, model.SerializeToString(), version.manifest | {"head": copy, "version": 1})


def publish(store: Store, made: Iterable[Made]) -> None:
    """Each becomes version 1 of a new head, live."""
    batch: list[Made] = []
    for head in made:
        batch.append(head)
        if len(batch) == BATCH:
            _insert(store, batch)
            batch = []
    _insert(store, batch)


def _insert(store: Store, made: Sequence[Made]) -> None:
    if not made:
        return
    moment = now()
    digests = [store.artifacts.put(m.graph) for m in made]
    with store.engine.begin() as connection:
        rows = [{"name": m.name, "task": m.manifest["task"], "created_at": moment, "next_version": 2} for m in made]
        connection.execute(heads_table.insert(), rows)
        connection.execute(versions.insert(), [_version(m, d) for m, d in zip(made, digests, strict=True)])
        rows = [{"head": m.name, "alias": heads.LIVE, "number": 1, "updated_at": moment} for m in made]
        connection.execute(aliases.insert(), rows)
        connection.execute(generation.update().values(value=generation.c.value + 1))
        value = connection.execute(sa.select(generation.c.value)).scalar_one()
        connection.execute(changes.insert().values(generation=value, head=made[0].name))


def _version(made: Made, digest: str) -> dict[str, Any]:
    return {
        "head": made.name, "number": 1, "digest": digest, "status": "published", "manifest": made.manifest,
        "job_id": f"synthetic_{made.name}"[-40:], "created_at": now(),
    }  # fmt: skip


def swap(store: Store, made: Made) -> int:
    """The next version of a head, as a worker publishes it: blob, job, row, alias, generation. Returns its number."""
    live = heads.find_live(store.engine, made.name)
    request = JobRequest(made.name)
    digest = store.artifacts.put(made.graph)
    job = jobs.create(store.engine, request, [], fingerprint="synthetic", guard=_taken_up)
    publication = publishing.Publication(
        job.id,
        request,
        digest,
        made.manifest,
        {},
        {},
        [],
        False,
        live.number if live else None,
    )
    return publishing.publish(store.engine, publication)


def _taken_up(connection: sa.Connection, job_id: str) -> None:
    """From its first moment, or a worker that runs beside would take it up, and find that it has nothing to learn."""
    held = {"lease_token": "synthetic", "lease_until": database.clock() + leases.LEASE}
    connection.execute(jobs_table.update().where(jobs_table.c.id == job_id).values(**held))
