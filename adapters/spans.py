"""Spans: that a step began and ended within a request or a job, for whoever traces. By default nobody does, and a step
costs a look at a variable.

Who traces says so once, at the start of a process (`follow`). Nothing else in here knows by which means.
"""

import functools
import inspect
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from typing import Any, Protocol, TypeVar, cast

Step = TypeVar("Step", bound=Callable[..., Any])


class Tracer(Protocol):
    """What is told of steps; called in any thread."""

    def span(self, name: str) -> AbstractContextManager[Any]:
        """Around a step of what is being done in this thread or task."""

    def here(self) -> object:
        """What is being done: the parent of spans that another thread tells of later; None where nobody wants any."""

    def record(self, parent: object, name: str, seconds: float) -> None:
        """A step of `parent` that took so long, and ended now."""


_tracer: Tracer | None = None
NOTHING = nullcontext()


def follow(tracer: Tracer | None) -> None:
    """Tell this one from now on; None: nobody."""
    global _tracer
    _tracer = tracer


def span(name: str) -> AbstractContextManager[Any]:
    """Around a step."""
    return NOTHING if _tracer is None else _tracer.span(name)


def here() -> object:
    """See `Tracer.here`; None where nobody traces."""
    return None if _tracer is None else _tracer.here()


def record(parent: object, name: str, seconds: float) -> None:
    """See `Tracer.record`; nothing for a parent that is None."""
    if parent is not None and _tracer is not None:
        _tracer.record(parent, name, seconds)


def traced(name: str) -> Callable[[Step], Step]:
    """Each call of the function is such a step."""

    def decorate(step: Step) -> Step:
        async def wait(*arguments: Any, **options: Any) -> Any:
            with span(name):
                return await step(*arguments, **options)

        def call(*arguments: Any, **options: Any) -> Any:
            with span(name):
                return step(*arguments, **options)

        chosen: Any = functools.update_wrapper(wait if inspect.iscoroutinefunction(step) else call, step)
        return cast(Step, chosen)

    return decorate
