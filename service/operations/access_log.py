"""A line for each request that was answered, where ESPALIER_ACCESS_LOG asks for it."""

import logging
import time
from collections.abc import Callable, MutableMapping
from typing import Any

from service.operations import logs
from service.operations.requests import Scope

log = logging.getLogger("espalier.access")
LONGEST = 500  # characters of a path


class Line:
    """One request: remembers what was answered, and says it at its end. The query is left out: it may hold anything.

    `address` says from where it comes: uvicorn's word for that may be a caller's own (`service.audit.address`).
    """

    def __init__(self, scope: Scope, send: Any, address: Callable[[Scope], str]) -> None:
        self._scope, self._send, self._address = scope, send, address
        self._began, self._status = time.perf_counter(), 0
        self._who: dict[str, str] = {}  # known only while it is worked on

    async def send(self, message: MutableMapping[str, Any]) -> None:
        """The way out."""
        if message["type"] == "http.response.start":
            self._status, self._who = int(message["status"]), logs.caller()
        await self._send(message)

    def write(self) -> None:
        """The client may have left before there was an answer: then the status is 0."""
        scope, seconds = self._scope, round(time.perf_counter() - self._began, 4)
        facts = {
            "method": scope["method"], "path": scope["path"][:LONGEST], "status": self._status, "seconds": seconds,
            "client": self._address(scope) or None,
        }  # fmt: skip
        log.info("request", extra={"facts": self._who | facts})
