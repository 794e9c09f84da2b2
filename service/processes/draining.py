"""Leaving in order: a serving process that is told to stop goes on answering until nobody sends it anything more.

Whoever spreads requests over replicas learns late that one leaves, and connections that are open stay with it. So from
SIGTERM on, for a while, connections are taken as before, `/readyz` is 503, and each answer is the last on its
connection (`Connection: close`), which has clients come back by another one. Then uvicorn ends as it always does: no
new connections, idle ones closed, and what is being answered answered.
"""

import asyncio
import logging
import signal
import threading
from collections.abc import Callable
from types import FrameType
from typing import Any

log = logging.getLogger("espalier.service")
Handler = Callable[[int, FrameType | None], Any]


class Draining:
    """Whether this process has been told to stop; used on its event loop and in its signal handler."""

    def __init__(self) -> None:
        self.began = False

    def await_signal(self, loop: asyncio.AbstractEventLoop, seconds: float) -> None:
        """Put so many seconds between SIGTERM and what is done on it now: to be called when uvicorn listens to it.

        A second SIGTERM ends the wait.
        """
        end = signal.getsignal(signal.SIGTERM)
        if seconds and callable(end) and threading.current_thread() is threading.main_thread():
            signal.signal(signal.SIGTERM, lambda *_: loop.call_soon_threadsafe(self._begin, loop, seconds, end))

    def _begin(self, loop: asyncio.AbstractEventLoop, seconds: float, end: Handler) -> None:
        if self.began:
            end(signal.SIGTERM, None)
            return
        self.began = True
        log.info("told to stop: answering for %g more seconds, and then what is under way", seconds)
        loop.call_later(seconds, end, signal.SIGTERM, None)


HERE = Draining()
