"""How long anybody waits for the database: for a connection that answers, for a lock, for a statement.

Whoever asks for somebody else (a request) says when its time is up, once; what was queued before it counts, too. The
time is over for good once the database has begun to answer: what it does then takes as long as it takes.
"""

import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar

from sqlalchemy.exc import TimeoutError

WORKER = 30.0  # seconds, for whoever nobody waits for
STATEMENT = 4.0  # times as long as for a connection, at least …
LEAST_STATEMENT = 10.0  # … so many seconds: a statement under way is given longer
SILENCE = 1.0  # seconds during which nobody asks a database again that did not answer

_until: ContextVar[float | None] = ContextVar("until", default=None)


@contextmanager
def within(seconds: float) -> Iterator[None]:
    """In here, the threads it starts included, the database must begin to answer in so many seconds from now."""
    token = _until.set(time.monotonic() + seconds)
    try:
        yield
    finally:
        _until.reset(token)


def answered() -> None:
    """It has."""
    if _until.get() is not None:
        _until.set(None)


def left(usual: float) -> float:
    """Seconds that are left to wait; `usual` where nobody said when its time is up. Raises TimeoutError if none are."""
    until = _until.get()
    if until is None:
        return usual
    seconds = until - time.monotonic()
    if seconds <= 0:
        raise TimeoutError("the time to wait for the database was up before it could be asked")
    return min(seconds, usual)


class Silence:
    """A database that did not answer is left alone for a moment: or everybody who asks would wait in vain in turn.

    After that moment one may ask, and the others wait for what it learns.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._until = 0.0

    def check(self) -> None:
        """Raises TimeoutError where it is of no use to ask now."""
        with self._lock:
            now = time.monotonic()
            if not self._until:
                return
            if now < self._until:
                raise TimeoutError("the database did not answer a moment ago")
            self._until = now + SILENCE

    def fell(self) -> None:
        """It did not answer in time."""
        with self._lock:
            self._until = time.monotonic() + SILENCE

    def broken(self) -> None:
        """It answered."""
        if self._until:
            with self._lock:
                self._until = 0.0
