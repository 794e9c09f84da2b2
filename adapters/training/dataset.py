"""The data of a job: what came with it, and, when it appends, what its head has already."""

from dataclasses import dataclass

from sqlalchemy.engine import Engine

from adapters.store import examples
from adapters.types import Example, Job, SplitName


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
    """The head's examples (append) and the job's own; the newest label of an image wins.

    Sorted by SHA-256: the order of arrival must not matter, so that five batches one after another train the very
    head that one batch of all would.
    """
    sent = {e.sha256: e for e in examples.of_job(engine, job.id)}
    stored = examples.of_head(engine, job.request.head)
    known = {a.sha256: a.split for _, a in stored}
    kept = {e.sha256: e for e, _ in stored} if job.request.mode == "append" else {}
    merged = sorted((kept | sent).values(), key=lambda e: e.sha256)
    return Dataset(merged, [known.get(e.sha256) for e in merged])
