"""Attempts at jobs by a real worker with its job engine: what is tried again, what is final, and what is told of it."""

import threading
from dataclasses import replace
from pathlib import Path

import pytest
import sqlalchemy as sa
from dbos import DBOS
from support import history
from support.training import bench, picture

from adapters import finetune as pipeline
from adapters.errors import InvalidImage, StorageError
from adapters.store import events, heads, jobs, leases
from adapters.store.schema import jobs as table
from service.processes import attempts, failures
from service.processes.sweeper import forget_workflows
from service.processes.worker import Worker
from service.processes.workflows import workflow_id
from service.settings import Settings

DRIVER = 'could not store: connection to server at "10.1.2.3", port 5432 failed; INSERT INTO jobs VALUES (%s)'
INTERNALS = ("10.1.2.3", "5432", "INSERT", "psycopg", "sqlite3")


@pytest.fixture(scope="module")
def shop(tmp_path_factory):
    with bench(tmp_path_factory.mktemp("attempts")) as made:
        yield made


@pytest.fixture(scope="module")
def worker(shop, tmp_path_factory):
    settings = Settings(home=tmp_path_factory.mktemp("home"), database_url=str(shop.shop.engine.url), job_retries=6)
    made = Worker(settings)
    made.training = shop.shop
    made.engine = shop.shop.engine
    made.artifacts = shop.shop.artifacts
    made.workflows.launch()
    yield made
    url = shop.shop.engine.url
    told = history.read(str(url), str(Path(url.database).parent))
    made.workflows.close()
    told = replace(told, rows={**told.rows, "backbones": []})  # the bench's is made anew, not stored
    assert history.violations(told) == []


@pytest.fixture
def faults(monkeypatch):
    """Errors that steps of the pipeline end with, one after the other, by the step's name; then they do their work."""
    planned: dict[str, list[Exception]] = {}
    done: list[str] = []

    def planted(name, step):
        def run(shop, job_id, *arguments):
            done.append(name)
            if planned.get(name):
                raise planned[name].pop(0)
            return step(shop, job_id, *arguments)

        return run

    monkeypatch.setattr(failures, "pause", lambda failures: 600.0)  # seconds, so that `work` decides when
    for name in ("embed", "train", "prove", "publish"):
        monkeypatch.setattr(pipeline, name, planted(name, getattr(pipeline, name)))
    return planned, done


def taught(shop, head: str) -> str:
    first = sum(map(ord, head)) * 100
    return shop.job(head, [picture(first + n, "ab"[n % 2]) for n in range(24)]).id


def work(worker, job_id: str, tries: int = 1) -> jobs.Job:
    """So many looks at what is free, each as if all pauses were over."""
    for _ in range(tries):
        worker.work_off(threading.Event())
        with worker.engine.begin() as connection:
            connection.execute(table.update().values(due_at=None))
    return jobs.get(worker.engine, job_id)


def test_a_job_that_failed_for_now_goes_on_after_its_last_finished_step(worker, shop, faults):
    planned, done = faults
    planned["prove"] = [StorageError(DRIVER), sa.exc.OperationalError(DRIVER, {}, Exception(DRIVER))]
    job_id = taught(shop, "again")
    first = work(worker, job_id)
    assert (first.status, first.retry["failures"], first.retry["code"]) == ("queued", 1, "storage_error")
    second = work(worker, job_id)
    assert second.retry["code"] == "database_unavailable"
    ended = work(worker, job_id)
    assert (ended.status, ended.version, ended.retry, ended.error) == ("succeeded", 1, None, None)
    assert done == ["embed", "train", "prove", "prove", "prove", "publish"]
    told = [str(event["data"]) for event in events.of_job(worker.engine, job_id)]
    assert not [text for text in told if any(word in text for word in INTERNALS)]


@pytest.mark.slow
@pytest.mark.parametrize(
    "error, code, attempts",
    [(StorageError(DRIVER), "storage_error", 7), (ValueError(DRIVER), "internal_error", 6)],
    ids=["foreseen", "unforeseen"],
)
def test_after_its_last_try_a_job_fails_in_words_that_its_owner_can_act_on(worker, shop, faults, error, code, attempts):
    planned, _ = faults
    planned["train"] = [error] * attempts
    job_id = taught(shop, f"never-{code}")
    behind = taught(shop, f"never-{code}")
    assert work(worker, job_id, attempts - 1).status == "queued"
    ended = work(worker, job_id)
    assert ended.status == "failed" and ended.error["code"] == code
    assert (
        f"given up after {attempts} attempts" in ended.error["message"]
        and "send the job again" in ended.error["message"]
    )
    assert not [word for word in INTERNALS if word in ended.error["message"]]
    assert work(worker, behind).status == "succeeded"  # it does not hold up the next


def test_what_is_the_callers_to_mend_is_final(worker, shop, faults):
    planned, _ = faults
    planned["embed"] = [InvalidImage("cat.jpg: no image", item="cat.jpg")]
    ended = work(worker, job_id := taught(shop, "final"))
    assert ended.status == "failed"
    assert ended.error == {"code": "invalid_image", "message": "cat.jpg: no image", "item": "cat.jpg"}
    assert jobs.is_settled(worker.engine, job_id)


def test_a_job_that_was_cancelled_or_taken_over_is_let_be(worker, shop, faults, monkeypatch):
    _, done = faults
    job_id = taught(shop, "cancelled")
    step = pipeline.train

    def cancelled(shop, job_id, *arguments):
        jobs.request_cancel(worker.engine, job_id)
        return step(shop, job_id, *arguments)

    monkeypatch.setattr(pipeline, "train", cancelled)
    assert work(worker, job_id).status == "cancelled"
    assert heads.find_live(worker.engine, "cancelled") is None and "prove" not in done


def test_a_job_whose_workers_died_too_often_ends(worker, shop, faults):
    _, done = faults
    job_id = taught(shop, "deadly")
    for _ in range(attempts.ATTEMPTS + 1):
        assert leases.claim(worker.engine, "dead").job_id == job_id
        leases.give_up(worker.engine)
    ended = work(worker, job_id)
    assert ended.error["code"] == "worker_lost" and done == []


@pytest.mark.slow
def test_what_is_left_after_the_version_is_done_by_the_next_attempt(worker, shop, faults):
    """The learning curve, also where the store was away for it; the job had ended already, and ends no second time."""
    job_id = taught(shop, "late")
    finish = pipeline.finish
    calls = []

    def failing(shop, job_id, *arguments):
        calls.append(job_id)
        if len(calls) == 1:
            raise StorageError(DRIVER)
        return finish(shop, job_id, *arguments)

    pipeline.finish = failing
    try:
        first = work(worker, job_id)
        assert first.status == "succeeded" and not jobs.is_settled(worker.engine, job_id)
        assert work(worker, job_id).version == first.version and jobs.is_settled(worker.engine, job_id)
    finally:
        pipeline.finish = finish
    assert len(calls) == 2
    assert [event["type"] for event in events.of_job(worker.engine, job_id)].count("final") == 1


@pytest.mark.slow
def test_the_job_engine_keeps_nothing_of_jobs_that_are_over(worker, shop, faults):
    planned, _ = faults
    planned["train"] = [StorageError(DRIVER)]
    job_id = taught(shop, "forgotten")
    work(worker, job_id)
    assert DBOS.get_workflow_status(workflow_id(job_id, 1)) is not None
    work(worker, job_id)
    assert DBOS.list_workflows() == []


@pytest.mark.parametrize("step", ["in", "after"])
def test_a_job_that_is_over_may_be_swept_before_its_attempt_has_ended(
    worker, shop, faults, monkeypatch, caplog, step
) -> None:
    """Its head is deleted, or `keep_jobs` is 0, and another worker sweeps between the job's end and the attempt's."""
    finish, finetune = pipeline.finish, pipeline.finetune
    swept = []

    def sweep() -> None:  # in a thread of its own, as the worker's does: inside a workflow it would be a step
        def run() -> None:
            swept.append(len(DBOS.list_workflows()))
            forget_workflows(worker.engine)

        thread = threading.Thread(target=run)
        thread.start()
        thread.join()

    def finishing(shop, job_id, *arguments):
        ended = finish(shop, job_id, *arguments)
        if step == "in":
            sweep()
        return ended

    def finetuning(*arguments):
        ended = finetune(*arguments)
        if step == "after":
            sweep()
        return ended

    monkeypatch.setattr(pipeline, "finish", finishing)
    monkeypatch.setattr(pipeline, "finetune", finetuning)
    ended = work(worker, taught(shop, f"swept-{step}"))
    assert swept == [1] and DBOS.list_workflows() == []
    assert (ended.status, ended.retry, ended.error) == ("succeeded", None, None)
    assert not [record for record in caplog.records if record.exc_info]
