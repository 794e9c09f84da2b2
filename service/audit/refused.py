"""Rows of requests that were refused or failed: written by a thread, within bounds.

They changed nothing, so nobody waits for their rows; and whoever asks in vain as fast as it can must not fill the log,
nor keep the database busy: of one caller so many a minute have rows, and of all others together; the rest is counted.
"""

import logging
import threading
import time
from collections import Counter, deque
from collections.abc import Callable

from sqlalchemy.engine import Engine
from sqlalchemy.exc import SQLAlchemyError

from adapters.store.audit.actor import Actor
from adapters.store.audit.recording import Entry, write
from service import telemetry
from service.access.principal import LOCAL

log = logging.getLogger("espalier.audit")
MINUTE = 60.0  # seconds
OF_ONE, OF_ALL = 30, 300  # rows a minute: of one caller, and of all
PAUSE = 0.25  # seconds between writes
MOST_WAITING = 2000  # rows, while the database is away
BATCH = 200  # rows in a transaction


class Refused:
    """What waits to be written in this process."""

    def __init__(self, engine: Callable[[], Engine | None], clock: Callable[[], float] = time.monotonic) -> None:
        self._engine, self._clock = engine, clock
        self._lock = threading.Lock()
        self._waiting: deque[Entry] = deque()
        self._began, self._counts = clock(), Counter[tuple[str, str]]()
        self._omitted = 0
        self._thread: threading.Thread | None = None
        self._stop = threading.Event()

    def add(self, entry: Entry) -> None:
        """One more; on the event loop, and never slow."""
        telemetry.AUDITED.labels(entry.outcome).inc()
        with self._lock:
            self._turn()
            if self._may(entry.actor):
                self._waiting.append(entry)
            else:
                self._omitted += 1
                telemetry.AUDIT_OMITTED.inc()
            if self._thread is None:
                self._thread = threading.Thread(target=self._run, name="audit", daemon=True)
                self._thread.start()

    def flush(self) -> None:
        """Write what waits now. Raises SQLAlchemyError, and keeps it."""
        engine = self._engine()
        while engine is not None and (batch := self._batch()):
            try:
                write(engine, batch)
            except SQLAlchemyError:
                with self._lock:
                    self._waiting.extendleft(reversed(batch))
                raise

    def close(self) -> None:
        """Write what waits, and end."""
        self._stop.set()
        try:
            self.flush()
            with self._lock:
                self._count_omitted()
            self.flush()
        except SQLAlchemyError:
            log.warning("%d refused changes are not in the audit log: the database did not answer", len(self._waiting))

    def _may(self, actor: Actor) -> bool:
        """Whoever is nobody that we know, or needs no key, is told apart by its address."""
        known = actor.principal not in ("", LOCAL.name)
        caller = (actor.tenant, actor.principal if known else actor.address)
        if self._counts[caller] >= OF_ONE or self._counts.total() >= OF_ALL or len(self._waiting) >= MOST_WAITING:
            return False
        self._counts[caller] += 1
        return True

    def _turn(self) -> None:
        if self._clock() - self._began >= MINUTE:
            self._began = self._clock()
            self._counts.clear()
            self._count_omitted()

    def _count_omitted(self) -> None:
        if self._omitted and len(self._waiting) < MOST_WAITING:
            self._waiting.append(Entry("audit.omitted", {"refused": self._omitted}, "refused", actor=Actor()))
            self._omitted = 0

    def _batch(self) -> list[Entry]:
        with self._lock:
            return [self._waiting.popleft() for _ in range(min(len(self._waiting), BATCH))]

    def _run(self) -> None:
        while not self._stop.wait(PAUSE):
            with self._lock:
                self._turn()
            try:
                self.flush()
            except SQLAlchemyError:
                log.debug("refused changes wait to be recorded: the database does not answer")
