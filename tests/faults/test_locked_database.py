"""Somebody holds SQLite's lock (a backup, a shell) while a job is at work: it goes on when it can write."""

import contextlib
import sqlite3
import time
from collections.abc import Iterator

import pytest
from support.recorder import Recorder

HELD = 5.0  # seconds at the least


@contextlib.contextmanager
def locked(recorder: Recorder) -> Iterator[None]:
    """Nobody else can write."""
    connection = sqlite3.connect(recorder.service.home / "espalier.sqlite", isolation_level=None, timeout=60)
    connection.execute("BEGIN IMMEDIATE")
    try:
        yield
    finally:
        connection.execute("ROLLBACK")
        connection.close()


@pytest.mark.parametrize("phase", ["training", "publishing"])
def test_a_job_that_cannot_write_goes_on_when_it_can(checked, phase):
    job = checked.held(phase)
    with locked(checked):
        checked.go()
        time.sleep(HELD)
    assert checked.end(job)["status"] == "succeeded"
