"""`wait=all`: an answer that says when every serving process that lives answers with a change."""

import asyncio
import logging
import time

from sqlalchemy.engine import Engine
from sqlalchemy.exc import SQLAlchemyError

from adapters.store.replicas import registry
from adapters.store.replicas.registry import Serving
from service.database_threads import READING
from service.operations.job_events import Following

log = logging.getLogger("espalier.replicas")
LONGEST = 60.0  # seconds that a request waits
PAUSE, MOST_PAUSE = 0.05, 0.4  # seconds between looks, which grow longer


async def served(
    engine: Engine, following: Following, head: str, generation: int, seconds: float = LONGEST
) -> Serving | None:
    """How many of those that live answer for a head with a state, once all do or the time is up; None: nobody knows.

    The change is made: that the database does not answer now is no reason to say that it was not.
    """
    until, pause = time.monotonic() + seconds, PAUSE
    while True:
        try:
            found = await READING.run(registry.serving, engine, head, generation)
        except SQLAlchemyError:
            log.warning("the database does not say which processes serve generation %d", generation)
            return None
        if found.all or time.monotonic() + pause > until or following.leaving:
            return found
        await asyncio.sleep(pause)
        pause = min(1.5 * pause, MOST_PAUSE)
