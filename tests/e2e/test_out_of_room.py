"""A full disk and a full queue: jobs fail or are refused with a reason, and what was there serves on."""

import subprocess
from pathlib import Path

import pytest
from support.pictures import shape, shapes
from support.refusals import GOOD, LABELS, images, post, refused
from support.services import MIB, eventually


@pytest.fixture
def small_disk(tmp_path: Path):
    """A file system of 48 MiB: both backbones take 36."""
    folder = tmp_path / "disk"
    folder.mkdir()
    done = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=48m", "tmpfs", str(folder)], capture_output=True, text=True
    )
    if done.returncode:
        pytest.skip(f"a small file system cannot be mounted here: {done.stderr.strip()}")
    yield folder
    subprocess.run(["umount", "--lazy", str(folder)], check=True)


@pytest.mark.slow
def test_a_job_that_never_finds_space_fails_and_the_old_version_serves(home, own_server, small_disk, tmp_path):
    """storage_full after its tries, nothing left behind; with space again the same call succeeds."""
    plan = tmp_path / "plan"
    plan.mkdir()
    (home / "artifacts").rename(tmp_path / "built")
    subprocess.run(["cp", "-r", f"{tmp_path / 'built'}/blobs", str(small_disk)], check=True)
    service = own_server(plan=plan, artifacts_url=small_disk, job_retries=1)
    head = "hold-exporting"
    (plan / "go").touch()
    first = service.client.finetune(head, shapes(), method="prototype")
    assert service.client.wait(first["id"])["status"] == "succeeded"
    (plan / "go").unlink()
    eventually(lambda: not service.rows("job_blobs"))  # the first job has let go of what it wrote on its way
    before = service.blobs()
    second = service.client.finetune(head, shapes(("cross",)), method="prototype")
    eventually(lambda: (plan / f"{second['id']}-exporting").exists())
    _fill(small_disk / "filler")
    (plan / "go").touch()
    ended = service.client.wait(second["id"])
    assert ended["status"] == "failed" and ended["error"]["code"] == "storage_full" and ended["version"] is None
    assert service.client.predict([head], [shape("circle", 90)])["predictions"][0]["version"] == 1
    eventually(lambda: not service.rows("job_examples"))  # what it had sent is deleted after its end
    _fill(small_disk / "more")
    new = images([(name, shape(name.split("-")[0], 600 + n)) for n, name in enumerate(GOOD)])
    refused(post(service, new, {"head": "no-room", "labels": LABELS}), 507, "storage_full")
    for name in ("filler", "more"):
        (small_disk / name).unlink()
    eventually(lambda: service.blobs() <= before)
    assert not service.rows("job_examples") and len(service.rows("versions")) == 1
    third = service.client.finetune(head, shapes(("cross",)), method="prototype")
    assert service.client.wait(third["id"])["status"] == "succeeded"


def _fill(path: Path) -> None:
    with path.open("wb", buffering=0) as file:
        for size in (MIB, 4096, 1):
            try:
                while file.write(b"\0" * size) == size:
                    pass
            except OSError:
                continue


def test_a_full_queue_is_a_429_with_retry_after(home, own_server, tmp_path):
    """Jobs over ESPALIER_MAX_JOBS are refused, not queued; nothing of them is stored."""
    plan = tmp_path / "plan"
    plan.mkdir()
    service = own_server(plan=plan, max_jobs=1)
    held = service.client.finetune("hold-validating", shapes(), method="prototype")
    eventually(lambda: (plan / f"{held['id']}-validating").exists())
    before = service.footprint()
    answer = service.http.post("/finetune", data={"head": "more", "labels": LABELS}, files=images())
    refused(answer, 429, "overloaded")
    assert int(answer.headers["retry-after"]) >= 1
    assert service.footprint() == before
    (plan / "go").touch()
    assert service.client.wait(held["id"])["status"] == "succeeded"
