"""Somebody holds SQLite's lock (a backup, a shell) while a job is at work: it goes on when it can write."""

import time

import pytest
from support.databases import locked

HELD = 5.0  # seconds at the least


@pytest.mark.slow
@pytest.mark.parametrize("phase", ["training", "publishing"])
def test_a_job_that_cannot_write_goes_on_when_it_can(checked, phase):
    job = checked.held(phase)
    with locked(checked.service.home):
        checked.go()
        time.sleep(HELD)
    assert checked.end(job)["status"] == "succeeded"
