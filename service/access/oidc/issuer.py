"""The public keys of the issuer of tokens, by OpenID Connect discovery: fetched from where the operator said, never
from where a caller or a token says, off the event loop, within bounds, and seldom.
"""

import json
import logging
import threading
import time
from typing import Any
from urllib.parse import urlsplit

import httpx
from joserfc.errors import JoseError
from joserfc.jwk import KeySet

from adapters.errors import InvalidInput, NotReady

log = logging.getLogger("espalier.access")
WELL_KNOWN = "/.well-known/openid-configuration"
SECONDS = 5.0  # for each of the two requests
MOST_BYTES = 1 << 20
FRESH = 3600.0  # seconds that keys count without another look …
STALE = 24 * 3600.0  # … and this long where the issuer does not answer
SELDOM = 30.0  # seconds between two looks for a key that nobody knows: whoever sends tokens may make its id up
LOCAL = ("localhost", "127.0.0.1", "::1")


class Issuer:
    """One issuer. Used from threads."""

    def __init__(self, url: str, seldom: float = SELDOM) -> None:
        """Raises InvalidInput for an address over which anybody could send us keys."""
        _check(url, "ESPALIER_OIDC_ISSUER")
        self.url, self._seldom = url, seldom
        self._keys: KeySet | None = None
        self._fetched = self._tried = float("-inf")
        self._lock = threading.Lock()

    def keys(self, kid: str | None) -> KeySet:
        """The keys, looked for anew where they are old or none has that id. Raises NotReady without any."""
        with self._lock:
            now = time.monotonic()
            wanted = now - self._fetched > FRESH or not self._has(kid)
            if wanted and now - self._tried > self._seldom:
                self._tried = now
                self._try()
            if self._keys is None or time.monotonic() - self._fetched > STALE:
                raise NotReady("the issuer of tokens does not answer, so that they cannot be checked; try again")
            return self._keys

    def _has(self, kid: str | None) -> bool:
        return self._keys is not None and (kid is None or any(key.kid == kid for key in self._keys))

    def _try(self) -> None:
        try:
            self._keys, self._fetched = self._fetch(), time.monotonic()
        except (httpx.HTTPError, ValueError, KeyError, TypeError, JoseError, InvalidInput) as error:
            log.warning("the issuer's keys could not be fetched: %s: %s", type(error).__name__, error)

    def _fetch(self) -> KeySet:
        with httpx.Client(timeout=SECONDS, follow_redirects=False, trust_env=False) as http:
            about = _json(http, self.url.rstrip("/") + WELL_KNOWN)
            if about["issuer"] != self.url:
                raise ValueError(f"it calls itself {str(about['issuer'])[:200]!r}")
            address = str(about["jwks_uri"])
            _check(address, "jwks_uri")
            found = _json(http, address)["keys"]
        public = [key for key in found if isinstance(key, dict) and key.get("kty") in ("RSA", "EC", "OKP")]
        return KeySet.import_key_set({"keys": public})  # type: ignore[typeddict-item, unused-ignore]


def _check(url: str, what: str) -> None:
    try:
        parts = urlsplit(url)
        known = parts.scheme == "https" or (parts.scheme == "http" and parts.hostname in LOCAL)
    except ValueError:
        known = False
    if not known:
        raise InvalidInput(f"{what} must be an https address, not {url[:200]!r}", item=what)


def _json(http: httpx.Client, url: str) -> dict[str, Any]:
    """A bounded JSON object."""
    with http.stream("GET", url, headers={"Accept": "application/json"}) as response:
        response.raise_for_status()
        if response.status_code != 200:
            raise ValueError(f"{url} answered {response.status_code}")
        data, began = b"", time.monotonic()
        for piece in response.iter_bytes():
            data += piece
            if len(data) > MOST_BYTES or time.monotonic() - began > SECONDS:
                raise ValueError(f"{url} sends too much, or too slowly")
    found = json.loads(data)
    if not isinstance(found, dict):
        raise ValueError(f"{url} is no JSON object")
    return found
