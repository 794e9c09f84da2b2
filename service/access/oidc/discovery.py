"""The public keys of an issuer by OpenID Connect discovery: fetched from where the operator said, never from where a
caller or a token says, within bounds of bytes and seconds.
"""

import asyncio
import json
import logging
from typing import Any
from urllib.parse import urlsplit

import httpx
from joserfc.jwk import JWKRegistry, Key, KeySet

from adapters.errors import InvalidInput

log = logging.getLogger("espalier.access")
WELL_KNOWN = "/.well-known/openid-configuration"
SECONDS = 5.0  # for both requests together, from the first connection to the last byte, however slowly these come
MOST_BYTES = 1 << 20
LOCAL = ("localhost", "127.0.0.1", "::1")


def fetch(url: str, seconds: float) -> KeySet:
    """The keys of the issuer at `url`. For a thread of its own: waits.

    Raises TimeoutError, httpx.HTTPError, and ValueError, KeyError, TypeError, JoseError or InvalidInput for nonsense.
    """
    return asyncio.run(_fetch(url, seconds))  # a task can be ended in the middle of a header, a blocking read cannot


async def _fetch(url: str, seconds: float) -> KeySet:
    # Without bounds for each step, which a server that sends a byte a second never meets: all together have one.
    http = httpx.AsyncClient(timeout=None, follow_redirects=False, trust_env=False)
    async with asyncio.timeout(seconds), http:
        about = await _json(http, url.rstrip("/") + WELL_KNOWN)
        if about["issuer"] != url:
            raise ValueError(f"it calls itself {str(about['issuer'])[:200]!r}")
        address = str(about["jwks_uri"])
        check(address, "jwks_uri")
        found = (await _json(http, address))["keys"]
    public = [key for key in found if isinstance(key, dict) and key.get("kty") in ("RSA", "EC", "OKP")]
    usable = [key for number, one in enumerate(public) if (key := _imported(number, one)) is not None]
    if not usable:
        raise ValueError(f"none of its {len(found)} keys can be used")
    return KeySet(usable)


def _imported(number: int, key: dict[str, Any]) -> Key | None:
    """One key of the issuer's list; None for one that we cannot use, beside which the others count (RFC 7517, 5)."""
    try:
        return JWKRegistry.import_key(key)
    except Exception as error:  # an unknown curve, a member that is missing, a point off its curve: no two raise alike
        what = f"{key['kty']} key {str(key.get('kid'))[:80]!r}"
        log.warning("passing over the issuer's key %d (%s): %s", number, what, type(error).__name__)
        return None


def check(url: str, what: str) -> None:
    """Raises InvalidInput for an address that is neither https nor this machine's."""
    try:
        parts = urlsplit(url)
        known = parts.scheme == "https" or (parts.scheme == "http" and parts.hostname in LOCAL)
    except ValueError:
        known = False
    if not known:
        raise InvalidInput(f"{what} must be an https address, not {url[:200]!r}", item=what)


async def _json(http: httpx.AsyncClient, url: str) -> dict[str, Any]:
    """A bounded JSON object."""
    async with http.stream("GET", url, headers={"Accept": "application/json"}) as response:
        response.raise_for_status()
        if response.status_code != 200:
            raise ValueError(f"{url} answered {response.status_code}")
        data = b""
        async for piece in response.aiter_bytes():
            data += piece
            if len(data) > MOST_BYTES:
                raise ValueError(f"{url} sends too much")
    found = json.loads(data)
    if not isinstance(found, dict):
        raise ValueError(f"{url} is no JSON object")
    return found
