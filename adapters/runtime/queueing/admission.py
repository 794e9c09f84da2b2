"""Admission: inputs and bytes that the server holds until they are answered, and how long inputs wait, all bounded.

A refusal costs microseconds and says when to come back; a queue that grows costs memory and everybody's time.
Used on the event loop only, so it needs no lock.
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Protocol

from adapters.errors import Overloaded
from adapters.runtime.meters import UNSEEN, Meters
from adapters.runtime.queueing.fair import stepped

LEAST_WAIT, MOST_WAIT = 1.0, 60.0  # seconds that a refused client is told to wait


class Pace(Protocol):
    """Estimates of how long things take: `Lanes`."""

    def seconds(self, load: float) -> float:
        """That so many ordinary inputs take, if nothing else comes."""

    def behind(self, flow: str) -> float:
        """Seconds that an input of a flow waits behind others."""


class Admission:
    """Sums what is held, in ordinary inputs.

    A bound in seconds means the same on every machine and with every backbone.
    """

    def __init__(
        self, max_load: float, max_bytes: int, max_seconds: float, pace: Pace, meters: Meters = UNSEEN
    ) -> None:
        self._max_load, self._max_bytes, self._max_seconds = max_load, max_bytes, max_seconds
        self._pace, self._meters = pace, meters
        self._flows: dict[str, float] = {}  # load held by flow
        self.load = 0.0
        self.bytes = 0

    @contextmanager
    def holding(self, load: float, flow: str) -> Iterator[None]:
        """Take on inputs of one request, however many when nothing else is held. Raises Overloaded."""
        load = stepped(load)
        self._check_load(load, flow)
        self._check_wait(flow)
        self._hold(load, flow)
        try:
            yield
        finally:
            self._hold(-load, flow)

    @contextmanager
    def holding_bytes(self, flow: str | None = None) -> Iterator[Callable[[int], None]]:
        """Take on a body; what this gives is called with each number of bytes that came, and raises Overloaded.

        A full queue refuses here, too, before the body is received; `flow` is None where only the body says it.
        """
        held = 0

        def take(size: int) -> None:
            nonlocal held
            self._check_bytes(size, self.bytes - held)
            self.bytes += size
            held += size

        self._check_load(1, flow)
        self._check_wait(flow)
        try:
            yield take
        finally:
            self.bytes -= held

    def refusal(self, why: str, seconds: float) -> Overloaded:
        """The error for a client that may come back in so many seconds, and a count of it."""
        self._meters.rejected()
        return Overloaded(f"{why}; try again shortly", retry_after=min(max(seconds, LEAST_WAIT), MOST_WAIT))

    def _hold(self, load: float, flow: str) -> None:
        self.load += load
        self._flows[flow] = self._flows.get(flow, 0.0) + load
        if not self._flows[flow]:
            del self._flows[flow]

    def _check_load(self, load: float, flow: str | None) -> None:
        """A flow that fills the queue must not shut out the others: with less than their share they are let in still.

        So the queue may grow to twice its bound, and no further.
        """
        over = self.load + load - self._max_load
        if not self.load or over <= 0:
            return
        if over > self._max_load or (flow is not None and self._flows.get(flow, 0.0) + load > self._share(flow)):
            raise self.refusal(f"{self.load:.0f} inputs are waiting", self._pace.seconds(over))

    def _check_wait(self, flow: str | None) -> None:
        """Turns are taken between flows, so the flood of one does not make an input of another wait."""
        wait = self._pace.behind(flow) if flow is not None and self.load else 0.0
        if wait > self._max_seconds:
            raise self.refusal(f"inputs would wait {wait:.1f} seconds behind others", wait - self._max_seconds)

    def _share(self, flow: str) -> float:
        return self._max_load / (len(self._flows) + (flow not in self._flows))

    def _check_bytes(self, more: int, of_others: int) -> None:
        """One body alone is taken to its end, whatever its size."""
        if of_others and self.bytes + more > self._max_bytes:
            raise self.refusal(f"requests of {self.bytes:,} bytes are waiting", self._pace.seconds(self.load) / 2)
