"""Training beside serving: p99 of /predict at half load while 1,000 new photos are taught, against without.

Limit: at most twice. The photos come from a process of its own, so that the client that measures is not held up.
"""

import multiprocessing
import os
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from benchmarks import load, photos, record, server
from service.client import Client, LabeledImage
from service.processes.priority import step_aside

HEAD = "beside"
MAX_P99 = 2.0  # times


@dataclass(frozen=True, slots=True)
class Plan:
    """How much is measured."""

    repetitions: int
    photos: int
    seconds: float  # of a turn without a job
    patience: float  # seconds that a job may take


FULL = Plan(5, 1000, 12.0, 180.0)
QUICK = Plan(1, 40, 2.0, 60.0)


def main(quick: bool = False) -> dict[str, Any]:
    """Measure and print; returns the results."""
    plan = QUICK if quick else FULL
    with server.running() as running:
        taught(running.port, HEAD, photos.crops(64, seed=99))  # a head to ask, and the worker has its torch
        rounds = [measured(running.port, plan, number) for number in range(plan.repetitions)]
    results: dict[str, Any] = {key: record.spread([r[key] for r in rounds]) for key in rounds[0]}
    results["limits"] = {"p99_ratio": MAX_P99}
    record.show(results)
    return results


def measured(port: int, plan: Plan, number: int, **options: Any) -> dict[str, float]:
    """Half load without a job, and from its first byte to its last; `options` are the job's."""
    pictures = [data for data, _ in photos.crops(64)]
    requests = [load.request(f"/predict?head={HEAD}", data, "image/jpeg", port) for data in pictures]
    rate = load.run(requests, port, 16, plan.seconds / 3).checked().throughput / 2
    with _job(port, plan.photos, number, options) as (process, go):
        calm = load.paced(requests, port, rate, plan.seconds).checked()
        go.set()
        busy = load.paced(requests, port, rate, plan.patience, going_on=process.is_alive).checked()
    return {
        "requests_per_second": rate, "job_s": busy.seconds,
        "p50_ms_without": calm.percentile(0.5) * 1e3, "p50_ms_with": busy.percentile(0.5) * 1e3,
        "p99_ms_without": calm.percentile(0.99) * 1e3, "p99_ms_with": busy.percentile(0.99) * 1e3,
        "p99_ratio": busy.percentile(0.99) / calm.percentile(0.99),
    }  # fmt: skip


@contextmanager
def _job(port: int, count: int, number: int, options: dict[str, Any]) -> Any:
    """A process that has its photos ready and teaches them when told to go."""
    spawn = multiprocessing.get_context("spawn")
    ready, go = spawn.Event(), spawn.Event()
    process = spawn.Process(target=_upload, args=(port, count, number, options, ready, go), daemon=True)
    process.start()
    try:
        ready.wait()
        yield process, go
        process.join(60)
        assert process.exitcode == 0, "the job did not succeed in time"
    finally:
        process.kill()


def _upload(port: int, count: int, number: int, options: dict[str, Any], ready: Any, go: Any) -> None:
    """In life it runs on another machine; here it leaves the cores to whoever else wants them."""
    os.setsid()
    step_aside(19)
    pictures = photos.crops(count, seed=number)
    ready.set()
    go.wait()
    taught(port, f"new-{number}", pictures, **options)


def taught(port: int, head: str, pictures: list[tuple[bytes, str]], **options: Any) -> None:
    """A head with a live version of these photos. Raises AssertionError where the job does not succeed."""
    images = [LabeledImage(f"{i}.jpg", lambda d=data: d, label) for i, (data, label) in enumerate(pictures)]
    with Client(f"http://127.0.0.1:{port}") as client:
        job = client.wait(client.finetune(head, images, **options)["id"])
    assert job["status"] == "succeeded", job["error"]
