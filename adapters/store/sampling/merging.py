"""New hard inputs beside those that are kept: what is worth a place is decided first, and then done in one transaction.

Bytes are held and stored before the rows that refer to them (`adapters.store.objects.blobs`). Of two processes that do
this at the same moment for the same head the second finds what the first has kept, and what is too much goes.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import sqlalchemy as sa
from sqlalchemy.engine import Engine

from adapters import tenancy
from adapters.sampling import selection
from adapters.sampling.facts import Candidate
from adapters.store import conflicts
from adapters.store.database import clock, reading
from adapters.store.objects import blobs
from adapters.store.objects.artifacts import Artifacts
from adapters.store.quotas import limits, usage
from adapters.store.quotas.limits import Book, Limits
from adapters.store.quotas.usage import Owner
from adapters.store.sampling import samples as store
from adapters.store.schema import samples, sampling


@dataclass(frozen=True, slots=True)
class _Plan:
    add: list[Candidate]
    remove: list[str]  # SHA-256


def add(engine: Engine, artifacts: Artifacts, found: Sequence[Candidate], default: Limits) -> int:
    """Keep those of some inputs of one head that are worth it; returns how many. `default` are a tenant's quotas.

    They are compared by what one backbone, or one deep version, tells of them: all candidates by the same.
    Raises QuotaExceeded where there is no room for them, StorageError, SQLAlchemyError: nothing is kept then.
    """
    plan = _planned(engine, found)
    if not plan.add:
        return 0
    data = {one.sha256: one.data for one in plan.add}
    with blobs.holding(engine, artifacts, data) as holder:
        # Written whether it is there or not: how long that takes would tell what others have stored (ADR 19).
        artifacts.put_all(((sha256, lambda sha256=sha256: data[sha256]) for sha256 in data), look=False)  # type: ignore[misc]
        with blobs.alone(engine) as connection:
            return _merge(connection, plan, holder, default)


def _planned(engine: Engine, found: Sequence[Candidate]) -> _Plan:
    """Once each, and nothing that the head holds, learns or was sampled already."""
    head, backbone = found[0].head, found[0].backbone
    new = {one.sha256: one for one in found}
    with reading(engine) as connection:
        keep = connection.execute(sa.select(sampling.c.keep).where(sampling.c.head == head)).scalar()
        columns = (samples.c.sha256, samples.c.backbone, samples.c.hardness, samples.c.vector)
        rows = connection.execute(sa.select(*columns).where(samples.c.head == head)).all()
        taught = store.taught(connection, head, list(new))
    known = taught | {row.sha256 for row in rows}
    fresh = [one for one in new.values() if one.sha256 not in known]
    return _chosen(fresh, rows, backbone, keep) if fresh and keep else _Plan([], [])


def _chosen(fresh: list[Candidate], rows: Sequence[sa.Row[tuple[str, str, float, bytes]]], backbone: str,
            keep: int) -> _Plan:  # fmt: skip
    """Samples of another backbone are like nothing that can be compared: they make room first, the least hard first."""
    mine = [row for row in rows if row.backbone == backbone]
    others = sorted((row for row in rows if row.backbone != backbone), key=lambda row: row.hardness)
    vectors, hardness = selection.unpacked([row.vector for row in mine]), np.array([row.hardness for row in mine])
    new = np.stack([one.embedding for one in fresh])
    found = selection.plan(vectors, hardness, new, np.array([one.hardness for one in fresh]), keep)
    surplus = len(rows) + len(found.add) - len(found.remove) - keep
    gone = [mine[row] for row in found.remove] + others[: max(0, surplus)]
    return _Plan([fresh[row] for row in found.add], [row.sha256 for row in gone])


def _merge(connection: sa.Connection, plan: _Plan, holder: str, default: Limits) -> int:
    head = plan.add[0].head
    keep = connection.execute(sa.select(sampling.c.keep).where(sampling.c.head == head).with_for_update()).scalar()
    if keep is None:  # switched off, or the head was deleted, just now
        return 0
    tenant = tenancy.tenant_of(head)
    usage.take_turn(connection, tenant)
    most = Book(default, limits.read(connection, tenant)).of_tenant(tenant).bytes
    before = 0 if most is None else _used(connection, tenant)
    store.drop(connection, head, plan.remove)
    taught = store.taught(connection, head, [one.sha256 for one in plan.add])
    kept = [one for one in plan.add if one.sha256 not in taught]
    _insert(connection, kept)
    blobs.settle(connection, holder, [one.sha256 for one in plan.add])
    store.cut(connection, head, keep)
    if most is not None:
        _require_room(connection, tenant, before, most)
    return len(kept)


def _insert(connection: sa.Connection, kept: Sequence[Candidate]) -> None:
    usage.note_sizes(connection, {one.sha256: len(one.data) for one in kept})
    for one in sorted(kept, key=lambda one: one.sha256):
        row = {
            "head": one.head, "sha256": one.sha256, "version": one.version, "backbone": one.backbone,
            "vector": selection.packed(one.embedding), "answer": one.answer, "why": list(one.why),
            "hardness": one.hardness, "bytes": len(one.data), "asked_at": clock(),
        }  # fmt: skip
        connection.execute(conflicts.insert(connection, samples).values(**row).on_conflict_do_nothing())


def _used(connection: sa.Connection, tenant: str) -> int:
    return usage.used(connection, Owner(tenant), "bytes")


def _require_room(connection: sa.Connection, tenant: str, before: int, most: float) -> None:
    """Raises QuotaExceeded."""
    if (after := _used(connection, tenant)) > most and after > before:
        raise usage.exceeded(Owner(tenant), "bytes", int(most), before, after - before)
