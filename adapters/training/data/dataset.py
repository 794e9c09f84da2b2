"""The data of a job: what came with it, and, when it appends or edits, what its head has already."""

from dataclasses import dataclass

from sqlalchemy.engine import Engine

from adapters import edits, tasks
from adapters.store import examples
from adapters.types import Assignment, Example, Job, JobRequest, SplitName


@dataclass(frozen=True, slots=True)
class Dataset:
    """Distinct examples in a stable order, and where earlier versions put them."""

    examples: list[Example]
    known: list[SplitName | None]  # an earlier version's split; None for what is new

    @property
    def sha256s(self) -> list[str]:
        """Keys, in order."""
        return [e.sha256 for e in self.examples]

    @property
    def wished(self) -> list[SplitName | None]:
        """The caller's splits, in order."""
        return [e.split for e in self.examples]


def assemble(engine: Engine, job: Job) -> Dataset:
    """The head's examples (append) and the job's own, the newest label of an example wins; or the head's as edited.

    Sorted by SHA-256: the order of arrival must not matter, so that five batches one after another train the very
    head that one batch of all would.
    """
    stored = examples.of_head(engine, job.request.head)
    merged = _merged(job.request, [e for e, _ in stored], examples.of_job(engine, job.id))
    known = _known(job.request, [a for _, a in stored])
    return Dataset(merged, [known.get(e.sha256) for e in merged])


def _merged(request: JobRequest, held: list[Example], sent: list[Example]) -> list[Example]:
    if request.edit is not None:
        return sorted(edits.apply(tasks.get(request.task), request.edit, held, sent), key=lambda e: e.sha256)
    kept = {e.sha256: e for e in held} if request.mode == "append" else {}
    return sorted((kept | {e.sha256: e for e in sent}).values(), key=lambda e: e.sha256)


def _known(request: JobRequest, assignments: list[Assignment]) -> dict[str, SplitName | None]:
    """SHA-256 → an earlier split. None are known after a removal: which examples were held out depended on those that
    are gone, and what is left must be trained on as if they had never been sent."""
    if request.edit is not None and request.edit.remove:
        return {}
    return {a.sha256: a.split for a in assignments}
