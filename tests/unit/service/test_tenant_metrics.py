"""What each tenant asks for is told by its name, of so many tenants that no page of metrics grows without end."""

import pytest

from adapters.errors import RateLimited
from adapters.store.quotas.limits import Book, Limits
from service import telemetry
from service.quotas import tenants
from service.quotas.limiter import Limiter


def told(what: str, tenant: str) -> float:
    return telemetry.REGISTRY.get_sample_value(f"espalier_tenant_{what}_total", {"tenant": tenant}) or 0.0


def test_requests_and_inputs_are_counted_by_tenant(clock):
    """The one without a name is none that is called "default"."""
    limiter = Limiter(clock=clock)
    before = {name: (told("requests", name), told("inputs", name)) for name in ("acme", "default", "(default)")}
    for tenant, inputs in (
        ("acme", None),
        ("acme", 0),
        ("acme", 5),
        ("", None),
        ("acme", None),
        ("", 2),
        ("default", None),
    ):
        limiter.take(tenant, "key", inputs)
    grown = {
        n: (told("requests", n) - requests, told("inputs", n) - inputs) for n, (requests, inputs) in before.items()
    }
    assert grown == {"acme": (2, 5), "default": (1, 0), "(default)": (1, 2)}


def test_what_is_refused_for_its_rate_does_not_count(clock):
    limiter = Limiter(Book(Limits(requests_per_second=1), {}), clock)
    limiter.take("slow", "key")
    with pytest.raises(RateLimited):
        limiter.take("slow", "key")
    assert told("requests", "slow") == 1


def test_those_who_come_late_are_counted_together(clock, monkeypatch):
    monkeypatch.setattr(tenants, "MOST", 2)
    limiter, before = Limiter(clock=clock), told("requests", tenants.OTHERS)
    for tenant in ("first", "second", "third", "fourth", "first", "third"):
        limiter.take(tenant, "key")
    assert told("requests", tenants.OTHERS) - before == 3
    assert [told("requests", name) for name in ("first", "second", "third", "fourth")] == [2, 1, 0, 0]
