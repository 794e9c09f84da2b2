"""Processes that hang (SIGSTOP) instead of dying: they are replaced, and nothing is lost."""

import os
import signal

import pytest
from support.recorder import Recorder
from support.services import command_line, eventually

pytestmark = [pytest.mark.slow, pytest.mark.timeout(600)]
REPLACED = 240.0  # seconds until a hanging process is no more


def hang(recorder, word: str) -> int:
    """Stop the last process with that word in its command line."""
    pid = eventually(lambda: recorder.service.pids(word))[-1]
    os.kill(pid, signal.SIGSTOP)
    return pid


def test_a_server_that_hangs_is_replaced(checked):
    checked.taught("steady")
    hanging = hang(checked, "_bentoml_impl.worker")
    eventually(lambda: "_bentoml_impl" not in command_line(hanging), seconds=REPLACED)
    assert eventually(lambda: checked.ask("steady"))[0]["version"] == 1


def test_a_worker_that_hangs_in_a_job_is_replaced_and_the_job_goes_on(checked):
    job = checked.held("training")
    hang(checked, "service.cli worker")
    checked.go()
    assert eventually(lambda: (ended := checked.job(job))["status"] == "succeeded" and ended, seconds=REPLACED)


def test_a_worker_whose_step_hangs_ends_and_the_job_goes_on(own_server, tmp_path):
    """A library that never comes back: the process lives, renews its lease, and does nothing."""
    plan = tmp_path / "plan"
    plan.mkdir()
    recorder = Recorder(own_server(plan=plan, stall_seconds=2), plan)
    job = recorder.held("training")
    hanging = recorder.service.pids("service.cli worker")[-1]
    eventually(lambda: "service.cli" not in command_line(hanging), seconds=REPLACED)
    recorder.go()
    assert recorder.end(job)["status"] == "succeeded"
    assert recorder.service.rows("jobs", "id=?", job)[0]["deaths"] >= 1
    log = recorder.service.log.read_text()
    assert f"the job {job} has shown no sign of work" in log and "sitecustomize.py" in log  # and where it hung
    recorder.check()
