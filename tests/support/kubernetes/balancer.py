"""What a Service of Kubernetes does: each new connection goes to one of its endpoints, and stays with it.

The endpoints that it knows are those of some seconds ago, as kube-proxy on each node hears of a change late. Bytes are
passed on and nothing else: it tries nothing again, and ends no connection that the pod did not end.
"""

import asyncio
import contextlib
import itertools
import threading
from dataclasses import dataclass, field

CHUNK = 65_536  # bytes


@dataclass(slots=True)
class Balancer:
    """Listens on an address; `with` starts and ends it."""

    host: str
    target_port: int
    port: int = 0
    delay: float = 2.0  # seconds until a change of the endpoints is known
    connections: int = 0
    refused: int = 0  # connections that no endpoint took
    _endpoints: list[str] = field(default_factory=list)
    _turn: itertools.count = field(default_factory=itertools.count)  # type: ignore[type-arg]
    _loop: asyncio.AbstractEventLoop = field(default_factory=asyncio.new_event_loop)
    _thread: threading.Thread | None = None
    _server: asyncio.Server | None = None

    def __enter__(self) -> "Balancer":
        self._server = self._loop.run_until_complete(asyncio.start_server(self._serve, self.host, 0))
        self.port = self._server.sockets[0].getsockname()[1]
        self._thread = threading.Thread(target=self._loop.run_forever, name="balancer", daemon=True)
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        assert self._thread is not None and self._server is not None
        self._loop.call_soon_threadsafe(self._server.close)
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        for task in asyncio.all_tasks(self._loop):
            task.cancel()
        self._loop.run_until_complete(asyncio.sleep(0.1))
        self._loop.close()

    def add(self, address: str) -> None:
        """An endpoint has become ready."""
        self._later(lambda: self._endpoints.append(address))

    def discard(self, address: str) -> None:
        """An endpoint is not ready any more, or is told to leave."""
        self._later(lambda: address in self._endpoints and self._endpoints.remove(address))

    def knows(self) -> list[str]:
        """The endpoints of the moment."""
        return list(self._endpoints)

    def _later(self, change: object) -> None:
        self._loop.call_soon_threadsafe(self._loop.call_later, self.delay, change)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.connections += 1
        try:
            address = self._endpoints[next(self._turn) % len(self._endpoints)]
            other = await asyncio.open_connection(address, self.target_port)
        except (OSError, ZeroDivisionError):
            self.refused += 1
            writer.close()
            return
        with contextlib.suppress(OSError):
            await asyncio.gather(_pass(reader, other[1]), _pass(other[0], writer))


async def _pass(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """One direction, to its end."""
    try:
        while data := await reader.read(CHUNK):
            writer.write(data)
            await writer.drain()
    except OSError:
        pass
    finally:
        with contextlib.suppress(OSError):
            writer.close()
