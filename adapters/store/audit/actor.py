"""Who is at work: set where a request, a command or a job begins, read where a change is recorded."""

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass

OPERATOR = "operator"  # whoever has a shell on the machine: `espalier` on the database itself


@dataclass(slots=True)
class Actor:
    """Who acts, from where, and how many rows the audit log has of it by now."""

    tenant: str = ""
    principal: str = ""
    address: str = ""
    request_id: str = ""
    recorded: int = 0


_actor: ContextVar[Actor | None] = ContextVar("actor", default=None)
_process = Actor()


def current() -> Actor:
    """Whoever is at work here: the request's, else the process's own."""
    return _actor.get() or _process


def be(actor: Actor) -> None:
    """Who acts in this process where no request does: a worker, or an operator at a shell."""
    global _process
    _process = actor


@contextmanager
def acting(actor: Actor) -> Iterator[Actor]:
    """In here, and in tasks and threads that `anyio` starts from here, this is who acts."""
    token = _actor.set(actor)
    try:
        yield actor
    finally:
        _actor.reset(token)
