"""The public keys of the issuer of tokens: how long they count, and who waits for others.

A look at the issuer (`discovery`) is a thread of its own, one at a time, and has an end. Whoever brings a key that is
known never waits for one, however silent the issuer is. Who brings another waits until the look has ended, and is told
to come back (503) where the issuer did not answer.
"""

import asyncio
import logging
import threading
import time
from collections.abc import Callable
from concurrent.futures import Future
from dataclasses import dataclass, replace

from joserfc.jwk import KeySet

from adapters.errors import NotReady
from service.access.oidc import discovery

log = logging.getLogger("espalier.access")
FRESH = 3600.0  # seconds that keys count without another look …
STALE = 24 * 3600.0  # … and this long where the issuer does not answer
SELDOM = 30.0  # seconds from a look to the next: whoever sends tokens may make up the id of a key
AGAIN = 5.0  # … to the next after one in vain
AWAY = "the issuer of tokens does not answer, so that this one cannot be checked; try again"


@dataclass(frozen=True, slots=True)
class Known:
    """What looks have found so far. Moments are the clock's."""

    keys: KeySet | None = None
    since: float = float("-inf")  # when the keys were found
    due: float = float("-inf")  # before that nobody looks again
    is_away: bool = True  # the last look was in vain


class Issuer:
    """One issuer, for requests on an event loop."""

    def __init__(
        self,
        url: str,
        seldom: float = SELDOM,
        again: float = AGAIN,
        seconds: float = discovery.SECONDS,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """Raises InvalidInput for an address over which anybody could send us keys."""
        discovery.check(url, "ESPALIER_OIDC_ISSUER")
        self.url, self._seldom, self._again, self._seconds, self._clock = url, seldom, again, seconds, clock
        self._known = Known()  # replaced as a whole: a look is in another thread
        self._look: Future[None] | None = None  # the one under way
        self._lock = threading.Lock()

    async def keys(self, kid: str | None) -> KeySet:
        """The keys, looked for anew where they are old or none has that id. Raises NotReady."""
        found = self._counting()
        if found is not None and _has(found, kid):
            if self._clock() - self._known.since > FRESH:
                self._begin()  # for those who come later
            return found
        look = self._begin()
        ended = look is None or await self._has_ended(look)
        found = self._counting()
        if found is None or not (_has(found, kid) or (ended and not self._known.is_away)):
            raise NotReady(AWAY, retry_after=max(self._known.due - self._clock(), 1.0))
        return found

    def _counting(self) -> KeySet | None:
        known = self._known
        return known.keys if self._clock() - known.since <= STALE else None

    def _begin(self) -> Future[None] | None:
        """A look, or the one under way; None where it is too early for one."""
        with self._lock:
            if self._look is None and self._clock() >= self._known.due:
                self._look = Future()
                self._look.set_running_or_notify_cancel()  # nobody who stops waiting ends it for others
                threading.Thread(target=self._run, args=(self._look,), name="issuer", daemon=True).start()
            return self._look

    async def _has_ended(self, look: Future[None]) -> bool:
        try:
            await asyncio.wait_for(asyncio.wrap_future(look), self._seconds + 1)
        except TimeoutError:
            return False
        return True

    def _run(self, look: Future[None]) -> None:
        try:
            keys = discovery.fetch(self.url, self._seconds)
            now = self._clock()
            self._known = Known(keys, now, now + self._seldom, is_away=False)
        except Exception as error:  # whatever it says, or we make of it: what was known counts on
            log.warning("the issuer's keys could not be fetched: %s: %s", type(error).__name__, error)
            self._known = replace(self._known, due=self._clock() + self._again, is_away=True)
        finally:
            with self._lock:
                self._look = None
            look.set_result(None)


def _has(keys: KeySet, kid: str | None) -> bool:
    return kid is None or any(key.kid == kid for key in keys)
