"""The load generator counts what a server really answered, and keeps its pace."""

import http.server
import threading
import time
from collections.abc import Iterator

import pytest

from benchmarks import load


class Handler(http.server.BaseHTTPRequestHandler):
    """Answers 200 with what was sent; 429 to /refuse."""

    protocol_version = "HTTP/1.1"

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["Content-Length"]))
        self.send_response(429 if self.path == "/refuse" else 200)
        self.send_header("Retry-After", "1")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: object) -> None:
        """Nothing."""


class Server(http.server.ThreadingHTTPServer):
    """With room for everybody who connects at once, on a busy machine, too: it is 5 by default."""

    request_queue_size = 512
    daemon_threads = True


@pytest.fixture
def port() -> Iterator[int]:
    """A server of its own for each test."""
    server = Server(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, args=(0.05,))
    thread.start()
    yield server.server_address[1]
    server.shutdown()
    thread.join()
    server.server_close()


def test_every_answer_is_counted_and_shown(port):
    seen: list[load.Answer] = []
    body = b"x" * 200_000  # more than one read
    result = load.run([load.request("/a", body, "text/plain", port)], port, 4, 0.2, seen.append).checked()
    assert len(result.latencies) == len(seen) == result.statuses[200] >= 4
    assert {answer.body for answer in seen} == {body}
    assert result.percentile(0.99) >= result.percentile(0.5) > 0


def test_a_refusal_is_a_failure_with_its_headers(port):
    seen: list[load.Answer] = []
    asked = [load.request(path, b"x", "text/plain", port) for path in ("/a", "/refuse")]
    result = load.run(asked, port, 2, 0, seen.append)
    assert dict(result.statuses) == {200: 1, 429: 1} and result.failures == 1
    assert all(b"\r\nretry-after: 1" in answer.head for answer in seen)
    with pytest.raises(AssertionError, match="1 failed"):
        result.checked()


def test_a_pace_is_kept_and_can_be_ended(port):
    asked = [load.request("/a", b"x", "text/plain", port)]
    result = load.paced(asked, port, 100, 0.5).checked()
    assert len(result.latencies) == 50
    until = time.monotonic() + 0.2
    ended = load.paced(asked, port, 100, 60, going_on=lambda: time.monotonic() < until)
    assert ended.seconds < 30 and len(ended.latencies) < 3000
