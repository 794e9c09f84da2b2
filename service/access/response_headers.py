"""What every answer tells a browser, whatever its route: one place, at the way out.

- `nosniff`: what we call an image or JSON is never run as a script.
- A Content-Security-Policy that allows nothing, for answers that bring none of their own: no page but ours is meant to
  be shown, and those say what they need. Nobody may show one in a frame: a click there would be a click here.
- `no-referrer`: names of heads and jobs stand in our addresses.
- `same-site`: a page of another site cannot embed somebody's pictures, or learn from it whether they are there.

Strict-Transport-Security is for whoever ends TLS. `python -m benchmarks layers` tells what a way out costs.
"""

from collections.abc import Iterable, MutableMapping
from typing import Any, Final

Headers = list[tuple[bytes, bytes]]

POLICY: Final = b"content-security-policy"
NOTHING: Final = (POLICY, b"default-src 'none'; frame-ancestors 'none'; base-uri 'none'; form-action 'none'")
UNFRAMED: Final = (POLICY, b"frame-ancestors 'none'")  # beside a policy of the route's own: both hold
ALWAYS: Final = (
    (b"x-content-type-options", b"nosniff"),
    (b"referrer-policy", b"no-referrer"),
    (b"x-frame-options", b"DENY"),
    (b"cross-origin-resource-policy", b"same-site"),
)


def protected(headers: Iterable[tuple[bytes, bytes]]) -> Headers:
    """The headers of an answer, its names in lower case, and what they lack of ours."""
    found = list(headers)
    names = {name for name, _ in found}
    found += [header for header in ALWAYS if header[0] not in names]
    found.append(UNFRAMED if POLICY in names else NOTHING)
    return found


def protecting(send: Any) -> Any:
    """The same way out (ASGI), on which answers get these headers."""

    async def sent(message: MutableMapping[str, Any]) -> None:
        if message["type"] == "http.response.start":
            message["headers"] = protected(message.get("headers", ()))
        await send(message)

    return sent
