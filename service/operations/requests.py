"""The id of a request: taken from the caller where it sent a good one, else made here; told on every answer and kept
with the job, so that what a worker says of it can be found by the request that caused it.

`X-Request-Id` is any caller's and proxy's word for it; a `traceparent` (W3C Trace Context) has the id of a whole trace.
"""

import os
import random
import re
from collections.abc import Callable, Iterator, MutableMapping
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass
from typing import Any

Scope = MutableMapping[str, Any]

HEADER = b"x-request-id"
ID = re.compile(rb"[A-Za-z0-9][A-Za-z0-9._:/+=@-]{0,127}")  # what cannot be mistaken for anything in a log or a shell
# Version, trace, parent, flags; what later versions put behind these is left out. All zeros are no id.
TRACEPARENT = re.compile(rb"(?!ff)[0-9a-f]{2}-(?!0{32})([0-9a-f]{32})-(?!0{16})([0-9a-f]{16})-([0-9a-f]{2})(?:\Z|-.*)")
NAMES = (HEADER, b"traceparent")


@dataclass(frozen=True, slots=True)
class Origin:
    """What a request is known by."""

    request_id: str
    traceparent: str | None = None  # of version 00, as the caller sent it

    @property
    def columns(self) -> dict[str, str | None]:
        """As the row of a job has it."""
        return {"request_id": self.request_id, "traceparent": self.traceparent}


_ORIGIN: ContextVar[Origin | None] = ContextVar("origin", default=None)


_NUMBERS = random.Random()
os.register_at_fork(after_in_child=_NUMBERS.seed)


def current() -> Origin | None:
    """Of the request that is being worked on; None outside of any."""
    return _ORIGIN.get()


def columns() -> dict[str, str | None]:
    """For the row of a job that is made now."""
    origin = _ORIGIN.get()
    return {} if origin is None else origin.columns


def new_id() -> str:
    """One that nobody has. It is no secret; to ask the system for each would give other threads the interpreter's lock,
    and beside the backbone that is 0.1 ms of the event loop (`python -m benchmarks layers`).
    """
    return f"{_NUMBERS.getrandbits(128):032x}"


def of(scope: Scope) -> Origin:
    """The origin of a request; what is sent in a bad form, or twice, counts as not sent."""
    sent = [(name, value) for name, value in scope["headers"] if name in NAMES]
    if not sent:
        return Origin(new_id())
    found = {name: value for name, value in sent if sum(name == other for other, _ in sent) == 1}
    trace = TRACEPARENT.match(found.get(b"traceparent", b"")[:256])
    parent = None if trace is None else "-".join(["00", *(part.decode() for part in trace.groups())])
    wished = found.get(HEADER, b"")
    if ID.fullmatch(wished):
        return Origin(wished.decode(), parent)
    return Origin(new_id() if trace is None else trace[1].decode(), parent)


@contextmanager
def answering(origin: Origin) -> Iterator[None]:
    """What is done inside, threads of anyio and asyncio included, is done for that request."""
    token = _ORIGIN.set(origin)
    try:
        yield
    finally:
        _ORIGIN.reset(token)


def told(send: Any, origin: Origin, answered: Callable[[int], None] | None = None) -> Any:
    """The same way out, on which the id is told; and the status, to whoever wants to know."""
    mine = (HEADER, origin.request_id.encode())

    async def sent(message: MutableMapping[str, Any]) -> None:
        if message["type"] == "http.response.start":
            headers = message.get("headers", [])
            if not any(name.lower() == HEADER for name, _ in headers):
                message["headers"] = [*headers, mine]
            if answered is not None:
                answered(message["status"])
        await send(message)

    return sent
