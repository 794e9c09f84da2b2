"""How late the event loop comes to what is due: what everybody waits for, whichever request held it up."""

import asyncio

from service import telemetry

BEAT = 0.1  # seconds


class Heartbeat:
    """Measures the lag of the event loop it is begun on."""

    def __init__(self) -> None:
        self._loop: asyncio.AbstractEventLoop | None = None

    def begin(self, loop: asyncio.AbstractEventLoop) -> None:
        """Once for each event loop; further calls do nothing."""
        if self._loop is not loop:
            self._loop = loop
            self._await(loop)

    def _await(self, loop: asyncio.AbstractEventLoop) -> None:
        loop.call_later(BEAT, self._beat, loop, loop.time() + BEAT)

    def _beat(self, loop: asyncio.AbstractEventLoop, due: float) -> None:
        telemetry.LAG.observe(max(loop.time() - due, 0.0))
        self._await(loop)


HEARTBEAT = Heartbeat()
