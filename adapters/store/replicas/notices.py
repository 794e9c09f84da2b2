"""That what is served has changed, told at once: `NOTIFY` on Postgres, the number of writes on SQLite.

A notice is a hint: it may be lost (a connection that died, a pooler that passes none on, a process of an earlier
release that sends none), so whoever follows the database looks by itself every so often, too.
"""

import logging
import threading
import time
from typing import Any, Protocol

import sqlalchemy as sa
from sqlalchemy.engine import Engine

from adapters.store.database import Changes

log = logging.getLogger("espalier.notices")
CHANNEL = "espalier_generation"
LOOK = 0.1  # seconds between looks at SQLite's number, each of microseconds
SLICE = 0.5  # seconds that a wait takes no order to stop
RETRY = 5.0  # seconds between tries to listen
# A connection that nobody writes to is not known to be dead unless the system asks for a sign of life.
ALIVE: dict[str, Any] = {
    "keepalives": 1,
    "keepalives_idle": 10,
    "keepalives_interval": 5,
    "keepalives_count": 3,
    "connect_timeout": 2,
}


class Notices(Protocol):
    """What somebody who follows the database waits for."""

    def wait(self, seconds: float, stop: threading.Event) -> None:
        """Until there is a notice, for so long at most, or until told to stop."""

    def close(self) -> None:
        """Let go of connections."""


def send(connection: sa.Connection, generation: int) -> None:
    """Tell who listens, once this transaction is committed."""
    if connection.dialect.name == "postgresql":
        connection.execute(sa.select(sa.func.pg_notify(CHANNEL, str(generation))))


def of(engine: Engine) -> Notices:
    """Those of a database."""
    return _Notified(engine) if engine.dialect.name == "postgresql" else _Written(engine)


class _Written:
    """SQLite: whether anybody has written."""

    def __init__(self, engine: Engine) -> None:
        self._changes = Changes(engine)

    def wait(self, seconds: float, stop: threading.Event) -> None:
        until = time.monotonic() + seconds
        while (left := until - time.monotonic()) > 0 and not stop.wait(min(LOOK, left)):
            if self._changes.any():
                return

    def close(self) -> None:
        self._changes.close()


class _Notified:
    """Postgres: a connection of one's own that listens. Without it the time is waited for."""

    def __init__(self, engine: Engine) -> None:
        self._arguments = engine.dialect.create_connect_args(engine.url)
        self._connection: Any = None
        self._again = 0.0  # when to try to listen again

    def wait(self, seconds: float, stop: threading.Event) -> None:
        until = time.monotonic() + seconds
        while (left := until - time.monotonic()) > 0 and not stop.is_set():
            if self._hears(min(left, SLICE), stop):
                return

    def close(self) -> None:
        if self._connection is not None:
            self._connection.close()
            self._connection = None

    def _hears(self, seconds: float, stop: threading.Event) -> bool:
        import psycopg  # installed only where it is used

        try:
            if self._connection is None and time.monotonic() >= self._again:
                self._connection = self._listen()
                return True  # what was told before is not heard
            if self._connection is not None:
                return any(True for _ in self._connection.notifies(timeout=seconds, stop_after=1))
        except psycopg.Error as error:
            log.debug("cannot listen for changes, looking for them instead: %s", error)
            self.close()
            self._again = time.monotonic() + RETRY
        stop.wait(seconds)
        return False

    def _listen(self) -> Any:
        from adapters.store.postgres import Bounded

        positional, named = self._arguments
        connection = Bounded.connect(*positional, **(ALIVE | dict(named)), autocommit=True)
        try:
            connection.execute(f"LISTEN {CHANNEL}")
        except Exception:
            connection.close()
            raise
        return connection
