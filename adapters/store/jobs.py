"""Jobs: the truth that the API reads. A row is the promise that `202` makes; `leases` are how workers find work."""

import hashlib
import secrets
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict
from typing import Any

import sqlalchemy as sa
from sqlalchemy.engine import Engine
from sqlalchemy.exc import IntegrityError

from adapters import tenancy
from adapters.errors import Cancelled, IdempotencyConflict, JobNotFound
from adapters.store import events
from adapters.store import examples as example_store
from adapters.store.audit import actor as actors
from adapters.store.audit.recording import record
from adapters.store.database import aware, now, reading
from adapters.store.objects import blobs
from adapters.store.quotas.usage import note_sizes
from adapters.store.schema import counters, job_events, job_shards, jobs
from adapters.store.whose import ANYBODYS, Whose
from adapters.types import TERMINAL, Edit, Example, Job, JobRequest

ENDED = _TERMINAL = sorted(TERMINAL)
OF_TENANT = "\x1f"  # in no key of a caller's: headers have no control characters
DELETED = ""  # in place of the head's name: it was deleted while a job of it still let go of what it held
NOBODYS: Mapping[str, str | None] = {}  # origin of a job that no request asked for


def unguarded(_: sa.Connection, job_id: str) -> None:
    """Whoever asks may have as many as he likes."""


def create(
    engine: Engine,
    request: JobRequest,
    items: Sequence[Example],
    *,
    fingerprint: str,
    idempotency_key: str | None = None,
    holder: str | None = None,
    sizes: Mapping[str, int] | None = None,
    guard: Callable[[sa.Connection, str], None] = unguarded,
    origin: Mapping[str, str | None] = NOBODYS,
) -> Job:
    """Accept a job with its examples, in one transaction. The same key and body give the job there already is.

    `holder` is who holds the examples' blobs until then; None for a job that brings none. `sizes` are their bytes by
    SHA-256. `guard` is called with the job's id when all of it is there, and what it raises takes all back. `origin` is
    what asks for it: {"request_id", "traceparent"}. Raises IdempotencyConflict when the key came with another body.
    """
    job_id = new_id()
    key = _own(request.head, idempotency_key)
    row = _row(job_id, request) | {"idempotency_key": key, "fingerprint": fingerprint} | dict(origin)
    try:
        with blobs.together(engine) as connection:
            connection.execute(jobs.insert().values(**row))
            example_store.add_to_job(connection, job_id, items)
            if holder is not None:
                blobs.settle(connection, holder, [item.sha256 for item in items])
            note_sizes(connection, sizes or {})
            guard(connection, job_id)
            events.add(connection, job_id, "status", {"status": "queued"})
            record(connection, "job.create", head=request.head, job=job_id, examples=len(items), **_kind(request))
            _number(connection, job_id)  # last: others that accept wait for it until this commits
    except IntegrityError:
        existing = find_by_key(engine, request.head, idempotency_key, fingerprint)
        if existing is None:
            raise
        return existing
    return get(engine, job_id)


def _told(request: JobRequest) -> dict[str, Any]:
    """As it is kept; what a release before did not know only where it says something, so that this one's rows that say
    nothing new are that one's, too."""
    plain = {"deep": "never", "of": None, "keep_examples": True}
    return {name: value for name, value in asdict(request).items() if plain.get(name, ...) != value}


def new_id() -> str:
    """Nobody's before."""
    return f"job_{secrets.token_hex(12)}"


def _row(job_id: str, request: JobRequest) -> dict[str, Any]:
    """Of a job that is accepted now."""
    moment = now()
    return {
        "id": job_id, "head": request.head, "request": _told(request), "status": "queued", "progress": {},
        "cancel_requested": False, "created_at": moment, "updated_at": moment,
        "principal": actors.current().principal or None,
    }  # fmt: skip


def _kind(request: JobRequest) -> dict[str, Any]:
    """What a job is for, in a word or two."""
    if request.edit is None:
        return {"mode": request.mode}
    return {"edit": ", ".join(name for name, value in asdict(request.edit).items() if value) or "rebuild"}


def create_next(connection: sa.Connection, request: JobRequest) -> str:
    """Queue the next stage of the job `request.of`, in the transaction that ends that; returns its id.

    It is as if whoever handed that in had handed in this.
    """
    job_id = new_id()
    of = connection.execute(sa.select(jobs).where(jobs.c.id == request.of)).mappings().one()
    theirs = {name: of[name] for name in ("principal", "request_id", "traceparent")}
    connection.execute(jobs.insert().values(**_row(job_id, request) | theirs | {"fingerprint": "", "stage": 1}))
    events.add(connection, job_id, "status", {"status": "queued"})
    record(connection, "job.create", head=request.head, job=job_id, examples=0, of=request.of)
    _number(connection, job_id)
    return job_id


def _number(connection: sa.Connection, job_id: str) -> None:
    """Jobs are committed in the order of their numbers: who was told `202` before another is ahead of it."""
    connection.execute(counters.update().where(counters.c.name == "jobs").values(value=counters.c.value + 1))
    number = sa.select(counters.c.value).where(counters.c.name == "jobs").scalar_subquery()
    connection.execute(jobs.update().where(jobs.c.id == job_id).values(sequence=number))


def find_by_key(engine: Engine, head: str, key: str | None, fingerprint: str) -> Job | None:
    """The job that an Idempotency-Key stands for among those of the head's tenant, if any.

    Raises IdempotencyConflict when the body differs.
    """
    if key is None:
        return None
    with reading(engine) as connection:
        own = jobs.c.idempotency_key == _own(head, key)
        row = connection.execute(sa.select(jobs).where(own)).mappings().first()
    if row is None:
        return None
    if row["fingerprint"] != fingerprint:
        raise IdempotencyConflict("this Idempotency-Key came before with another body; use a new key", item=key)
    return _job(row)


def _own(head: str, key: str | None) -> str | None:
    """A key as it is kept: two tenants may choose the same, and neither meets the other's."""
    tenant = tenancy.tenant_of(head)
    if key is None or not tenant:
        return key
    return f"{tenant}{OF_TENANT}{hashlib.sha256(key.encode()).hexdigest()}"


def get(engine: Engine, job_id: str) -> Job:
    """One job. Raises JobNotFound."""
    with reading(engine) as connection:
        row = connection.execute(sa.select(jobs).where(jobs.c.id == job_id)).mappings().first()
    if row is None:
        raise missing(job_id)
    return _job(row)


def head_of(engine: Engine, job_id: str) -> str:
    """The name under which the head of a job is kept, also once that is deleted. Raises JobNotFound."""
    with reading(engine) as connection:
        request = connection.execute(sa.select(jobs.c.request).where(jobs.c.id == job_id)).scalar()
    if request is None:
        raise missing(job_id)
    return str(request["head"])


def list_page(
    engine: Engine,
    *,
    limit: int,
    head: str | None = None,
    status: str | None = None,
    before: int | None = None,
    whose: Whose = ANYBODYS,
) -> list[Job]:
    """Jobs, the last accepted first, a page at a time: those before a sequence number."""
    query = sa.select(jobs).where(*whose.of(jobs.c.head)).order_by(jobs.c.sequence.desc()).limit(limit)
    if head is not None:
        query = query.where(jobs.c.head == head)
    if status is not None:
        query = query.where(jobs.c.status == status)
    if before is not None:
        query = query.where(jobs.c.sequence < before)
    with reading(engine) as connection:
        return [_job(row) for row in connection.execute(query).mappings()]


def count_unfinished(engine: Engine, asked_for: bool = False) -> int:
    """How many jobs wait or run; with `asked_for` without next stages, which keep nobody waiting."""
    asked, following = unfinished_by_stage(engine)
    return asked if asked_for else asked + following


def unfinished_by_stage(engine: Engine) -> tuple[int, int]:
    """How many jobs wait or run that somebody asked for, and how many next stages."""
    query = sa.select(jobs.c.stage, sa.func.count()).where(jobs.c.status.not_in(_TERMINAL)).group_by(jobs.c.stage)
    with reading(engine) as connection:
        found = {stage: int(count) for stage, count in connection.execute(query)}
    return found.get(0, 0), found.get(1, 0)


def unfinished(connection: sa.Connection, head: str) -> list[str]:
    """Jobs of a head that somebody asked for and that have not ended."""
    return list(connection.execute(sa.select(jobs.c.id).where(*is_unfinished(head))).scalars())


def is_unfinished(head: str, stage: int = 0) -> tuple[sa.ColumnElement[bool], ...]:
    """What is true of a head's jobs that have not ended: those that were asked for, or next stages (1)."""
    return jobs.c.head == head, jobs.c.stage == stage, jobs.c.status.not_in(_TERMINAL)


def enter(engine: Engine, job_id: str, status: str) -> None:
    """Note that a job is in a new phase. Raises Cancelled when it has ended, or its owner wants it to."""
    with engine.begin() as connection:
        row = refuse_unwanted(connection, job_id)
        values: dict[str, Any] = {"status": status, "updated_at": now(), "progress": {}}
        if row["started_at"] is None:
            values["started_at"] = now()
        connection.execute(jobs.update().where(jobs.c.id == job_id).values(**values))
        events.add(connection, job_id, "status", {"status": status})


def progress(engine: Engine, job_id: str, done: int, total: int) -> None:
    """Note how far the present phase is. Raises Cancelled as `enter` does."""
    with engine.begin() as connection:
        row = refuse_unwanted(connection, job_id)
        facts = {"phase": row["status"], "done": done, "total": total}
        connection.execute(jobs.update().where(jobs.c.id == job_id).values(progress=facts, updated_at=now()))
        events.add(connection, job_id, "progress", facts)


def tell(engine: Engine, job_id: str, type: str, data: dict[str, Any]) -> None:
    """Add an event to a job's stream."""
    with engine.begin() as connection:
        _locked(connection, job_id)
        events.add(connection, job_id, type, data)


def refuse_unwanted(connection: sa.Connection, job_id: str) -> sa.RowMapping:
    """Lock a job's row and return it. Raises Cancelled when it has ended, or its owner wants it to."""
    row = _locked(connection, job_id)
    if row["cancel_requested"] or row["status"] in TERMINAL:
        raise Cancelled(f"the job {job_id} was cancelled")
    return row


def finish(connection: sa.Connection, job_id: str, status: str, **values: Any) -> bool:
    """Give a job its one end; False when it has one already. Its examples are the head's now, or nobody's."""
    where = (jobs.c.id == job_id, jobs.c.status.not_in(_TERMINAL))
    moment = now()
    row = {"status": status, "updated_at": moment, "finished_at": moment} | values
    if connection.execute(jobs.update().where(*where).values(**row)).rowcount == 0:
        return False
    final = {"status": status} | {k: v for k, v in values.items() if k in ("version", "error", "metrics")}
    events.add(connection, job_id, "final", final)
    return True


def abandon(engine: Engine, job_id: str, status: str, error: dict[str, Any] | None) -> list[str]:
    """End a job without a version; returns SHA-256 of blobs that nothing else uses, for `blobs.sweep` to delete."""
    with blobs.alone(engine) as connection:
        finish(connection, job_id, status, error=error)
        return _settle(connection, job_id)


def release(engine: Engine, job_id: str) -> list[str]:
    """Let go of what came with a job that has ended, of what it wrote, and of data that it replaced: it is settled."""
    with blobs.alone(engine) as connection:
        return _settle(connection, job_id)


def _settle(connection: sa.Connection, job_id: str) -> list[str]:
    freed = let_go(connection, job_id)
    connection.execute(jobs.delete().where(jobs.c.id == job_id, jobs.c.head == DELETED))
    return freed


def drop_head(connection: sa.Connection, head: str) -> None:
    """Forget the ended jobs of a head: what they told of it, too. One that still holds something goes with that."""
    mine = (jobs.c.head == head, jobs.c.status.in_(_TERMINAL))
    connection.execute(jobs.delete().where(*mine, jobs.c.settled))  # events go with them
    left = sa.select(jobs.c.id).where(*mine)
    connection.execute(job_events.delete().where(job_events.c.job_id.in_(left)))
    nothing = {"head": DELETED, "report": None, "metrics": None, "error": None, "idempotency_key": None}
    connection.execute(jobs.update().where(*mine).values(**nothing))


def request_cancel(engine: Engine, job_id: str) -> tuple[Job, list[str]]:
    """End a job as cancelled, now, whether it waits or a worker is at work on it; leave alone what has ended.

    Nothing waits for the worker, which may be gone: its lease is lost with this, and it stops at its next look.
    Returns the job and uploads that nothing uses any more. Raises JobNotFound.
    """
    get(engine, job_id)
    freed: list[str] = []
    with blobs.alone(engine) as connection:
        if _locked(connection, job_id)["status"] not in TERMINAL:
            finish(connection, job_id, "cancelled", cancel_requested=True)
            record(connection, "job.cancel", head=_head_of(connection, job_id), job=job_id)
            freed = let_go(connection, job_id)
    return get(engine, job_id), freed


def _head_of(connection: sa.Connection, job_id: str) -> str:
    return str(connection.execute(sa.select(jobs.c.head).where(jobs.c.id == job_id)).scalar_one())


def is_settled(engine: Engine, job_id: str) -> bool:
    """Whether nothing is left to be done for a job: it has ended and holds nothing, or it is forgotten."""
    with reading(engine) as connection:
        return connection.execute(sa.select(jobs.c.settled).where(jobs.c.id == job_id)).scalar() is not False


def is_cancelled(engine: Engine, job_id: str) -> bool:
    """Whether work on a job should stop."""
    with reading(engine) as connection:
        row = connection.execute(
            sa.select(jobs.c.status, jobs.c.cancel_requested).where(jobs.c.id == job_id)
        ).one_or_none()
    return row is None or row.cancel_requested or row.status in TERMINAL


def let_go(connection: sa.Connection, job_id: str) -> list[str]:
    """Forget what a job holds; returns digests of blobs that nothing else uses."""
    values: dict[str, Any] = {"settled": True, "worker": None, "lease_token": None, "lease_until": None}
    values["checkpoint"] = None
    connection.execute(jobs.update().where(jobs.c.id == job_id).values(**values))
    connection.execute(job_shards.delete().where(job_shards.c.job_id == job_id))
    return example_store.drop_job(connection, job_id) + blobs.drop_job(connection, job_id)


def _locked(connection: sa.Connection, job_id: str) -> sa.RowMapping:
    """Raises JobNotFound: its head may have been deleted meanwhile."""
    row = connection.execute(sa.select(jobs).where(jobs.c.id == job_id).with_for_update()).mappings().first()
    if row is None:
        raise missing(job_id)
    return row


def missing(job_id: str) -> JobNotFound:
    """The error for a job that is not there, or not the caller's."""
    return JobNotFound(f"no job has the id {job_id!r}; GET /jobs lists them", item=job_id)


def _job(row: sa.RowMapping) -> Job:
    plain = (
        "id",
        "sequence",
        "status",
        "version",
        "metrics",
        "report",
        "error",
        "cancel_requested",
        "progress",
        "request_id",
    )
    times = ("created_at", "updated_at", "started_at", "finished_at")
    facts: dict[str, Any] = {k: row[k] for k in plain} | {k: row[k] and aware(row[k]) for k in times}
    waits = row["failures"] and row["status"] not in TERMINAL
    facts["retry"] = {"failures": row["failures"]} | (row["trouble"] or {}) if waits else None
    return Job(request=_request(row["request"]), **facts)


def _request(facts: dict[str, Any]) -> JobRequest:
    """What a later release says besides is not understood, and left out."""
    edit = facts.get("edit")
    known = {name: value for name, value in facts.items() if name in JobRequest.__dataclass_fields__}
    return JobRequest(**known | {"edit": None if edit is None else Edit(**edit)})
