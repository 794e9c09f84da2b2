"""How much a tenant or a key has, and the check that a job is accepted within it: in the transaction that accepts.

A key has the jobs that it handed in, and the heads and examples whose present data one of these jobs has made. What a
job brings counts from its acceptance on: as examples until it ends, and its head from the first. Samples
(adapters/store/sampling) are the tenant's alone, and count as bytes.
"""

import hashlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import sqlalchemy as sa

from adapters import tenancy
from adapters.errors import QuotaExceeded
from adapters.store import conflicts
from adapters.store.quotas.limits import Limits
from adapters.store.quotas.tables import blob_sizes
from adapters.store.schema import api_keys, examples, heads, job_examples, jobs, samples
from adapters.types import TERMINAL

LOCK = 4918275  # class of locks in Postgres; the second number is a tenant's
_CHUNK = 500  # rows a statement
FIX = {
    "heads": "delete heads that are not needed (DELETE /heads/{head})",
    "examples": "delete heads or examples that are not needed (POST /heads/{head}/examples/delete)",
    "bytes": "delete heads, examples or samples that are not needed (POST /heads/{head}/examples/delete, "
    "DELETE /heads/{head}/samples)",
    "jobs": "wait until one has ended (GET /jobs)",
}
RETRY = {"jobs": 5.0}  # seconds until it is worth to ask again; others wait for somebody to delete something
LATER = 300.0


@dataclass(frozen=True, slots=True)
class Owner:
    """A tenant, or one key of it."""

    tenant: str
    key: str = ""

    def has_job(self) -> sa.ColumnElement[bool]:
        """Of the jobs table: whose it is."""
        mine = of_tenant(jobs.c.head, self.tenant)
        return mine & self.handed_in() if self.key else mine

    def handed_in(self) -> sa.ColumnElement[bool]:
        """Of the jobs table: by this key, or by one that was rotated into it."""
        line = sa.select(api_keys.c.replaces).where(api_keys.c.id == self.key).cte(recursive=True)
        older = sa.select(api_keys.c.replaces).join(line, api_keys.c.id == line.c.replaces)
        return (jobs.c.principal == self.key) | jobs.c.principal.in_(sa.select(line.union(older).c.replaces))


def of_tenant(head: sa.ColumnElement[str], tenant: str) -> sa.ColumnElement[bool]:
    """Whether a head is a tenant's, by its name; see `adapters.tenancy`."""
    if tenant == tenancy.DEFAULT:
        return ~head.contains(tenancy.SEPARATOR, autoescape=True)
    return head.startswith(f"{tenant}{tenancy.SEPARATOR}", autoescape=True)


def used(connection: sa.Connection, owner: Owner, name: str, without: str = "") -> int:
    """How much of what `name` says somebody has; `without` is a job that shall not count."""
    return int(connection.execute(_COUNTS[name](owner, without)).scalar_one() or 0)


def _jobs(owner: Owner, without: str) -> sa.Select[Any]:
    """Next stages do not count: nobody asked for them, and they give way to all that somebody did."""
    return sa.select(sa.func.count()).select_from(jobs).where(*_unfinished(owner, without), jobs.c.stage == 0)


def _unfinished(owner: Owner, without: str) -> tuple[sa.ColumnElement[bool], ...]:
    return owner.has_job(), jobs.c.status.not_in(sorted(TERMINAL)), jobs.c.id != without


def _heads(owner: Owner, without: str) -> sa.Select[Any]:
    """Those that are there, and those that unfinished jobs will make."""
    there = sa.select(heads.c.name.label("head")).where(of_tenant(heads.c.name, owner.tenant))
    if owner.key:
        there = there.where(heads.c.name.in_(sa.select(_held(owner).c.head)))
    coming = sa.select(jobs.c.head).where(*_unfinished(owner, without))
    return sa.select(sa.func.count()).select_from(there.union(coming).subquery())


def _held(owner: Owner) -> sa.Subquery:
    """(head, sha256) of examples that heads hold."""
    query = sa.select(examples.c.head, examples.c.sha256).where(of_tenant(examples.c.head, owner.tenant))
    if owner.key:
        query = query.join(jobs, jobs.c.id == examples.c.job_id).where(owner.handed_in())
    return query.subquery("held")


def _brought(owner: Owner, without: str) -> sa.Subquery:
    """(head, sha256) of examples that unfinished jobs have brought."""
    query = sa.select(jobs.c.head, job_examples.c.sha256).join(jobs, jobs.c.id == job_examples.c.job_id)
    return query.where(*_unfinished(owner, without)).distinct().subquery("brought")


def _examples(owner: Owner, without: str) -> sa.Select[Any]:
    """Looks up what jobs bring among what is held, instead of a union of all: there are few of those."""
    held, brought = _held(owner), _brought(owner, without)
    again = sa.exists().where(held.c.head == brought.c.head, held.c.sha256 == brought.c.sha256)
    there = sa.select(sa.func.count()).select_from(held).scalar_subquery()
    coming = sa.select(sa.func.count()).select_from(brought).where(~again).scalar_subquery()
    return sa.select(there + coming)


def _bytes(owner: Owner, without: str) -> sa.Select[Any]:
    held, brought = _held(owner), _brought(owner, without)
    parts = [sa.select(held.c.sha256), sa.select(brought.c.sha256)]
    if not owner.key:  # what was asked is of no key
        parts.append(sa.select(samples.c.sha256).where(of_tenant(samples.c.head, owner.tenant)))
    mine = sa.union(*parts).subquery()
    query = sa.select(sa.func.coalesce(sa.func.sum(blob_sizes.c.bytes), 0))
    return query.select_from(mine.join(blob_sizes, blob_sizes.c.digest == mine.c.sha256))


_COUNTS: Mapping[str, Callable[[Owner, str], sa.Select[Any]]] = {
    "heads": _heads, "examples": _examples, "bytes": _bytes, "jobs": _jobs,
}  # fmt: skip


def take_turn(connection: sa.Connection, tenant: str) -> None:
    """Until the end of this transaction no other accepts anything for the tenant. SQLite has one writer anyway."""
    if connection.dialect.name == "postgresql":
        number = int.from_bytes(hashlib.sha256(tenant.encode()).digest()[:4], "big", signed=True)
        connection.execute(sa.text("SELECT pg_advisory_xact_lock(:kind, :number)"), {"kind": LOCK, "number": number})


def require(connection: sa.Connection, owner: Owner, limits: Limits, job_id: str, names: Sequence[str]) -> None:
    """After a job was added, in the same transaction, after `take_turn`. Raises QuotaExceeded.

    Whoever has more than he may, since less was allowed meanwhile, may still do what adds nothing.
    """
    for name in names:
        limit = getattr(limits, name)
        if limit is not None and (now := used(connection, owner, name)) > limit:
            before = used(connection, owner, name, job_id)
            if now > before:
                raise exceeded(owner, name, int(limit), before, now - before)


def exceeded(owner: Owner, name: str, limit: int, before: int, more: int) -> QuotaExceeded:
    """The error that says what there is and what to do."""
    whose = "this key" if owner.key else "this tenant"
    most = f"{whose} may have {limit:,} {name}, has {before:,} and would get {more:,} more"
    message = f"{most}; {FIX[name]}, or ask an administrator for more"
    return QuotaExceeded(message, quota=name, limit=limit, used=before, retry_after=RETRY.get(name, LATER))


def note_sizes(connection: sa.Connection, sizes: Mapping[str, int]) -> None:
    """Keep how large blobs are: digest → bytes."""
    rows = [{"digest": digest, "bytes": size} for digest, size in sorted(sizes.items())]  # in one order: no deadlock
    for chunk in _chunks(rows):
        connection.execute(conflicts.insert(connection, blob_sizes).on_conflict_do_nothing(), chunk)


def _chunks(rows: Sequence[Any]) -> Iterator[Sequence[Any]]:
    for start in range(0, len(rows), _CHUNK):
        yield rows[start : start + _CHUNK]
