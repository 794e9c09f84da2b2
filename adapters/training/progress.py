"""Tells a job's owner how it goes, and the job whether its owner still wants it."""

import time
from typing import Any

from sqlalchemy.engine import Engine

from adapters.errors import Cancelled
from adapters.store import jobs
from adapters.training.signs import Signs

INTERVAL = 0.25  # seconds between looks at the database: each costs a write, or a read that may wait for one


class Progress:
    """The thread between a running step and its job's row. Whatever passes here is a sign that the step goes on."""

    def __init__(self, engine: Engine, job_id: str, signs: Signs | None = None) -> None:
        self._engine, self._job_id = engine, job_id
        self._signs = signs or Signs()
        self._told = self._asked = 0.0

    def enter(self, phase: str) -> None:
        """A new phase begins. Raises Cancelled."""
        self._signs.give()
        jobs.enter(self._engine, self._job_id, phase)

    def advance(self, done: int, total: int) -> None:
        """How far this phase is; rows are written a few times a second at most. Raises Cancelled."""
        self._signs.give()
        now = time.monotonic()
        if now - self._told >= INTERVAL or done == total:
            self._told = now
            jobs.progress(self._engine, self._job_id, done, total)

    def tell(self, type: str, data: dict[str, Any]) -> None:
        """Something worth an event of its own."""
        self._signs.give()
        jobs.tell(self._engine, self._job_id, type, data)

    def cancelled(self) -> None:
        """Raise Cancelled when the job should stop. Cheap enough for every iteration."""
        self._signs.give()
        now = time.monotonic()
        if now - self._asked >= INTERVAL:
            self._asked = now
            if jobs.is_cancelled(self._engine, self._job_id):
                raise Cancelled(f"the job {self._job_id} was cancelled")
