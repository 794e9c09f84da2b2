"""Somebody holds SQLite's lock (a backup, a shell): reads never wait, writes are told soon, and jobs go on later."""

import contextlib
import sqlite3
import time
from collections.abc import Iterator

import pytest
from support.recorder import Recorder, status
from support.services import eventually

SOON = 10.0  # seconds that an answer may take on a busy machine; 2 on one that is not
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


@pytest.fixture(scope="module")
def warm(recorder: Recorder) -> str:
    """A head that is loaded."""
    recorder.taught("warm")
    recorder.ask("warm")
    return "warm"


def test_reads_do_not_wait_for_a_writer_and_writes_are_told_soon(checked, warm):
    http = checked.service.http
    with locked(checked):
        began = time.monotonic()
        assert checked.ask(warm)
        for path in ("/heads", "/jobs", "/heads/warm", "/backbones", "/metrics", "/livez", "/readyz"):
            assert http.get(path).status_code == 200, path
        assert time.monotonic() - began < SOON
        for _ in range(2):
            began = time.monotonic()
            answer = status(lambda: http.put("/heads/warm/aliases/canary", json={"version": 1}))
            assert answer[0] == 503 and time.monotonic() - began < SOON, answer
    eventually(lambda: http.put("/heads/warm/aliases/canary", json={"version": 1}).status_code == 200)


@pytest.mark.parametrize("phase", ["training", "publishing"])
def test_a_job_that_cannot_write_goes_on_when_it_can(checked, warm, phase):
    job = checked.held(phase)
    with locked(checked):
        checked.go()
        time.sleep(HELD)
    assert checked.end(job)["status"] == "succeeded"
