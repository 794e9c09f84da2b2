"""Threads of a pool know for whom they work: what is handed in runs in the context (PEP 567) of who hands it in. So its
log lines have the ids of that request or job, and it has that request's time for the database (`store.patience`).

For work of one request or job. What is done for all at once (passes of a batch, looks for changes) is nobody's: it is
handed to the standard library's pool.
"""

import asyncio
import os
import sys
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from contextvars import copy_context
from functools import partial
from typing import ParamSpec, TypeVar

LOWEST = 19  # niceness
P = ParamSpec("P")
T = TypeVar("T")


class Pool(ThreadPoolExecutor):
    """The standard library's, with the context; `map` has it, too, as it goes through `submit`."""

    def submit(self, work: Callable[P, T], /, *arguments: P.args, **options: P.kwargs) -> Future[T]:
        """Begin `work` in a thread. A context can be entered once at a time, so each call has its own copy (O(1))."""
        return super().submit(_here(work, *arguments, **options))


def give_way() -> None:
    """At the beginning of a thread of a pool that works for minutes: last in its process, which gives way already.

    Of a process that does not, as `ESPALIER_WORKER_NICENESS=0` has it, no thread does. Only Linux knows a thread's own.
    """
    if sys.platform == "linux" and os.getpriority(os.PRIO_PROCESS, 0) > 0:
        os.setpriority(os.PRIO_PROCESS, 0, LOWEST)


def begun(work: Callable[P, T], *arguments: P.args, **options: P.kwargs) -> asyncio.Future[T]:
    """The same in the event loop's own pool: begins now, whether or not anybody waits for it."""
    return asyncio.get_running_loop().run_in_executor(None, _here(work, *arguments, **options))


def _here(work: Callable[P, T], *arguments: P.args, **options: P.kwargs) -> Callable[[], T]:
    return partial(copy_context().run, work, *arguments, **options)
