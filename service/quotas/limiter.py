"""Rates of all callers of this process. A look costs no database: limits and shares are brought by `sharing`.

A tenant has buckets for all of its keys together, a key has its own where it has limits of its own, and a request
passes where all of them let it. Used on the event loop and by the thread of `sharing`.
"""

import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from adapters.errors import RateLimited
from adapters.store.quotas.limits import RATES, Book, Limits
from adapters.store.quotas.rates import Rate
from adapters.store.quotas.tables import ALL
from service import telemetry
from service.quotas.buckets import Bucket
from service.quotas.tenants import Tenants

MOST_CALLERS = 10_000  # remembered with their buckets; subjects of tokens may be many
REQUESTS, INPUTS = RATES
OF_KEY = "-of-key"  # at the end of a policy's name
UNITS = {REQUESTS: "requests", INPUTS: "inputs"}
Policy = tuple[str, Bucket]  # its name as headers have it: `requests`, `requests-of-key`


@dataclass(frozen=True, slots=True)
class Caller:
    """A tenant and one key of it, with what bounds them; nothing where they have no rates."""

    requests: tuple[Policy, ...] = ()
    inputs: tuple[Policy, ...] = ()

    @property
    def policies(self) -> tuple[Policy, ...]:
        """All of them."""
        return self.requests + self.inputs


class Limiter:
    """The rates of this process."""

    def __init__(
        self,
        book: Book | None = None,
        clock: Callable[[], float] = time.monotonic,
        wake: Callable[[], None] = lambda: None,
    ) -> None:
        """`wake` is called when a rate is asked for the first time, of which this process has no share yet."""
        self._book, self._clock, self._wake = book or Book(), clock, wake
        self._lock = threading.Lock()
        self._callers: dict[tuple[str, str], Caller] = {}
        self._buckets: dict[Rate, Bucket] = {}
        self._tenants = Tenants()

    def caller(self, tenant: str, key: str) -> Caller:
        """What bounds a caller."""
        found = self._callers.get((tenant, key))
        return self._meet(tenant, key) if found is None else found

    def take(self, tenant: str, key: str, inputs: int | None = None) -> None:
        """One more request of a caller, or so many inputs of one; of 0 whether any may come. Raises RateLimited."""
        caller = self.caller(tenant, key)
        if inputs is None:
            if caller.requests:
                self._take(caller.requests, 1, REQUESTS)
        elif caller.inputs:
            self._take(caller.inputs, inputs, INPUTS)
        self._tenants.asked(tenant, inputs)

    def left(self, policy: Policy) -> tuple[int, float]:
        """What may come now, whole numbers; and seconds until all may."""
        bucket = policy[1]
        with self._lock:
            bucket.look(self._clock())
            wait = (bucket.capacity - bucket.tokens) / bucket.share if bucket.share else 1.0
            return max(int(bucket.tokens), 0), wait

    def change(self, book: Book) -> None:
        """From now on these limits hold; what was asked lately still counts."""
        with self._lock:
            self._book = book
            self._callers.clear()
            for rate, bucket in list(self._buckets.items()):
                whole = self._whole(rate)
                if whole is None:
                    del self._buckets[rate]
                else:
                    part = bucket.share / bucket.whole if bucket.whole else 1.0
                    bucket.divide(whole, part * whole, self._clock())

    def asked(self) -> dict[Rate, tuple[float, float]]:
        """Of each rate in use, what it is a second and what was asked since the last time; idle ones are forgotten."""
        found = {}
        with self._lock:
            now = self._clock()
            for rate, bucket in list(self._buckets.items()):
                if bucket.is_idle(now):
                    del self._buckets[rate]
                    self._callers.clear()
                else:
                    found[rate] = (bucket.whole, bucket.asked)
                    bucket.asked = 0.0
        return found

    def divide(self, shares: dict[Rate, float]) -> None:
        """What this process may give of each rate, a second."""
        with self._lock:
            for rate, share in shares.items():
                if (bucket := self._buckets.get(rate)) is not None:
                    bucket.divide(bucket.whole, min(share, bucket.whole), self._clock())

    def _take(self, policies: Sequence[Policy], amount: int, name: str) -> None:
        with self._lock:
            now = self._clock()
            wait, worst = max(((bucket.look(now), which) for which, (_, bucket) in enumerate(policies)))
            for _, bucket in policies:
                bucket.ask(now, max(amount, 1) if wait else amount, taken=not wait)
        if wait:
            raise _limited(policies[worst], name, wait)

    def _meet(self, tenant: str, key: str) -> Caller:
        with self._lock:
            if len(self._callers) >= MOST_CALLERS:
                self._callers.clear()
            mine = ((ALL, "", self._book.of_tenant(tenant)), (key, OF_KEY, self._book.of_key(tenant, key)))
            found = Caller(*(tuple(self._policies(tenant, name, mine)) for name in RATES))
            self._callers[tenant, key] = found
        return found

    def _policies(self, tenant: str, name: str, mine: Sequence[tuple[str, str, Limits]]) -> list[Policy]:
        return [
            (UNITS[name] + suffix, self._bucket(Rate(tenant, key, name), whole))
            for key, suffix, most in mine
            if (whole := getattr(most, name)) is not None
        ]

    def _bucket(self, rate: Rate, whole: float) -> Bucket:
        found = self._buckets.get(rate)
        if found is None:
            found = self._buckets[rate] = Bucket(whole)
            found.at = found.last = self._clock()
            self._wake()
        return found

    def _whole(self, rate: Rate) -> float | None:
        key = rate.key
        most = self._book.of_key(rate.tenant, key) if key else self._book.of_tenant(rate.tenant)
        value: float | None = getattr(most, rate.name)
        return value


def _limited(policy: Policy, name: str, wait: float) -> RateLimited:
    telemetry.RATE_LIMITED.labels(UNITS[name]).inc()
    who = "this key" if policy[0].endswith(OF_KEY) else "this tenant"
    most = f"{who} may ask {policy[1].whole:g} {UNITS[name]} a second"
    return RateLimited(f"{most}; send less, or ask an administrator for more", retry_after=wait, item=UNITS[name])
