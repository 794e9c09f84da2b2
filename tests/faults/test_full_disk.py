"""The disk is full, then it is not: nobody is told a lie meanwhile, and every job that was accepted ends by itself."""

import contextlib
import json
import os
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest
from support.pictures import shape
from support.recorder import Recorder, recorded, status
from support.services import MIB, eventually

pytestmark = [pytest.mark.slow, pytest.mark.timeout(600)]
SIZE = 400 * MIB  # of the file system: what a home has at the start, and some jobs
AWAY = 5.0  # seconds without space


@pytest.fixture(scope="module")
def small_disk(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A folder on a small file system of its own; skips where none can be mounted."""
    folder = tmp_path_factory.mktemp("small")
    mounted = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", f"size={SIZE}", "tmpfs", str(folder)], capture_output=True, text=True
    )
    if mounted.returncode:
        pytest.skip(f"no file system can be mounted here: {mounted.stderr.strip() or 'needs root'}")
    yield folder
    subprocess.run(["umount", "--lazy", str(folder)], check=True)


@pytest.fixture(scope="module")
def recorder(prepared: Path, small_disk: Path, plan: Path) -> Iterator[Recorder]:
    """A service on it with one loaded head; its log is there, too, and may lose lines."""
    with recorded(prepared, small_disk, plan) as running:
        running.taught("warm")
        running.ask("warm")
        yield running


@contextlib.contextmanager
def full(folder: Path) -> Iterator[None]:
    """Not a byte is free until the end of the block."""
    filler = folder / "filler"
    with filler.open("wb", buffering=0) as file, contextlib.suppress(OSError):
        while True:
            file.write(os.urandom(65_536))
    try:
        yield
    finally:
        filler.unlink()


def test_a_full_disk_is_told_and_nothing_is_accepted(checked, small_disk):
    http = checked.service.http
    with full(small_disk):
        assert checked.ask("warm")
        for path in ("/heads", "/jobs", "/heads/warm", "/metrics", "/livez"):
            assert http.get(path).status_code == 200, path
        refused = status(lambda: _sent(http))
        assert refused[0] in (503, 507), refused
        moved = status(lambda: http.put("/heads/warm/aliases/canary", json={"version": 1}))
        assert moved[0] in (200, 503, 507), moved
        assert http.get("/heads/refused").status_code == 404
    eventually(lambda: http.put("/heads/warm/aliases/canary", json={"version": 1}).status_code == 200)
    eventually(lambda: _sent(http).status_code == 202)


def _sent(http: httpx.Client) -> httpx.Response:
    """Pictures that a service with a disk takes."""
    kinds = ("circle", "square") * 4
    images = [("images", (f"{n}.png", shape(kind, 700 + n))) for n, kind in enumerate(kinds)]
    return http.post("/finetune", data={"head": "refused", "labels": json.dumps(kinds)}, files=images)


@pytest.mark.parametrize("phase", ["embedding", "training", "publishing"])
def test_a_job_that_met_a_full_disk_goes_on_once_there_is_space(checked, small_disk, phase):
    job = checked.held(phase)
    behind = checked.teach(f"hold-{phase}")  # the next of that head
    with full(small_disk):
        checked.go()
        assert checked.ask("warm")
        time.sleep(AWAY)
    assert [checked.end(each)["status"] for each in (job, behind)] == ["succeeded", "succeeded"]
