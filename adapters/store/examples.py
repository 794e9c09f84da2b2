"""The examples of each head. Their bytes are blobs, shared by all heads that were sent the same file."""

import json
from collections.abc import Iterable, Iterator, Sequence

import sqlalchemy as sa
from sqlalchemy.engine import Engine

from adapters.errors import CorruptArtifact, ExampleDamaged, ExampleNotFound
from adapters.store.database import reading
from adapters.store.objects import blobs
from adapters.store.objects.artifacts import Artifacts
from adapters.store.schema import embeddings, examples, job_examples, jobs
from adapters.store.whose import Whose
from adapters.tenancy import shown, tenant_of
from adapters.types import Assignment, Example, JobRequest

_CHUNK = 500  # keys a query


def of_head(engine: Engine, head: str) -> list[tuple[Example, Assignment]]:
    """Every example of a head with where it was put, in a stable order."""
    with reading(engine) as connection:
        query = sa.select(examples).where(examples.c.head == head).order_by(examples.c.sha256)
        return [(_example(row), _assignment(row)) for row in connection.execute(query).mappings()]


def of_job(engine: Engine, job_id: str) -> list[Example]:
    """The examples that came with a job, in the order they were sent."""
    with reading(engine) as connection:
        query = sa.select(job_examples).where(job_examples.c.job_id == job_id).order_by(job_examples.c.position)
        return [_example(row) for row in connection.execute(query).mappings()]


def page(
    engine: Engine,
    head: str,
    *,
    limit: int,
    after: str = "",
    label: str | None = None,
    split: str | None = None,
    among: Sequence[str] | None = None,
) -> list[tuple[Example, Assignment]]:
    """A page of a head's examples by SHA-256.

    `split` "none" means those that were left out of training; `among` leaves only these SHA-256 in.
    """
    query = sa.select(examples).where(examples.c.head == head, examples.c.sha256 > after)
    if label is not None:
        # A list of labels is kept as JSON: it matches where the label is one of them.
        listed = examples.c.label.startswith("[") & examples.c.label.contains(_quoted(label), autoescape=True)
        query = query.where(sa.or_(examples.c.label == label, listed))
    if among is not None:
        query = query.where(examples.c.sha256.in_(among))
    if split is not None:
        assigned = examples.c.assigned_split
        query = query.where(assigned.is_(None) if split == "none" else assigned == split)
    with reading(engine) as connection:
        rows = connection.execute(query.order_by(examples.c.sha256).limit(limit)).mappings()
        return [(_example(row), _assignment(row)) for row in rows]


def _quoted(name: str) -> str:
    return json.dumps(name, ensure_ascii=False)


def find(engine: Engine, head: str, sha256: str) -> Example:
    """One example of a head. Raises ExampleNotFound."""
    query = sa.select(examples).where(examples.c.head == head, examples.c.sha256 == sha256)
    with reading(engine) as connection:
        row = connection.execute(query).mappings().first()
    if row is None:
        raise missing(head, sha256)
    return _example(row)


def stored(artifacts: Artifacts, example: Example) -> bytes:
    """The bytes of an example, as they were sent. Raises ExampleDamaged, StorageError."""
    try:
        return artifacts.get(example.sha256)
    except CorruptArtifact as error:
        name = f"the example {example.sha256} ({example.file_name[:100]})"
        message = f"{name} is damaged in the store; send the same file again (POST /finetune), or delete the example"
        raise ExampleDamaged(message, item=example.sha256) from error


def missing(head: str, sha256: str) -> ExampleNotFound:
    """The error for an example that a head does not hold."""
    where = f"GET /heads/{shown(head)}/examples lists what it holds"
    return ExampleNotFound(f"the head {shown(head)!r} holds no example {sha256}; {where}", item=sha256)


def job_of_head(engine: Engine, head: str) -> str | None:
    """The job that made a head's data what they are; None for a head that holds none."""
    with reading(engine) as connection:
        return connection.execute(sa.select(examples.c.job_id).where(examples.c.head == head).limit(1)).scalar()


def labels_of_head(engine: Engine, head: str) -> dict[str, str]:
    """SHA-256 → label of a head's examples."""
    with reading(engine) as connection:
        query = sa.select(examples.c.sha256, examples.c.label).where(examples.c.head == head)
        return {sha: label for sha, label in connection.execute(query)}


def add_to_job(connection: sa.Connection, job_id: str, items: Sequence[Example], *, start: int = 0) -> None:
    """Keep examples beside a job, at positions from `start`, until it ends."""
    rows = [{"job_id": job_id, "position": i} | _columns(e) for i, e in enumerate(items, start)]
    if rows:
        connection.execute(job_examples.insert(), rows)


def commit(
    connection: sa.Connection, request: JobRequest, dataset: Sequence[tuple[Example, Assignment]], job_id: str
) -> None:
    """Make the data of a finished job the head's data: exactly what the version was trained and measured on.

    With `keep_examples=false` the head holds nothing. What it held before and holds no more goes to the job, which lets
    go of it at its end as of what it brought.
    """
    _hand_to_job(connection, request.head, {e.sha256 for e, _ in dataset}, job_id)
    connection.execute(examples.delete().where(examples.c.head == request.head))
    rows = [
        {"head": request.head, "assigned_split": a.split, "job_id": job_id} | _columns(e) for e, a in dataset
    ]  # fmt: skip
    if rows:
        connection.execute(examples.insert(), rows)


def _hand_to_job(connection: sa.Connection, head: str, kept: set[str], job_id: str) -> None:
    rows = connection.execute(sa.select(examples).where(examples.c.head == head)).mappings()
    replaced = [_example(row) for row in rows if row["sha256"] not in kept]
    last = sa.select(sa.func.max(job_examples.c.position)).where(job_examples.c.job_id == job_id)
    first = connection.execute(last).scalar()
    add_to_job(connection, job_id, replaced, start=0 if first is None else first + 1)


def drop_head(connection: sa.Connection, head: str) -> list[str]:
    """Forget a head's examples; returns the SHA-256 of those that nothing else uses (their embeddings go too)."""
    keys = list(connection.execute(sa.select(examples.c.sha256).where(examples.c.head == head)).scalars())
    connection.execute(examples.delete().where(examples.c.head == head))
    _forget_embeddings(connection, tenant_of(head), keys)
    return forget_unused(connection, keys)


def drop_job(connection: sa.Connection, job_id: str) -> list[str]:
    """Forget what came with a job; returns the SHA-256 of those that nothing else uses."""
    keys = list(connection.execute(sa.select(job_examples.c.sha256).where(job_examples.c.job_id == job_id)).scalars())
    connection.execute(job_examples.delete().where(job_examples.c.job_id == job_id))
    request = connection.execute(sa.select(jobs.c.request).where(jobs.c.id == job_id)).scalar()
    _forget_embeddings(connection, tenant_of(request["head"]) if request else "", keys)
    return forget_unused(connection, keys)


def forget_unused(connection: sa.Connection, keys: Iterable[str]) -> list[str]:
    """Bury inputs that nobody needs any more, delete their embeddings at once, and return their SHA-256."""
    unused = blobs.bury(connection, keys)
    for chunk in _chunks(unused):
        connection.execute(embeddings.delete().where(embeddings.c.sha256.in_(chunk)))
    return unused


def _forget_embeddings(connection: sa.Connection, tenant: str, keys: Sequence[str]) -> None:
    """Those of inputs that no head and no job of a tenant holds, though others may: what it forgot was never there."""
    whose = Whose(tenant)
    for chunk in _chunks(keys):
        of_job = sa.select(job_examples.c.sha256).join(jobs, jobs.c.id == job_examples.c.job_id)
        held = (
            sa.select(examples.c.sha256).where(examples.c.sha256.in_(chunk), *whose.of(examples.c.head)),
            of_job.where(job_examples.c.sha256.in_(chunk), *whose.of(jobs.c.head)),
        )
        still = {sha256 for query in held for sha256 in connection.execute(query).scalars()}
        gone = [sha256 for sha256 in chunk if sha256 not in still]
        connection.execute(embeddings.delete().where(embeddings.c.sha256.in_(gone), *whose.of(embeddings.c.backbone)))


def _columns(example: Example) -> dict[str, str | None]:
    return {
        "sha256": example.sha256, "label": example.label, "file_name": example.file_name,
        "wished_split": example.split, "group": example.group,
    }  # fmt: skip


def _example(row: sa.RowMapping) -> Example:
    return Example(row["sha256"], row["label"], row["file_name"], row["wished_split"], row["group"])


def _assignment(row: sa.RowMapping) -> Assignment:
    return Assignment(row["sha256"], row["label"], row["assigned_split"])


def _chunks(keys: Sequence[str]) -> Iterator[Sequence[str]]:
    for start in range(0, len(keys), _CHUNK):
        yield keys[start : start + _CHUNK]
