"""The worker's second task: from time to time forget what is due, and give back the room that it took."""

import logging
import re
import threading
from collections.abc import Callable

from dbos import DBOS
from sqlalchemy.engine import Engine

from adapters.store.audit import log as audit
from adapters.store.drift import windows
from adapters.store.objects.artifacts import Artifacts
from adapters.store.quotas import measuring
from adapters.store.upkeep import compaction, retention
from adapters.store.upkeep.retention import Keep
from service.settings import Settings

log = logging.getLogger("espalier.sweeper")
BATCH = 200  # workflows looked at and deleted at a time
JOB = re.compile(r"job_[0-9a-f]+")  # with which a workflow's id begins


class Sweeper:
    """A thread that sweeps every so often; what fails is tried again the next time."""

    def __init__(
        self, settings: Settings, engine: Engine, artifacts: Artifacts, tell: Callable[[], None] = lambda: None
    ) -> None:
        """`tell` is called at the start and with each sweep."""
        self._settings, self._engine, self._artifacts = settings, engine, artifacts
        self._tell = tell
        self._keep = Keep(settings.keep_days, settings.keep_jobs)
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, name="sweeper", daemon=True)

    def start(self) -> None:
        """Begin; the databases are there and DBOS is launched."""
        self._thread.start()

    def stop(self) -> None:
        """End after what is under way."""
        self._stop.set()
        self._thread.join()

    def sweep(self) -> None:
        """Once: rows, blobs, what DBOS has recorded of jobs that have ended, and then the files of SQLite."""
        self._tell()
        retention.sweep(self._engine, self._artifacts, self._keep)
        audit.prune(self._engine, self._settings.audit_days)
        forget_workflows(self._engine)
        windows.forget(self._engine, self._settings.drift_days)
        for path in self._settings.sqlite_files:
            compaction.compact(path)

    def _run(self) -> None:
        self._attempt(self._begin)
        while not self._stop.wait(self._settings.sweep_seconds):
            self._attempt(self.sweep)

    def _begin(self) -> None:
        self._tell()
        measuring.measure(self._engine, self._artifacts)
        for path in self._settings.sqlite_files:
            compaction.convert(path)

    def _attempt(self, task: Callable[[], None]) -> None:
        try:
            task()
        except Exception:
            log.exception("could not sweep; trying again in %.0f s", self._settings.sweep_seconds)


def forget_workflows(engine: Engine) -> None:
    """Delete what DBOS has recorded of jobs that have ended: the `jobs` table tells how, and nothing resumes them."""
    offset = 0
    while found := DBOS.list_workflows(limit=BATCH, offset=offset, load_input=False, load_output=False):
        named = {status.workflow_id: match[0] for status in found if (match := JOB.match(status.workflow_id))}
        over = retention.ended(engine, list(named.values()))
        gone = [workflow for workflow, job_id in named.items() if job_id in over]
        if gone:
            DBOS.delete_workflows(gone)
        offset += len(found) - len(gone)
