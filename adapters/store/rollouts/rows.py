"""Rows of roll-outs and of their events, read, and changed inside a transaction of the caller's."""

from dataclasses import asdict
from typing import Any

import sqlalchemy as sa
from sqlalchemy.engine import Engine

from adapters.rollout.decision import weigh
from adapters.rollout.facts import Asked, Counts, Limits, Rollout, Rules, Status
from adapters.store.audit.recording import record
from adapters.store.database import aware, now, reading
from adapters.store.schema import rollout_events, rollouts

RUNNING = "running"
KEPT = 100  # events of a head


def running(engine: Engine, head: str) -> Rollout | None:
    """The roll-out under way."""
    found = last(engine, head)
    return found if found is not None and found.status == RUNNING else None


def last(engine: Engine, head: str) -> Rollout | None:
    """The last roll-out of a head, also where it has ended."""
    with reading(engine) as connection:
        return of(connection.execute(sa.select(rollouts).where(rollouts.c.head == head)).mappings().first())


def events(engine: Engine, head: str) -> list[dict[str, Any]]:
    """{"type", "data", "created_at"} of a head's roll-outs, the oldest first; at most KEPT."""
    query = sa.select(rollout_events).where(rollout_events.c.head == head).order_by(rollout_events.c.sequence)
    with reading(engine) as connection:
        rows = connection.execute(query).all()
    return [{"type": row.type, "data": row.data, "created_at": aware(row.created_at)} for row in rows]


def locked(connection: sa.Connection, head: str) -> Rollout | None:
    """The roll-out under way, which nobody else changes until this transaction ends."""
    query = sa.select(rollouts).where(rollouts.c.head == head, rollouts.c.status == RUNNING).with_for_update()
    return of(connection.execute(query).mappings().first())


def write(connection: sa.Connection, rollout: Rollout) -> None:
    """Put a roll-out in the place of the one before."""
    connection.execute(rollouts.delete().where(rollouts.c.head == rollout.head))
    facts = {name: getattr(rollout, name) for name in ("head", "id", "version", "base", "mode", "weight", "status")}
    rules = {"rules": asdict(rollout.rules), "created_at": now()}
    connection.execute(rollouts.insert().values(**facts, **rules, **columns(rollout.counts)))


def end(connection: sa.Connection, head: str, status: Status, reason: str) -> Rollout | None:
    """End the roll-out under way, if one is, and say so in an event with what was counted; returns it as it was."""
    found = locked(connection, head)
    if found is None:
        return None
    values = {"status": status, "reason": reason, "ended_at": now()}
    connection.execute(rollouts.update().where(rollouts.c.head == head).values(**values))
    sure = {name: asdict(interval) for name, interval in weigh(found.counts, found.rules.confidence).items()}
    evidence = {"reason": reason, "counts": asdict(found.counts), "evidence": sure}
    add_event(connection, head, status, facts(found) | evidence)
    return found


def facts(rollout: Rollout) -> dict[str, Any]:
    """Which roll-out it is, for an event."""
    return {name: getattr(rollout, name) for name in ("id", "version", "base", "mode", "weight")}


def add_event(connection: sa.Connection, head: str, kind: str, data: dict[str, Any]) -> None:
    """One more of a head, whose roll-out or alias this transaction has locked."""
    mine = rollout_events.c.head == head
    number = 1 + (connection.execute(sa.select(sa.func.max(rollout_events.c.sequence)).where(mine)).scalar() or 0)
    values = {"head": head, "sequence": number, "type": kind, "data": data, "created_at": now()}
    connection.execute(rollout_events.insert().values(**values))
    connection.execute(rollout_events.delete().where(mine, rollout_events.c.sequence <= number - KEPT))
    record(connection, f"rollout.{kind}", head=head, version=data.get("version"), mode=data.get("mode"))


def columns(counts: Counts) -> dict[str, int]:
    """Counts by column."""
    arms = {"live": counts.live, "candidate": counts.candidate}
    found = {f"{name}_{key}": number for name, arm in arms.items() for key, number in asdict(arm).items()}
    return found | {name: getattr(counts, name) for name in ("compared", "disagreed", "dropped")}


def of(row: Any) -> Rollout | None:
    """What a row says."""
    if row is None:
        return None
    live, candidate = (_asked(row, name) for name in ("live", "candidate"))
    counts = Counts(live, candidate, row["compared"], row["disagreed"], row["dropped"])
    ended = None if row["ended_at"] is None else aware(row["ended_at"])
    return Rollout(
        row["id"], row["head"], row["version"], row["base"], row["mode"], row["weight"], _rules(row["rules"]),
        row["status"], row["reason"], counts, aware(row["created_at"]), ended,
    )  # fmt: skip


def _asked(row: Any, name: str) -> Asked:
    return Asked(row[f"{name}_asked"], row[f"{name}_errors"], row[f"{name}_novel"])


def _rules(stored: dict[str, Any]) -> Rules:
    limits = {key: stored[key] and Limits(**stored[key]) for key in ("promote_when", "roll_back_when")}
    return Rules(**limits, confidence=stored["confidence"])
