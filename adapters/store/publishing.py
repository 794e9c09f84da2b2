"""Publishing: a proven head becomes a version, with all that follows from it, in one transaction."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import sqlalchemy as sa
from sqlalchemy.engine import Engine

from adapters.errors import Cancelled
from adapters.store import examples as example_store
from adapters.store import heads as head_store
from adapters.store import jobs as job_store
from adapters.store import next_stages
from adapters.store.audit.recording import record
from adapters.store.database import now
from adapters.store.objects import blobs
from adapters.store.rollouts import changes as rollout_changes
from adapters.store.sampling import samples as sample_store
from adapters.store.schema import aliases, deleted_heads, heads, versions
from adapters.store.upkeep import retirement
from adapters.tenancy import shown
from adapters.types import Assignment, Example, JobRequest


@dataclass(frozen=True, slots=True)
class Publication:
    """A proven head, ready to become a version."""

    job_id: str
    request: JobRequest
    digest: str
    manifest: dict[str, Any]
    metrics: dict[str, Any]
    report: dict[str, Any]
    dataset: Sequence[tuple[Example, Assignment]]
    rejected: bool  # lost against the live version
    expected_live: int | None  # the version that the gate compared with
    retired: Sequence[int] = ()  # versions that must not outlive this one: they hold what it has unlearned
    next: JobRequest | None = None  # the next stage of its job, should it go live …
    instead: bool = False  # … and only in place of one that waits already

    @property
    def kept(self) -> Sequence[tuple[Example, Assignment]]:
        """What the head holds from now on: nothing where its examples go once the version is live."""
        return self.dataset if self.request.keep_examples else ()

    @property
    def moves_live(self) -> bool:
        """Whether it goes live; a change that an owner asked for does where there is a live version to follow."""
        always = self.request.deploy == "always" and self.expected_live is not None
        return not self.rejected and (always or self.request.deploy == "auto")


def publish(engine: Engine, publication: Publication) -> int:
    """Row, examples, alias compare-and-swap, generation and the job's end: all of it, or nothing.

    Returns the version number; the same job asked again gets the same number. Raises AliasMoved when `live` is no
    longer the version that the gate looked at, Cancelled when the job has ended meanwhile or its owner wants it to, or
    when it is a next stage of a version that its owner has decided about since.
    """
    with blobs.together(engine) as connection:
        existing = connection.execute(
            sa.select(versions.c.number).where(versions.c.job_id == publication.job_id)
        ).scalar()
        if existing is not None:
            return int(existing)
        job_store.refuse_unwanted(connection, publication.job_id)
        next_stages.hold(connection, publication.request.head)
        decided = _decided_otherwise(connection, publication.request)
        if decided is None:
            return _commit(connection, publication)
        next_stages.end(connection, publication.job_id, decided)
    raise Cancelled(decided)


def _decided_otherwise(connection: sa.Connection, request: JobRequest) -> str | None:
    """Why a next stage takes nobody's place, though its head's data are the same: only that of the version before it.

    Whoever moves `live` or begins a roll-out has ended it already, unless a process of an earlier release did so.
    """
    if request.of is None:
        return None
    pointing = (aliases.c.head == versions.c.head) & (aliases.c.number == versions.c.number)
    query = sa.select(versions.c.job_id).join(aliases, pointing)
    live = connection.execute(query.where(aliases.c.head == request.head, aliases.c.alias == head_store.LIVE)).scalar()
    if live != request.of:
        return f"{shown(request.head)}@live is no longer the version of the job {request.of}"
    running = rollout_changes.is_running(connection, request.head)
    return f"a roll-out of {shown(request.head)} is under way" if running else None


def _commit(connection: sa.Connection, publication: Publication) -> int:
    number = _insert_version(connection, publication)
    if not publication.rejected:  # data that made a head worse must not spoil the next one, nor replace good data
        example_store.commit(connection, publication.request, publication.kept, publication.job_id)
        sample_store.drop_taught(connection, publication.request.head, publication.job_id)
    if publication.moves_live:
        head_store.swap(connection, publication.request.head, head_store.LIVE, number, publication.expected_live)
        rollout_changes.live_moved(connection, publication.request.head, number, "by a job that made it")
    report = publication.report | _retire(connection, publication, number) | _stages(connection, publication)
    _end_job(
        connection,
        publication,
        number,
        report | {"generation": head_store.bump(connection, publication.request.head)},
    )
    return number


def _stages(connection: sa.Connection, publication: Publication) -> dict[str, Any]:
    """Next stages on data that the head has no more end; one on these begins. What its report says of that."""
    if publication.rejected:
        return {}
    head, job_id = publication.request.head, publication.job_id
    ended = next_stages.supersede(connection, head, f"the job {job_id} changed the head's data meanwhile", but=job_id)
    if publication.next is None or not publication.moves_live or (publication.instead and not ended):
        return {}
    said = publication.report.get("deep", {"stage": "shallow"})
    return {"deep": said | {"next": job_store.create_next(connection, publication.next)}}


def _end_job(connection: sa.Connection, publication: Publication, number: int, report: dict[str, Any]) -> None:
    """Its row in the audit log, and the one end that the job has."""
    job_id, moved = publication.job_id, head_store.LIVE if publication.moves_live else None
    record(
        connection, "version.publish", head=publication.request.head, version=number, job=job_id, alias=moved,
        rejected=publication.rejected or None,
    )  # fmt: skip
    status = "rejected" if publication.rejected else "succeeded"
    job_store.finish(connection, job_id, status, version=number, metrics=publication.metrics, report=report)


def _retire(connection: sa.Connection, publication: Publication, number: int) -> dict[str, Any]:
    if not publication.retired:
        return {}
    head, job_id = publication.request.head, publication.job_id
    return {"retired": retirement.retire(connection, head, publication.retired, number, job_id)}


def _insert_version(connection: sa.Connection, publication: Publication) -> int:
    name = publication.request.head
    row = connection.execute(sa.select(heads.c.next_version).where(heads.c.name == name).with_for_update()).scalar()
    if row is None:
        row = _first_number(connection, name)
        connection.execute(
            heads.insert().values(name=name, task=publication.request.task, created_at=now(), next_version=row)
        )
    number = int(row)
    connection.execute(
        heads.update().where(heads.c.name == name).values(next_version=number + 1, task=publication.request.task)
    )
    manifest = publication.manifest | {"head": shown(name), "version": number}
    status = "rejected" if publication.rejected else "published"
    connection.execute(
        versions.insert().values(
            head=name, number=number, digest=publication.digest, status=status, manifest=manifest,
            job_id=publication.job_id, created_at=now(),
        )
    )  # fmt: skip
    blobs.keep_version(connection, name, number, publication.digest, manifest)
    return number


def _first_number(connection: sa.Connection, name: str) -> int:
    """1, or the one after all that a deleted head of that name had: `name@3` must never come to mean another."""
    query = sa.select(deleted_heads.c.next_version).where(deleted_heads.c.name_sha256 == head_store.digest_of(name))
    return int(connection.execute(query).scalar() or 1)
