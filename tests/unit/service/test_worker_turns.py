"""On SQLite the worker starts jobs itself, one at a time, and none can hold up the others for ever."""

from types import SimpleNamespace

import pytest

from adapters.store import database, jobs
from adapters.types import Example, JobRequest
from service import worker as module
from service.settings import Settings


@pytest.fixture
def worker(tmp_path):
    settings = Settings(home=tmp_path, device="cpu")
    made = module.Worker(settings)
    database.migrate(made.engine)
    yield made
    made.engine.dispose()


@pytest.fixture
def started(worker, monkeypatch):
    """Jobs that DBOS was told to start; it refuses those in `refused`."""
    found = SimpleNamespace(ids=[], refused=set())

    def start(workflow, job_id):
        if job_id in found.refused:
            raise RuntimeError("given up")
        found.ids.append(job_id)

    monkeypatch.setattr(module.DBOS, "start_workflow", start)
    worker._workflow = None
    return found


def waiting(worker, head: str) -> str:
    request = JobRequest(head, backbone="b")
    return jobs.create(worker.engine, request, [Example("0" * 64, "a", "a.png")], fingerprint="").id


def test_one_job_at_a_time_oldest_first(worker, started):
    first, second = waiting(worker, "a"), waiting(worker, "b")
    worker._hand_over()
    worker._hand_over()
    assert started.ids == [first] and worker._held_back
    worker._end(first, "failed", {"code": "x", "message": "x", "item": None})
    worker._hand_over()
    assert started.ids == [first, second] and not worker._held_back


def test_a_job_that_cannot_be_started_holds_up_no_other(worker, started):
    first, second = waiting(worker, "a"), waiting(worker, "b")
    started.refused.add(first)
    with pytest.raises(RuntimeError):
        worker._hand_over()
    assert worker._held_back and not worker._running  # tried again
    worker._end(first, "failed", {"code": "worker_lost", "message": "x", "item": None})  # as `_care` does
    worker._hand_over()
    assert started.ids == [second]
