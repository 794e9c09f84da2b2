"""Beginning and ending roll-outs, by their owner or by their rules."""

import secrets
from dataclasses import asdict, replace
from typing import Any

import sqlalchemy as sa
from sqlalchemy.engine import Engine

from adapters.errors import Conflict, RolloutNotFound
from adapters.rollout import decision
from adapters.rollout.facts import PROMOTED, STOPPED, Counts, Rollout
from adapters.store import heads, next_stages
from adapters.store.database import reading
from adapters.store.rollouts import rows
from adapters.store.schema import aliases, rollouts, versions
from adapters.tenancy import shown
from adapters.types import HeadRef, HeadVersion


def begin(engine: Engine, wanted: Rollout) -> tuple[Rollout, int]:
    """Roll out a version, in the place of any other roll-out of the head; returns it and the generation.

    `wanted` comes without an id and a base. Asked again for what is under way, that goes on. Any other change begins
    to count anew: shares that were counted under one weight say nothing under another where inputs change with time
    (Simpson's paradox). Raises HeadNotFound, VersionNotFound; Conflict for what cannot be compared.
    """
    heads.resolve(engine, HeadRef(wanted.head, version=wanted.version))
    with engine.begin() as connection:
        next_stages.hold(connection, wanted.head)
        candidate, live = _pair(connection, wanted)
        _refuse(wanted, candidate, live)
        present = rows.locked(connection, wanted.head)
        made = replace(wanted, base=live.number, id=f"rol_{secrets.token_hex(8)}")
        if present is not None and _same(present, made):
            return present, heads.current_generation(engine)
        rows.end(connection, wanted.head, STOPPED, "another roll-out took its place")
        next_stages.supersede(connection, wanted.head, f"a roll-out of version {made.version} began")
        rows.write(connection, made)
        rows.add_event(connection, made.head, "started", rows.facts(made) | {"rules": asdict(made.rules)})
        return made, heads.bump(connection, made.head)


def stop(engine: Engine, head: str) -> None:
    """End the roll-out under way; live answers all from now on. Raises HeadNotFound, RolloutNotFound."""
    with engine.begin() as connection:
        if rows.end(connection, head, STOPPED, "it was ended by its owner") is not None:
            heads.bump(connection, head)
            return
    heads.summary(engine, head)
    raise RolloutNotFound(f"no roll-out of the head {shown(head)!r} is under way", item=shown(head))


def add(engine: Engine, head: str, rollout_id: str, counts: Counts) -> bool:
    """Add what a process has counted; False where the roll-out has ended, and nothing is counted any more."""
    mine = (rollouts.c.head == head, rollouts.c.id == rollout_id, rollouts.c.status == rows.RUNNING)
    more = {name: rollouts.c[name] + number for name, number in rows.columns(counts).items() if number}
    with engine.begin() as connection:
        return connection.execute(rollouts.update().where(*mine).values(**more)).rowcount == 1


def decide(engine: Engine, head: str, rollout_id: str) -> str | None:
    """End a roll-out where its rules say so, or where `live` was moved by somebody who knew nothing of it.

    Returns how it ended; None while it goes on. Any process may ask at any time: one of them decides.
    """
    found = rows.running(engine, head)
    if found is None or found.id != rollout_id or _verdict(engine, found) is None:
        return None
    with engine.begin() as connection:
        next_stages.hold(connection, head)
        live = _live(connection, head)
        present = rows.locked(connection, head)
        if present is None or present.id != rollout_id:
            return None
        status, reason = _judged(present, live)
        if status is None:
            return None
        _end(connection, present, status, reason)
        heads.bump(connection, head)
    return status


def _verdict(engine: Engine, found: Rollout) -> str | None:
    with reading(engine) as connection:
        where = (aliases.c.head == found.head, aliases.c.alias == heads.LIVE)
        live = connection.execute(sa.select(aliases.c.number).where(*where)).scalar()
    return _judged(found, live)[0]


def _judged(rollout: Rollout, live: int | None) -> tuple[Any, str]:
    """(status, reason), where a status of None goes on."""
    if live != rollout.base:
        return STOPPED, f"live is {live or 'no version'} and no longer {rollout.base}, which it was compared with"
    verdict = decision.decide(rollout.counts, rollout.rules)
    return (None, "") if verdict is None else (verdict.status, verdict.reason)


def _end(connection: sa.Connection, rollout: Rollout, status: Any, reason: str) -> None:
    rows.end(connection, rollout.head, status, reason)
    if status == PROMOTED:
        heads.swap(connection, rollout.head, heads.LIVE, rollout.version, rollout.base)
        next_stages.supersede(connection, rollout.head, f"a roll-out put version {rollout.version} live")


def _live(connection: sa.Connection, head: str) -> int | None:
    where = (aliases.c.head == head, aliases.c.alias == heads.LIVE)
    query = sa.select(aliases.c.number).where(*where).with_for_update()
    found: int | None = connection.execute(query).scalar()
    return found


def _pair(connection: sa.Connection, wanted: Rollout) -> tuple[HeadVersion, HeadVersion]:
    """The candidate and the live version, neither of which goes or moves until this transaction ends."""
    candidate = _version(connection, wanted.head, wanted.version)
    number = _live(connection, wanted.head)
    if number is None:
        fix = f"PUT /heads/{shown(wanted.head)}/aliases/live makes one"
        raise Conflict(
            f"the head {shown(wanted.head)!r} has no live version to compare with; {fix}", item=shown(wanted.head)
        )
    return candidate, _version(connection, wanted.head, number)


def _version(connection: sa.Connection, head: str, number: int) -> HeadVersion:
    query = sa.select(versions).where(versions.c.head == head, versions.c.number == number).with_for_update()
    row = connection.execute(query).mappings().first()
    if row is None:
        raise Conflict(f"version {number} of {shown(head)!r} was deleted just now", item=f"{shown(head)}@{number}")
    return heads.version_of(row)


def _same(present: Rollout, made: Rollout) -> bool:
    alike = ("version", "base", "mode", "weight", "rules")
    return all(getattr(present, name) == getattr(made, name) for name in alike)


def _refuse(wanted: Rollout, candidate: HeadVersion, live: HeadVersion) -> None:
    """Raises Conflict for a candidate that cannot be compared with the live version in that way."""
    name, fix = f"{shown(wanted.head)}@{candidate.number}", _fix(wanted, candidate, live)
    if fix is not None:
        raise Conflict(f"version {candidate.number} of {shown(wanted.head)!r} {fix}", item=name)


def _fix(wanted: Rollout, candidate: HeadVersion, live: HeadVersion) -> str | None:
    """What is in the way, and what to do."""
    limits = [wanted.rules.promote_when, wanted.rules.roll_back_when]
    named = {name for limit in limits if limit is not None for name in limit.named()}
    other = candidate.manifest["backbone"]["digest"] != live.manifest["backbone"]["digest"]
    if candidate.number == live.number:
        return "is live already; there is nothing to roll out"
    if candidate.manifest["task"] != live.manifest["task"]:
        return f"does another task than the live version {live.number}; answers of the two cannot be compared"
    if candidate.status == "rejected" and (wanted.mode == "canary" or wanted.rules.promote_when):
        return "lost against the live version when it was made; have it asked in the shadow, without promote_when"
    if other and wanted.mode == "shadow":
        return "reads another backbone than live, whose pass a shadow would need; mode=canary rolls it out"
    if other and "disagreement" in named:
        return "reads another backbone than live, so the two are not compared; leave out the limits of disagreement"
    if "novelty" in named and not all(_tells_novelty(v) for v in (candidate, live)):
        return "or the live one does not tell novelty; leave out the limits of it, or teach the head again"
    return None


def _tells_novelty(version: HeadVersion) -> bool:
    return "novelty" in version.manifest.get("trust", {})
