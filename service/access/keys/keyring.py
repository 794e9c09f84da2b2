"""The keys of an installation, in memory: to prove one takes no look at the database.

A thread looks for changes every `poll` seconds, so a key that was revoked anywhere is refused here within that time. A
key that nobody knows yet is looked for at once, but seldom: strangers may send as many as they like. While the database
is away, what was known last counts on, expiry included.
"""

import logging
import threading
import time
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime

from sqlalchemy.engine import Engine
from sqlalchemy.exc import SQLAlchemyError

from adapters.store.access import keys
from service.access.keys import minting
from service.access.principal import Principal

log = logging.getLogger("espalier.access")
SELDOM = 0.2  # seconds between two looks because of keys that nobody knows
NOTE = 30.0  # seconds between two notes of when keys were used


@dataclass(frozen=True, slots=True)
class Known:
    """A key that opens something."""

    digest: str
    principal: Principal
    until: float  # seconds since 1970; infinity where it does not expire


class KeyRing:
    """All good keys. Reads are a look-up in a dictionary."""

    def __init__(self, engine: Engine, pepper: bytes = b"", poll: float = 1.0) -> None:
        self._engine, self._pepper, self._poll = engine, pepper, poll
        self._known: Mapping[str, Known] = {}
        self._stamp: keys.Stamp | None = None
        self._looked = 0.0
        self._used: dict[str, float] = {}
        self._lock = threading.Lock()
        self._stop = threading.Event()
        self._follower: threading.Thread | None = None
        self.refresh()

    @property
    def is_used(self) -> bool:
        """Whether there is any key, good or ended: then nobody is let in without one."""
        return self._stamp is not None and self._stamp[0] > 0

    def start(self) -> None:
        """Follow the database, in a thread."""
        self._follower = threading.Thread(target=self._follow, name="key-ring", daemon=True)
        self._follower.start()

    def stop(self) -> None:
        """Stop following, and note what was used since the last note."""
        self._stop.set()
        if self._follower is not None:
            self._follower.join()
            self._note()

    def find(self, text: str) -> Principal | None:
        """Whose a key is; None for one that opens nothing."""
        known = self._known.get(minting.id_of(text) or "")
        moment = time.time()
        if known is None or not minting.is_same(minting.digest(text, self._pepper), known.digest):
            return None
        if moment >= known.until:
            return None
        self._used[known.principal.name] = moment
        return known.principal

    def may_be_new(self, text: str) -> bool:
        """Whether to look for a key in the database: it looks like one, and nobody was told to a moment ago.

        Who is told so has the turn: of many at once one looks. The look that comes by itself does not count: a key may
        be made right after it.
        """
        key_id, now = minting.id_of(text), time.monotonic()
        if key_id is None or key_id in self._known or now - self._looked <= SELDOM:
            return False
        self._looked = now
        return True

    def refresh(self) -> None:
        """Look once, and read what is there if anything changed."""
        with self._lock:
            found = keys.stamp(self._engine)
            if found != self._stamp:
                self._known = {key.id: _known(key) for key in keys.list_all(self._engine, only_good=True)}
                self._stamp = found

    def _follow(self) -> None:
        noted = time.monotonic()
        while not self._stop.wait(self._poll):
            try:
                self.refresh()
                if time.monotonic() - noted > NOTE:
                    noted = time.monotonic()
                    self._note()
            except SQLAlchemyError:
                log.warning("the database does not answer; the keys are those that were known before")
            except Exception:
                log.exception("could not look for keys; they are those that were known before")

    def _note(self) -> None:
        used, self._used = self._used, {}
        if not used:
            return
        try:
            keys.note_used(self._engine, {key: datetime.fromtimestamp(at, UTC) for key, at in list(used.items())})
        except SQLAlchemyError:  # of no weight: the next use is noted
            log.warning("when keys were used last could not be noted")


def _known(key: keys.Key) -> Known:
    until = key.expires_at.timestamp() if key.expires_at is not None else float("inf")
    return Known(key.digest, Principal(key.tenant, key.id, key.scopes), until)
