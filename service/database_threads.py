"""Threads in which requests ask the database: those that read never stand behind those that write.

A request says when its time is up before it queues for a thread, so that it gets its 503 in time however many others
were there before it.
"""

import math
from collections.abc import Callable
from functools import partial
from typing import ParamSpec, TypeVar

import anyio.to_thread
from anyio import CapacityLimiter

from adapters.errors import Overloaded
from adapters.store import patience

P = ParamSpec("P")
T = TypeVar("T")
RETRY = 10.0  # seconds that a refused client is told to wait
THREADS = 8  # of each kind: a pool of connections for all of them is what Postgres has for one process


class Threads:
    """One kind."""

    seconds = 1.5  # for all kinds: that a request waits for the database; ESPALIER_DATABASE_SECONDS

    def __init__(self, count: int = THREADS, most: float = math.inf) -> None:
        """`most`: pieces of slow work at a time, those that wait for a thread included."""
        self._limiter, self._most, self._slow = CapacityLimiter(count), most, 0

    async def run(self, work: Callable[P, T], *arguments: P.args, **options: P.kwargs) -> T:
        """What `work` gives. Raises SQLAlchemy's TimeoutError where the time is up before its turn comes."""
        call = partial(_in_time, work, *arguments, **options)
        with patience.within(Threads.seconds):
            return await anyio.to_thread.run_sync(call, limiter=self._limiter)

    async def run_slowly(self, work: Callable[P, T], *arguments: P.args, **options: P.kwargs) -> T:
        """The same for work that takes long before it asks the database: its time begins when it does.

        Raises Overloaded where there is as much already as may be.
        """
        if self._slow >= self._most:
            raise Overloaded(
                f"{self._slow} requests like this are at work or waiting; try again later", retry_after=RETRY
            )
        self._slow += 1
        try:
            return await anyio.to_thread.run_sync(partial(work, *arguments, **options), limiter=self._limiter)
        finally:
            self._slow -= 1


def _in_time(work: Callable[P, T], *arguments: P.args, **options: P.kwargs) -> T:
    patience.left(Threads.seconds)
    return work(*arguments, **options)


READING, WRITING, SUBMITTING = Threads(), Threads(), Threads()
COMPARING = Threads(1, most=4)  # one comparison of deep versions decodes and embeds for many seconds
