"""From where a request comes: the peer of its connection, or whom a trusted proxy names in `X-Forwarded-For`."""

from collections.abc import Mapping
from ipaddress import IPv4Network, IPv6Network, ip_address, ip_network
from typing import Any

from adapters.errors import InvalidInput

PEER = "espalier.peer"  # in an ASGI scope: uvicorn itself believes `X-Forwarded-For` of whoever asks from localhost
MOST_HOPS = 20


class Proxies:
    """Those whose word counts, as addresses and networks with commas between them. Raises InvalidInput."""

    def __init__(self, text: str = "") -> None:
        self._networks = [_network(part.strip()) for part in text.split(",") if part.strip()]

    def address(self, scope: Mapping[str, Any]) -> str:
        """Who asks. Each trusted proxy vouches for the hop before it, from the last on; whoever else may lie."""
        peer = scope.get(PEER) or (scope.get("client") or ("",))[0]
        if not self._networks or not self._trusts(peer):
            return str(peer)
        for hop in reversed(_hops(scope)):
            if not _is_address(hop):
                break
            peer = hop
            if not self._trusts(hop):
                break
        return str(peer)

    def _trusts(self, address: str) -> bool:
        return _is_address(address) and any(ip_address(address) in network for network in self._networks)


def _hops(scope: Mapping[str, Any]) -> list[str]:
    values = [value.decode("latin-1") for name, value in scope["headers"] if name == b"x-forwarded-for"]
    return [hop.strip() for hop in ",".join(values).split(",")][-MOST_HOPS:]


def _is_address(text: str) -> bool:
    try:
        ip_address(text)
    except ValueError:
        return False
    return True


def _network(text: str) -> IPv4Network | IPv6Network:
    try:
        return ip_network(text, strict=False)
    except ValueError:
        words = "ESPALIER_TRUSTED_PROXIES has addresses or networks, such as 10.0.0.0/8,"
        raise InvalidInput(f"{words} not {text[:50]!r}", item=text[:50]) from None
