"""How long a request of a megabyte or two holds up the others: one client asks /livez over and over meanwhile.

What is told is the slowest answer that this client got, in milliseconds, for each request of `costly_requests` and
`costly_texts`, and of `costly_answers`, which must succeed. Limit: 50 ms.
"""

import re
import socket
import threading
import time
from typing import Any

from benchmarks import costly_answers, costly_requests, costly_texts, record, server

REPETITIONS = 3
MAX_HELD_MS = 50.0
ANSWER = "answer: "  # before the names of requests that succeed
PAUSE = 0.0005  # seconds between two looks
ASKED = b"GET /livez HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n"


class Pinger:
    """Asks while it is entered; `slowest` is in milliseconds."""

    def __init__(self, port: int) -> None:
        self._port, self._stop, self._seconds = port, threading.Event(), [0.0]

    def __enter__(self) -> "Pinger":
        self._thread = threading.Thread(target=self._ask)
        self._thread.start()
        time.sleep(0.1)
        return self

    def __exit__(self, *_: object) -> None:
        time.sleep(0.05)
        self._stop.set()
        self._thread.join()

    @property
    def slowest(self) -> float:
        """Of all answers so far."""
        return max(self._seconds) * 1e3

    def _ask(self) -> None:
        with socket.create_connection(("127.0.0.1", self._port)) as sock:
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            while not self._stop.wait(PAUSE):
                began = time.perf_counter()
                sock.sendall(ASKED)
                sock.recv(65_536)
                self._seconds.append(time.perf_counter() - began)


def main(quick: bool = False) -> dict[str, Any]:
    """Measure and print; returns the results."""
    makers = costly_requests.REQUESTS | costly_texts.requests()
    makers |= {ANSWER + name: make for name, make in costly_answers.REQUESTS.items()}
    made = {name: make() for name, make in makers.items()}
    with server.prepared() as home:
        costly_answers.fill(home)
        with server.serving_and_training(home) as running:
            _warm(running.port, made)
            held = {name: _held(running.port, request, 1 if quick else REPETITIONS) for name, request in made.items()}
    results: dict[str, Any] = {name: record.spread(each) for name, each in held.items()}
    results["limits"] = {name: MAX_HELD_MS for name in held}
    record.show(results)
    return results


def _warm(port: int, made: dict[str, bytes]) -> None:
    """What is imported or made at the first time; and what shall succeed does."""
    for name, request in made.items():
        answered = send(port, request)
        assert answered.startswith(b"HTTP/1.1 200") or not name.startswith(ANSWER), (name, answered)


def _held(port: int, request: bytes, times: int) -> list[float]:
    found = []
    for _ in range(times):
        with Pinger(port) as pinger:
            send(port, request)
        found.append(pinger.slowest)
    return found


def send(port: int, request: bytes) -> bytes:
    """The head of the first answer, once all of it is there; a server that stops reading is no error."""
    with socket.create_connection(("127.0.0.1", port), timeout=60) as sock:
        try:
            sock.sendall(request)
        except OSError:
            pass
        try:
            return _receive(sock)
        except OSError:
            return b""


def _receive(sock: socket.socket) -> bytes:
    received = b""
    while b"\r\n\r\n" not in received:
        piece = sock.recv(65_536)
        if not piece:
            return received
        received += piece
    head, _, body = received.partition(b"\r\n\r\n")
    found = re.search(rb"content-length: (\d+)", head.lower())
    left = int(found[1]) - len(body) if found else 0
    while left > 0 and (piece := sock.recv(65_536)):
        left -= len(piece)
    return head


if __name__ == "__main__":
    record.save("small_requests", main())
