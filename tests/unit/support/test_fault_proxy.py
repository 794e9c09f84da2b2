"""The fault proxy: each fault is what its name says, for new connections and for those under way."""

import socket
import threading
from collections.abc import Iterator

import pytest
from support import fault_proxy
from support.fault_proxy import FaultProxy

SOON = 0.3  # seconds in which nothing is to come
WAIT = 20.0  # seconds that may pass until what must come is there


@pytest.fixture
def echo() -> Iterator[int]:
    """The port of a server that says everything again."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        threading.Thread(target=_accept, args=(server,), daemon=True).start()
        yield server.getsockname()[1]


def _accept(server: socket.socket) -> None:
    while True:
        try:
            connection, _ = server.accept()
        except OSError:  # it was closed
            return
        threading.Thread(target=_echo, args=(connection,), daemon=True).start()


def _echo(connection: socket.socket) -> None:
    with connection:
        try:
            while data := connection.recv(65_536):
                connection.sendall(data)
        except OSError:
            pass


@pytest.fixture
def proxy(echo: int) -> Iterator[FaultProxy]:
    with FaultProxy(echo) as running:
        yield running


def connect(proxy: FaultProxy) -> socket.socket:
    return socket.create_connection(("127.0.0.1", proxy.port), timeout=WAIT)


def ask(connection: socket.socket, word: bytes = b"hello") -> bytes:
    connection.sendall(word)
    return connection.recv(100)


def test_it_passes_on_what_comes_and_the_end(proxy):
    with connect(proxy) as connection:
        assert ask(connection) == b"hello"
        connection.shutdown(socket.SHUT_WR)
        assert connection.recv(100) == b""


def test_what_is_swallowed_comes_when_all_is_well_again(proxy):
    with connect(proxy) as old:
        ask(old)
        proxy.set("swallow")
        with connect(proxy) as new:
            for connection in (old, new):
                connection.sendall(b"lost?")
                connection.settimeout(SOON)
                with pytest.raises(TimeoutError):
                    connection.recv(100)
            proxy.set("ok")
            for connection in (old, new):
                connection.settimeout(WAIT)
                assert connection.recv(100) == b"lost?"


def test_a_reset_cuts_connections_under_way_and_new_ones(proxy):
    with connect(proxy) as old:
        ask(old)
        proxy.set("reset")
        with pytest.raises(ConnectionResetError):
            old.recv(100)
        with connect(proxy) as new, pytest.raises(ConnectionResetError):
            ask(new)


def test_a_refusal_cuts_connections_under_way_and_lets_nobody_in(proxy):
    port = proxy.port
    with connect(proxy) as old:
        ask(old)
        proxy.set("refuse")
        with pytest.raises(ConnectionResetError):
            old.recv(100)
    with pytest.raises(ConnectionRefusedError):
        connect(proxy)
    proxy.set("ok")
    assert proxy.port == port
    with connect(proxy) as again:
        assert ask(again) == b"hello"


def test_what_is_slow_comes_late(proxy, monkeypatch):
    monkeypatch.setattr(fault_proxy, "DELAY", 2 * SOON)
    proxy.set("slow")
    with connect(proxy) as connection:
        connection.sendall(b"hello")
        connection.settimeout(SOON)
        with pytest.raises(TimeoutError):
            connection.recv(100)
        connection.settimeout(WAIT)
        assert connection.recv(100) == b"hello"


def test_a_target_that_is_not_there_ends_the_connection():
    with socket.create_server(("127.0.0.1", 0)) as server:
        nobody = server.getsockname()[1]
    with FaultProxy(nobody) as proxy, connect(proxy) as connection:
        try:
            assert ask(connection) == b""
        except ConnectionResetError:
            pass
