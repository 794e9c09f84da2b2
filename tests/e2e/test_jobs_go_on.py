"""Every accepted job ends: whatever becomes of its worker, of another release's, of an order to stop."""

import concurrent.futures
import contextlib
import os
import shutil
import signal
import sqlite3
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import httpx
import pytest
from support.pictures import shape, shapes
from support.recorder import check_history
from support.services import Service, environment, eventually, kill


@pytest.fixture(scope="module")
def service(prepared: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    """Its worker waits where a head's name says so, for the file `go` in its plan; see support/hooks."""
    home = Path(shutil.copytree(prepared, tmp_path_factory.mktemp("held") / "home"))
    made = Service(home, {}, tmp_path_factory.mktemp("plan"))
    try:
        yield made.start()
    finally:
        made.stop()


@pytest.fixture
def plan(service: Service) -> Iterator[Path]:
    assert service.plan is not None
    yield service.plan
    check_history(service)
    (service.plan / "go").unlink(missing_ok=True)


def begun(service: Service, head: str, plan: Path, phase: str = "training") -> dict:
    """A job whose worker is held in a phase."""
    job = service.client.finetune(head, shapes(), method="prototype")
    eventually(lambda: (plan / f"{job['id']}-{phase}").exists())
    return job


def follow(service: Service, job_id: str) -> None:
    """Read a job's events for as long as they come."""
    with contextlib.suppress(httpx.HTTPError), service.http.stream("GET", f"/jobs/{job_id}/events") as stream:
        list(stream.iter_lines())


def wait_for(service: Service, head: str, seconds: int) -> None:
    """Send a job and wait for its end."""
    with contextlib.suppress(httpx.HTTPError):
        service.client.finetune(head, shapes(start=500), method="prototype", wait=seconds)


def the_job(service: Service, job_id: str) -> dict:
    return service.rows("jobs", "id=?", job_id)[0]


@pytest.mark.slow
def test_an_order_to_stop_in_the_middle_of_a_job_is_followed_and_the_job_goes_on(service, plan):
    """Server and worker leave in time and without a traceback, whoever waits for the job; that is no worker's death."""
    job = begun(service, "hold-training", plan)
    supervisor, family = service.process, service.pids("service")
    with concurrent.futures.ThreadPoolExecutor(3) as pool:
        waiting = [pool.submit(follow, service, job["id"]), pool.submit(wait_for, service, "hold-training", 60)]
        eventually(lambda: len(service.rows("jobs", "head='hold-training'")) == 2)
        supervisor.terminate()
        assert supervisor.wait(30) == 0
        concurrent.futures.wait(waiting, timeout=30)
    assert not [pid for pid in family if os.path.exists(f"/proc/{pid}")]
    assert the_job(service, job["id"])["status"] == "queued"
    (plan / f"{job['id']}-training").unlink()
    service.start()
    eventually(lambda: (plan / f"{job['id']}-training").exists())
    (plan / "go").touch()
    for row in service.rows("jobs", "head='hold-training'"):
        assert service.client.wait(row["id"])["status"] == "succeeded"
    log = service.log.read_text()
    assert "Traceback" not in log and "did not end in" not in log, log[-3000:]
    assert the_job(service, job["id"])["deaths"] == 0


def test_with_its_worker_gone_for_good_a_job_can_be_cancelled_and_the_next_one_runs(service, plan):
    job = begun(service, "hold-training-1", plan)
    service.process.send_signal(signal.SIGSTOP)  # nobody starts another worker
    kill(service.pids("service.cli worker")[0])
    began = time.monotonic()
    assert service.client.cancel(job["id"])["status"] == "cancelled"
    assert time.monotonic() - began < 5
    after = service.client.finetune("hold-training-1", shapes(), method="prototype", mode="replace")
    assert service.client.job(after["id"])["status"] == "queued"
    (plan / "go").touch()
    service.process.send_signal(signal.SIGCONT)
    assert service.client.wait(after["id"])["version"] == 1
    assert service.client.job(job["id"])["status"] == "cancelled"


def test_a_job_that_another_release_had_begun_is_taken_up(service, plan):
    """Its job engine holds it as running, with steps of another number, and nobody runs it."""
    job = begun(service, "hold-training-2", plan)
    service.process.send_signal(signal.SIGSTOP)
    kill(service.pids("service.cli worker")[0])
    with closing(sqlite3.connect(service.home / "jobs.sqlite")) as connection, connection:
        older = "UPDATE workflow_status SET application_version='2' WHERE status='PENDING' AND workflow_uuid=?"
        assert connection.execute(older, (job["id"],)).rowcount == 1
    (plan / "go").touch()
    service.process.send_signal(signal.SIGCONT)
    ended = service.client.wait(job["id"])
    assert ended["status"] == "succeeded" and ended["version"] == 1
    told = [event["data"] for event in service.rows("job_events", "job_id=? AND type='status'", job["id"])]
    assert sum("validating" in data for data in told) == 2  # from the start: those steps were not ours
    assert (
        service.client.wait(service.client.finetune("hold-training-2", shapes(), method="prototype")["id"])["version"]
        == 2
    )


@pytest.mark.slow
def test_a_worker_that_hangs_is_passed_by_and_does_no_harm_when_it_wakes(service, plan):
    """Another one takes its job up when the lease is over; both are at work on one database."""
    job = begun(service, "hold-training-3", plan)
    service.process.send_signal(signal.SIGSTOP)
    hung = service.pids("service.cli worker")[0]
    os.kill(hung, signal.SIGSTOP)
    (plan / "go").touch()
    second = subprocess.Popen([sys.executable, "-m", "service.cli", "worker"], env=environment(service.home))
    try:
        assert service.client.wait(job["id"])["version"] == 1
        os.kill(hung, signal.SIGCONT)
        again = service.client.wait(service.client.finetune("hold-training-3", shapes(), method="prototype")["id"])
        assert again["version"] == 2
        assert [v["version"] for v in service.client.head("hold-training-3")["versions"]] == [2, 1]
        assert service.client.predict(["hold-training-3"], [shape("circle", 7)])["predictions"][0]["version"] == 2
    finally:
        second.terminate()
        assert second.wait(30) == 0
        service.process.send_signal(signal.SIGCONT)
