"""From where a request comes, and how many rows those get who are refused."""

import pytest
from sqlalchemy.exc import OperationalError

from adapters.errors import InvalidInput
from adapters.store.audit import log
from adapters.store.audit.actor import Actor
from adapters.store.audit.recording import Entry
from service.audit import refused
from service.audit.address import PEER, Proxies
from service.audit.refused import MINUTE, MOST_WAITING, OF_ALL, OF_ONE, Refused


def scope(peer, *forwarded):
    return {
        PEER: peer,
        "client": ("198.51.100.200", 1),
        "headers": [(b"x-forwarded-for", f.encode()) for f in forwarded],
    }


@pytest.mark.parametrize(
    ("trusted", "peer", "forwarded", "address"),
    [
        ("", "203.0.113.5", ["198.51.100.1"], "203.0.113.5"),
        ("10.0.0.0/8", "203.0.113.5", ["198.51.100.1"], "203.0.113.5"),
        ("10.0.0.0/8", "10.0.0.1", ["198.51.100.1"], "198.51.100.1"),
        ("10.0.0.0/8", "10.0.0.1", ["forged, 198.51.100.1"], "198.51.100.1"),
        ("10.0.0.0/8", "10.0.0.1", ["8.8.8.8, 198.51.100.1, 10.0.0.2"], "198.51.100.1"),
        ("10.0.0.0/8", "10.0.0.1", ["198.51.100.1", "10.0.0.2"], "198.51.100.1"),
        ("10.0.0.0/8", "10.0.0.1", ["198.51.100.1, rubbish"], "10.0.0.1"),
        ("10.0.0.0/8", "10.0.0.1", [], "10.0.0.1"),
        ("10.0.0.0/8", "10.0.0.1", ["10.0.0.3, 10.0.0.2"], "10.0.0.3"),
        ("::1, 2001:db8::/32", "::1", ["2001:db9::7"], "2001:db9::7"),
        ("10.0.0.1", "", ["198.51.100.1"], "198.51.100.200"),
        ("10.0.0.0/8", "::ffff:10.0.0.1", ["198.51.100.1"], "198.51.100.1"),
        ("10.0.0.0/8", "10.0.0.1", ["198.51.100.1, ::ffff:10.0.0.2"], "198.51.100.1"),
        ("10.0.0.0/8", "10.0.0.1", ["198.51.100.1:5123"], "198.51.100.1"),
        ("10.0.0.0/8", "10.0.0.1", ["[2001:db8::7]:443"], "2001:db8::7"),
        ("10.0.0.0/8", "10.0.0.1", ["8.8.8.8"] * 30 + ["198.51.100.1"] + ["10.0.0.2"] * 25, "10.0.0.2"),
        ("10.0.0.0/8", "10.0.0.1", ["\r\nX: 1"], "10.0.0.1"),
    ],
)
def test_each_trusted_proxy_vouches_for_the_hop_before_it(trusted, peer, forwarded, address):
    assert Proxies(trusted).address(scope(peer, *forwarded)) == address


def test_a_proxy_that_is_no_address_is_refused_at_the_start():
    with pytest.raises(InvalidInput, match="ESPALIER_TRUSTED_PROXIES"):
        Proxies("10.0.0.0/8, proxy.example.com")


class Clock:
    now = 0.0

    def __call__(self):
        return self.now


@pytest.fixture
def clock():
    return Clock()


@pytest.fixture
def recorder(engine, clock, monkeypatch):
    """Without its thread: the test says when rows are written."""
    monkeypatch.setattr(refused.threading.Thread, "start", lambda self: None)
    return Refused(lambda: engine, clock)


def tries(recorder, count, address, principal=""):
    for _ in range(count):
        recorder.add(Entry("DELETE /heads/{head}", {}, "refused", 404, Actor("", principal, address)))


def written(engine):
    return [(row["action"], row["address"], row["what"].get("refused")) for row in log.page(engine, limit=1000)]


def test_one_caller_gets_so_many_rows_a_minute_and_the_rest_is_counted(engine, recorder, clock):
    tries(recorder, OF_ONE + 70, "10.0.0.1")
    tries(recorder, 1, "10.0.0.2")
    recorder.flush()
    assert len(written(engine)) == OF_ONE + 1
    clock.now += MINUTE
    tries(recorder, 1, "10.0.0.1")
    recorder.flush()
    assert written(engine)[OF_ONE + 1 :] == [("audit.omitted", "", 70), ("DELETE /heads/{head}", "10.0.0.1", None)]


def test_a_key_is_one_caller_from_wherever_it_comes(engine, recorder):
    for number in range(OF_ONE + 10):
        tries(recorder, 1, f"10.0.0.{number}", principal="key_1")
    recorder.flush()
    assert len(written(engine)) == OF_ONE


def test_many_callers_get_so_many_together(engine, recorder):
    for number in range(OF_ALL + 50):
        tries(recorder, 1, f"10.0.{number}.1")
    recorder.close()
    assert len(written(engine)) == OF_ALL + 1
    assert written(engine)[-1] == ("audit.omitted", "", 50)


def test_rows_wait_while_the_database_is_away_within_bounds(engine, recorder, clock, monkeypatch):
    def away(*_):
        raise OperationalError("", {}, Exception())

    with monkeypatch.context() as broken:
        broken.setattr(refused, "write", away)
        for minute in range(12):
            clock.now = minute * MINUTE
            for number in range(OF_ALL):
                tries(recorder, 1, f"10.{minute}.{number}.1")
            with pytest.raises(OperationalError):
                recorder.flush()
    assert len(recorder._waiting) <= MOST_WAITING + 12
    recorder.close()
    rows = log.page(engine, limit=9999)
    there = sum(row["action"] != "audit.omitted" for row in rows)
    assert there + sum(row["what"].get("refused", 0) for row in rows) == 12 * OF_ALL
    assert log.verify(engine).problem is None
