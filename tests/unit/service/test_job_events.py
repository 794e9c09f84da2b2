"""Who waits for jobs: one look at the database for all of them, and nobody misses anything."""

import asyncio
import json

import pytest
from sqlalchemy.exc import OperationalError

from adapters.store import database, events, jobs
from adapters.types import JobRequest
from service.operations.job_events import Following


@pytest.fixture
def engine(tmp_path):
    made = database.connect(f"sqlite:///{tmp_path / 'espalier.sqlite'}", 1.0)
    database.migrate(made)
    yield made
    made.dispose()


@pytest.fixture
def looks(monkeypatch):
    """How many jobs each look asked for."""
    found: list[int] = []
    news = events.news

    def counted(engine, seen):
        found.append(len(seen))
        return news(engine, seen)

    monkeypatch.setattr(events, "news", counted)
    return found


def create(engine, head: str = "pets"):
    return jobs.create(engine, JobRequest(head), [], fingerprint="")


def end(engine, job_id: str) -> None:
    jobs.abandon(engine, job_id, "failed", None)


async def told(stream) -> list[tuple[int, str]]:
    lines = [piece.split("\n") async for piece in stream]
    return [(int(first[4:]), second[7:]) for first, second, *_ in lines if first.startswith("id: ")]


def test_a_thousand_who_wait_cost_as_many_looks_as_one(engine, looks, monkeypatch):
    read = []
    get = jobs.get
    monkeypatch.setattr(jobs, "get", lambda *arguments: read.append(1) or get(*arguments))

    async def main():
        following, job = Following(engine), create(engine)
        waiting = [asyncio.create_task(following.wait(job, 60)) for _ in range(1000)]
        await asyncio.sleep(0.3)
        before = len(looks)
        await asyncio.to_thread(end, engine, job.id)
        answers = await asyncio.gather(*waiting)
        assert all(ended and found.status == "failed" for found, ended in answers)
        assert before <= 5 and not following._followed
        assert len(read) <= 2, "the job is read for all who waited, not for each"

    asyncio.run(main())


def test_every_stream_tells_the_whole_story(engine, looks):
    """Those that begin early, late, in the midst, or after the end."""

    async def main():
        following, job = Following(engine), create(engine)
        early = [asyncio.create_task(told(await following.stream(job.id, 0))) for _ in range(50)]
        waiter = asyncio.create_task(following.wait(job, 60))
        for number in range(5):
            await asyncio.to_thread(jobs.tell, engine, job.id, "candidates", {"n": number})
            await asyncio.sleep(0.05)
        late = asyncio.create_task(told(await following.stream(job.id, 3)))
        await asyncio.sleep(0.05)
        await asyncio.to_thread(end, engine, job.id)
        stories = await asyncio.gather(*early)
        whole = await told(await following.stream(job.id, 0))
        assert all(story == whole for story in stories) and whole[-1][1] == "final"
        assert [number for number, _ in whole] == list(range(1, len(whole) + 1))
        assert await late == whole[3:] and (await waiter)[1]

    asyncio.run(main())


def test_who_says_to_have_seen_what_never_was_silences_nobody_else(engine):
    """Whichever of them came first."""

    async def main():
        following, job = Following(engine), create(engine)
        odd = asyncio.create_task(told(await following.stream(job.id, 2**31 - 1)))
        await asyncio.sleep(0.1)
        other = asyncio.create_task(told(await following.stream(job.id, 0)))
        await asyncio.sleep(0.1)
        await asyncio.to_thread(end, engine, job.id)
        assert [kind for _, kind in await other][-1] == "final" and await odd == []

    asyncio.run(main())


def test_a_look_that_failed_is_not_what_those_are_told_who_come_later(engine, monkeypatch):
    get, away = jobs.get, [True]

    def gone(*arguments):
        if away:
            away.pop()
            raise OperationalError("SELECT", {}, Exception("gone"))
        return get(*arguments)

    async def main():
        following, job = Following(engine), create(engine)
        monkeypatch.setattr(jobs, "get", gone)
        with following._following(job.id) as found:  # somebody else follows it all the while
            await asyncio.to_thread(end, engine, job.id)
            answers = [await following.wait(job, 60) for _ in range(3)]
        assert [answer.status for answer, _ in answers] == ["queued", "failed", "failed"] and found.ended

    asyncio.run(main())


def test_a_wait_ends_in_time(engine):
    async def main():
        job = create(engine)
        found, ended = await Following(engine).wait(job, 0.1)
        assert (found.id, ended) == (job.id, False)

    asyncio.run(main())


def test_a_database_that_is_away_ends_no_wait_and_no_stream(engine, monkeypatch):
    """The job is accepted already; what became of it is told when the database is back."""
    news, away = events.news, [True]

    def gone(engine, seen):
        if away:
            away.pop()
            raise OperationalError("SELECT", {}, Exception("gone"))
        return news(engine, seen)

    async def main():
        job = create(engine)
        monkeypatch.setattr("service.operations.job_events.AWAY", 0.01)
        monkeypatch.setattr(events, "news", gone)
        waiting = asyncio.create_task(Following(engine).wait(job, 60))
        await asyncio.sleep(0.1)
        await asyncio.to_thread(end, engine, job.id)
        assert (await waiting)[1] and not away

    asyncio.run(main())


def test_events_are_server_sent_events(engine):
    async def main():
        job = create(engine)
        end(engine, job.id)
        pieces = [piece async for piece in await Following(engine).stream(job.id, 0)]
        assert all(json.loads(piece.split("data: ")[1])["at"] for piece in pieces)

    asyncio.run(main())


def test_a_stream_ends_once_its_reader_may_no_more(engine, monkeypatch):
    """Whose key was revoked: at the next event, which is not told, or at the next sign of life."""

    async def main():
        monkeypatch.setattr("service.operations.job_events.KEEP_ALIVE", 0.02)
        job, asked = create(engine), []

        async def allowed():
            asked.append(1)
            return len(asked) < 4

        pieces = [piece async for piece in await Following(engine).stream(job.id, 0, allowed)]
        assert len(asked) == 4 and sum(piece.startswith(": ") for piece in pieces) == 3
        assert any("queued" in piece for piece in pieces)

    asyncio.run(main())
