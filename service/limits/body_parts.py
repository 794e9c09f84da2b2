"""A large body leaves in parts, each once the connection has room for it.

What the system does not take at once is copied to wait for it: 50 MB in one piece held up the event loop for 0.4 s.
"""

import asyncio
from collections.abc import MutableMapping
from typing import Any

PART = 256 * 1024  # bytes


def in_parts(send: Any) -> Any:
    """The same way out (ASGI) for bodies of any size."""

    async def sent(message: MutableMapping[str, Any]) -> None:
        body = message.get("body")
        if body is None or len(body) <= PART:
            await send(message)
            return
        for start in range(0, len(body), PART):
            more = start + PART < len(body) or message.get("more_body", False)
            await send({"type": message["type"], "body": bytes(body[start : start + PART]), "more_body": more})
            await asyncio.sleep(0)  # a client that reads fast keeps nobody waiting either

    return sent
