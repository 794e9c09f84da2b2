"""A server that is told to stop: what it still answers, how it sends its clients away, and when it ends."""

import os
import signal
import socket
from collections.abc import Iterator
from pathlib import Path

import pytest
from support import raw
from support.pictures import shape
from support.services import Service, eventually, kill

DRAIN = 4  # seconds


@pytest.fixture(params=[1, pytest.param(2, marks=pytest.mark.slow)])
def leaving(home: Path, request: pytest.FixtureRequest) -> Iterator[Service]:
    """A server that answers on for some seconds, of one process or two."""
    service = Service(home, {"drain_seconds": DRAIN, "servers": request.param})
    try:
        yield service.start()
    finally:
        service.stop()


def tell(service: Service) -> None:
    """SIGTERM, as the supervisor and Kubernetes send it."""
    assert service.process is not None
    os.kill(service.process.pid, signal.SIGTERM)


def readiness(service: Service) -> int:
    return raw.exchange(service.port, raw.get("/readyz", "Connection: close")).status


def ask(service: Service) -> raw.Answer:
    return raw.exchange(service.port, raw.post("/embed", shape("circle", 1), "image/png"))


@pytest.mark.slow
def test_a_server_told_to_stop_answers_on_and_sends_its_clients_away(leaving):
    with raw.connection(leaving.port) as kept:
        kept.sendall(raw.get("/livez"))
        assert raw.answer(kept).headers.get("connection") != "close"
        tell(leaving)
        eventually(lambda: {readiness(leaving) for _ in range(10)} == {503})  # whichever process is asked
        answer = ask(leaving)  # by a new connection
        assert (answer.status, answer.headers["connection"]) == (200, "close")
        kept.sendall(raw.post("/embed", shape("circle", 2), "image/png"))  # by one that was open before
        answer = raw.answer(kept)
        assert (answer.status, answer.headers["connection"]) == (200, "close")
        assert raw.ends(kept)
    assert raw.exchange(leaving.port, raw.get("/livez", "Connection: close")).status == 200
    assert leaving.process.wait(60) == 0


@pytest.mark.slow
def test_what_is_under_way_at_the_end_is_answered(leaving):
    """A body of which the last byte comes when the server has long closed its door."""
    request = raw.post("/embed", shape("circle", 3), "image/png")
    with raw.connection(leaving.port) as slow:
        slow.sendall(request[:-1])
        tell(leaving)
        eventually(lambda: not takes_connections(leaving))
        slow.sendall(request[-1:])
        assert raw.answer(slow).status == 200
    assert leaving.process.wait(60) == 0


def takes_connections(service: Service) -> bool:
    """Whether the serving process does: BentoML's arbiter holds the port until all have ended, and takes none."""
    try:
        with socket.create_connection(("127.0.0.1", service.port), 1) as opened:
            opened.settimeout(1)
            opened.sendall(raw.get("/livez", "Connection: close"))
            return bool(opened.recv(1))
    except OSError:
        return False


@pytest.mark.slow
def test_a_second_signal_ends_the_wait(home):
    service = Service(home, {"drain_seconds": 300})
    try:
        service.start()
        (worker,) = service.pids("_bentoml_impl.worker.service")
        os.kill(worker, signal.SIGTERM)
        eventually(lambda: readiness(service) == 503)
        os.kill(worker, signal.SIGTERM)
        eventually(lambda: not Path(f"/proc/{worker}").exists() or worker not in service.pids("worker.service"))
    finally:
        for pid in service.pids("bentoml"):
            kill(pid)
        service.stop()


@pytest.mark.slow
def test_without_a_drain_it_ends_at_once_and_in_order(home):
    service = Service(home).start()
    try:
        with raw.connection(service.port) as idle:
            idle.sendall(raw.get("/livez"))
            assert raw.answer(idle).status == 200
            tell(service)
            assert raw.ends(idle)
        assert service.process.wait(60) == 0
    finally:
        service.stop()
