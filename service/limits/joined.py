"""The head of an answer and the first of its body leave in one piece.

uvicorn writes them one after the other, and asyncio hands each to the system at once. That is a call of the system, a
packet, and a wait for the interpreter's lock more, which other threads hold while they decode.
"""

import asyncio
from typing import Any


class Joined:
    """The way out of one request and its answer, in place of uvicorn's transport.

    What is written first waits for what follows, at most until the event loop's next turn: a stream's head is not held
    up by the stream.
    """

    def __init__(self, transport: asyncio.Transport, loop: asyncio.AbstractEventLoop) -> None:
        self._transport, self._loop = transport, loop
        self._first: bytes | None = None
        self._began = False
        self.is_closing = transport.is_closing

    def write(self, data: bytes) -> None:
        """In the order of the calls."""
        if self._began:
            first, self._first = self._first, None
            self._transport.write(data if first is None else first + data)
            return
        self._began, self._first = True, data
        self._loop.call_soon(self._flush)

    def close(self) -> None:
        """When all of it is sent."""
        self._flush()
        self._transport.close()

    def _flush(self) -> None:
        first, self._first = self._first, None
        if first is not None:
            self._transport.write(first)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._transport, name)
