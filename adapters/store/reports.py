"""The data report of a version: a blob, whose digest is in the version's manifest."""

import json
from typing import Any

import sqlalchemy as sa
from sqlalchemy.engine import Engine

from adapters.errors import CorruptArtifact, ReportNotFound, VersionNotFound
from adapters.store import heads
from adapters.store.objects import blobs
from adapters.store.objects.artifacts import Artifacts
from adapters.store.schema import versions
from adapters.tenancy import shown
from adapters.types import HeadRef, HeadVersion

ASKED_BEFORE = "more_images"  # what `more_inputs` of a learning curve is called in reports of earlier releases


def load(engine: Engine, artifacts: Artifacts, version: HeadVersion) -> dict[str, Any]:
    """The report of a version. Raises ReportNotFound for one that was made before there were reports.

    A version's first report is replaced, and deleted, moments after it is out. Whoever has looked the version up before
    that is given the one that took its place: in 4,340 jobs, each asked for its report at once, that happened once.
    """
    digest = _digest(version)
    try:
        return _read(artifacts, digest)
    except CorruptArtifact as error:
        newer = _digest(heads.resolve(engine, HeadRef(version.head, version=version.number)))
        if newer != digest:
            return _read(artifacts, newer)
        raise _damaged(version) from error


def _digest(version: HeadVersion) -> str:
    digest = version.manifest["data"].get("report")
    if digest is None:
        name = f"{shown(version.head)}@{version.number}"
        raise ReportNotFound(f"{name} was made before reports were kept; teach the head again to get one", item=name)
    return str(digest)


def _read(artifacts: Artifacts, digest: str) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(artifacts.get(digest))
    curve = found.get("curve") or {}
    if ASKED_BEFORE in curve:
        curve["more_inputs"] = curve.pop(ASKED_BEFORE)
    return found


def _damaged(version: HeadVersion) -> CorruptArtifact:
    name = f"{shown(version.head)}@{version.number}"
    hint = f"POST /heads/{shown(version.head)}/rebuild makes a new one"
    return CorruptArtifact(f"the report of {name} is damaged in the store; {hint}", item=name)


def replace(engine: Engine, job_id: str, digest: str) -> None:
    """Give the version that a job made another report. The job lets go of the old one, as of all that it wrote.

    Raises VersionNotFound when the version was deleted meanwhile.
    """
    with blobs.together(engine) as connection:
        row = connection.execute(sa.select(versions).where(versions.c.job_id == job_id).with_for_update()).first()
        if row is None:
            raise VersionNotFound(f"the version of the job {job_id} was deleted meanwhile", item=job_id)
        changed = row.manifest | {"data": row.manifest["data"] | {"report": digest}}
        blobs.keep_version(connection, row.head, row.number, row.digest, changed)
        connection.execute(versions.update().where(versions.c.job_id == job_id).values(manifest=changed))
