"""The data report of a version: a blob, whose digest is in the version's manifest."""

import json
from typing import Any

import sqlalchemy as sa
from sqlalchemy.engine import Engine

from adapters.errors import CorruptArtifact, ReportNotFound, VersionNotFound
from adapters.store.objects import blobs
from adapters.store.objects.artifacts import Artifacts
from adapters.store.schema import versions
from adapters.tenancy import shown
from adapters.types import HeadVersion


def load(artifacts: Artifacts, version: HeadVersion) -> dict[str, Any]:
    """The report of a version. Raises ReportNotFound for one that was made before there were reports."""
    digest = version.manifest["data"].get("report")
    if digest is None:
        name = f"{shown(version.head)}@{version.number}"
        raise ReportNotFound(f"{name} was made before reports were kept; teach the head again to get one", item=name)
    try:
        found: dict[str, Any] = json.loads(artifacts.get(digest))
    except CorruptArtifact as error:
        name = f"{shown(version.head)}@{version.number}"
        message = (
            f"the report of {name} is damaged in the store; POST /heads/{shown(version.head)}/rebuild makes a new one"
        )
        raise CorruptArtifact(message, item=name) from error
    return found


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
