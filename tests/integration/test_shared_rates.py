"""Rates over several serving processes: shares never add up to more than the whole, and follow what is asked."""

import multiprocessing
import random
import time

import pytest
import sqlalchemy as sa

from adapters.errors import RateLimited
from adapters.store import database
from adapters.store.quotas import limits, rates
from adapters.store.quotas.limits import ALL, Limits
from adapters.store.quotas.rates import Rate
from adapters.store.quotas.tables import rate_shares

RATE = Rate("acme", ALL, "requests_per_second")


def ask(engine, process, demand, whole=100.0):
    return rates.exchange(engine, process, {RATE: (whole, demand)})[RATE]


def test_a_process_that_is_alone_has_all_of_it(engine):
    assert ask(engine, "one", 3) == 100
    assert ask(engine, "one", 3000) == 100


def test_shares_follow_what_is_asked_after_two_rounds(engine):
    for _ in range(2):
        one, two = ask(engine, "one", 90), ask(engine, "two", 30)
    assert (one, two) == (pytest.approx(75), pytest.approx(25))
    for _ in range(2):
        one, two = ask(engine, "one", 0), ask(engine, "two", 100)
    assert one == pytest.approx(100 * 5 / 105) and two == pytest.approx(100 - one)


def test_whatever_is_asked_and_when_shares_never_add_up_to_more(engine):
    chance, held = random.Random(1), {}
    for _ in range(120):
        process = chance.choice("abcde")
        held[process] = ask(engine, process, chance.choice([0, 1, 50, 1e6]))
        assert sum(held.values()) <= 100 + 1e-6
    assert all(share > 0 for share in held.values())


def test_a_smaller_rate_is_kept_by_all_after_a_round(engine):
    ask(engine, "one", 10), ask(engine, "two", 10), ask(engine, "one", 10), ask(engine, "two", 10)
    shares = [ask(engine, name, 10, whole=10) for name in ("one", "two", "one", "two")]
    assert sum(shares[2:]) <= 10 + 1e-6


def test_a_process_that_is_not_heard_of_loses_its_share(engine):
    for _ in range(2):
        ask(engine, "one", 10), ask(engine, "two", 10)
    with engine.begin() as connection:
        old = rate_shares.update().where(rate_shares.c.process == "one")
        connection.execute(old.values(until=rate_shares.c.until - rates.LIFE - 1))
    assert ask(engine, "two", 10) == 100
    with engine.connect() as connection:
        assert list(connection.execute(sa.select(rate_shares.c.process)).scalars()) == ["two"]


def test_a_process_that_ends_or_needs_no_share_gives_it_back(engine):
    for _ in range(2):
        ask(engine, "one", 10), ask(engine, "two", 10)
    rates.leave(engine, "one")
    assert ask(engine, "two", 10) == 100
    rates.exchange(engine, "two", {}, [RATE])
    with engine.connect() as connection:
        assert connection.execute(sa.select(rate_shares)).all() == []


def test_a_process_of_the_release_before_shares_the_rate_of_inputs(engine):
    """It calls it `images_per_second`, and rows go on doing so."""
    rate = Rate("acme", ALL, "inputs_per_second")
    assert rates.exchange(engine, "one", {rate: (100.0, 10.0)}) == {rate: 100.0}
    with engine.begin() as connection:
        assert list(connection.execute(sa.select(rate_shares.c.name)).scalars()) == ["images_per_second"]
        connection.execute(rate_shares.update().values(process="before", share=60.0))
    assert rates.exchange(engine, "two", {rate: (100.0, 90.0)}) == {rate: pytest.approx(40)}
    rates.exchange(engine, "two", {}, [rate])
    with engine.connect() as connection:
        assert list(connection.execute(sa.select(rate_shares.c.process)).scalars()) == ["before"]


def test_rates_do_not_mix(engine):
    other = Rate("acme", "key_1", "requests_per_second")
    ask(engine, "one", 10)
    assert rates.exchange(engine, "two", {other: (8.0, 1.0)}) == {other: 8.0}


def _client(url, seconds, report):
    """A serving process of which as much is asked as it gives."""
    from service.quotas.sharing import Sharing

    sharing = Sharing(database.connect(url), Limits(), alone=False)
    sharing.start()
    report.put("ready")
    until, done = time.time() + seconds, []
    while time.time() < until:
        try:
            sharing.limiter.take("acme", "")
            done.append(time.time())
        except RateLimited:
            time.sleep(0.002)
    sharing.close()
    report.put(done)


@pytest.fixture
def url(engine):
    return engine.url.render_as_string(hide_password=False)


@pytest.mark.slow
def test_two_processes_give_together_what_one_may(engine, url):
    """Within the bound of docs/guides/limits.md: R·t, a second of it at once, and a second of it for the process that
    came later until its first exchange."""
    rate, seconds = 50.0, 6.0
    limits.put(engine, "acme", ALL, {"requests_per_second": rate})
    context = multiprocessing.get_context("spawn")
    report = context.Queue()
    processes = [context.Process(target=_client, args=(url, seconds, report)) for _ in range(2)]
    for process in processes:
        process.start()
    found = [report.get(timeout=100) for _ in range(4)]
    for process in processes:
        process.join(60)
    done = sorted(moment for moments in found if moments != "ready" for moment in moments)
    took = done[-1] - done[0]
    assert len(done) <= rate * took + 3 * rate + 2
    after = [moment for moment in done if moment > done[0] + 2.5]  # both have their shares by then
    assert len(after) <= rate * (done[-1] - done[0] - 2.5) + rate + 2
    assert len(done) >= 0.5 * rate * took, "and not much less than it may, even on a busy machine"
