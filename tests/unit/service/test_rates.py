"""Token buckets and who is bounded by them, by a clock of the tests' own."""

import pytest

from adapters.errors import RateLimited
from adapters.store.quotas.limits import ALL, Book, Limits
from adapters.store.quotas.rates import Rate
from service.quotas.buckets import IDLE, Bucket
from service.quotas.headers import telling
from service.quotas.limiter import MOST_CALLERS, Limiter


def limiter(clock, overrides=None, **default):
    return Limiter(Book(Limits(**default), overrides or {}), clock)


def passed(limiter, count, tenant="", key="", inputs=None):
    """How many of so many come through."""
    done = 0
    for _ in range(count):
        try:
            limiter.take(tenant, key, inputs)
            done += 1
        except RateLimited:
            pass
    return done


def test_who_has_no_limits_is_not_even_counted(clock):
    free = limiter(clock)
    assert passed(free, 1000) == 1000 and passed(free, 10, inputs=10_000) == 10
    assert free.asked() == {} and free.caller("", "").policies == ()


def test_a_second_of_the_rate_may_come_at_once_and_then_the_rate(clock):
    ten = limiter(clock, requests_per_second=10)
    assert passed(ten, 100) == 10
    for _ in range(20):
        clock.now += 0.25
        passed(ten, 100)
    clock.now += 0.1
    assert passed(ten, 100) == 1
    clock.now += 3600
    assert passed(ten, 100) == 10


@pytest.mark.parametrize("rate", [0.001, 0.3, 1, 7.5, 1000])
def test_over_any_time_no_more_passes_than_the_rate_and_a_second_of_it(clock, rate):
    bounded = limiter(clock, requests_per_second=rate)
    steps, step = 2000, 0.37 / rate
    done = 0
    for _ in range(steps):
        clock.now += step
        done += passed(bounded, 2)
    most = rate * steps * step + max(rate, 1)
    assert 0.85 * rate * steps * step <= done <= most + 1e-6


def test_whoever_is_refused_learns_when_to_come_back(clock):
    slow = limiter(clock, requests_per_second=0.1)
    slow.take("", "")
    with pytest.raises(RateLimited) as caught:
        slow.take("", "")
    assert caught.value.retry_after == pytest.approx(10)
    assert "0.1 requests a second" in caught.value.message and caught.value.item == "requests"
    clock.now += caught.value.retry_after
    slow.take("", "")


def test_a_rate_of_nothing_lets_nothing_in(clock):
    closed = limiter(clock, requests_per_second=0)
    assert passed(closed, 10) == 0
    clock.now += 100
    assert passed(closed, 10) == 0


def test_inputs_of_a_large_request_are_owed(clock):
    ten = limiter(clock, inputs_per_second=10)
    ten.take("", "", 64)
    clock.now += 5.4
    assert passed(ten, 1, inputs=1) == 0
    assert passed(ten, 1, inputs=0) == 0, "known before the inputs come"
    clock.now += 0.2
    assert passed(ten, 9, inputs=0) == 9
    assert passed(ten, 1, inputs=1) == 1
    assert passed(ten, 100) == 100, "requests are another matter"


def test_a_tenant_and_a_key_each_bound_and_others_are_not(clock):
    both = limiter(clock, {("acme", "key_1"): {"requests_per_second": 2.0}}, requests_per_second=5)
    assert passed(both, 10, "acme", "key_1") == 2
    assert passed(both, 10, "acme", "key_2") == 3, "what the first key asked counts for its tenant"
    assert passed(both, 10, "other", "key_1") == 5
    with pytest.raises(RateLimited, match="this tenant"):
        both.take("acme", "key_2")
    clock.now += 0.4
    assert passed(both, 10, "acme", "key_1") == 0
    with pytest.raises(RateLimited, match="this key"):
        both.take("acme", "key_1")


def test_what_is_refused_takes_nothing_from_the_other_bucket(clock):
    both = limiter(clock, {("", "k"): {"requests_per_second": 1.0}}, requests_per_second=3)
    assert passed(both, 50, "", "k") == 1
    assert passed(both, 50, "", "other") == 2


def test_changed_limits_hold_at_once_and_what_was_asked_still_counts(clock):
    changing = limiter(clock, requests_per_second=10)
    assert passed(changing, 100) == 10
    changing.change(Book(Limits(requests_per_second=20)))
    assert passed(changing, 100) == 0
    clock.now += 1
    assert passed(changing, 100) == 20
    changing.change(Book(Limits()))
    assert passed(changing, 100) == 100
    changing.change(Book(Limits(requests_per_second=2)))
    assert passed(changing, 100) == 2


def test_a_process_gives_its_share_alone(clock):
    part = limiter(clock, requests_per_second=10)
    passed(part, 1)
    part.divide({Rate("", ALL, "requests_per_second"): 4.0})
    assert passed(part, 100) == 4
    clock.now += 1
    assert passed(part, 100) == 4
    part.change(Book(Limits(requests_per_second=20)))
    clock.now += 1
    assert passed(part, 100) == 8, "the same part of a new rate"


def test_what_was_asked_is_told_once_and_idle_rates_are_forgotten(clock):
    asked = limiter(clock, requests_per_second=10)
    rate = Rate("", ALL, "requests_per_second")
    passed(asked, 25)
    assert asked.asked() == {rate: (10, 25)}
    assert asked.asked() == {rate: (10, 0)}
    clock.now += IDLE + 1
    assert asked.asked() == {}
    assert passed(asked, 100) == 10


def test_a_request_that_outlives_its_bucket_is_counted_all_the_same(clock):
    """Its inputs come after a long upload, when nobody has asked for a while."""
    slow = limiter(clock, inputs_per_second=10)
    slow.caller("", "")
    clock.now += IDLE + 1
    slow.asked()
    slow.take("", "", 100)
    assert passed(slow, 1, inputs=1) == 0


def test_callers_are_remembered_within_bounds(clock):
    many = limiter(clock, requests_per_second=10**6)
    for number in range(MOST_CALLERS + 50):
        many.take("", f"subject-{number}")
    assert len(many._callers) <= MOST_CALLERS
    assert many.asked()[Rate("", ALL, "requests_per_second")][1] == MOST_CALLERS + 50


def test_a_share_of_nothing_waits_for_the_next_exchange():
    bucket = Bucket(10.0)
    bucket.divide(10.0, 0.0, 0.0)
    bucket.ask(0.0, 1, taken=True)
    assert 0 < bucket.look(0.0) <= 1


async def _headers(limiter, tenant="", key=""):
    sent = []

    async def send(message):
        sent.append(message)

    await telling(send, limiter, tenant, key)({"type": "http.response.start", "status": 200, "headers": [(b"a", b"b")]})
    return dict(sent[0]["headers"])


def test_answers_tell_what_is_left(clock):
    import asyncio

    told = limiter(clock, {("", "k"): {"requests_per_second": 0.25}}, requests_per_second=10, inputs_per_second=50)
    passed(told, 1, "", "k")
    passed(told, 1, "", "k", inputs=80)
    headers = asyncio.run(_headers(told, "", "k"))
    assert headers[b"a"] == b"b"
    assert headers[b"ratelimit-policy"] == (
        b'"requests";q=10;w=1, "requests-of-key";q=1;w=4, "inputs";q=50;w=1;qu="inputs"'
    )
    assert headers[b"ratelimit"] == b'"requests";r=9;t=1, "requests-of-key";r=0;t=4, "inputs";r=0;t=2'
    told.change(Book())
    assert asyncio.run(_headers(told)) == {b"a": b"b"}
