"""From where a request comes: the peer of its connection, or whom a trusted proxy names in `X-Forwarded-For`."""

import re
from collections.abc import Mapping
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address, ip_network
from typing import Any

from adapters.errors import InvalidInput

PEER = "espalier.peer"  # in an ASGI scope: uvicorn itself believes `X-Forwarded-For` of whoever asks from localhost
MOST_HOPS = 20
WITH_PORT = re.compile(r"\[([0-9A-Fa-f:.]+)\](?::\d{1,5})?|([0-9.]+):\d{1,5}", re.ASCII)  # as some proxies write a hop


class Proxies:
    """Those whose word counts, as addresses and networks with commas between them. Raises InvalidInput."""

    def __init__(self, text: str = "") -> None:
        self._networks = [_network(part.strip()) for part in text.split(",") if part.strip()]

    def address(self, scope: Mapping[str, Any]) -> str:
        """Who asks. Each trusted proxy vouches for the hop before it, from the last on; whoever else may lie."""
        said = str(scope.get(PEER) or (scope.get("client") or ("",))[0])
        peer = _read(said)
        if peer is None:  # a socket in the file system has none
            return said
        for hop in reversed(_hops(scope)):
            named = _read(hop) if self._trusts(peer) else None
            if named is None:
                break
            peer = named
        return str(peer)

    def _trusts(self, address: IPv4Address | IPv6Address) -> bool:
        return any(address in network for network in self._networks)


def _hops(scope: Mapping[str, Any]) -> list[str]:
    values = [value.decode("latin-1") for name, value in scope["headers"] if name == b"x-forwarded-for"]
    return [hop.strip() for hop in ",".join(values).split(",")][-MOST_HOPS:]


def _read(text: str) -> IPv4Address | IPv6Address | None:
    """An address, without a port; one of IPv4 that a socket of IPv6 has for its peer as what it is."""
    found = WITH_PORT.fullmatch(text)
    try:
        address = ip_address(found.group(1) or found.group(2) if found else text)
    except ValueError:
        return None
    return getattr(address, "ipv4_mapped", None) or address


def _network(text: str) -> IPv4Network | IPv6Network:
    try:
        return ip_network(text, strict=False)
    except ValueError:
        words = "ESPALIER_TRUSTED_PROXIES has addresses or networks, such as 10.0.0.0/8,"
        raise InvalidInput(f"{words} not {text[:50]!r}", item=text[:50]) from None
