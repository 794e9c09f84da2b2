"""Jobs in the store: one end, events without gaps, keys, cancelling; on SQLite and on Postgres."""

import concurrent.futures
import json

import pytest
from support.published import accept, publish, sha

from adapters.errors import Cancelled, IdempotencyConflict, JobNotFound
from adapters.store import events, jobs
from adapters.types import Edit, JobRequest


def test_a_job_ends_exactly_once_whoever_ends_it(engine):
    """Eight at once try; one wins, and there is one final event."""
    job_id = accept(engine)

    def end(number: int) -> bool:
        with engine.begin() as connection:
            return jobs.finish(connection, job_id, ("failed", "cancelled")[number % 2], error=None)

    with concurrent.futures.ThreadPoolExecutor(8) as pool:
        assert sorted(pool.map(end, range(8))) == [False] * 7 + [True]
    assert [e["type"] for e in events.of_job(engine, job_id)] == ["status", "final"]
    with pytest.raises(Cancelled):
        jobs.enter(engine, job_id, "training")


def test_events_are_numbered_without_gaps_also_when_told_at_once(engine):
    job_id = accept(engine)
    with concurrent.futures.ThreadPoolExecutor(8) as pool:
        list(pool.map(lambda n: jobs.tell(engine, job_id, "note", {"n": n}), range(24)))
    assert [e["id"] for e in events.of_job(engine, job_id)] == list(range(1, 26))
    assert len(events.of_job(engine, job_id, after=20)) == 5


def test_a_key_stands_for_one_job_and_one_body(engine):
    job_id = accept(engine, key="k")
    with concurrent.futures.ThreadPoolExecutor(4) as pool:
        assert set(pool.map(lambda _: accept(engine, key="k"), range(4))) == {job_id}
    with pytest.raises(IdempotencyConflict):
        jobs.create(engine, JobRequest("cats"), [], fingerprint="another", idempotency_key="k")
    assert jobs.find_by_key(engine, "cats", None, "f") is None is jobs.find_by_key(engine, "cats", "new", "f")


@pytest.mark.parametrize("phase", ["queued", "training"])
def test_cancelling_ends_a_job_at_once_and_frees_what_came_with_it(engine, phase):
    publish(engine, "cats", "ab")
    job_id = accept(engine, "dogs", "bc")
    jobs.enter(engine, job_id, phase)
    job, freed = jobs.request_cancel(engine, job_id)
    assert (job.status, job.cancel_requested, freed) == ("cancelled", True, [sha("c")])
    assert jobs.is_cancelled(engine, job_id) and jobs.is_settled(engine, job_id)
    with pytest.raises(Cancelled):
        jobs.progress(engine, job_id, 1, 2)
    again, freed = jobs.request_cancel(engine, job_id)
    assert again.finished_at == job.finished_at and freed == []
    assert [e["type"] for e in events.of_job(engine, job_id)].count("final") == 1


def test_an_unknown_job_cannot_be_cancelled(engine):
    with pytest.raises(JobNotFound):
        jobs.request_cancel(engine, "job_none")


def test_a_job_request_survives_the_database_as_it_is(engine):
    settings = {"l2": 1e-3, "name": "ü", "deep": {"a": [1, None]}}
    edit = Edit(rename={"ü": "a"}, merge={"b": ["c", "d"]}, drop=["e"])
    job_id = accept(engine, method="logistic", hyperparameters=settings, seed=2**31 - 1, mode="replace", edit=edit)
    stored = jobs.get(engine, job_id).request
    assert stored.edit == edit
    assert json.dumps(stored.hyperparameters, sort_keys=True) == json.dumps(settings, sort_keys=True)
    assert (stored.method, stored.seed, stored.mode, stored.deploy) == ("logistic", 2**31 - 1, "replace", "auto")
