"""Waiting for jobs and following their events. Accepting one is `submissions`; running one is `worker`."""

import asyncio
import json
from collections.abc import AsyncIterator
from typing import Any

from sqlalchemy.engine import Engine

from adapters.store import jobs
from adapters.types import TERMINAL, Job

POLL = 0.02  # seconds between looks at a job that somebody waits for
EVENT_POLL = 0.2  # seconds between looks at a job's events
KEEP_ALIVE = 15.0  # seconds of silence before a comment keeps proxies from hanging up


async def wait(engine: Engine, job: Job, seconds: float) -> tuple[Job, bool]:
    """The job as it is when it ends, or when the time is up; and whether it ended."""
    deadline = asyncio.get_running_loop().time() + seconds
    while job.status not in TERMINAL and asyncio.get_running_loop().time() < deadline:
        await asyncio.sleep(POLL)
        job = await asyncio.to_thread(jobs.get, engine, job.id)
    return job, job.status in TERMINAL


async def stream(engine: Engine, job_id: str, after: int) -> AsyncIterator[str]:
    """Server-sent events of a job from the one after `after` to the final one. Raises JobNotFound at once."""
    await asyncio.to_thread(jobs.get, engine, job_id)
    return _events(engine, job_id, after)


async def _events(engine: Engine, job_id: str, after: int) -> AsyncIterator[str]:
    silence = 0.0
    while True:
        ended = (await asyncio.to_thread(jobs.get, engine, job_id)).status in TERMINAL
        found = await asyncio.to_thread(jobs.events, engine, job_id, after)
        for event in found:
            after = event["id"]
            yield _format(event)
        if ended:  # looked at before the events, so that none is missed
            return
        silence = 0.0 if found else silence + EVENT_POLL
        if silence >= KEEP_ALIVE:
            silence = 0.0
            yield ": still here\n\n"
        await asyncio.sleep(EVENT_POLL)


def _format(event: dict[str, Any]) -> str:
    data = json.dumps(event["data"] | {"at": event["at"].isoformat()}, ensure_ascii=False)
    return f"id: {event['id']}\nevent: {event['type']}\ndata: {data}\n\n"
