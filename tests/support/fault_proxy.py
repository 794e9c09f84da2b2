"""A TCP proxy between a service and what it needs, which goes wrong in the way that a test asks for."""

import asyncio
import contextlib
import socket
import struct
import threading
from collections.abc import Coroutine
from dataclasses import dataclass, field
from typing import Any, Literal

Fault = Literal["ok", "swallow", "reset", "refuse", "slow"]
Streams = tuple[asyncio.StreamReader, asyncio.StreamWriter]
CHUNK = 65_536  # bytes
LOOK = 0.02  # seconds between looks whether what was swallowed may go on
DELAY = 1.0  # seconds that `slow` keeps each chunk
ABORT = struct.pack("ii", 1, 0)  # SO_LINGER with no time: a close is a reset


@dataclass(slots=True)
class FaultProxy:
    """Passes on what comes to its `port`, by the fault of the moment; `with` starts and ends it.

    - ok: passes on;
    - swallow: takes everything and passes on nothing, as a network that loses packets; what was taken goes on with
      `ok`, as TCP would send it again;
    - reset: connections under way are cut, and new ones at their first bytes;
    - refuse: connections under way are cut, and nobody listens;
    - slow: each chunk waits for DELAY.
    """

    target: int  # port
    port: int = 0
    _fault: Fault = "ok"
    _loop: asyncio.AbstractEventLoop = field(default_factory=asyncio.new_event_loop)
    _server: asyncio.Server | None = None
    _writers: set[asyncio.StreamWriter] = field(default_factory=set)
    _thread: threading.Thread | None = None

    def __enter__(self) -> "FaultProxy":
        self._thread = threading.Thread(target=self._loop.run_forever, name="fault proxy", daemon=True)
        self._thread.start()
        self._wait_for(self._listen())
        return self

    def __exit__(self, *_: object) -> None:
        self._wait_for(self._end())
        self._loop.call_soon_threadsafe(self._loop.stop)
        assert self._thread is not None
        self._thread.join()
        self._loop.close()

    def set(self, fault: Fault) -> None:
        """From now on, for connections under way as well."""
        self._wait_for(self._set(fault))

    def _wait_for(self, work: Coroutine[Any, Any, None]) -> None:
        asyncio.run_coroutine_threadsafe(work, self._loop).result(30)

    async def _set(self, fault: Fault) -> None:
        self._fault = fault
        if fault == "refuse":
            self._close_listener()
        elif self._server is None:
            await self._listen()
        if fault in ("reset", "refuse"):
            self._cut()

    async def _listen(self) -> None:
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", self.port)
        self.port = self._server.sockets[0].getsockname()[1]

    def _close_listener(self) -> None:
        if self._server is not None:
            self._server.close()
        self._server = None

    def _cut(self) -> None:
        for writer in self._writers:
            connection = writer.get_extra_info("socket")
            with contextlib.suppress(OSError):  # it has ended meanwhile
                connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, ABORT)
            writer.transport.abort()

    async def _end(self) -> None:
        self._close_listener()
        self._cut()
        others = asyncio.all_tasks() - {asyncio.current_task()}
        for task in others:
            task.cancel()
        await asyncio.gather(*others, return_exceptions=True)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._writers.add(writer)
        try:
            first = await reader.read(CHUNK) if self._fault == "reset" else b""
            if first:
                self._cut()
                return
            beyond = await asyncio.open_connection("127.0.0.1", self.target)
            await self._both_ways((reader, writer), beyond)
        except (OSError, asyncio.CancelledError):  # the other end went first or is not there, or the proxy ends
            self._abort(writer)
        finally:
            self._writers.discard(writer)
            writer.close()

    def _abort(self, writer: asyncio.StreamWriter) -> None:
        writer.transport.abort()

    async def _both_ways(self, near: Streams, far: Streams) -> None:
        self._writers.add(far[1])
        try:
            await asyncio.gather(self._pass(near[0], far[1]), self._pass(far[0], near[1]))
        finally:
            self._writers.discard(far[1])
            far[1].close()

    async def _pass(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while data := await reader.read(CHUNK):
            while self._fault == "swallow":
                await asyncio.sleep(LOOK)
            if self._fault == "slow":
                await asyncio.sleep(DELAY)
            writer.write(data)
            await writer.drain()
        if writer.can_write_eof():
            writer.write_eof()
