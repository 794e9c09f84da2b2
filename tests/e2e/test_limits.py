"""What one connection may cost: heads, bodies, answers, room. A real server with narrow bounds, asked by hand."""

import shutil
import socket
import time
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest
from support import raw
from support.pictures import shape
from support.recorder import check_history
from support.services import MIB, Service, eventually

CONNECTIONS = 12
FORM = "multipart/form-data; boundary=xx"


@pytest.fixture(scope="module")
def narrow(prepared: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    """A service with narrow bounds."""
    home = Path(shutil.copytree(prepared, tmp_path_factory.mktemp("narrow") / "home"))
    bounds = {
        "header_seconds": 2, "body_seconds": 2, "min_body_rate": 1000, "max_header_bytes": 8192,
        "max_connections": CONNECTIONS, "max_json_bytes": MIB, "max_upload_bytes": 3 * MIB,
    }  # fmt: skip
    service = Service(home, bounds)
    try:
        yield service.start()
        check_history(service)
    finally:
        service.stop()


def metric(service: Service, name: str) -> float:
    page = raw.exchange(service.port, raw.get("/metrics", "Connection: close")).body.decode()
    return float(next(line for line in page.splitlines() if line.startswith(f"espalier_{name} ")).rsplit(" ", 1)[1])


def refused(service: Service, reason: str) -> float:
    return metric(service, f'connections_refused_total{{reason="{reason}"}}')


def is_well(service: Service) -> bool:
    return raw.exchange(service.port, raw.post("/embed", shape("circle", 1), "image/png")).status == 200


# Heads


@pytest.mark.slow
def test_headers_that_do_not_come_to_an_end_are_cut(narrow):
    """Byte by byte, so that the server's own idle timer never fires."""
    before = refused(narrow, "head_time")
    with raw.connection(narrow.port) as opened:
        opened.sendall(b"GET /heads HTTP/1.1\r\n" + raw.HOST)
        opened.settimeout(0.2)
        answer = b""
        for _ in range(200):
            try:
                opened.sendall(b"X")
                answer = opened.recv(4096)
                break
            except TimeoutError:
                continue
    assert answer.startswith(b"HTTP/1.1 408 ") and b'"request_timeout"' in answer
    assert refused(narrow, "head_time") == before + 1


@pytest.mark.slow
def test_a_connection_that_asks_nothing_is_ended(narrow):
    with raw.connection(narrow.port) as opened:
        assert raw.ends(opened)


def test_a_connection_may_rest_between_two_requests_for_longer(narrow):
    """A proxy keeps its connections, and must be the one that ends them."""
    with raw.connection(narrow.port) as resting, raw.connection(narrow.port) as silent:
        resting.sendall(raw.get("/livez"))
        assert raw.answer(resting).status == 200
        assert raw.ends(silent)  # its time was up, which began before the other's
        with raw.connection(narrow.port) as next_one:
            assert raw.ends(next_one)
        resting.sendall(raw.get("/livez"))
        assert raw.answer(resting).status == 200


@pytest.mark.parametrize("lines", [["X: " + "a" * 9000], [f"X-{n}: a" for n in range(1000)], ["X: " + "a" * 2**20]])
def test_headers_over_the_bound_are_refused(narrow, lines):
    answer = raw.exchange(narrow.port, raw.get("/heads", *lines))
    assert (answer.status, answer.code) == (431, "headers_too_large")
    assert answer.headers["connection"] == "close"


@pytest.mark.parametrize("size", [9000, 2**20])
def test_an_address_over_the_bound_is_refused(narrow, size):
    answer = raw.exchange(narrow.port, raw.get("/heads?" + "a=b&" * (size // 4)))
    assert (answer.status, answer.code) == (414, "address_too_long")


@pytest.mark.parametrize(
    "junk", [b"\x16\x03\x01\x02\x00\x01", b"GET\r\n\r\n", b"GET http://[ HTTP/1.1\r\nHost: x\r\n\r\n"]
)
def test_what_is_no_request_is_told_so(narrow, junk):
    answer = raw.exchange(narrow.port, junk)
    assert (answer.status, answer.code) == (400, "malformed_request")


def test_nothing_is_upgraded(narrow):
    """A web socket would leave all bounds behind."""
    ask = ("Connection: Upgrade", "Upgrade: websocket", "Sec-WebSocket-Version: 13", "Sec-WebSocket-Key: eA==")
    assert raw.exchange(narrow.port, raw.get("/livez", *ask)).status == 200


# Bodies


@pytest.mark.slow
@pytest.mark.parametrize(
    "path, kind", [("/embed", "image/png"), ("/finetune", FORM), ("/heads/x/rebuild", "application/json")]
)
def test_a_body_that_comes_too_slowly_is_cut(narrow, path, kind):
    before = refused(narrow, "body_rate")
    with raw.connection(narrow.port) as opened:
        opened.sendall(raw.post(path, b"--xx\r\n", kind, announced=500_000))
        answer = raw.answer(opened)
        assert (answer.status, answer.code) == (408, "request_timeout")
        assert raw.ends(opened)
    assert refused(narrow, "body_rate") == before + 1
    assert eventually(lambda: metric(narrow, "upload_bytes") == 0)


def test_what_is_announced_takes_no_room(narrow):
    """Eight clients that announce as much as is allowed, and send nothing, shut out nobody."""
    with ExitStack() as stack:
        for _ in range(8):
            opened = stack.enter_context(raw.connection(narrow.port))
            opened.sendall(raw.post("/predict?head=x", b"", "image/png", announced=128 * MIB))
        assert is_well(narrow) and metric(narrow, "waiting_bytes") == 0


def test_uploads_have_one_bound_together(narrow):
    """Two that are received at once are over it: the second is told to come back. What the first held is given back."""
    start = b'--xx\r\nContent-Disposition: form-data; name="images"; filename="a"\r\n\r\n' + b"a" * (2 * MIB)
    with raw.connection(narrow.port) as opened:
        opened.sendall(raw.post("/finetune", start, FORM, announced=3 * MIB))
        assert eventually(lambda: metric(narrow, "upload_bytes") > MIB)
        second = raw.exchange(narrow.port, raw.post("/finetune", start + b"\r\n--xx--\r\n", FORM))
        assert (second.status, second.code) == (429, "overloaded") and int(second.headers["retry-after"]) > 0
    assert eventually(lambda: metric(narrow, "upload_bytes") == 0)


def test_a_json_body_over_the_bound_is_refused(narrow):
    body = b'{"backbone": "' + b"a" * MIB + b'"}'
    announced = raw.exchange(narrow.port, raw.post("/heads/x/rebuild", body, "application/json"))
    head = b"POST /heads/x/rebuild HTTP/1.1\r\n" + raw.HOST
    head += b"Content-Type: application/json\r\nTransfer-Encoding: chunked\r\n\r\n"
    chunked = raw.exchange(narrow.port, head + b"%x\r\n%s\r\n0\r\n\r\n" % (len(body), body))
    assert [(a.status, a.code) for a in (announced, chunked)] == [(413, "too_large")] * 2


def test_what_follows_a_chunked_body_is_passed_over(narrow):
    """Headers behind it are no headers of the request, however many they are."""
    picture = shape("circle", 1)
    head = b"POST /embed HTTP/1.1\r\n" + raw.HOST + b"Content-Type: image/png\r\nTransfer-Encoding: chunked\r\n\r\n"
    trailers = b"Host: evil.example\r\n" * 50_000
    answer = raw.exchange(narrow.port, head + b"%x\r\n%s\r\n0\r\n" % (len(picture), picture) + trailers + b"\r\n")
    assert answer.status == 200


def test_requests_behind_one_another_are_all_answered(narrow):
    """A thousand in one piece: parsed in turns, answered in order."""
    with raw.connection(narrow.port) as opened:
        opened.sendall(raw.get("/livez") * 999 + raw.get("/nowhere", "Connection: close"))
        received = b""
        while piece := opened.recv(65_536):
            received += piece
    assert received.count(b"HTTP/1.1 200 OK") == 999 and b"HTTP/1.1 404 " in received.rpartition(b"200 OK")[2]


# Connections


def test_idle_connections_give_way(narrow):
    with ExitStack() as stack:
        idle = [stack.enter_context(raw.connection(narrow.port)) for _ in range(CONNECTIONS)]
        assert is_well(narrow)
        assert raw.ends(idle[0])


def test_where_none_is_idle_probes_and_scrapes_are_answered_still(narrow):
    with ExitStack() as stack:
        for _ in range(CONNECTIONS):
            _busy(stack, narrow)
        answer = raw.exchange(narrow.port, raw.get("/heads"))
        assert (answer.status, answer.code) == (503, "too_many_connections") and "retry-after" in answer.headers
        for path in ("/livez", "/readyz", "/metrics"):
            assert raw.exchange(narrow.port, raw.get(path)).status == 200, path
    assert eventually(lambda: is_well(narrow))


def _busy(stack: ExitStack, service: Service) -> socket.socket:
    opened = stack.enter_context(raw.connection(service.port))
    opened.sendall(raw.post("/embed", b"a" * 4000, "image/png", announced=500_000))
    return opened


def test_a_client_that_does_not_read_its_answers_is_cut(narrow):
    before = refused(narrow, "read_rate")
    with socket.socket() as opened:
        opened.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        opened.connect(("127.0.0.1", narrow.port))
        opened.setblocking(False)
        asked = raw.get("/openapi.json") * 300
        until = time.monotonic() + 60
        while asked and time.monotonic() < until and refused(narrow, "read_rate") == before:
            try:
                asked = asked[opened.send(asked) :]
            except BlockingIOError:
                time.sleep(0.1)
            except ConnectionError:
                break
        assert eventually(lambda: refused(narrow, "read_rate") > before)
