"""The training process: takes up jobs by their leases, runs `adapters.finetune`. The only process that loads torch.

Three threads, so that none waits for what another does: one takes up jobs and works at them, one renews the lease of
the job at work, and the main one waits to be told to stop (docs/adr/0014).
"""

import contextlib
import logging
import os
import signal
import socket
import threading
import time
from collections.abc import Callable
from contextlib import nullcontext
from typing import TYPE_CHECKING

from adapters import finetune as pipeline
from adapters.errors import NotFound
from adapters.runtime import resident
from adapters.runtime.backbone import Backbones
from adapters.store import database, jobs, leases
from adapters.store.audit import actor
from adapters.store.leases import Lease, LeaseLost
from adapters.store.objects.artifacts import Artifacts
from adapters.store.scale_out import shards
from adapters.training.stages import deep
from service.loading import backbone_loader, lanes
from service.operations import logs
from service.processes import attempts, liveness, priority, setup, worker_memory
from service.processes.failures import AWAY, Failure, brief
from service.processes.lease_holder import LeaseHolder
from service.processes.sweeper import Sweeper
from service.processes.worker_lock import WorkerLock
from service.processes.workflows import Workflows
from service.settings import Settings, unknown

if TYPE_CHECKING:
    from service.operations.tracing import Traces

log = logging.getLogger("espalier.worker")
POLL = {"sqlite": 0.02, "postgresql": 0.1}  # seconds between looks for a change: one is nearly free, see Changes
LOOK = 1.0  # seconds between looks at the jobs where nothing has changed but the time
PATIENCE = 2.0  # seconds before something is tried again that the database did not answer
KEEP = 4.0  # seconds of LEAVE for a deep fit to keep what it has reached: a step, and a few MB into the store
LEAVE = 8.0  # seconds to give back the job at work when told to stop; the supervisor and Kubernetes give more


class Worker:
    """One training worker."""

    def __init__(self, settings: Settings, traces: "Traces | None" = None) -> None:
        self.settings, self.traces = settings, traces
        self.engine = database.connect(settings.database)
        self.artifacts = Artifacts(settings.artifacts)
        load = backbone_loader(settings, self.engine, self.artifacts)
        backbones = Backbones(load, settings.device, engines=settings.engines)
        self.training = pipeline.TrainingContext(
            self.engine, self.artifacts, backbones, lanes(settings), settings.most, self._memory,
            folder=settings.home.absolute() / "deep", scratch_bytes=settings.deep_bytes or None,
        )  # fmt: skip
        self.workflows = Workflows(settings.jobs_database)
        self._holder = LeaseHolder(self.engine, self.training.signs, settings.stall_seconds)

    @property
    def name(self) -> str:
        """Stable on one machine, the pod's name in a cluster: what a start finds under it was a dead process's."""
        local = self.engine.dialect.name == "sqlite"  # where a container's next one has another host's name
        return self.settings.worker_id or ("local" if local else socket.gethostname())

    def run(self, stop: threading.Event) -> None:
        """Work until told to stop; the job that is at work then is given back, and goes on with whoever takes it up."""
        actor.be(actor.Actor(principal=f"worker:{self.name}", address=socket.gethostname()))
        if not self._start(stop):
            return
        log.info("worker %r is ready", self.name)
        Sweeper(self.settings, self.engine, self.artifacts, self._look_around).start()
        for name, task in {"work": self._work, "renew": self._holder.keep}.items():
            threading.Thread(target=task, args=(stop,), name=name, daemon=True).start()
        stop.wait()
        self._leave()

    def _start(self, stop: threading.Event) -> bool:
        lock = WorkerLock(self.settings.database)
        alone = lock.acquire(stop)
        ready = _persist(stop, self._prepare) and _persist(stop, lambda: self._give_up_the_dead(alone))
        lock.share(stop)
        self._lock = lock  # held while this process lives
        return ready

    def _prepare(self) -> None:
        setup.prepare(self.settings, self.engine, self.artifacts)
        pipeline.warm()
        self._idle_memory = self._memory()
        self.workflows.launch()

    def _look_around(self) -> None:
        """At the start and with each sweep."""
        worker_memory.tell(self.engine, self.name, self._idle_memory)
        deep.clear_ended(self.training)

    def _memory(self) -> int:
        """Bytes that training may take."""
        return self.settings.training_memory_bytes or resident.available()

    def _give_up_the_dead(self, alone: bool) -> None:
        """Nobody needs to wait for leases of whoever cannot be there any more."""
        if self.engine.dialect.name != "sqlite":
            leases.give_up(self.engine, self.name)
        elif alone:
            leases.give_up(self.engine)

    def _work(self, stop: threading.Event) -> None:
        changes, looked = database.Changes(self.engine), 0.0
        while not stop.wait(POLL[self.engine.dialect.name]):
            if not changes.any() and time.monotonic() - looked < LOOK:
                continue
            looked = time.monotonic()
            try:
                _persist(stop, lambda: self.work_off(stop))
            except Exception:
                log.exception("could not take up a job; trying again")
                stop.wait(PATIENCE)

    def work_off(self, stop: threading.Event) -> None:
        """Work until nothing is free, or told to stop: at jobs that somebody asked for, one after the other, then at
        parts of others' jobs, for which somebody waits, too, and then at next stages."""
        while not stop.is_set():
            lease = leases.claim(self.engine, self.name, asked_for=True)
            if lease is None and self._help_out():
                continue
            lease = lease or leases.claim(self.engine, self.name)
            if lease is None:
                return
            try:
                with self._holder.at(lease):
                    self._work_at(lease, stop)
            finally:
                resident.give_back()

    def _work_at(self, lease: Lease, stop: threading.Event) -> None:
        log.info("took up the job %s, attempt %d", lease.job_id, lease.attempt)
        with nullcontext() if self.traces is None else self.traces.job(lease):
            found = attempts.attempt(lease, self.training, self.workflows)
            _persist(stop, lambda: self._settle(lease, found))
        said = f"{found.code}: {found.message}" if isinstance(found, Failure) else found
        with logs.about(version=self._version(lease.job_id)):
            log.info("left the job %s: %s", lease.job_id, said)

    def _settle(self, lease: Lease, found: str | Failure) -> None:
        self.training.signs.give()  # tried for as long as the database is away, which is no hanging step
        attempts.settle(lease, found, self.training, self.settings.job_retries)
        if jobs.is_settled(self.engine, lease.job_id):  # however it ended, here or by whoever cancelled it
            self.workflows.forget(lease)
            deep.clear(self.training, lease.job_id)

    def _version(self, job_id: str) -> int | None:
        """That a job has made, for the log."""
        with contextlib.suppress(NotFound, *AWAY):
            return jobs.get(self.engine, job_id).version
        return None

    def _help_out(self) -> bool:
        """Work at a part of another worker's job, if there is one. What fails is tried again there, or here."""
        shard = shards.claim(self.engine)
        if shard is None:
            return False
        try:
            with self._holder.at(shard):
                self._help_with(shard)
        finally:
            resident.give_back()
        return True

    def _help_with(self, shard: shards.Shard) -> None:
        log.info("helps with part %d of the job %s", shard.position, shard.job_id)
        try:
            with nullcontext() if self.traces is None else self.traces.shard(shard):
                pipeline.help_out(self.training, shard)
        except Exception as error:
            with contextlib.suppress(shards.ShardLost):  # its job has ended, and the inputs went with it
                shards.give_back(self.engine, shard)
                log.warning("gave back part %d of the job %s: %s", shard.position, shard.job_id, brief(error))
                raise

    def _leave(self) -> None:
        """In a thread of its own: a database that does not answer must not keep the process from ending."""
        leaving = threading.Thread(target=self._give_back, daemon=True)
        leaving.start()
        leaving.join(LEAVE)

    def _give_back(self) -> None:
        lease, shard = self._holder.lease, self._holder.shard
        self.training.leaving.ask(KEEP)
        if shard is not None:
            with contextlib.suppress(shards.ShardLost, *AWAY):
                shards.give_back(self.engine, shard)
        if lease is not None:
            with logs.about(**logs.of_job(lease)):
                self._leave_job(lease)

    def _leave_job(self, lease: Lease) -> None:
        try:
            leases.give_back(self.engine, lease)
            log.info("gave back the job %s", lease.job_id)
        except LeaseLost:
            return  # it ended just now
        except AWAY as error:
            log.warning("could not give back the job %s: %s", lease.job_id, brief(error))


def _persist(stop: threading.Event, task: Callable[[], None]) -> bool:
    """Do something, as often as it takes where the database or the store does not answer; False when told to stop."""
    while not stop.is_set():
        try:
            task()
            return True
        except AWAY as error:
            log.warning("the database or the store does not answer; trying again: %s", brief(error))
            stop.wait(PATIENCE)
    return False


def _traces(settings: Settings) -> "Traces | None":
    if not settings.tracing:
        return None
    from service.operations import tracing

    return tracing.begin()


def main(settings: Settings) -> None:
    """Run a worker in this process until SIGTERM or Ctrl-C."""
    logs.configure(settings.log_level, settings.log_format, unknown(os.environ))
    liveness.beat_in_thread()
    priority.step_aside(settings.worker_niceness)
    stop = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: stop.set())
    traces = _traces(settings)
    Worker(settings, traces).run(stop)
    if traces is not None:
        traces.close()
    logging.shutdown()
    os._exit(0)  # threads that are in the middle of something: the interpreter would wait for them, or trip over them
