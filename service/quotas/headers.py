"""RateLimit headers, as draft-ietf-httpapi-ratelimit-headers-10 has them, on every answer to whom rates bound.

    RateLimit-Policy: "requests";q=10;w=1, "inputs";q=50;w=1;qu="inputs"
    RateLimit: "requests";r=9;t=1, "inputs";r=0;t=3

`q` is what may come at once and over `w` seconds, `r` what is left of it here and now, `t` seconds until all of it is.
"""

import math
from typing import Any

from service.quotas.buckets import WINDOW, Bucket
from service.quotas.limiter import Limiter


def telling(send: Any, limiter: Limiter, tenant: str, key: str) -> Any:
    """The same `send` for ASGI messages; the answer tells what is left."""

    async def told(message: Any) -> None:
        if message["type"] == "http.response.start":
            message["headers"] = [*message.get("headers", ()), *_headers(limiter, tenant, key)]
        await send(message)

    return told


def _headers(limiter: Limiter, tenant: str, key: str) -> list[tuple[bytes, bytes]]:
    found = limiter.caller(tenant, key).policies  # as it is now: what was known before the body came may be forgotten
    policies = ", ".join(_policy(name, bucket) for name, bucket in found)
    left = ((policy[0], *limiter.left(policy)) for policy in found)
    states = ", ".join(f'"{name}";r={count};t={math.ceil(seconds)}' for name, count, seconds in left)
    return [(b"ratelimit-policy", policies.encode()), (b"ratelimit", states.encode())] if found else []


def _policy(name: str, bucket: Bucket) -> str:
    """A rate below one a second as one in so many seconds: `q` and `w` are whole numbers."""
    window = WINDOW if bucket.whole >= 1 or not bucket.whole else 1 / bucket.whole
    unit = ';qu="inputs"' if name.startswith("inputs") else ""
    return f'"{name}";q={int(bucket.whole * window + 1e-9)};w={math.ceil(window)}{unit}'
