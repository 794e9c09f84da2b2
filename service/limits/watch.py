"""All connections of this process: how many there may be, and a look at each now and then for those that make us wait.

One look for all, instead of a timer for each request: hot requests set a few numbers and pay for nothing else.
"""

import asyncio
import resource
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Protocol

from service.settings import Settings

RESERVE = 64  # connections beyond the bound that are still read, so that probes and scrapes get their answer
OTHER_FILES = 256  # descriptors that are no connections: databases, graphs, temporary files


@dataclass(frozen=True, slots=True)
class Limits:
    """Bounds of one connection, and of how many there are."""

    connections: int = 1000
    head_bytes: int = 32 << 10
    head_seconds: float = 10.0
    keep_alive: float = 75.0  # seconds between two requests
    rate: int = 500  # bytes a second that a client must send of a body, or read of an answer, …
    window: float = 10.0  # … on average over so many seconds

    @classmethod
    def of(cls, settings: Settings, part: int) -> "Limits":
        """Those of a process that may have `part` connections, as far as it may have file descriptors for them."""
        return cls(
            connections=min(part, _files(part + OTHER_FILES) - OTHER_FILES),
            head_bytes=settings.max_header_bytes, head_seconds=settings.header_seconds,
            keep_alive=settings.keep_alive_seconds,
            rate=settings.min_body_rate, window=settings.body_seconds,
        )  # fmt: skip

    @property
    def pause(self) -> float:
        """Seconds between looks."""
        return min(max(min(self.head_seconds, self.window) / 4, 0.05), 1.0)


class Looked(Protocol):
    """A connection."""

    def look(self, now: float) -> None:
        """End it if it makes us wait for too long."""

    def idle_since(self) -> float | None:
        """Since when nobody asks anything on it (seconds of the event loop); None while somebody does."""


class Watch:
    """The connections of a process; used on its event loop only."""

    def __init__(self, limits: Limits) -> None:
        self.limits = limits
        self.connections: set[Looked] = set()
        self._next: asyncio.TimerHandle | None = None

    @property
    def is_full(self) -> bool:
        """Whether there are more than there may be."""
        return len(self.connections) > self.limits.connections

    @property
    def is_overfull(self) -> bool:
        """Whether there are more than we would even read."""
        return len(self.connections) > self.limits.connections + RESERVE

    def add(self, connection: Looked) -> None:
        """Look after one more."""
        self.connections.add(connection)
        if self._next is None:
            self._next = asyncio.get_running_loop().call_later(self.limits.pause, self._look)

    def discard(self, connection: Looked) -> None:
        """It is gone."""
        self.connections.discard(connection)

    def idlest(self, newest: Looked) -> Looked | None:
        """The one on which nobody has asked anything for the longest time, but for the newest."""
        idle = [(since, c) for c, since in _idle(self.connections) if c is not newest]
        return min(idle, key=lambda pair: pair[0])[1] if idle else None

    def _look(self) -> None:
        loop = asyncio.get_running_loop()
        now = loop.time()
        for connection in list(self.connections):
            connection.look(now)
        self._next = loop.call_later(self.limits.pause, self._look) if self.connections else None


def _idle(connections: Iterable[Looked]) -> Iterable[tuple[Looked, float]]:
    return ((c, since) for c in connections if (since := c.idle_since()) is not None)


def _files(wanted: int) -> int:
    """Descriptors that this process may have: as many as wanted, where its hard limit allows it."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft < wanted:
        soft = wanted if hard == resource.RLIM_INFINITY else min(wanted, hard)
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
    return soft
