"""What a web page of another site makes a browser send here, to a service on localhost as well: nothing comes of it.

Two ways are closed, for every route, BentoML's included:

- a name of its own for our address (DNS rebinding): a `Host` is answered if it is an address, a name of localhost or in
  ESPALIER_ALLOWED_HOSTS. A page that has an address of ours for its name is ours;
- a form or a script that posts to us: what may change something is refused with an `Origin` that is not the `Host`, or
  with `Sec-Fetch-Site: cross-site`. Browsers send these and let no page alter them (Fetch Metadata, W3C); programs that
  are no browsers send neither.

No page of another site may show ours in a frame, either: see `response_headers`.
"""

import ipaddress
from collections.abc import Iterable, MutableMapping
from fnmatch import fnmatchcase
from typing import Any
from urllib.parse import urlsplit

Scope = MutableMapping[str, Any]

READS = frozenset({"GET", "HEAD", "OPTIONS"})


class SameSite:
    """Says which requests get no answer. `names` may have wildcards, as `*.example.com`; `*` is any name."""

    def __init__(self, names: Iterable[str] = ()) -> None:
        self._names = tuple(name.strip().lower() for name in names if name.strip())
        self._known: dict[str, bool] = {}  # by Host: the same few at every request

    def refusal(self, scope: Scope) -> tuple[str, str, str] | None:
        """(code, detail, item) of a request that gets no answer; None for one that does."""
        found = {name: value for name, value in scope["headers"] if name in (b"host", b"origin", b"sec-fetch-site")}
        host = found.get(b"host", b"").decode("latin-1").lower()
        if not (self._is_ours(host) or _is_asked(host, scope.get("server"))):
            hint = "ask by address or as localhost, or name it in ESPALIER_ALLOWED_HOSTS"
            return "host_not_allowed", f"nothing is served as {host[:100]!r}: {hint}", "Host"
        if scope["method"] in READS:
            return None
        if not self._is_from_here(found.get(b"origin"), host):
            return "cross_site", "a web page of another origin may change nothing here", "Origin"
        if found.get(b"sec-fetch-site") == b"cross-site":
            return "cross_site", "a web page of another site may change nothing here", "Sec-Fetch-Site"
        return None

    def _is_ours(self, host: str) -> bool:
        known = self._known.get(host)
        if known is None:
            known = _is_local(_name(host)) or self._is_named(_name(host))
            if len(self._known) < 1000:  # strangers may send as many as they like
                self._known[host] = known
        return known

    def _is_named(self, name: str) -> bool:
        return any(fnmatchcase(name, allowed) for allowed in self._names)

    def _is_from_here(self, origin: bytes | None, host: str) -> bool:
        """Whether there is no origin, the very one that is asked, or one that is allowed by name."""
        if origin is None:
            return True
        text = origin.decode("latin-1").lower()
        address = text.partition("://")[2]
        return bool(address) and (address == host or self._is_named(_name(address)))


def _name(host: str) -> str:
    """`[::1]:3000` → `::1`, `example.com:80` → `example.com`; empty where it is neither."""
    try:
        return urlsplit(f"//{host}").hostname or ""
    except ValueError:
        return ""


def _is_asked(host: str, server: Any) -> bool:
    """Whether a host is the very one that the connection came to, as the ASGI server says: (host, port)."""
    return bool(host and server) and _name(host) == server[0]


def _is_local(name: str) -> bool:
    if name == "localhost" or name.endswith(".localhost"):
        return True
    try:
        return bool(ipaddress.ip_address(name))
    except ValueError:
        return False
