"""HTTP by hand: requests that no client library would send."""

import json
import socket
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from support.services import PATIENCE

HOST = b"Host: 127.0.0.1\r\n"


@dataclass(frozen=True, slots=True)
class Answer:
    """The first answer on a connection; status 0: it ended without one."""

    status: int
    headers: dict[str, str]
    body: bytes

    @property
    def code(self) -> str:
        """That of a problem."""
        assert self.headers["content-type"] == "application/problem+json", self
        found: dict[str, Any] = json.loads(self.body)
        assert found["status"] == self.status and found["detail"] and found["title"]
        return str(found["code"])


@contextmanager
def connection(port: int) -> Iterator[socket.socket]:
    """An open connection."""
    with socket.create_connection(("127.0.0.1", port)) as opened:
        opened.settimeout(PATIENCE)
        yield opened


def post(path: str, body: bytes, kind: str, *more: str, announced: int | None = None) -> bytes:
    """A request as bytes."""
    length = len(body) if announced is None else announced
    head = [f"POST {path} HTTP/1.1", "Host: 127.0.0.1", f"Content-Type: {kind}", f"Content-Length: {length}", *more]
    return "\r\n".join([*head, "", ""]).encode() + body


def get(path: str, *more: str) -> bytes:
    """A request as bytes."""
    return "\r\n".join([f"GET {path} HTTP/1.1", "Host: 127.0.0.1", *more, "", ""]).encode()


def answer(opened: socket.socket) -> Answer:
    """Wait for it."""
    received = b""
    while b"\r\n\r\n" not in received:
        piece = _receive(opened)
        if not piece:
            return Answer(0, {}, received)
        received += piece
    head, _, body = received.partition(b"\r\n\r\n")
    first, *lines = head.decode("latin-1").split("\r\n")
    headers = {name.lower(): value.strip() for name, _, value in (line.partition(":") for line in lines)}
    while len(body) < int(headers.get("content-length", 0)) and (piece := _receive(opened)):
        body += piece
    return Answer(int(first.split()[1]), headers, body)


def exchange(port: int, request: bytes) -> Answer:
    """Send, and wait for the answer; a server that stops reading is no error."""
    with connection(port) as opened:
        try:
            opened.sendall(request)
        except OSError:
            pass
        return answer(opened)


def ends(opened: socket.socket) -> bool:
    """Wait until the server ends a connection; False while it goes on for too long."""
    until = time.monotonic() + PATIENCE
    while time.monotonic() < until:
        if not _receive(opened):
            return True
    return False


def _receive(opened: socket.socket) -> bytes:
    try:
        return opened.recv(65_536)
    except ConnectionError:
        return b""
