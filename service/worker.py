"""The training process: claims jobs, runs `adapters.finetune`. The only process that loads torch.

Our `jobs` table is the outbox: `/finetune` writes a row and answers 202; the worker hands waiting rows to DBOS, which
runs each as a durable workflow (docs/adr/0001). Handing over twice does nothing: the workflow's id is the job's id.
"""

import contextlib
import fcntl
import logging
import os
import signal
import socket
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from dbos import DBOS, DBOSConfig, DBOSPortableJSONSerializer, SetEnqueueOptions, SetWorkflowID

from adapters import errors
from adapters import finetune as pipeline
from adapters.errors import Cancelled, EspalierError
from adapters.runtime import resident
from adapters.runtime.backbone import Backbones
from adapters.store import capabilities, database, jobs
from adapters.store.artifacts import Artifacts
from service import setup, telemetry
from service.context import backbone_loader, lanes
from service.settings import Settings
from service.sweeper import Sweeper

log = logging.getLogger("espalier.worker")
WORKFLOWS = "3"  # of our steps: raise it when their order or answers change, so that no job resumes into new code
QUEUE = "finetune"
POLL = {"sqlite": 0.02, "postgresql": 0.1}  # seconds between looks for waiting jobs: one is nearly free, see Changes
# Seconds between DBOS's own, which cost the server a part of a core even when nothing waits. On SQLite jobs are started
# without its queue, see `_start`.
QUEUE_POLL = {"sqlite": 60.0, "postgresql": 0.15}
CARE = 5.0  # seconds between looks for jobs that DBOS has given up
ATTEMPTS = 5  # times that a job is taken up again after its worker died, before it counts as the cause
GIVEN_UP = ("MAX_RECOVERY_ATTEMPTS_EXCEEDED", "ERROR", "CANCELLED")


class Worker:
    """One training worker."""

    def __init__(self, settings: Settings) -> None:
        self.settings = settings
        self.engine = database.connect(settings.database)
        self.artifacts = Artifacts(settings.artifacts)
        load = backbone_loader(settings, self.engine, self.artifacts)
        backbones = Backbones(load, settings.device, engines=settings.engines)
        self.workshop = pipeline.Workshop(
            self.engine, self.artifacts, backbones, lanes(settings), settings.max_pixels, self._memory
        )
        self._handed: set[str] = set()
        self._running: set[str] = set()  # jobs, handed over or resumed
        self._turn = threading.Lock()  # one of them at a time, however it came
        self._held_back = False  # a job, because another runs or it could not be handed over
        self._cared = 0.0

    def run(self, stop: threading.Event) -> None:
        """Work until told to stop. What is unfinished then is taken up by the next start under the same name."""
        with _alone(self.settings):
            self._run(stop)

    def _run(self, stop: threading.Event) -> None:
        setup.prepare(self.settings, self.engine, self.artifacts)
        pipeline.warm()
        capabilities.record(self.engine, "memory", self.name, {"bytes": self._memory()})
        self._launch()
        log.info("worker %r is ready", self.name)
        sweeper = Sweeper(self.settings, self.engine, self.artifacts)
        sweeper.start()
        changes = database.Changes(self.engine)
        while not stop.wait(POLL[self.engine.dialect.name]):
            try:
                self._care()  # first: it ends a job that cannot be handed over
                if changes.any() or (self._held_back and not self._running):
                    self._hand_over()
            except Exception:
                log.exception("could not look for jobs; trying again")
                stop.wait(CARE)
        changes.close()
        sweeper.stop()
        DBOS.destroy(workflow_completion_timeout_sec=0)

    @property
    def name(self) -> str:
        """DBOS gives a name's unfinished workflows back to it: stable on one machine, the pod's name in a cluster."""
        if self.settings.worker_id:
            return self.settings.worker_id
        return "local" if self._only_worker else socket.gethostname()

    @property
    def _only_worker(self) -> bool:
        """On SQLite: see `_alone`."""
        return self.settings.database.startswith("sqlite")

    def _memory(self) -> int:
        """Bytes that training may take."""
        return self.settings.training_memory_bytes or resident.available()

    def _launch(self) -> None:
        config: DBOSConfig = {
            "name": "espalier",
            "system_database_url": self.settings.jobs_database,
            "application_version": WORKFLOWS,  # by default a hash of the code: an upgrade would strand running jobs
            "executor_id": self.name,
            "serializer": DBOSPortableJSONSerializer(),  # by default pickle
            "log_level": "WARNING",
        }
        setup.prepare_jobs_database(self.settings.jobs_database)
        DBOS(config=config)
        self._workflow = DBOS.workflow(name="finetune", max_recovery_attempts=ATTEMPTS)(
            lambda job_id: self._work(job_id)
        )
        DBOS.launch()
        # One job at a time a process: training uses all cores. One a head everywhere: versions follow each other.
        pause = QUEUE_POLL[self.engine.dialect.name]
        DBOS.register_queue(QUEUE, worker_concurrency=1, partition_concurrency=1, polling_interval_sec=pause)

    def _hand_over(self) -> None:
        # One job of each head: DBOS orders its queue by the millisecond, and by the clocks of several workers.
        self._held_back = True  # until the end of this: what goes wrong is tried again
        asked = jobs.waiting(self.engine)
        self._handed &= {job_id for job_id, _ in asked}  # the others wait no more
        waiting = [(job_id, head) for job_id, head in asked if job_id not in self._handed]
        for job_id, head in waiting:
            if self._only_worker and self._running:
                break
            self._enqueue(job_id, head)
        self._held_back = any(job_id not in self._handed for job_id, _ in waiting)

    def _enqueue(self, job_id: str, head: str) -> None:
        if self._only_worker:
            self._start(job_id)
        else:
            with SetWorkflowID(job_id), SetEnqueueOptions(queue_partition_key=head):
                DBOS.enqueue_workflow(QUEUE, self._workflow, job_id)
        self._handed.add(job_id)

    def _start(self, job_id: str) -> None:
        """At once: the queue would take it up at its next look, 0.1 s later."""
        self._running.add(job_id)
        try:
            with SetWorkflowID(job_id):
                DBOS.start_workflow(self._workflow, job_id)
        except Exception:
            self._running.discard(job_id)  # or it would hold up all others for ever
            raise

    def _care(self) -> None:
        """Now and then: end jobs that killed their worker too often, and take up those that DBOS knows nothing of."""
        if time.monotonic() - self._cared < CARE:
            return
        self._cared = time.monotonic()
        for job_id in jobs.unfinished_ids(self.engine):
            found = DBOS.get_workflow_status(job_id)
            if found is None:
                self._take_up(job_id)
            elif found.status in GIVEN_UP:
                message = f"its worker died {ATTEMPTS} times at work on this job; the worker's log has more"
                self._end(job_id, "failed", {"code": "worker_lost", "message": message, "item": None})

    def _take_up(self, job_id: str) -> None:
        job = jobs.get(self.engine, job_id)
        if job.status == "queued":
            self._handed.discard(job_id)  # handed over when it is its turn
        else:
            self._enqueue(job_id, job.request.head)

    def _work(self, job_id: str) -> str:
        """One job to its one end; errors become its status, never DBOS's."""
        self._running.add(job_id)
        try:
            with self._turn:
                return pipeline.finetune(job_id, self.workshop, durably)
        except Cancelled:
            return self._end(job_id, "cancelled", None)
        except EspalierError as error:
            return self._end(job_id, "failed", {"code": error.code, "message": error.message, "item": error.item})
        finally:
            self._running.discard(job_id)
            resident.give_back()

    def _end(self, job_id: str, status: str, error: dict[str, Any] | None) -> str:
        self._running.discard(job_id)  # also where DBOS has given it up and `_work` was never called
        self.artifacts.delete(jobs.abandon(self.engine, job_id, status, error))
        return status


@contextlib.contextmanager
def _alone(settings: Settings) -> Iterator[None]:
    """On SQLite all workers have one name, and a second one would take up the first one's running jobs: it waits.

    The lock goes with the process, however that ends.
    """
    if not settings.database.startswith("sqlite"):
        yield
        return
    with open(f"{settings.database.removeprefix('sqlite:///')}.worker", "w") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            log.warning("another worker is at work on this database; waiting for it to end")
            fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def durably(name: str, step: Callable[..., Any], *arguments: Any) -> Any:
    """Run a step once: after a crash its recorded answer is used instead, an error's as well as a result's."""
    answer = DBOS.run_step({"name": name}, _answer, step, *arguments)
    if "error" in answer:
        kind = getattr(errors, answer["error"]["kind"], EspalierError)
        raise kind(answer["error"]["message"], item=answer["error"]["item"])
    return answer["result"]


def _answer(step: Callable[..., Any], *arguments: Any) -> dict[str, Any]:
    """A step's result or error as JSON: DBOS must not have to guess how to keep our exceptions."""
    try:
        return {"result": step(*arguments)}
    except EspalierError as error:
        return {"error": {"kind": type(error).__name__, "message": error.message, "item": error.item}}
    except Exception:
        log.exception("a step failed for a reason of ours")
        message = "an unexpected error; the worker's log has it"
        return {"error": {"kind": "EspalierError", "message": message, "item": None}}


def step_aside(niceness: int) -> None:
    """Let serving go first.

    The worker has a session of its own, and Linux shares cores between sessions before it looks at a process's
    niceness (sched(7), "the autogroup feature"), so the session's is set as well.
    """
    os.nice(niceness)
    with contextlib.suppress(OSError):  # no such feature here
        Path("/proc/self/autogroup").write_text(str(niceness))


def main(settings: Settings) -> None:
    """Run a worker in this process until SIGTERM or Ctrl-C."""
    telemetry.configure_logging(settings.log_level)
    step_aside(settings.worker_niceness)
    stop = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: stop.set())
    Worker(settings).run(stop)
