"""How much a worker could take up now, by which workers are scaled: what `claim` would find, no less and no more."""

from types import SimpleNamespace
from typing import Any

import pytest
import sqlalchemy as sa
from sqlalchemy.engine import Engine
from support.next_stages import accept, claim, done

from adapters.store import jobs, leases
from adapters.store.leases import count_waiting
from adapters.store.scale_out import shards
from adapters.store.schema import job_shards
from adapters.store.schema import jobs as table
from service import telemetry
from service.api.operations import gauges


def shared(engine: Engine, parts: int) -> str:
    """A job at work whose inputs anybody may embed, in so many parts."""
    job = accept(engine, "shared")
    assert claim(engine).job_id == job.id
    jobs.enter(engine, job.id, "embedding")
    shards.plan(engine, job.id, [[(f"{n:064d}", "a")] for n in range(parts)], [])
    return job.id


def change(engine: Engine, what: sa.Table, **values: Any) -> None:
    with engine.begin() as connection:
        connection.execute(what.update().values(**values))


def test_it_is_what_workers_find(engine):
    """Of a head the first job alone; one that is taken up waits no more."""
    for head in ("cats", "cats", "dogs", "cats", "birds", "dogs"):
        accept(engine, head)
    for left in (2, 1, 0):
        assert leases.claim(engine, "one") and count_waiting(engine) == left
    assert leases.claim(engine, "one") is None


def test_the_next_of_a_head_waits_when_the_one_before_has_ended(engine):
    first = accept(engine)
    accept(engine), claim(engine)
    assert count_waiting(engine) == 0
    jobs.abandon(engine, first.id, "failed", None)
    assert count_waiting(engine) == 1


def test_a_job_whose_worker_is_dead_waits_and_one_that_is_tried_again_later_does_not(engine):
    accept(engine)
    lease = claim(engine)
    assert count_waiting(engine) == 0
    change(engine, table, lease_until=table.c.lease_until - leases.LEASE)
    assert count_waiting(engine) == 1
    leases.postpone(engine, lease, {"code": "storage_error", "message": "away", "item": None}, seconds=60)
    assert count_waiting(engine) == 0


def test_a_large_job_is_as_many_as_it_has_parts(engine):
    """One job that is unfinished gets more workers than one; parts that somebody is at, or that are done, none."""
    shared(engine, 7)
    assert count_waiting(engine) == 7 and jobs.count_unfinished(engine) == 1
    shards.finish(engine, shards.claim(engine), [])
    assert shards.claim(engine) and count_waiting(engine) == 5
    change(engine, job_shards, lease_until=job_shards.c.lease_until - shards.LEASE)
    assert count_waiting(engine) == 6


def test_nothing_of_a_next_stage_counts(engine):
    done(engine, accept(engine))
    assert count_waiting(engine) == 0 and jobs.count_unfinished(engine) == 1
    shared(engine, 3)
    change(engine, table, stage=1)
    assert count_waiting(engine) == 0


def test_parts_are_counted_to_a_bound(engine, monkeypatch):
    monkeypatch.setattr(shards, "MOST", 4)
    shared(engine, 7)
    assert count_waiting(engine) == 4


@pytest.mark.parametrize("parts", [0, 3])
def test_the_metric_tells_it(engine, parts):
    if parts:
        shared(engine, parts)
    accept(engine)
    gauges._count_jobs(SimpleNamespace(engine=engine))
    assert telemetry.REGISTRY.get_sample_value("espalier_work_waiting") == parts + 1


def test_jobs_that_somebody_is_at_are_counted_until_their_lease_ends(engine):
    """So that no worker is taken away from one; a next stage's, too."""
    accept(engine, "cats")
    assert leases.count_held(engine) == 0
    claim(engine)
    assert leases.count_held(engine) == 1
    done(engine, accept(engine, "dogs"))
    assert leases.claim(engine, "another") and leases.count_held(engine) == 2
    gauges._count_jobs(SimpleNamespace(engine=engine))
    assert telemetry.REGISTRY.get_sample_value("espalier_jobs_running") == 2
    change(engine, table, lease_until=table.c.lease_until - leases.LEASE)
    assert leases.count_held(engine) == 0
