"""The CronJob's own command, with real stores: what it writes can be read, and it leaves no fewer than it found."""

import os
import shutil
import subprocess
import sys
import time
from pathlib import Path

import pytest
from support.kubernetes import rendering
from support.kubernetes.rendering import OVERLAYS
from support.services import environment, espalier

DAY = 86_400  # seconds


def command(folder: Path) -> list[str]:
    """What the container runs, with another folder in place of its volume."""
    (container,) = rendering.pods(rendering.kustomize("single-node"))["CronJob/espalier-backup"]["containers"]
    shell, flags, script = container["args"]
    return [shell, flags, script.replace("/backups", str(folder))]


def run(home: Path, folder: Path, **settings: str) -> subprocess.CompletedProcess[str]:
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    given = environment(home, **settings) | {"KEEP_DAYS": "14", "PATH": path}
    return subprocess.run(command(folder), env=given, capture_output=True, text=True, timeout=120)


def aged(folder: Path, days: float) -> Path:
    """A folder that looks as old."""
    folder.mkdir()
    (folder / "manifest.json").touch()
    os.utime(folder, (0, time.time() - days * DAY))
    return folder


@pytest.fixture
def home(prepared: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(prepared, tmp_path / "home"))


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "backups").mkdir()
    return tmp_path / "backups"


def test_it_makes_a_backup_that_is_whole_and_deletes_old_ones(home, folder, tmp_path):
    old, recent = aged(folder / "20260101T021700Z", 16), aged(folder / "20260110T021700Z", 13)
    draft, other = aged(folder / ".20260101T021700Z.x1", 2), aged(folder / "of-somebody-else", 100)
    done = run(home, folder)
    assert done.returncode == 0, done.stderr
    assert not old.exists() and not draft.exists() and recent.exists() and other.exists()
    (made,) = {path for path in folder.iterdir() if not path.name.startswith(".")} - {recent, other}
    assert "as it was written" in espalier("restore", "--dry-run", str(made), home=tmp_path / "none").stdout


def test_one_that_fails_says_so_and_deletes_no_old_one(home, folder):
    old = aged(folder / "20260101T021700Z", 16)
    done = run(home, folder, database_url="postgresql+psycopg://u@127.0.0.1:9/none")
    assert done.returncode != 0 and "database" in done.stderr
    assert [path.name for path in folder.iterdir()] == [old.name], "nor does it leave anything of its own"


@pytest.mark.parametrize("overlay", OVERLAYS)
def test_it_copies_what_the_servers_have_to_a_volume_of_its_own(overlay):
    objects = rendering.kustomize(overlay)
    made = rendering.pods(objects)
    backup, server = made["CronJob/espalier-backup"], made["Deployment/espalier-serve"]["containers"][0]
    (container,) = backup["containers"]
    assert container["image"] == server["image"]
    stores = {"ESPALIER_DATABASE_URL", "AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"}
    named = [{v["name"] for v in c["env"]} & stores for c in (container, server)]
    assert named[0] == named[1] and container["envFrom"] == server["envFrom"]
    claims = {v["name"]: v["persistentVolumeClaim"]["claimName"] for v in backup["volumes"] if "emptyDir" not in v}
    own = {"backups": "espalier-backups"}
    assert claims == (own | {"data": "espalier-data"} if overlay == "single-node" else own)
    assert ("affinity" in backup) == ("data" in claims), "a disk is where its pod is"
    assert {c["metadata"]["name"] for c in rendering.of_kind(objects, "PersistentVolumeClaim")} == set(claims.values())
