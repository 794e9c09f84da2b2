"""A database and a folder with small heads in them, and the steps of requests one by one."""

import hashlib
from pathlib import Path

import sqlalchemy as sa
from sqlalchemy.engine import Engine

from adapters.store import database, examples, heads, jobs, publishing
from adapters.store.objects import blobs
from adapters.store.objects.artifacts import Artifacts
from adapters.store.publishing import Publication
from adapters.store.schema import examples as examples_table
from adapters.store.schema import job_blobs, job_examples, samples, version_blobs
from adapters.types import Assignment, Example, JobRequest

REFERRING = (job_examples.c.sha256, examples_table.c.sha256, job_blobs.c.digest, version_blobs.c.digest)
REFERRING += (samples.c.sha256,)
NAMES = "abcdef"


def data(name: str) -> bytes:
    return f"the bytes of {name}".encode()


def sha(name: str) -> str:
    return hashlib.sha256(data(name)).hexdigest()


class Store:
    """A database and a folder, and the steps of requests on them."""

    def __init__(self, engine: Engine, artifacts: Artifacts) -> None:
        self.engine, self.artifacts = engine, artifacts

    def hold(self, holder: str, names: str) -> None:
        blobs.hold(self.engine, holder, [sha(n) for n in names])

    def put(self, names: str) -> None:
        self.artifacts.put_all((sha(n), lambda n=n: data(n)) for n in names)

    def accept(self, holder: str, names: str, head: str) -> str:
        items = [Example(sha(n), "odd", f"{n}.png") for n in names]
        return jobs.create(self.engine, JobRequest(head), items, fingerprint=holder, holder=holder).id

    def upload(self, names: str, head: str) -> str:
        with blobs.holding(self.engine, self.artifacts, [sha(n) for n in names]) as holder:
            self.put(names)
            return self.accept(holder, names, head)

    def publish(self, job_id: str, engine: Engine | None = None) -> None:
        """Make the job's data the head's, with a graph of the job's own; a worker has an `engine` that is fenced."""
        own = engine or self.engine
        job = jobs.get(own, job_id)
        mine = blobs.JobArtifacts(own, self.artifacts, job_id)
        live = heads.find_live(own, job.request.head)
        manifest = {"data": {"digest": mine.put(f"list of {job_id}".encode())}, "backbone": {"digest": "b"}}
        dataset = [(e, Assignment(e.sha256, e.label, "train")) for e in examples.of_job(own, job_id)]
        graph = mine.put(f"graph of {job_id}".encode())
        number = live.number if live else None
        publishing.publish(own, Publication(job_id, job.request, graph, manifest, {}, {}, dataset, False, number))

    def teach(self, names: str, head: str) -> str:
        job_id = self.upload(names, head)
        self.publish(job_id)
        jobs.release(self.engine, job_id)
        return job_id

    def sweep(self) -> None:
        blobs.sweep(self.engine, self.artifacts)

    def referred(self) -> set[str]:
        with self.engine.connect() as connection:
            return {one for column in REFERRING for one in connection.execute(sa.select(column)).scalars()}

    def lost(self) -> list[str]:
        """Blobs that a row refers to and that are not there as they were stored."""
        return [digest for digest in sorted(self.referred()) if not self.artifacts.is_sound(digest)]

    def there(self) -> set[str]:
        return {blob.name for blob in self.artifacts.list()}

    def count(self, table: sa.Table) -> int:
        with self.engine.connect() as connection:
            return int(connection.execute(sa.select(sa.func.count()).select_from(table)).scalar_one())


def opened(folder: Path) -> Store:
    engine = database.connect(f"sqlite:///{folder / 'espalier.sqlite'}")
    database.migrate(engine)
    return Store(engine, Artifacts(str(folder / "artifacts")))
