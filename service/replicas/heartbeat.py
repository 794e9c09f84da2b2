"""A thread of each serving process that tells the others that it lives and what it serves."""

import logging
import secrets
import threading
import time

from sqlalchemy.engine import Engine
from sqlalchemy.exc import SQLAlchemyError

from adapters.runtime.heads.live import LiveHeads
from adapters.store.replicas import registry
from service import __version__

log = logging.getLogger("espalier.replicas")
LEAST = 0.1  # seconds between two words, however often something changes


class Heartbeat:
    """From `start` until `stop`. `living` and `behind` are what it last heard of all of them."""

    def __init__(self, engine: Engine, live: LiveHeads) -> None:
        self.id = secrets.token_hex(8)  # another one at each start: what is known of the last one is not true any more
        self.living, self.behind = 0, 0
        self._engine, self._live = engine, live
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, name="heartbeat", daemon=True)

    def start(self) -> None:
        """Be known before the first request is answered, unless the database is away just now."""
        self._attempt()
        self._thread.start()

    def stop(self) -> None:
        """Be forgotten at once, unless the database is away just now."""
        self._stop.set()
        self._live.changed.set()
        self._thread.join()
        try:
            registry.leave(self._engine, self.id)
        except SQLAlchemyError:
            log.debug("could not say that this process ends; the others will know it in %.0f s", registry.GONE)

    def _run(self) -> None:
        while not self._stop.is_set():
            self._live.changed.wait(registry.BEAT)
            self._live.changed.clear()
            if self._stop.is_set():
                return
            self._attempt()
            time.sleep(LEAST)

    def _attempt(self) -> None:
        generation, behind = self._live.state()
        try:
            registry.tell(self._engine, self.id, __version__, generation, behind)
            self.living, self.behind = registry.count(self._engine)
        except SQLAlchemyError:
            log.debug("the database does not answer; telling it again that this process lives")
