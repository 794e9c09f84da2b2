"""Wrong keys and tokens by where they come from: so many a minute of one address, and then 429 in place of 401.

A right key is answered all the same, from the same address, too: behind one address there may be an office, a cluster's
gateway or a proxy that nobody named in ESPALIER_TRUSTED_PROXIES, and one neighbour must lock out nobody. Keys have 256
random bits, so it is not the guessing that this bounds but what it costs: for an address that has tried too much nobody
looks in the database, and signatures of its tokens are checked one at a time (`oidc.tokens`).
"""

import time
from collections import OrderedDict
from collections.abc import Callable, MutableMapping
from dataclasses import dataclass
from ipaddress import IPv6Address, ip_address
from typing import Any

from service.access.refusals import TooManyAttempts

Scope = MutableMapping[str, Any]
PER_MINUTE = 60.0
MINUTE = 60.0  # seconds
MOST = 10_000  # addresses remembered; the one that has tried nothing for longest goes first
NETWORK = 64  # bits of an IPv6 address: whoever has one such address usually has all of that network


@dataclass(slots=True)
class _Left:
    """What an address may still try (a token bucket), and when that was right."""

    tries: float
    at: float


def peer(scope: Scope) -> str:
    """The other end of the connection."""
    return str((scope.get("client") or ("",))[0])


class Attempts:
    """Those of this process, on its event loop. `address` says from where a request comes, `counted` is told how each
    wrong key ended: `refused` or `limited`.
    """

    def __init__(
        self,
        per_minute: float = PER_MINUTE,
        address: Callable[[Scope], str] = peer,
        counted: Callable[[str], None] = lambda outcome: None,
        clock: Callable[[], float] = time.monotonic,
        servers: int = 1,
    ) -> None:
        """So many may come at once, and a minute later as many again; of 0 any number.

        Of `servers` processes each lets its part be wrong, but one at least: a first mistake is never one too many.
        """
        self._whole, self._most = per_minute, per_minute / servers
        self._address, self._counted, self._clock = address, counted, clock
        self._left: OrderedDict[str, _Left] = OrderedDict()

    def wait(self, scope: Scope) -> float:
        """Seconds until the address of a request may be wrong again; 0: now."""
        left = self._left.get(self._network(scope)) if self._most else None
        if left is None:
            return 0.0
        self._fill(left)
        return max(1 - left.tries, 0.0) * MINUTE / self._most

    def failed(self, scope: Scope) -> None:
        """One more wrong key or token. Raises TooManyAttempts."""
        wait = self.wait(scope)
        self._counted("limited" if wait else "refused")
        if wait:
            words = f"{self._whole:g} wrong keys or tokens a minute may come from one address; send a valid one"
            raise TooManyAttempts(words, retry_after=wait, item="Authorization")
        if self._most:
            self._note(self._network(scope))

    def _note(self, network: str) -> None:
        left = self._left.setdefault(network, _Left(max(self._most, 1.0), self._clock()))
        left.tries -= 1
        self._left.move_to_end(network)
        while len(self._left) > MOST:
            self._left.popitem(last=False)

    def _fill(self, left: _Left) -> None:
        now = self._clock()
        left.tries = min(max(self._most, 1.0), left.tries + (now - left.at) * self._most / MINUTE)
        left.at = now

    def _network(self, scope: Scope) -> str:
        """Addresses that are one caller's."""
        text = self._address(scope)
        try:
            address = ip_address(text.partition("%")[0])
        except ValueError:  # a socket in the file system
            return text[:100]
        if isinstance(address, IPv6Address) and address.ipv4_mapped is None:
            return str(IPv6Address(int(address) >> NETWORK << NETWORK))
        return str(getattr(address, "ipv4_mapped", None) or address)
