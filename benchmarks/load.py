"""A load generator that costs next to nothing: prepared requests, raw sockets, one thread (≈ 30 µs a request).

Client and server share the machine's cores, so a heavy client would be measured as a slow server.
"""

import selectors
import socket
import time
from dataclasses import dataclass, field


@dataclass(slots=True)
class _Connection:
    sock: socket.socket
    sent_at: float = 0.0
    buffer: bytearray = field(default_factory=bytearray)


@dataclass(frozen=True, slots=True)
class Load:
    """What a run saw: seconds each answer took, in order of arrival, and the seconds of the whole run."""

    latencies: list[float]
    seconds: float
    failures: int

    @property
    def throughput(self) -> float:
        """Answers a second."""
        return len(self.latencies) / self.seconds


def request(path: str, body: bytes, content_type: str, port: int) -> bytes:
    """One HTTP/1.1 request, ready to be sent."""
    about = f"Host: 127.0.0.1:{port}\r\nContent-Type: {content_type}\r\nContent-Length: {len(body)}\r\n\r\n"
    return f"POST {path} HTTP/1.1\r\n{about}".encode() + body


def run(requests: list[bytes], port: int, connections: int, seconds: float) -> Load:
    """Send the requests round and round over so many connections, each waiting for its answer, for so long."""
    selector = selectors.DefaultSelector()
    latencies: list[float] = []
    failures, number = 0, 0
    for _ in range(connections):
        connection = _Connection(socket.create_connection(("127.0.0.1", port)))
        connection.sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        selector.register(connection.sock, selectors.EVENT_READ, connection)
        _send(connection, requests[number % len(requests)])
        number += 1
    began, busy = time.perf_counter(), connections
    while busy:
        for key, _ in selector.select():
            connection = key.data
            status = _receive(connection)
            if status is None:
                continue
            now = time.perf_counter()
            latencies.append(now - connection.sent_at)
            failures += status != 200
            if now - began < seconds:
                _send(connection, requests[number % len(requests)])
                number += 1
            else:
                busy -= 1
                selector.unregister(connection.sock)
                connection.sock.close()
    return Load(latencies, time.perf_counter() - began, failures)


def _send(connection: _Connection, data: bytes) -> None:
    connection.sent_at = time.perf_counter()
    connection.sock.sendall(data)


def _receive(connection: _Connection) -> int | None:
    """The status of a complete answer, None while more is to come."""
    data = connection.sock.recv(1 << 20)
    if not data:
        raise ConnectionError("the server closed the connection")
    connection.buffer += data
    head, mark, rest = bytes(connection.buffer).partition(b"\r\n\r\n")
    if not mark:
        return None
    length = next(int(line[15:]) for line in head.lower().split(b"\r\n") if line.startswith(b"content-length:"))
    if len(rest) < length:
        return None
    connection.buffer.clear()
    return int(head[9:12])
