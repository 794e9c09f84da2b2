"""Waiting for jobs and following their events. Accepting one is `submissions`; running one is `worker`.

One look at the database a process, whoever waits and however many they are: what it finds is told to all of them.
"""

import asyncio
import json
import logging
import sqlite3
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

from sqlalchemy.engine import Engine
from sqlalchemy.exc import SQLAlchemyError

from adapters.store import events, jobs
from adapters.store.database import Changes
from adapters.store.events import News
from adapters.types import TERMINAL, Job
from service.database_threads import READING

log = logging.getLogger("espalier.jobs")
POLL = {"sqlite": 0.02, "postgresql": 0.1}  # seconds between looks while anybody waits; one is nearly free, see Changes
AWAY = 1.0  # seconds until the next look at a database that did not answer
KEEP_ALIVE = 15.0  # seconds of silence before a comment keeps proxies from hanging up
GONE = News("cancelled", 0, [])  # a job that was deleted has ended, too
Allowed = Callable[[], Awaitable[bool]]


async def always() -> bool:
    """Whoever may begin to follow a job may go on."""
    return True


@dataclass(slots=True)
class _Followed:
    """A job that somebody waits for."""

    followers: int = 0
    last: int | None = None  # the newest event that has been told; None while nobody wants events
    events: list[dict[str, Any]] = field(default_factory=list)  # told so far, in order
    ended: bool = False
    changed: asyncio.Event = field(default_factory=asyncio.Event)  # a new one after each change
    outcome: asyncio.Future[Job] | None = None  # of the job that has ended: read once for all who waited

    def tell(self, status: str, events: list[dict[str, Any]]) -> None:
        """What a look has found."""
        if events:
            self.last = events[-1]["id"]
            self.events += events
        self.ended = status in TERMINAL
        if events or self.ended:
            before, self.changed = self.changed, asyncio.Event()
            before.set()


class Following:
    """Everybody who waits for jobs in this process; used on its event loop."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        self._followed: dict[str, _Followed] = {}
        self._looking: asyncio.Task[None] | None = None
        self._fresh = False  # somebody waits for a job that was not looked at yet
        self._leaving = False

    @property
    def leaving(self) -> bool:
        """Whether this process was told to stop."""
        return self._leaving

    def leave(self) -> None:
        """Nobody waits any more: the process was told to stop, and the job goes on without it."""
        self._leaving = True
        for found in self._followed.values():
            found.changed.set()

    async def wait(self, job: Job, seconds: float) -> tuple[Job, bool]:
        """The job as it is when it ends, or when the time is up; and whether it ended."""
        if job.status in TERMINAL or seconds <= 0:
            return job, job.status in TERMINAL
        with self._following(job.id) as found:
            try:
                async with asyncio.timeout(seconds):
                    while not found.ended and not self._leaving:
                        await found.changed.wait()
            except TimeoutError:
                log.debug("the time to wait for the job %s is up", job.id)
        try:
            job = await self._read(found, job.id)
        except SQLAlchemyError:  # it was accepted, which is what the answer must say
            log.warning("the database did not say how the job %s is", job.id)
        return job, job.status in TERMINAL

    def _read(self, found: _Followed, job_id: str) -> Awaitable[Job]:
        if found.outcome is None or _failed(found.outcome):
            outcome = asyncio.ensure_future(READING.run(jobs.get, self._engine, job_id))
            if not found.ended:
                return outcome
            found.outcome = outcome
        return asyncio.shield(found.outcome)  # who goes away takes it from nobody

    async def stream(self, job_id: str, after: int, allowed: Allowed = always) -> AsyncIterator[str]:
        """Server-sent events of a job from the one after `after` to the final one. Raises JobNotFound at once.

        It ends before, where `allowed`, which is asked before each part of it, says no.
        """
        await READING.run(jobs.get, self._engine, job_id)
        return self._events(job_id, after, allowed)

    async def _events(self, job_id: str, after: int, allowed: Allowed) -> AsyncIterator[str]:
        with self._following(job_id) as found:
            status, newest, events = await self._since(job_id, after)
            if found.last is None:
                found.last = newest  # not `after`, which this follower made up, and others follow the job as well
            ended = status in TERMINAL
            while True:
                for event in events:
                    after = event["id"]
                    yield _format(event)
                if ended or self._leaving:  # looked at before the events, so that none is missed
                    return
                silent = not await _within(found.changed, KEEP_ALIVE)
                if not await allowed():
                    return
                if silent:
                    yield ": still here\n\n"
                ended, events = found.ended, [event for event in found.events if event["id"] > after]

    async def _since(self, job_id: str, after: int) -> News:
        return (await READING.run(events.news, self._engine, {job_id: after})).get(job_id, GONE)

    @contextmanager
    def _following(self, job_id: str) -> Iterator[_Followed]:
        found = self._followed.setdefault(job_id, _Followed())
        found.followers, self._fresh = found.followers + 1, True
        if self._looking is None or self._looking.done():
            self._looking = asyncio.get_running_loop().create_task(self._look_on())
        try:
            yield found
        finally:
            found.followers -= 1
            if not found.followers:
                del self._followed[job_id]

    async def _look_on(self) -> None:
        """While anybody waits."""
        changes = Changes(self._engine)
        try:
            while self._followed:
                try:
                    if changes.any() or self._fresh:
                        self._fresh = False
                        await self._look()
                    await asyncio.sleep(POLL[self._engine.dialect.name])
                except (SQLAlchemyError, sqlite3.Error):
                    log.warning("the database does not say how jobs are that somebody waits for; asking again")
                    self._fresh = True
                    await asyncio.sleep(AWAY)
        finally:
            changes.close()

    async def _look(self) -> None:
        asked = {job_id: found.last for job_id, found in self._followed.items() if not found.ended}
        all_news: dict[str, News] = await READING.run(events.news, self._engine, asked) if asked else {}
        for job_id in asked:
            news = all_news.get(job_id, GONE)
            found = self._followed.get(job_id)
            if found is not None:
                told = [event for event in news.events if found.last is not None and event["id"] > found.last]
                found.tell(news.status, told)


def _failed(outcome: asyncio.Future[Job]) -> bool:
    """What one look could not read the next may."""
    return outcome.done() and (outcome.cancelled() or outcome.exception() is not None)


async def _within(changed: asyncio.Event, seconds: float) -> bool:
    try:
        async with asyncio.timeout(seconds):
            await changed.wait()
    except TimeoutError:
        return False
    return True


def _format(event: dict[str, Any]) -> str:
    data = json.dumps(event["data"] | {"at": event["at"].isoformat()}, ensure_ascii=False)
    return f"id: {event['id']}\nevent: {event['type']}\ndata: {data}\n\n"
