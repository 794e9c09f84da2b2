"""A service whose every acceptance and answer is recorded, to be compared with its history once all is over."""

import shutil
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx
import sqlalchemy as sa

from adapters.store import database, schema
from adapters.types import TERMINAL
from service.client import LabeledImage
from support import history
from support.pictures import shape, shapes
from support.services import PATIENCE, Service, eventually

HOLDING = ("job_examples", "job_blobs")  # rows of jobs that have not let go of everything yet


@dataclass(slots=True)
class Recorder:
    """Teaches and asks a service, and knows what it was promised."""

    service: Any  # a Service, or a topology.Cluster
    plan: Path | None = None  # folder of the hooks in its worker; see hooks/sitecustomize.py
    accepted: list[str] = field(default_factory=list)  # ids of jobs
    answers: list[dict[str, Any]] = field(default_factory=list)
    _taught: int = 0

    def teach(self, head: str, images: list[LabeledImage] | None = None, **options: Any) -> str:
        """A job that was accepted, of pictures that no other has; a refusal is tried again until it is none."""
        self._taught += 1
        sent = images or shapes(each=5, start=1000 * self._taught)
        key = f"{head}-{self._taught}"
        chosen = {"method": "prototype", "idempotency_key": key} | options
        job = eventually(lambda: self.service.client.finetune(head, sent, **chosen), pause=0.5)
        self.accepted.append(job["id"])
        return str(job["id"])

    def taught(self, head: str, **options: Any) -> dict[str, Any]:
        """A job that has succeeded."""
        job = self.end(self.teach(head, **options))
        assert job["status"] == "succeeded", job["error"]
        return job

    def held(self, phase: str, name: str = "") -> str:
        """A job that has just entered a phase and waits there, at each attempt, until `go`."""
        assert self.plan is not None
        (self.plan / "go").unlink(missing_ok=True)
        job = self.teach(f"hold-{phase}{name}")
        eventually(lambda: (self.plan / f"{job}-{phase}").exists())  # type: ignore[operator]
        return job

    def go(self) -> None:
        """Let jobs go on that are held."""
        assert self.plan is not None
        (self.plan / "go").touch()

    def ask(self, *heads: str, seed: int = 7) -> list[dict[str, Any]]:
        """What heads say of a picture."""
        told: list[dict[str, Any]] = self.service.client.predict(list(heads), [shape("circle", seed)])["predictions"]
        self.answers += told
        return told

    def job(self, job_id: str) -> dict[str, Any]:
        """A job as it is now."""
        found: dict[str, Any] = self.service.client.job(job_id)
        return found

    def reaches(self, job_id: str, *statuses: str) -> dict[str, Any]:
        """A job once it is in one of these states."""
        return eventually(lambda: (job := self.job(job_id))["status"] in statuses and job)

    def end(self, job_id: str) -> dict[str, Any]:
        """A job once it has ended, whatever becomes of the service meanwhile."""
        return self.reaches(job_id, *TERMINAL)

    def check(self) -> None:
        """That all has ended and nothing was lost."""
        assert self.violations() == []

    def violations(self) -> list[str]:
        """What was lost, or is not as it was told, once all has ended."""
        eventually(lambda: not list(self._unsettled()), seconds=2 * PATIENCE, pause=0.5)
        found = history.read(self._database, str(self._artifacts), self.accepted, self.answers)
        return history.violations(found)

    @property
    def _database(self) -> str:
        return str(self.service.settings.get("database_url") or f"sqlite:///{self.service.home / 'espalier.sqlite'}")

    @property
    def _artifacts(self) -> str:
        return str(self.service.settings.get("artifacts_url") or self.service.home / "artifacts")

    def _unsettled(self) -> Iterable[str]:
        """Jobs that have not ended, and what jobs have not let go of."""
        engine = database.connect(self._database)
        try:
            with database.reading(engine) as connection:
                jobs = schema.jobs.c
                waiting = sa.select(jobs.id).where(jobs.status.not_in(sorted(TERMINAL)))
                yield from connection.execute(waiting).scalars()
                for name in HOLDING:
                    yield from connection.execute(sa.select(schema.metadata.tables[name].c.job_id)).scalars()
        finally:
            engine.dispose()


def check_history(service: Any) -> None:
    """That all jobs of a service have ended, and nothing of what it keeps is lost, doubled or left over."""
    Recorder(service).check()


@contextmanager
def recorded(prepared: Path, folder: Path, plan: Path | None = None, **settings: object) -> Iterator[Recorder]:
    """A service of one's own on a copy of the prepared home, until the end of the block."""
    service = Service(Path(shutil.copytree(prepared, folder / "home")), settings, plan)
    try:
        yield Recorder(service.start(), plan)
    finally:
        service.stop()


def status(request: Callable[[], httpx.Response]) -> tuple[int, str]:
    """(HTTP status, code) of an answer, which must come and be problem+json where it is no success."""
    answer = request()
    if answer.status_code < 400:
        return answer.status_code, ""
    assert answer.headers["content-type"] == "application/problem+json", answer.text[:200]
    if answer.status_code in (429, 503):
        assert answer.headers["retry-after"]
    return answer.status_code, str(answer.json()["code"])
