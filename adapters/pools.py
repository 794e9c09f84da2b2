"""Threads of a pool know for whom they work: what is handed in runs in the context (PEP 567) of who hands it in. So its
log lines have the ids of that request or job, and it has that request's time for the database (`store.patience`).

For work of one request or job. What is done for all at once (passes of a batch, looks for changes) is nobody's: it is
handed to the standard library's pool.
"""

import asyncio
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from contextvars import copy_context
from functools import partial
from typing import ParamSpec, TypeVar

P = ParamSpec("P")
T = TypeVar("T")


class Pool(ThreadPoolExecutor):
    """The standard library's, with the context; `map` has it, too, as it goes through `submit`."""

    def submit(self, work: Callable[P, T], /, *arguments: P.args, **options: P.kwargs) -> Future[T]:
        """Begin `work` in a thread. A context can be entered once at a time, so each call has its own copy (O(1))."""
        return super().submit(_here(work, *arguments, **options))


def begun(work: Callable[P, T], *arguments: P.args, **options: P.kwargs) -> asyncio.Future[T]:
    """The same in the event loop's own pool: begins now, whether or not anybody waits for it."""
    return asyncio.get_running_loop().run_in_executor(None, _here(work, *arguments, **options))


def _here(work: Callable[P, T], *arguments: P.args, **options: P.kwargs) -> Callable[[], T]:
    return partial(copy_context().run, work, *arguments, **options)
