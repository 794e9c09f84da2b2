"""Every accepted job is somebody's or anybody's: leases on real databases, several workers, clocks that are off."""

import concurrent.futures
import itertools
from dataclasses import asdict
from datetime import UTC, datetime

import numpy as np
import pytest
import sqlalchemy as sa
from alembic import command
from sqlalchemy.engine import Engine
from support.databases import empty

from adapters.errors import Cancelled
from adapters.store import database, events, jobs, leases, publishing
from adapters.store.embeddings import Embedded, EmbeddingCache
from adapters.store.leases import LEASE, Lease, LeaseLost
from adapters.store.objects.artifacts import Artifacts
from adapters.store.objects.blobs import JobArtifacts
from adapters.store.publishing import Publication
from adapters.store.schema import job_blobs
from adapters.store.schema import jobs as table
from adapters.types import JobRequest

NOISE = Embedded("0" * 64, np.zeros(4, np.float32), np.zeros(256, np.uint8))
COUNTS, OTHERS = ("sequence", "attempts", "deaths", "failures"), ("worker", "trouble", "due_at", "settled")
NEW = (*COUNTS, *OTHERS, "lease_token", "lease_until")  # columns of this release
TROUBLE = {"code": "storage_error", "message": "the artifact store did not answer", "item": None}


def accept(engine: Engine, head: str = "cats") -> str:
    return jobs.create(engine, JobRequest(head), [], fingerprint="f").id


def claim(engine: Engine, worker: str = "one") -> Lease:
    lease = leases.claim(engine, worker)
    assert lease is not None
    return lease


def later(engine: Engine, seconds: float) -> None:
    """As if the database's clock had gone on by so many seconds, or back."""
    with engine.begin() as connection:
        columns = ("lease_until", "due_at")
        connection.execute(table.update().values({name: table.c[name] - seconds for name in columns}))


def publication(lease: Lease) -> Publication:
    manifest = {"data": {}, "backbone": {"digest": "b"}}
    return Publication(lease.job_id, JobRequest(lease.head), "0" * 64, manifest, {}, {}, [], False, None)


def test_jobs_are_taken_up_in_the_order_they_were_accepted_those_of_a_head_one_by_one(engine):
    first, second, other = accept(engine), accept(engine), accept(engine, "dogs")
    one, two = claim(engine), claim(engine, "two")
    assert (one.job_id, two.job_id) == (first, other) and leases.claim(engine, "three") is None
    jobs.abandon(leases.fenced(engine, one), first, "failed", None)
    assert claim(engine).job_id == second


def test_a_job_is_taken_up_by_one_of_many(engine):
    made = {accept(engine, f"head-{n}") for n in range(6)}
    with concurrent.futures.ThreadPoolExecutor(8) as pool:
        found = [lease for lease in pool.map(lambda n: leases.claim(engine, f"w{n}"), range(24)) if lease]
    taken = [lease.job_id for lease in found]
    assert len(taken) == len(set(taken)) and set(taken) <= made
    while lease := leases.claim(engine, "rest"):  # whoever looked while another took the first went away
        taken.append(lease.job_id)
    assert sorted(taken) == sorted(made)


def test_the_order_is_that_of_acceptance_whatever_the_clocks_of_servers_say(engine):
    made = [accept(engine) for _ in range(3)]
    with engine.begin() as connection:
        for days, job_id in enumerate(made):
            moment = sa.func.coalesce(None, f"20{30 - days}-01-01 00:00:00+00:00")
            value = sa.cast(moment, sa.DateTime(timezone=True)) if engine.dialect.name == "postgresql" else moment
            connection.execute(table.update().where(table.c.id == job_id).values(created_at=value))
    assert [job.id for job in jobs.list_page(engine, limit=9)] == made[::-1]
    assert [job.id for job in jobs.list_page(engine, limit=9, before=2)] == made[:1]
    for job_id in made:
        lease = claim(engine)
        assert lease.job_id == job_id
        jobs.abandon(engine, job_id, "failed", None)


def test_jobs_accepted_at_once_by_several_servers_have_numbers_without_gaps(engine):
    with concurrent.futures.ThreadPoolExecutor(8) as pool:
        list(pool.map(lambda n: accept(engine, f"head-{n % 3}"), range(24)))
    assert [job.sequence for job in jobs.list_page(engine, limit=99)] == list(range(24, 0, -1))


def test_jobs_of_the_release_before_keep_their_order_and_may_be_taken_up(engine):
    """One had begun, which its job engine knows; of one, the learning curve was missing; numbers go on."""
    empty(engine)
    _migrate_to(engine, "0002_changes_in_time")
    moments = {"began": 2, "waits": 3, "over": 0, "published": 1}
    states = {"began": "training", "waits": "queued", "over": "succeeded", "published": "succeeded"}
    old = sa.table("jobs", *(sa.column(c.name, c.type) for c in table.c if c.name not in NEW))
    for name, days in moments.items():
        row = {"id": name, "head": "gone" if name == "over" else "cats", "request": asdict(JobRequest("cats"))}
        row |= {"status": states[name], "progress": {}, "cancel_requested": False, "fingerprint": "f"}
        day = datetime(2026, 1, 1 + days, tzinfo=UTC)
        row |= {"created_at": day, "updated_at": day, "version": 4 if name == "over" else None}
        with engine.begin() as connection:
            connection.execute(old.insert().values(row))
            if name == "published":
                connection.execute(job_blobs.insert().values(job_id=name, digest="0" * 64))
    database.migrate(engine)
    assert [(job.id, job.sequence) for job in jobs.list_page(engine, limit=9)] == [
        ("waits", 4), ("began", 3), ("published", 2), ("over", 1),
    ]  # fmt: skip
    assert accept(engine, "dogs") == jobs.list_page(engine, limit=1)[0].id
    taken = [claim(engine) for _ in range(3)]
    assert [(lease.job_id, lease.attempt) for lease in taken[:2]] == [("published", 2), ("began", 2)]
    lease = claim_head(engine, "gone", taken)
    assert publishing.publish(leases.fenced(engine, lease), publication(lease)) == 5  # 4 is what a deleted head had


def _migrate_to(engine: Engine, revision: str) -> None:
    config = database._alembic_config()
    with engine.begin() as connection:
        config.attributes["connection"] = connection
        command.upgrade(config, revision)


def claim_head(engine: Engine, head: str, taken: list[Lease]) -> Lease:
    accept(engine, head)
    lease = claim(engine)
    assert lease.head == head and lease not in taken
    return lease


def test_a_live_lease_is_respected_and_a_dead_one_is_not(engine):
    job_id = accept(engine)
    first = claim(engine)
    later(engine, LEASE - 5)
    assert leases.claim(engine, "two") is None
    leases.renew(engine, first)
    later(engine, LEASE - 5)
    assert leases.claim(engine, "two") is None
    later(engine, 6)
    second = claim(engine, "two")
    assert (second.job_id, second.attempt, second.deaths) == (job_id, 2, 1) and second.token != first.token


def test_a_lease_that_is_over_goes_on_where_nobody_came(engine):
    """Whoever slept, or whose database was away, does not begin again for that."""
    accept(engine)
    first = claim(engine)
    later(engine, 10 * LEASE)
    leases.renew(engine, first)
    assert leases.claim(engine, "two") is None


@pytest.mark.slow
@pytest.mark.parametrize("back", [3600.0, 40.0])
def test_a_clock_that_jumps_back_holds_no_job_for_longer(engine, back):
    accept(engine)
    claim(engine)
    later(engine, -back)
    assert claim(engine, "two").deaths == 1


def writes(engine: Engine, lease: Lease, tmp_path) -> dict[str, object]:
    """Each way in which a worker writes for its job."""
    shop, job_id = leases.fenced(engine, lease), lease.job_id
    return {
        "enter": lambda: jobs.enter(shop, job_id, "training"),
        "progress": lambda: jobs.progress(shop, job_id, 1, 2),
        "tell": lambda: jobs.tell(shop, job_id, "candidates", {}),
        "blob": lambda: JobArtifacts(shop, Artifacts(str(tmp_path)), job_id).put(b"draft"),
        "embedding": lambda: EmbeddingCache(shop, "b").put([NOISE]),
        "publish": lambda: publishing.publish(shop, publication(lease)),
        "abandon": lambda: jobs.abandon(shop, job_id, "failed", None),
        "release": lambda: jobs.release(shop, job_id),
        "renew": lambda: leases.renew(engine, lease),
        "give_back": lambda: leases.give_back(engine, lease),
        "postpone": lambda: leases.postpone(engine, lease, TROUBLE, 1.0),
    }


@pytest.mark.parametrize("lost", ["taken up by another", "cancelled", "forgotten"])
def test_who_has_lost_its_lease_writes_nothing_any_more(engine, tmp_path, lost):
    """The fence: nothing of the two attempts at a job is ever mixed, and at most one of them publishes."""
    job_id = accept(engine)
    first = claim(engine)
    jobs.enter(leases.fenced(engine, first), job_id, "embedding")
    later(engine, LEASE + 1)
    if lost == "taken up by another":
        second = claim(engine, "two")
    elif lost == "cancelled":
        jobs.request_cancel(engine, job_id)
    else:
        with engine.begin() as connection:
            connection.execute(table.delete().where(table.c.id == job_id))
    with engine.connect() as connection:
        before = connection.execute(sa.select(table)).all()
    for name, write in writes(engine, first, tmp_path).items():
        with pytest.raises(LeaseLost):
            write()
            pytest.fail(f"{name} wrote")
    with engine.connect() as connection:
        assert connection.execute(sa.select(table)).all() == before
    if lost == "taken up by another":
        assert publishing.publish(leases.fenced(engine, second), publication(second)) == 1


def test_a_reader_needs_no_lease(engine):
    """To look is harmless, and a look holds no row."""
    job_id = accept(engine)
    shop = leases.fenced(engine, claim(engine))
    jobs.request_cancel(engine, job_id)
    assert jobs.get(shop, job_id).status == "cancelled" and jobs.is_cancelled(shop, job_id)


@pytest.mark.slow
def test_an_ordinary_stop_is_no_death(engine):
    """Fifty restarts in order, each in the middle of the job."""
    job_id = accept(engine)
    for attempt in range(1, 51):
        lease = claim(engine)
        assert (lease.attempt, lease.deaths) == (attempt, 0)
        jobs.enter(leases.fenced(engine, lease), job_id, "training")
        leases.give_back(engine, lease)
        assert jobs.get(engine, job_id).status == "queued"


def test_a_start_gives_up_what_ran_under_its_name_and_nothing_else(engine):
    accept(engine), accept(engine, "dogs")
    one, two = claim(engine, "one"), claim(engine, "two")
    leases.give_up(engine, "one")
    again = claim(engine, "one")
    assert (again.job_id, again.deaths) == (one.job_id, 1) and leases.claim(engine, "one") is None
    leases.give_up(engine)
    assert {claim(engine).job_id, claim(engine).job_id} == {one.job_id, two.job_id}


def test_a_job_that_failed_for_now_waits_is_told_about_and_keeps_its_place(engine):
    job_id, behind = accept(engine), accept(engine)
    for failures in (1, 2):
        lease = claim(engine)
        assert (lease.job_id, lease.failures, lease.deaths) == (job_id, failures - 1, 0)
        jobs.enter(leases.fenced(engine, lease), job_id, "training")
        leases.postpone(engine, lease, TROUBLE, 60.0)
        job = jobs.get(engine, job_id)
        assert job.status == "queued" and job.retry == TROUBLE | {"failures": failures}
        assert leases.claim(engine, "two") is None
        later(engine, 61)
    told = [e["data"] for e in events.of_job(engine, job_id) if e["type"] == "retry"]
    assert told == [TROUBLE | {"failures": n, "retry_in_seconds": 60.0} for n in (1, 2)]
    jobs.abandon(leases.fenced(engine, claim(engine)), job_id, "failed", TROUBLE)
    assert jobs.get(engine, job_id).retry is None and claim(engine).job_id == behind


def test_what_is_left_of_a_published_job_is_taken_up_too(engine):
    """Its worker died between the version and the learning curve."""
    job_id = accept(engine)
    first = claim(engine)
    publishing.publish(leases.fenced(engine, first), publication(first))
    later(engine, LEASE + 1)
    second = claim(engine, "two")
    assert second.job_id == job_id and not jobs.is_settled(engine, job_id)
    with pytest.raises(Cancelled):
        jobs.enter(leases.fenced(engine, second), job_id, "training")
    jobs.release(leases.fenced(engine, second), job_id)
    assert jobs.is_settled(engine, job_id) and leases.claim(engine, "three") is None
    assert jobs.get(engine, job_id).status == "succeeded"


@pytest.mark.slow
def test_workers_that_die_stop_and_fail_at_random_lose_nothing(engine):
    """Three workers, thirty jobs on three heads: each ends once, those of a head in the order they came."""
    made = [accept(engine, f"head-{n % 3}") for n in range(30)]
    ended: list[str] = []
    fates = itertools.cycle(["end", "die", "end", "stop", "fail", "end"])
    while lease := leases.claim(engine, f"worker-{len(ended) % 3}"):
        fate = next(fates)
        if fate == "end":
            jobs.abandon(leases.fenced(engine, lease), lease.job_id, "failed", None)
            ended.append(lease.job_id)
        elif fate == "stop":
            leases.give_back(engine, lease)
        elif fate == "fail":
            leases.postpone(engine, lease, TROUBLE, 1.0)
        later(engine, LEASE + 1)
    assert sorted(ended) == sorted(made)
    for head in range(3):
        assert [job_id for job_id in ended if job_id in made[head::3]] == made[head::3]


def test_the_fence_is_looked_at_inside_of_the_transaction_that_it_guards(tmp_path):
    """Before it a lease could be lost between the look and the first write."""
    base = database.connect(f"sqlite:///{tmp_path / 'espalier.sqlite'}")
    seen = []
    own = base.execution_options(check=lambda c: seen.append(c.connection.dbapi_connection.in_transaction))
    with own.begin() as connection:
        assert connection.exec_driver_sql("SELECT 1").scalar() == 1
    with database.reading(own):
        pass
    assert seen == [True]
    base.dispose()
