"""Wrong keys by the address that they come from, by a clock of the tests' own."""

import asyncio

import pytest

from service.access import attempts
from service.access.attempts import Attempts
from service.access.authenticator import Authenticator
from service.access.keys import administration, minting
from service.access.keys.keyring import KeyRing
from service.access.refusals import TooManyAttempts, Unauthorized
from service.audit.address import Proxies
from service.errors import status_of
from service.settings import Settings


def of(address, *headers):
    return {"type": "http", "client": (address, 5000), "headers": list(headers), "server": ("127.0.0.1", 3000)}


def passed(found, scope, count):
    """How many of so many wrong keys are no more than that."""
    done = 0
    for _ in range(count):
        try:
            found.failed(scope)
            done += 1
        except TooManyAttempts as error:
            assert 0 < error.retry_after <= 600
    return done


def test_so_many_a_minute_of_one_address_and_others_have_their_own(clock):
    found = Attempts(30, clock=clock)
    assert passed(found, of("10.0.0.1"), 100) == 30
    assert found.wait(of("10.0.0.1")) == pytest.approx(2.0) and found.wait(of("10.0.0.2")) == 0
    assert passed(found, of("10.0.0.2"), 100) == 30
    clock.now += 20
    assert passed(found, of("10.0.0.1"), 100) == 10
    clock.now += 3600
    assert passed(found, of("10.0.0.1"), 100) == 30


@pytest.mark.parametrize("rate", [0.1, 1, 7.5])
def test_slow_rates_let_one_be_wrong(clock, rate):
    found = Attempts(rate, clock=clock)
    assert passed(found, of("10.0.0.1"), 20) == max(int(rate), 1)
    clock.now += 60 / rate + 0.001
    assert found.wait(of("10.0.0.1")) == 0


@pytest.mark.parametrize(("rate", "servers"), [(60, 8), (30, 4), (7, 2), (2, 4)])
def test_processes_hold_the_sum_and_all_name_the_number_that_was_set(clock, rate, servers):
    """Each has its part, and one at least."""
    processes = [Attempts(rate, clock=clock, servers=servers) for _ in range(servers)]
    assert rate - servers < sum(passed(each, of("10.0.0.1"), 100) for each in processes) <= max(rate, servers)
    with pytest.raises(TooManyAttempts, match=f"^{rate} wrong keys or tokens a minute"):
        processes[0].failed(of("10.0.0.1"))


def test_a_rate_of_nothing_bounds_nothing_and_remembers_nobody(clock):
    found = Attempts(0, clock=clock)
    assert passed(found, of("10.0.0.1"), 1000) == 1000 and not found._left


def test_a_network_of_ipv6_is_one_caller_and_one_address_of_ipv4_is(clock):
    found = Attempts(10, clock=clock)
    assert sum(passed(found, of(f"2001:db8:0:1::{n:x}"), 1) for n in range(1, 101)) == 10
    assert passed(found, of("2001:db8:0:2::1"), 20) == 10
    assert passed(found, of("::ffff:10.0.0.1"), 5) + passed(found, of("10.0.0.1"), 20) == 10
    assert passed(found, of("10.0.0.2"), 20) == 10


def test_what_is_remembered_is_bounded(clock, monkeypatch):
    monkeypatch.setattr(attempts, "MOST", 100)
    found = Attempts(10, clock=clock)
    for number in range(1000):
        passed(found, of(f"10.1.{number // 250}.{number % 250}"), 1)
        passed(found, of("10.0.0.1"), 1)
    assert len(found._left) == 100
    assert found.wait(of("10.0.0.1")) > 0, "who goes on trying is not who is forgotten"


def test_a_proxys_word_counts_where_it_is_trusted(clock):
    found = Attempts(10, Proxies("10.0.0.0/8").address, clock=clock)
    told = [(b"x-forwarded-for", b"192.0.2.7")]
    assert passed(found, of("10.0.0.1", *told), 20) == 10
    assert found.wait(of("10.0.0.2", *told)) > 0 and found.wait(of("10.0.0.1")) == 0
    assert found.wait(of("203.0.113.5", *told)) == 0, "of others it is not believed"


class Looks(KeyRing):
    count = 0

    def refresh(self):
        self.count += 1
        super().refresh()


def test_a_right_key_is_answered_from_where_wrong_ones_come_and_nobody_looks_for_those(engine, clock):
    _, text = administration.create(engine, b"", tenant="", name="x", scopes=["read"], days=None)
    counted, ring = [], Looks(engine)
    who = Authenticator(
        Settings(access="keys"), ring, attempts=Attempts(3, counted=counted.append, clock=clock)
    )  # fmt: skip

    def ask(given):
        return asyncio.run(who(of("10.0.0.1", (b"authorization", b"Bearer " + given.encode()))))

    for _ in range(3):
        with pytest.raises(Unauthorized):
            ask(minting.mint()[1])
    ring._looked = 0.0  # long ago
    before = ring.count
    for _ in range(5):
        with pytest.raises(TooManyAttempts):
            ask(minting.mint()[1])
    assert ring.count == before and ask(text).scopes == ("read",)
    assert counted == ["refused"] * 3 + ["limited"] * 5
    for nothing in (None, "Digest x"):
        headers = [(b"authorization", nothing.encode())] if nothing else []
        with pytest.raises(Unauthorized):
            asyncio.run(who(of("10.0.0.1", *headers)))
    assert len(counted) == 8, "who sends no key has tried none"


def test_it_is_429():
    assert status_of(TooManyAttempts("x"))[0] == 429
