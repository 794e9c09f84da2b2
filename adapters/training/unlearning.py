"""Unlearning: what else than the head's data remembers an example that its owner took back."""

from sqlalchemy.engine import Engine

from adapters.comparison import honest
from adapters.store import examples, heads
from adapters.store.artifacts import Artifacts
from adapters.types import Job


def holders(engine: Engine, artifacts: Artifacts, job: Job) -> list[int]:
    """Versions whose data list names an example that the job removes: weights, figures or list hold something of it.

    Empty for a job that removes nothing. Versions that were made before the example came stay.
    """
    if job.request.edit is None or not job.request.edit.remove:
        return []
    gone = {example.sha256 for example in examples.of_job(engine, job.id)}
    versions = heads.summary(engine, job.request.head).versions
    return [v.number for v in versions if gone & {sha for sha, _ in honest.data_list(v, artifacts)}]
