"""The thread that keeps limits current and shares rates with the other serving processes, once a second.

While the database does not answer, each process goes on with the limits and the share that it has.
"""

import logging
import threading
import time
import uuid

from sqlalchemy.engine import Engine
from sqlalchemy.exc import SQLAlchemyError

from adapters.store.database import reading
from adapters.store.quotas import limits, rates
from adapters.store.quotas.limits import Limits
from adapters.store.quotas.rates import Rate
from service.quotas.limiter import Limiter

log = logging.getLogger("espalier.quotas")
EVERY = 1.0  # seconds between exchanges; and until a changed limit holds
SOON = 0.2  # seconds between two at the earliest, however many callers are new
FADE = 0.5  # of what was asked in the second before still counts, so that shares do not jump


class Sharing:
    """One process's part in it."""

    def __init__(self, engine: Engine, default: Limits, alone: bool) -> None:
        """`alone`: there can be no other process, so all of each rate is this one's."""
        self.limiter = Limiter(wake=self._wake)
        self._engine, self._default, self._alone = engine, default, alone
        self._name = uuid.uuid4().hex
        self._version: int | None = None
        self._demand: dict[Rate, float] = {}
        self._last = time.monotonic()
        self._fresh, self._stop = threading.Event(), threading.Event()
        self._thread = threading.Thread(target=self._run, name="rates", daemon=True)

    def start(self) -> None:
        """Read the limits, then keep them current. Raises SQLAlchemyError."""
        self.refresh()
        self._thread.start()

    def close(self) -> None:
        """Give back what this process has of any rate."""
        self._stop.set()
        self._fresh.set()
        if self._thread.is_alive():
            self._thread.join(5.0)
        if self._demand:
            try:
                rates.leave(self._engine, self._name)
            except SQLAlchemyError:
                log.debug("the database did not take back the shares of rates; they end by themselves")

    def refresh(self) -> None:
        """Take up limits that have changed."""
        with reading(self._engine) as connection:
            version = limits.version(connection)
            if version == self._version:
                return
            book = limits.Book(self._default, limits.read(connection))
        self.limiter.change(book)
        self._version = version

    def exchange(self) -> None:
        """Say what was asked here, and take the share that is left of each rate."""
        seconds = max(time.monotonic() - self._last, SOON)
        self._last += seconds
        asked = self.limiter.asked()
        demand = {rate: max(count / seconds, FADE * self._demand.get(rate, 0.0)) for rate, (_, count) in asked.items()}
        gone = [rate for rate in self._demand if rate not in asked]
        self._demand = demand
        if asked or gone:
            whole = {rate: (asked[rate][0], demand[rate]) for rate in asked}
            self.limiter.divide(rates.exchange(self._engine, self._name, whole, gone))

    def _wake(self) -> None:
        self._fresh.set()

    def _run(self) -> None:
        away = False
        while not self._stop.is_set():
            self._fresh.wait(EVERY)
            self._fresh.clear()
            try:
                self.refresh()
                if not self._alone:
                    self.exchange()
                away = False
            except SQLAlchemyError as error:
                if not away:
                    log.warning("limits and shares of rates stay as they are: the database did not answer (%s)",
                                type(error).__name__)  # fmt: skip
                away = True
            self._stop.wait(SOON)
