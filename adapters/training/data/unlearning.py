"""Unlearning: what else than the head's data remembers an example that its owner took back."""

from sqlalchemy.engine import Engine

from adapters.comparison import out_of_fold
from adapters.errors import HeadDamaged
from adapters.store import examples, heads
from adapters.store.objects.artifacts import Artifacts
from adapters.types import HeadVersion, Job


def holders(engine: Engine, artifacts: Artifacts, job: Job) -> list[int]:
    """Versions whose data list names an example that the job removes: weights, figures or list hold something of it.

    Empty for a job that removes nothing. Versions that were made before the example came stay; one whose list is
    damaged goes, as nobody can tell any more what it knew.
    """
    if job.request.edit is None or not job.request.edit.remove:
        return []
    gone = {example.sha256 for example in examples.of_job(engine, job.id)}
    versions = heads.summary(engine, job.request.head).versions
    return [v.number for v in versions if _knew(v, gone, artifacts)]


def _knew(version: HeadVersion, gone: set[str], artifacts: Artifacts) -> bool:
    try:
        return bool(gone & {sha for sha, _ in out_of_fold.data_list(version, artifacts)})
    except HeadDamaged:
        return True
