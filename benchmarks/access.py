"""What it costs a request to be let in: its authorization alone, with nobody's key, one
of ten thousand, and a proven token.

In process, without sockets: the microseconds are those that every request pays before its route is looked for.
"""

import asyncio
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from joserfc import jwt
from joserfc.jwk import KeySet, RSAKey

from adapters.store import database
from adapters.store.access import keys
from adapters.store.database import now
from adapters.store.schema import api_keys
from benchmarks import record
from service.access.authenticator import Authenticator
from service.access.authorization import Authorization
from service.access.keys import minting
from service.access.keys.keyring import KeyRing
from service.access.oidc import claims
from service.access.oidc.issuer import Issuer, Known
from service.access.oidc.tokens import Tokens
from service.access.principal import calling
from service.settings import Settings

KEYS, REQUESTS, REPETITIONS = 10_000, 5_000, 15
LIMIT = 50.0  # microseconds
SCOPES = ("predict:door-*", "read", "teach")


def main(quick: bool = False) -> dict[str, Any]:
    """Measure and print; returns the results, microseconds a request."""
    count, requests, repetitions = (50, 50, 3) if quick else (KEYS, REQUESTS, REPETITIONS)
    with tempfile.TemporaryDirectory() as folder:
        engine = database.connect(f"sqlite:///{Path(folder) / 'espalier.sqlite'}")
        database.migrate(engine)
        nobody = Authorization(Authenticator(Settings(access="open"), KeyRing(engine)))
        text = _filled(engine, count)
        ring = KeyRing(engine)
        tokens, token = _issued()
        asked = {
            "no_key_needed_us": (nobody, None),
            "key_us": (Authorization(Authenticator(Settings(access="keys"), ring)), text),
            "token_us": (Authorization(Authenticator(Settings(access="keys"), ring, tokens)), token),
        }
        results: dict[str, Any] = {
            name: record.spread([_us(authorization, given, requests) for _ in range(repetitions)])
            for name, (authorization, given) in asked.items()
        }
        results["token_first_time_us"] = record.spread(
            [_once(lambda: _prove(tokens, token)) for _ in range(repetitions)]
        )
        results["look_for_changes_us"] = record.spread([_once(ring.refresh) for _ in range(repetitions)])
        results |= {"keys": count, "limits": {"key_us": LIMIT, "token_us": LIMIT}}
        engine.dispose()
    record.show(results)
    return results


def _us(authorization: Authorization, given: str | None, requests: int) -> float:
    """Microseconds a request, of so many one after the other on an event loop."""
    headers = [(b"host", b"127.0.0.1:3000"), (b"content-type", b"image/jpeg"), (b"user-agent", b"python-httpx/0.28")]
    if given is not None:
        headers.append((b"authorization", f"Bearer {given}".encode()))
    scope = {"type": "http", "method": "POST", "path": "/predict", "headers": headers, "server": ("127.0.0.1", 3000)}

    async def run() -> float:
        began = time.perf_counter()
        for _ in range(requests):
            with calling(await authorization.authorize(scope)):
                pass
        return time.perf_counter() - began

    return asyncio.run(run()) / requests * 1e6


def _once(work: Callable[[], None]) -> float:
    began = time.perf_counter()
    work()
    return (time.perf_counter() - began) * 1e6


def _filled(engine: Any, count: int) -> str:
    """Puts so many keys into the database, and gives the text of one of them."""
    minted = [minting.mint() for _ in range(count)]
    rows = [
        keys.row(keys.Key(key_id, f"tenant-{number % 100}", "bench", minting.digest(text), SCOPES, now()))
        for number, (key_id, text) in enumerate(minted)
    ]
    with engine.begin() as connection:
        connection.execute(api_keys.insert(), rows)
    return minted[-1][1]


def _issued(seconds: float = 3600.0) -> tuple[Tokens, str]:
    """What proves the tokens of an issuer whose keys are fetched, and a token of it, RS256 with some groups."""
    key = RSAKey.generate_key(2048, {"kid": "bench", "use": "sig"})
    issuer = Issuer("https://issuer.example")
    issuer._known = Known(KeySet([key]), time.monotonic())
    now = int(time.time())
    facts = {"iss": issuer.url, "aud": "espalier", "sub": "bench", "iat": now, "exp": now + int(seconds)}
    groups = [f"group-{number}" for number in range(20)]
    token = jwt.encode({"alg": "RS256", "kid": "bench"}, facts | {"groups": groups}, key)
    return Tokens(issuer, "espalier", [claims.ClaimRule({"groups": "group-7"}, "acme", SCOPES)]), token


def _prove(tokens: Tokens, token: str) -> None:
    """As the first time that it comes, without the way to a thread."""
    keys = tokens._issuer._known.keys
    assert keys is not None
    proven = tokens._proven(token, keys)
    assert proven is not None
    claims.principal(proven, tokens._rules)
