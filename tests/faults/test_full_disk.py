"""The disk is full, then it is not: nobody is told a lie meanwhile, and every job that was accepted ends by itself."""

import contextlib
import os
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
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
        form = {"head": "refused", "labels": '["a", "b"] '}
        images = [("images", (f"{n}.bin", os.urandom(MIB))) for n in range(2)]
        assert status(lambda: http.post("/finetune", data=form, files=images))[0] in (422, 503, 507)
        moved = status(lambda: http.put("/heads/warm/aliases/canary", json={"version": 1}))
        assert moved[0] in (200, 503, 507), moved
    eventually(lambda: http.put("/heads/warm/aliases/canary", json={"version": 1}).status_code == 200)


@pytest.mark.parametrize("phase", ["embedding", "training", "publishing"])
def test_a_job_that_met_a_full_disk_goes_on_once_there_is_space(checked, small_disk, phase):
    job = checked.held(phase)
    behind = checked.teach(f"hold-{phase}")  # the next of that head
    with full(small_disk):
        checked.go()
        assert checked.ask("warm")
        time.sleep(AWAY)
    assert [checked.end(each)["status"] for each in (job, behind)] == ["succeeded", "succeeded"]
