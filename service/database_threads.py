"""Threads in which requests ask the database: those that read never stand behind those that write.

A request says when its time is up before it queues for a thread, so that it gets its 503 in time however many others
were there before it.
"""

from collections.abc import Callable
from functools import partial
from typing import ParamSpec, TypeVar

import anyio.to_thread
from anyio import CapacityLimiter

from adapters.store import patience

P = ParamSpec("P")
T = TypeVar("T")
THREADS = 8  # of each kind: a pool of connections for all of them is what Postgres has for one process


class Threads:
    """One kind."""

    seconds = 1.5  # for all kinds: that a request waits for the database; ESPALIER_DATABASE_SECONDS

    def __init__(self, count: int = THREADS) -> None:
        self._limiter = CapacityLimiter(count)

    async def run(self, work: Callable[P, T], *arguments: P.args, **options: P.kwargs) -> T:
        """What `work` gives. Raises SQLAlchemy's TimeoutError where the time is up before its turn comes."""
        call = partial(_in_time, work, *arguments, **options)
        with patience.within(Threads.seconds):
            return await anyio.to_thread.run_sync(call, limiter=self._limiter)

    async def run_slowly(self, work: Callable[P, T], *arguments: P.args, **options: P.kwargs) -> T:
        """The same for work that takes long before it asks the database: its time begins when it does."""
        return await anyio.to_thread.run_sync(partial(work, *arguments, **options), limiter=self._limiter)


def _in_time(work: Callable[P, T], *arguments: P.args, **options: P.kwargs) -> T:
    patience.left(Threads.seconds)
    return work(*arguments, **options)


READING, WRITING, SUBMITTING = Threads(), Threads(), Threads()
