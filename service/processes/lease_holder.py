"""Holds the lease of the job that a worker is at, for as long as there are signs that it really is at it.

A step that hangs in a library would hold its job for ever, as the thread that renews the lease does not hang. Nothing
in a process can end a thread, so the process ends; its lease runs out, and whoever takes the job up counts a death.
"""

import faulthandler
import logging
import os
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager

from sqlalchemy.engine import Engine

from adapters.store import leases
from adapters.store.leases import Lease, LeaseLost
from adapters.store.scale_out.shards import Shard
from adapters.training.signs import Signs
from service.operations import logs
from service.processes.failures import AWAY, brief

log = logging.getLogger("espalier.worker")
RENEW = leases.LEASE / 5  # seconds
STALLED = 70  # exit status


class LeaseHolder:
    """`patience` are the seconds without a sign after which the process ends; 0: it never does."""

    def __init__(self, engine: Engine, signs: Signs, patience: float) -> None:
        self._engine, self._signs, self._patience = engine, signs, patience
        self._work: Lease | Shard | None = None

    @property
    def lease(self) -> Lease | None:
        """Of the job at work."""
        return self._work if isinstance(self._work, Lease) else None

    @property
    def shard(self) -> Shard | None:
        """At work: a part of another worker's job, whose lease its own embedding renews."""
        return self._work if isinstance(self._work, Shard) else None

    @contextmanager
    def at(self, work: Lease | Shard) -> Iterator[None]:
        """What was taken up, until its attempt has ended, however it does."""
        self._signs.give()
        self._work = work
        try:
            with logs.about(**logs.of_job(work)):
                yield
        finally:
            self._work = None

    def keep(self, stop: threading.Event) -> None:
        """Renew whatever lease there is, until told to stop."""
        while not stop.wait(RENEW):
            if (work := self._work) is not None:
                with logs.about(**logs.of_job(work)):
                    self._end_if_stalled(work.job_id)
                    if isinstance(work, Lease):
                        self._renew(work)

    def _renew(self, lease: Lease) -> None:
        try:
            leases.renew(self._engine, lease)
        except LeaseLost:
            return  # the work at it meets that by itself
        except AWAY as error:
            log.warning("could not renew the lease of %s: %s", lease.job_id, brief(error))

    def _end_if_stalled(self, job_id: str) -> None:
        if not self._patience or self._signs.age() < self._patience:
            return
        message = "the job %s has shown no sign of work for %.0f s: this worker ends, so that another takes it up"
        log.error(f"{message}; where its threads are follows", job_id, self._signs.age())
        logging.shutdown()
        faulthandler.dump_traceback(file=sys.stderr)
        os._exit(STALLED)
