"""Deep jobs on a worker whose scratch is bounded: what fits is tried, the rest is said, nobody is in the way."""

import errno
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from support import teachable
from support.teachable import DEEP, QUICK, pictures
from support.training import Bench

from adapters import finetune as pipeline
from adapters import training_memory
from adapters.errors import TooMuchData
from adapters.store import jobs, leases
from adapters.training.stages import scratch
from adapters.types import Job

ROOM = 60 * 8 * 8 * 8 * 2  # bytes: halves at blocks.1 of three classes of 20 pictures


@pytest.fixture
def shop(tmp_path: Path) -> Iterator[Bench]:
    with teachable.bench(tmp_path) as made:
        yield replace(made, shop=replace(made.shop, scratch_bytes=ROOM))


def left_by(shop: Bench, head: str) -> tuple[Job, Path]:
    """A job that gave way, and what it left."""
    job = shop.job(head, pictures(2), **DEEP)
    folder = shop.shop.folder / job.id
    folder.mkdir(parents=True)
    (folder / "blocks.1.taps").write_bytes(bytes(100))
    return job, folder


def test_what_fits_to_the_byte_is_trained(shop):
    assert shop.teach("fits", pictures(20), **DEEP).manifest["deep"]["cut"]["name"] == "blocks.1"


def test_what_can_never_fit_fails_with_both_figures(shop):
    job = shop.job("large", pictures(21), **DEEP)
    with pytest.raises(TooMuchData, match=f"{ROOM:,}"):
        pipeline.finetune(job.id, shop.shop)


def test_what_a_job_left_that_nobody_is_at_work_on_makes_room(shop):
    """It makes it again when it is its turn."""
    _, folder = left_by(shop, "gave-way")
    shop.teach("next", pictures(20), **DEEP)
    assert not folder.exists()


def test_what_another_worker_has_there_is_left_alone_and_waited_for(shop):
    other, folder = left_by(shop, "other")
    lease = leases.claim(shop.shop.engine, "another worker")
    assert lease is not None and lease.job_id == other.id
    job = shop.job("waits", pictures(20), **DEEP)
    with pytest.raises(OSError) as refused:
        pipeline.finetune(job.id, shop.shop)
    assert refused.value.errno == errno.ENOSPC and folder.exists()
    jobs.abandon(shop.shop.engine, other.id, "cancelled", None)
    assert pipeline.finetune(job.id, shop.shop) == "succeeded"


def test_without_a_bound_nothing_of_others_is_counted_or_deleted(shop):
    unbounded = replace(shop, shop=replace(shop.shop, scratch_bytes=None))
    _, folder = left_by(unbounded, "gave-way")
    with scratch.room(unbounded.shop, "job_of-mine") as room:
        assert room == float("inf")
    unbounded.teach("next", pictures(21), **DEEP)
    assert folder.exists()


MEMORY = 600_000  # bytes: for a race on 60 embeddings, and for steps of 32 pictures


def test_a_step_that_there_is_no_memory_for_fails_at_once_with_the_batch_that_there_is(shop, monkeypatch):
    """Also where another worker's folder is in the way of taps: no wait makes memory."""
    monkeypatch.setattr(training_memory, "SMALL", 0)
    other, _ = left_by(shop, "other")
    lease = leases.claim(shop.shop.engine, "another worker")
    assert lease is not None and lease.job_id == other.id
    tight = replace(shop, shop=replace(shop.shop, memory=lambda: MEMORY, scratch_bytes=10 * ROOM))
    step = {"hyperparameters": QUICK | {"unfreeze": "all", "batch_size": 4096}}
    job = tight.job("large", pictures(20), **DEEP | step)
    with pytest.raises(TooMuchData, match="a step of 60 examples that trains all") as refused:
        pipeline.finetune(job.id, tight.shop)
    assert refused.value.item == "batch_size"
