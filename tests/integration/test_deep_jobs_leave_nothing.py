"""Decoded examples of a deep job are on the worker's disk while it may go on, and gone once it has ended, however."""

import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from support.teachable import DEEP, pictures
from support.training import Bench

from adapters import finetune as pipeline
from adapters.errors import InvalidInput, StorageError
from adapters.store import heads, jobs, leases
from adapters.store.schema import jobs as table
from adapters.training import progress
from adapters.training.deep import deep_round
from adapters.types import Edit
from service.processes import failures
from service.processes.worker import Worker
from service.settings import Settings

ENOUGH = 70  # pictures of each class, for a next stage


@pytest.fixture(scope="module")
def worker(shop: Bench, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Worker]:
    settings = Settings(home=tmp_path_factory.mktemp("home"), database_url=str(shop.shop.engine.url), job_retries=6)
    made = Worker(settings)
    made._idle_memory = 2**30
    made.training, made.engine, made.artifacts = shop.shop, shop.shop.engine, shop.shop.artifacts
    made.workflows.launch()
    yield made
    made.workflows.close()


def worked(worker: Worker, monkeypatch: pytest.MonkeyPatch, happens: Callable[[], object]) -> Path:
    """Work at all that is free; `happens` does once a round has decoded examples. Gives where they are."""
    folders: list[Path] = []

    def run(folder: Path, *given: Any, **named: Any) -> None:
        (folder / "pixels").write_bytes(given[2].look(0)["pixels"].tobytes())
        folders.append(folder)
        happens()
        given[-1](lambda: b"state")
        pytest.fail("it went on")

    monkeypatch.setattr(deep_round, "run", run)
    monkeypatch.setattr(progress, "INTERVAL", 0.0)
    monkeypatch.setattr(failures, "pause", lambda failures: 600.0)
    worker.work_off(threading.Event())
    (folder,) = folders
    return folder


def fails(error: Exception) -> None:
    raise error


def due(worker: Worker) -> None:
    """As if all pauses were over."""
    with worker.engine.begin() as connection:
        connection.execute(table.update().values(due_at=None))


def test_a_job_that_is_cancelled_leaves_none(shop, worker, monkeypatch):
    """By its owner, at work: its lease is gone with that."""
    job = shop.job("cancelled", pictures(10), **DEEP)
    folder = worked(worker, monkeypatch, lambda: jobs.request_cancel(worker.engine, job.id))
    assert jobs.get(worker.engine, job.id).status == "cancelled" and not folder.exists()


@pytest.mark.slow
def test_a_job_that_fails_leaves_none_and_one_that_is_tried_again_keeps_them(shop, worker, monkeypatch):
    job = shop.job("failed", pictures(10), **DEEP)
    folder = worked(worker, monkeypatch, lambda: fails(StorageError("away")))
    assert jobs.get(worker.engine, job.id).retry["failures"] == 1 and (folder / "pixels").exists()
    due(worker)
    worked(worker, monkeypatch, lambda: fails(InvalidInput("it cannot be read")))
    assert jobs.get(worker.engine, job.id).status == "failed" and not folder.exists()


def test_a_job_that_is_given_up_leaves_none(shop, worker, monkeypatch):
    job = shop.job("given-up", pictures(10), **DEEP)
    monkeypatch.setattr(failures.Failure, "tries", lambda self, most: 0)
    folder = worked(worker, monkeypatch, lambda: fails(StorageError("away")))
    assert jobs.get(worker.engine, job.id).status == "failed" and not folder.exists()


@pytest.mark.slow
@pytest.mark.parametrize("change", ["taken back", "deleted", "moved"])
def test_a_next_stage_that_is_overtaken_leaves_none(shop, worker, monkeypatch, change):
    """As when an example is taken back: its pixels go with all else that is known of it."""
    head, sent = change.replace(" ", "-"), pictures(ENOUGH)
    asked = {"backbone": "blocks", "method": "auto", "views": "none"}
    first = shop.job(head, sent, **asked | {"deep": "auto"})

    def takes_back() -> None:
        edit = Edit(remove=(sent[0].example.sha256,))
        later = shop.job(head, [], **asked | {"edit": edit, "deploy": "always"})
        assert pipeline.finetune(later.id, shop.shop) == "succeeded"

    happens = {
        "taken back": takes_back,
        "deleted": lambda: heads.delete(worker.engine, head),
        "moved": lambda: heads.delete_alias(worker.engine, head, "live"),
    }
    folder = worked(worker, monkeypatch, happens[change])
    assert folder.name != first.id and not folder.exists()


@pytest.mark.slow
def test_what_a_job_left_that_ended_elsewhere_goes_with_the_next_look(shop, worker, monkeypatch):
    """Another worker took it over, and this one has nothing more to do; what still goes on stays."""
    job = shop.job("over", pictures(10), **DEEP)

    def is_taken_over() -> None:
        leases.give_up(worker.engine)
        assert leases.claim(worker.engine, "other").job_id == job.id
        raise leases.LeaseLost("")  # as whatever it writes next tells it

    folder = worked(worker, monkeypatch, is_taken_over)
    worker._look_around()
    assert (folder / "pixels").exists()
    jobs.abandon(worker.engine, job.id, "cancelled", None)
    worker._look_around()
    assert not folder.exists()
