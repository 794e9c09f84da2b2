"""Reading the audit log, telling whether it is whole, and pruning what is too old."""

import json
from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Any

import sqlalchemy as sa
from sqlalchemy.engine import Engine

from adapters.store.audit.recording import GENESIS, hash_of, record
from adapters.store.audit.tables import audit, chain_end, stubs
from adapters.store.database import clock, reading

PAGE = 1000  # rows a query
BATCH = 20_000  # rows that are pruned in one transaction
DAY = 86_400_000  # milliseconds
SLACK = DAY  # that the oldest row may be older than it is kept: one stub a day, not one a minute


@dataclass(frozen=True, slots=True)
class Verdict:
    """What a look at the whole chain has found; `problem` is None where all is as it was written."""

    rows: int
    sequence: int  # of the last row
    hash: str  # of the last row: noted elsewhere, it proves later that nothing before it was rewritten
    problem: str | None = None


def page(
    engine: Engine, *, limit: int, after: int = 0, since: int | None = None, tenant: str | None = None
) -> list[dict[str, Any]]:
    """Rows by number, those behind `after`; `since` is in milliseconds since 1970."""
    query = sa.select(audit).where(audit.c.sequence > after).order_by(audit.c.sequence).limit(limit)
    if since is not None:
        query = query.where(audit.c.at >= since)
    if tenant is not None:
        query = query.where(audit.c.tenant == tenant)
    with reading(engine) as connection:
        return [_shown(row) for row in connection.execute(query).mappings()]


def _shown(row: sa.RowMapping) -> dict[str, Any]:
    return dict(row) | {"what": json.loads(row["what"])}


def every(engine: Engine, since: int | None = None) -> Iterator[dict[str, Any]]:
    """All rows, a page at a time."""
    after = 0
    while rows := page(engine, limit=PAGE, after=after, since=since):
        yield from rows
        after = rows[-1]["sequence"]


def verify(engine: Engine, expected: tuple[int, str] | None = None) -> Verdict:
    """Go through the chain. `expected` is a row's number and hash that somebody noted before."""
    with reading(engine) as connection:
        end = connection.execute(sa.select(chain_end.c.sequence, chain_end.c.hash)).one()
        stub = connection.execute(sa.select(stubs).order_by(stubs.c.through.desc()).limit(1)).mappings().first()
        found = _walk(connection, (end.sequence, end.hash), stub, expected)
        if found.problem is None and (behind := connection.execute(_BEHIND).scalar()) is not None:
            return replace(found, problem=f"row {behind} is behind the end of the log: nothing of ours has written it")
        return found


# In one statement, so that rows that are appended meanwhile are none of them.
_BEHIND = sa.select(sa.func.min(audit.c.sequence)).where(
    audit.c.sequence > sa.select(chain_end.c.sequence).scalar_subquery()
)


def _walk(
    connection: sa.Connection, end: tuple[int, str], stub: sa.RowMapping | None, expected: tuple[int, str] | None
) -> Verdict:
    sequence, last = (stub["through"], stub["hash"]) if stub else (0, GENESIS)
    known, told, count = stub is None, expected is None or expected[0] <= sequence, 0
    for row in _rows(connection, sequence, end[0]):
        problem = _problem(row, sequence, last)
        if problem is not None:
            return Verdict(count, sequence, last, problem)
        sequence, last, count = row["sequence"], row["hash"], count + 1
        known = known or (row["action"] == "audit.prune" and stub is not None and _names(row, stub))
        if expected is not None and expected[0] == sequence:
            told = expected[1] == last
    return Verdict(count, sequence, last, _of_end(end, (sequence, last), known, told))


def _of_end(end: tuple[int, str], found: tuple[int, str], known: bool, told: bool) -> str | None:
    if found != end:
        return f"the log ends with row {found[0]}, and row {end[0]} was written: the last rows are gone or changed"
    if not known:
        return "rows were pruned of which no row of the log tells"
    return None if told else "the row that was noted is not there as it was: the log was written anew"


def _rows(connection: sa.Connection, after: int, through: int) -> Iterator[sa.RowMapping]:
    while after < through:
        query = sa.select(audit).where(audit.c.sequence > after, audit.c.sequence <= through)
        found = connection.execute(query.order_by(audit.c.sequence).limit(PAGE)).mappings().all()
        yield from found
        if not found:
            return
        after = found[-1]["sequence"]


def _problem(row: sa.RowMapping, before: int, last: str) -> str | None:
    number = row["sequence"]
    if number != before + 1:
        return f"rows {before + 1} to {number - 1} are gone"
    if row["previous"] != last:
        return f"row {number} does not follow row {before}: one of them was changed"
    return None if hash_of(row, last) == row["hash"] else f"row {number} was changed"


def _names(row: sa.RowMapping, stub: sa.RowMapping) -> bool:
    what = json.loads(row["what"])
    return (what.get("through"), what.get("hash")) == (stub["through"], stub["hash"])


def prune(engine: Engine, days: float) -> int:
    """Forget rows that are older; returns how many. 0 days: none is ever forgotten.

    A stub with the number and hash of the last of them takes their place, and a row of the log says so: the triggers
    let nothing be deleted that no stub stands for.
    """
    count = 0
    while days and (gone := _prune_some(engine, round(days * DAY))):
        count += gone
    return count


def due(engine: Engine, days: float) -> int:
    """How many rows `prune` would forget: whole batches, as long as the oldest row is old enough."""
    if not days:
        return 0
    rows, gone = sa.select(audit.c.at).order_by(audit.c.sequence), 0
    with reading(engine) as connection:
        until = round(connection.execute(sa.select(clock())).scalar_one() * 1000) - round(days * DAY)
        query = sa.select(sa.func.count()).select_from(audit).where(audit.c.sequence < _young(until))
        old = int(connection.execute(query).scalar_one())
        while gone < old and connection.execute(rows.offset(gone).limit(1)).scalar_one() < until - SLACK:
            gone = min(gone + BATCH, old)
    return gone


def _young(until: int) -> sa.ColumnElement[int]:
    """The first row that is kept. A beginning of the log goes by its numbers: clocks may have jumped."""
    first = sa.select(sa.func.min(audit.c.sequence)).where(audit.c.at >= until).scalar_subquery()
    return sa.func.coalesce(first, 2**62)


def _prune_some(engine: Engine, kept: int) -> int:
    with reading(engine) as connection:
        moment = round(connection.execute(sa.select(clock())).scalar_one() * 1000)
        oldest = connection.execute(sa.select(audit.c.at).order_by(audit.c.sequence).limit(1)).scalar()
    if oldest is None or oldest >= moment - kept - SLACK:
        return 0
    with engine.begin() as connection:
        return _replace(connection, moment, moment - kept)


def _replace(connection: sa.Connection, moment: int, until: int) -> int:
    connection.execute(sa.select(chain_end.c.id).with_for_update())  # workers that sweep at once take turns
    old = sa.select(audit.c.sequence, audit.c.hash).where(audit.c.sequence < _young(until))
    rows = connection.execute(old.order_by(audit.c.sequence).limit(BATCH)).all()
    if not rows:
        return 0
    last = rows[-1]
    stub = {"through": last.sequence, "hash": last.hash, "count": len(rows)}
    connection.execute(stubs.insert().values(**stub, at=moment))
    record(connection, "audit.prune", **stub)
    connection.execute(audit.delete().where(audit.c.sequence <= last.sequence))
    return len(rows)
