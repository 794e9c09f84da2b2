"""Recording changes: rows join the transaction of the change, as the last thing before it is committed.

Last, because the end of the chain stays locked until the commit: whoever appends has all other locks already, so nobody
waits for him in a circle, and others wait only as long as a commit takes.
"""

import hashlib
import json
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

import sqlalchemy as sa
from sqlalchemy.engine import Engine

from adapters import tenancy
from adapters.store.audit import actor as actors
from adapters.store.audit.actor import Actor
from adapters.store.audit.tables import audit, chain_end

Outcome = Literal["done", "refused", "failed"]
PENDING = "audit"  # in a connection's `info`
GENESIS = ""  # in place of a hash before the first row
MOST_TEXT = 200  # characters of one name: strangers send some
HASHED = ("sequence", "at", "tenant", "principal", "address", "request_id", "action", "what", "outcome", "status")


@dataclass(frozen=True, slots=True)
class Entry:
    """One change, or a try at one. `what` has names, numbers and ids; no secrets, no data."""

    action: str
    what: dict[str, Any] = field(default_factory=dict)
    outcome: Outcome = "done"
    status: int | None = None
    actor: Actor = field(default_factory=actors.current)
    tenant: str | None = None  # whose data it was; None: the actor's


def record(connection: sa.Connection, action: str, *, tenant: str | None = None, **what: Any) -> None:
    """A change that is made in this transaction: in the log if it commits, and only then.

    Where it is of a `head`, the tenant is the head's.
    """
    if "head" in what:
        tenant = tenancy.tenant_of(what["head"])
        what["head"] = tenancy.shown(what["head"])
    connection.info.setdefault(PENDING, []).append(Entry(action, what, tenant=tenant))


def write(engine: Engine, entries: Sequence[Entry]) -> None:
    """Entries of what had no transaction of ours, in one of their own."""
    with engine.begin() as connection:
        connection.info[PENDING] = list(entries)


def listen(engine: Engine, clock: sa.ColumnElement[float]) -> None:
    """Have an engine write what was recorded in a transaction before it commits it; `clock` is the database's."""

    def commit(connection: sa.Connection) -> None:
        if entries := connection.info.pop(PENDING, None):
            _append(connection, entries, clock)

    sa.event.listen(engine, "begin", _forget)
    sa.event.listen(engine, "rollback", _forget)
    sa.event.listen(engine, "commit", commit)


def _forget(connection: sa.Connection) -> None:
    connection.info.pop(PENDING, None)


def _append(connection: sa.Connection, entries: Sequence[Entry], clock: sa.ColumnElement[float]) -> None:
    connection.execute(chain_end.update().values(sequence=chain_end.c.sequence + len(entries)))  # locks it
    end = connection.execute(sa.select(chain_end.c.sequence, chain_end.c.hash, clock.label("now"))).one()
    rows, last = [], str(end.hash)
    for number, entry in enumerate(entries, end.sequence - len(entries) + 1):
        row = _row(number, round(end.now * 1000), entry)
        rows.append(row | {"previous": last, "hash": (last := hash_of(row, last))})
    connection.execute(audit.insert(), rows)
    connection.execute(chain_end.update().values(hash=last))
    for entry in entries:
        entry.actor.recorded += 1


def _row(sequence: int, at: int, entry: Entry) -> dict[str, Any]:
    who, tenant = entry.actor, entry.actor.tenant if entry.tenant is None else entry.tenant
    return {
        "sequence": sequence, "at": at, "tenant": _text(tenant, 63), "principal": _text(who.principal, 255),
        "address": _text(who.address, 64), "request_id": _text(who.request_id, 64), "action": _text(entry.action, 64),
        "what": json.dumps(_bounded(entry.what), sort_keys=True), "outcome": entry.outcome, "status": entry.status,
    }  # fmt: skip


def hash_of(row: Any, previous: str) -> str:
    """SHA-256 of a row's columns as JSON, behind the hash of the row before it."""
    facts = json.dumps([row[name] for name in HASHED], separators=(",", ":"))
    return hashlib.sha256(f"{previous}\n{facts}".encode()).hexdigest()


def _text(value: str, most: int) -> str:
    """What every database can keep: no NUL, no half of a surrogate pair, and not longer than its column."""
    return value.replace("\0", "\N{REPLACEMENT CHARACTER}").encode("utf-8", "replace").decode()[:most]


def _bounded(what: dict[str, Any]) -> dict[str, Any]:
    return {k: v[:MOST_TEXT] if isinstance(v, str) else v for k, v in what.items() if v is not None}
