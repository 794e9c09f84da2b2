"""A load generator that costs next to nothing: prepared requests, raw sockets, one thread (≈ 30 µs a request).

Client and server share the machine's cores, so a heavy client would be measured as a slow server.
"""

import math
import selectors
import socket
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field

PATIENCE = 60.0  # seconds without any answer after which a run gives up
FRESH = 3.0  # seconds that a connection may lie idle: uvicorn closes it after 5, and might do so as we send


@dataclass(frozen=True, slots=True)
class Answer:
    """One HTTP answer."""

    status: int
    head: bytes  # status line and headers, lower case
    body: bytes
    sent_at: float
    seconds: float


Look = Callable[[Answer], None]


@dataclass(slots=True)
class _Connection:
    sock: socket.socket
    waiting: bool = False  # for an answer
    sent_at: float = 0.0
    buffer: bytearray = field(default_factory=bytearray)
    missing: int = 0  # bytes without which looking at the buffer again is in vain


@dataclass(frozen=True, slots=True)
class Load:
    """What a run saw: seconds each answer took, in order of arrival, and the seconds of the whole run."""

    latencies: list[float]
    seconds: float
    statuses: Counter[int]

    @property
    def failures(self) -> int:
        """Answers other than 200."""
        return len(self.latencies) - self.statuses[200]

    @property
    def throughput(self) -> float:
        """Answers a second."""
        return len(self.latencies) / self.seconds

    def percentile(self, share: float) -> float:
        """Seconds within which that share of the answers came; nearest rank."""
        return sorted(self.latencies)[math.ceil(share * len(self.latencies)) - 1]

    def checked(self) -> "Load":
        """The same, when every answer was 200. Raises AssertionError."""
        assert self.failures == 0, f"{self.failures} failed requests: {dict(self.statuses)}"
        return self


def request(path: str, body: bytes, content_type: str, port: int, *headers: str) -> bytes:
    """One HTTP/1.1 request, ready to be sent; further headers as `Name: value`."""
    lines = [f"Host: 127.0.0.1:{port}", f"Content-Type: {content_type}", f"Content-Length: {len(body)}", *headers]
    return "\r\n".join([f"POST {path} HTTP/1.1", *lines, "", ""]).encode() + body


def run(requests: list[bytes], port: int, connections: int, seconds: float, look: Look | None = None) -> Load:
    """Send the requests round and round over so many connections, each waiting for its answer, for so long."""
    with _Lines(port, look) as lines:
        for number in range(connections):
            lines.send(lines.connect(), requests[number % len(requests)])
        number, began = connections, time.perf_counter()
        while lines.busy:
            for connection in lines.answered(PATIENCE):
                if time.perf_counter() - began < seconds:
                    lines.send(connection, requests[number % len(requests)])
                    number += 1
        return Load(lines.latencies, time.perf_counter() - began, lines.statuses)


def paced(
    requests: list[bytes],
    port: int,
    rate: float,
    seconds: float,
    look: Look | None = None,
    going_on: Callable[[], bool] = lambda: True,
) -> Load:
    """Send so many a second for so long, or while `going_on`, whether or not answers come.

    It takes as many connections as that needs. An answer's time counts from the moment its request was due: waiting
    for a slow server is part of it.
    """
    idle, sent, total = list[_Connection](), 0, max(1, int(rate * seconds))
    with _Lines(port, look) as lines:
        began = time.perf_counter()
        while sent < total or lines.busy:
            while sent < total and going_on() and (due := began + sent / rate) <= time.perf_counter():
                lines.send(lines.fresh(idle), requests[sent % len(requests)], due)
                sent += 1
            total = total if going_on() else sent
            if sent == total and not lines.busy:  # there is nothing to wait for
                break
            wait = PATIENCE if sent == total else max(0.0, began + sent / rate - time.perf_counter())
            idle += lines.answered(wait, patient=sent < total)
        return Load(lines.latencies, time.perf_counter() - began, lines.statuses)


class _Lines:
    """Open connections to one server, and what came back over them."""

    def __init__(self, port: int, look: Look | None) -> None:
        self._port, self._look = port, look
        self._selector = selectors.DefaultSelector()
        self.busy = 0  # requests without an answer
        self.latencies: list[float] = []
        self.statuses: Counter[int] = Counter()

    def __enter__(self) -> "_Lines":
        return self

    def __exit__(self, *_: object) -> None:
        for key in list(self._selector.get_map().values()):
            self.close(key.data)
        self._selector.close()

    def connect(self) -> _Connection:
        connection = _Connection(socket.create_connection(("127.0.0.1", self._port)))
        connection.sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._selector.register(connection.sock, selectors.EVENT_READ, connection)
        return connection

    def fresh(self, idle: list[_Connection]) -> _Connection:
        """The idle connection that was used last, unless that is long ago; else a new one."""
        while idle:
            connection = idle.pop()
            if connection.sock.fileno() >= 0 and time.perf_counter() - connection.sent_at < FRESH:
                return connection
            self.close(connection)
        return self.connect()

    def send(self, connection: _Connection, data: bytes, due: float | None = None) -> None:
        connection.sent_at = due if due is not None else time.perf_counter()
        connection.waiting = True
        self.busy += 1
        connection.sock.sendall(data)

    def close(self, connection: _Connection) -> None:
        if connection.sock.fileno() >= 0:
            self._selector.unregister(connection.sock)
            connection.sock.close()

    def answered(self, wait: float, *, patient: bool = False) -> list[_Connection]:
        """Connections whose answer is complete, after at most so long. Raises TimeoutError unless `patient`."""
        ready = self._selector.select(wait)
        if not ready and not patient:
            raise TimeoutError(f"no answer within {wait:.0f} s; {self.busy} requests are without one")
        done = []
        for key, _ in ready:
            answer = self._receive(key.data)
            if answer is not None:
                self._note(key.data, answer)
                done.append(key.data)
        return done

    def _receive(self, connection: _Connection) -> Answer | None:
        data = connection.sock.recv(1 << 20)
        if data:
            return _complete(connection, data)
        if connection.waiting:
            raise ConnectionError("the server closed a connection before it answered")
        self.close(connection)  # idle for long
        return None

    def _note(self, connection: _Connection, answer: Answer) -> None:
        connection.waiting = False
        self.busy -= 1
        self.latencies.append(answer.seconds)
        self.statuses[answer.status] += 1
        if self._look is not None:
            self._look(answer)


def _complete(connection: _Connection, data: bytes) -> Answer | None:
    """The answer that these bytes complete, None while more is to come."""
    connection.buffer += data
    if len(connection.buffer) < connection.missing:
        return None
    head, mark, body = bytes(connection.buffer).partition(b"\r\n\r\n")
    if not mark:
        return None
    head = head.lower()
    length = _length(head)
    if len(body) < length:
        connection.missing = len(head) + len(mark) + length
        return None
    connection.buffer.clear()
    connection.missing = 0
    return Answer(int(head[9:12]), head, body, connection.sent_at, time.perf_counter() - connection.sent_at)


def _length(head: bytes) -> int:
    for line in head.split(b"\r\n"):
        if line.startswith(b"content-length:"):
            return int(line[15:])
    raise ValueError("an answer without Content-Length: this client reads no chunks")
