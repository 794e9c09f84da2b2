"""Bearer tokens of an OpenID Connect issuer (JWT): proven by its public keys, and read by the operator's rules.

Only algorithms with a public key are taken, the issuer, the audience and the time must fit, and who was proven is
remembered for a few minutes, so that a request costs no signature.
"""

import hashlib
import json
import time
from collections import OrderedDict
from typing import Any

from anyio import CapacityLimiter, to_thread
from joserfc import jwt
from joserfc.errors import JoseError
from joserfc.jwk import KeySet
from joserfc.util import urlsafe_b64decode

from adapters.errors import InvalidInput
from service.access.oidc import claims as rules
from service.access.oidc.issuer import Issuer
from service.access.principal import Principal
from service.settings import Settings

ALGORITHMS = ("RS256", "RS384", "RS512", "PS256", "PS384", "PS512", "ES256", "ES384", "ES512", "EdDSA", "Ed25519")
LEEWAY = 30  # seconds that clocks may differ
REMEMBERED = 300.0  # seconds: a key that the issuer withdrew proves nothing for longer than that
MOST = 10_000  # tokens remembered
THREADS = 4  # that prove signatures, and one more for addresses from which too many were wrong


class Tokens:
    """Tells whose a token is."""

    def __init__(self, issuer: Issuer, audience: str, granted: list[rules.ClaimRule]) -> None:
        self._issuer, self._rules = issuer, granted
        self._claims = jwt.JWTClaimsRegistry(
            leeway=LEEWAY,
            iss={"essential": True, "value": issuer.url},
            aud={"essential": True, "value": audience},
            exp={"essential": True},
            sub={"essential": True},
        )
        self._known: OrderedDict[bytes, tuple[Principal, float]] = OrderedDict()  # by hash of the token
        self._limiters: tuple[CapacityLimiter, CapacityLimiter] | None = None

    @classmethod
    def of(cls, settings: Settings) -> "Tokens":
        """As the settings have it. Raises InvalidInput."""
        if not settings.oidc_audience or settings.oidc_rules is None:
            needed = "ESPALIER_OIDC_AUDIENCE and ESPALIER_OIDC_RULES"
            raise InvalidInput(f"ESPALIER_OIDC_ISSUER needs {needed} beside it", item="oidc_issuer")
        return cls(Issuer(settings.oidc_issuer), settings.oidc_audience, rules.read(settings.oidc_rules))

    def remembered(self, text: str) -> Principal | None:
        """Whose a token is that was proven a moment ago."""
        if text.count(".") != 2:
            return None
        known = self._known.get(_digest(text))
        return known[0] if known is not None and time.time() < known[1] else None

    async def find(self, text: str, suspect: bool = False) -> Principal | None:
        """Whose a token is; None for one that is none, or not valid. Raises Forbidden, NotReady.

        Those that are `suspect` take turns, so that however many they are there is a thread for the others.
        """
        if (found := self.remembered(text)) is not None:
            return found
        header = _header(text)
        if header is None:
            return None
        kid = header.get("kid")  # unproven: it chooses among the issuer's keys, and nothing else
        keys = await self._issuer.keys(kid if isinstance(kid, str) else None)
        proven = await to_thread.run_sync(self._proven, text, keys, limiter=self._limiter(suspect))
        if proven is None:
            return None
        found = rules.principal(proven, self._rules)
        self._remember(_digest(text), found, float(proven["exp"]))
        return found

    def _limiter(self, suspect: bool) -> CapacityLimiter:
        if self._limiters is None:  # made on an event loop
            self._limiters = CapacityLimiter(THREADS), CapacityLimiter(1)
        return self._limiters[suspect]

    def _proven(self, text: str, keys: KeySet) -> dict[str, Any] | None:
        """The claims of a valid token."""
        try:
            token = jwt.decode(text, keys, algorithms=list(ALGORITHMS))
            self._claims.validate(token.claims)
        except (JoseError, ValueError, TypeError, KeyError):
            return None
        return token.claims

    def _remember(self, key: bytes, found: Principal, end: float) -> None:
        self._known[key] = (found, min(end + LEEWAY, time.time() + REMEMBERED))
        while len(self._known) > MOST:
            self._known.popitem(last=False)


def _digest(text: str) -> bytes:
    return hashlib.sha256(text.encode()).digest()


def _header(text: str) -> dict[str, Any] | None:
    """What a token says of itself, unproven; None for what is no token."""
    if text.count(".") != 2:
        return None
    try:
        found = json.loads(urlsafe_b64decode(text.partition(".")[0].encode("ascii", "strict")))
    except (ValueError, RecursionError):
        return None
    return found if isinstance(found, dict) else None
