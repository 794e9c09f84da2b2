"""Small requests that are made to cost much: everybody else is served, and what is idle is cut."""

import contextlib
import socket
import threading
import time
from collections.abc import Iterator

import httpx
import pytest
from support.pictures import shape
from support.services import MIB, Service

STILL = 5.0  # seconds that a probe may wait on a busy machine: names that differ cost 12 s once
NAMES = 24_000


@pytest.fixture(scope="module")
def url(recorder) -> str:
    recorder.taught("warm")
    recorder.ask("warm")
    return str(recorder.service.url)


@contextlib.contextmanager
def probing(url: str) -> Iterator[list[float]]:
    """Seconds that each of many probes waited."""
    stop, waited = threading.Event(), [0.0]

    def probe() -> None:
        with httpx.Client(timeout=60) as client:
            while not stop.wait(0.02):
                began = time.monotonic()
                client.get(f"{url}/livez")
                waited.append(time.monotonic() - began)

    thread = threading.Thread(target=probe)
    thread.start()
    try:
        yield waited
    finally:
        stop.set()
        thread.join()


def form(names: int) -> bytes:
    """As many fields, each of another name."""
    fields = "".join(f'--xx\r\nContent-Disposition: form-data; name="f{n}"\r\n\r\n\r\n' for n in range(names))
    return f"{fields}--xx--\r\n".encode()


@pytest.mark.parametrize("path", ["/predict?head=warm", "/embed", "/finetune", "/heads/warm/suggest"])
def test_a_form_of_many_names_blocks_nobody(url, path):
    kind = {"Content-Type": "multipart/form-data; boundary=xx"}
    with probing(url) as waited:
        answer = httpx.post(f"{url}{path}", content=form(NAMES), headers=kind, timeout=90)
    assert 400 <= answer.status_code < 500 and answer.headers["content-type"] == "application/problem+json"
    assert max(waited) < STILL


def test_an_address_of_many_names_blocks_nobody(url):
    query = "&".join(f"{n:x}=" for n in range(10_000))
    with probing(url) as waited:
        assert 400 <= httpx.post(f"{url}/predict?{query}", content=shape("circle", 1), timeout=90).status_code < 500
    assert max(waited) < STILL


def announce(service: Service, size: int) -> socket.socket:
    """A connection that says how much it is about to send, and sends nothing."""
    connection = socket.create_connection(("127.0.0.1", service.port), timeout=60)
    head = f"POST /predict?head=warm HTTP/1.1\r\nHost: localhost\r\nContent-Type: image/png\r\nContent-Length: {size}"
    connection.sendall(f"{head}\r\n\r\n".encode())
    return connection


def test_what_is_announced_and_not_sent_locks_nobody_out_and_is_cut(recorder, url):
    with contextlib.ExitStack() as stack:
        idle = [stack.enter_context(announce(recorder.service, 128 * MIB)) for _ in range(8)]
        time.sleep(0.5)
        for _ in range(3):
            assert recorder.ask("warm")
        ends = [connection.recv(4096) for connection in idle]  # the deadline comes, and with it an answer or the end
    assert all(end == b"" or end.startswith(b"HTTP/1.1 408") for end in ends), ends
    assert recorder.ask("warm")
