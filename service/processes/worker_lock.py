"""On SQLite: which workers are there. Leases decide who works at what; this tells whose leases are a dead one's."""

import fcntl
import logging
import threading

log = logging.getLogger("espalier.worker")
PAUSE = 0.5  # seconds between tries


class WorkerLock:
    """A lock file beside the database. It goes with the process, however that ends."""

    def __init__(self, database: str) -> None:
        """For a SQLAlchemy URL; with another database than SQLite it knows nothing."""
        local = database.startswith("sqlite")
        self._file = open(f"{database.removeprefix('sqlite:///')}.worker", "w") if local else None

    def acquire(self, stop: threading.Event) -> bool:
        """Take the lock before anything else; returns whether no other worker is there, and then keeps others waiting
        until `share`. Waits for one that starts, or is of a release that shares with none; until told to stop."""
        if self._file is None:
            return False
        if self._take(fcntl.LOCK_EX):
            return True
        self._wait(stop)
        return False

    def share(self, stop: threading.Event) -> None:
        """Let other workers in."""
        if self._file is not None:
            self._wait(stop)

    def release(self) -> None:
        """Be no longer there."""
        if self._file is not None:
            self._file.close()

    def _wait(self, stop: threading.Event) -> None:
        told = False
        while not self._take(fcntl.LOCK_SH) and not stop.wait(PAUSE):
            if not told:
                log.warning("another worker is starting on this database; waiting for it")
            told = True

    def _take(self, kind: int) -> bool:
        assert self._file is not None
        try:
            fcntl.flock(self._file, kind | fcntl.LOCK_NB)
        except BlockingIOError:
            return False
        return True
