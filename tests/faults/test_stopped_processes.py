"""Processes that hang (SIGSTOP) instead of dying: they are replaced, and nothing is lost."""

import os
import signal

import pytest
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
