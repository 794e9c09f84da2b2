"""Bytes change on the disk under a running installation: what needs them says so, the rest answers, and it heals."""

import hashlib
import sqlite3
import subprocess
import sys
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest
from support.pictures import shape, shapes
from support.recorder import Recorder, recorded
from support.services import PATIENCE, environment, eventually

PAGE = 4096  # bytes of SQLite


@pytest.fixture(scope="module")
def recorder(prepared: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Recorder]:
    """A service that has two heads, and remembers no head longer than it must."""
    with recorded(prepared, tmp_path_factory.mktemp("damage")) as running:
        for head in ("sound", "hurt"):
            running.taught(head)
        yield running


def flip(file: Path) -> None:
    """One byte in the middle is another."""
    data = bytearray(file.read_bytes())
    data[len(data) // 2] ^= 0xFF
    file.write_bytes(data)


def blob(recorder: Recorder, digest: str) -> Path:
    return recorder.service.artifacts / "blobs" / digest[:2] / digest


def restarted(recorder: Recorder) -> None:
    """Nothing is in memory any more."""
    recorder.service.stop()
    recorder.service.__post_init__()
    recorder.service.start()


@pytest.mark.slow
def test_a_damaged_graph_fails_its_own_answers_only_and_the_head_can_be_taught_again(checked):
    images = [("images", shape("circle", 3))]
    flip(blob(checked, checked.service.client.head("hurt")["versions"][0]["digest"]))
    restarted(checked)
    both = checked.service.http.post("/predict", data={"head": ["hurt", "sound"]}, files=images)
    assert both.status_code == 200 and [p["head"] for p in both.json()["predictions"]] == ["sound"]
    assert "hurt" in str(both.json()["head_errors"])
    alone = checked.service.http.post("/predict", data={"head": "hurt"}, files=images)
    assert alone.headers["content-type"] == "application/problem+json" and "hurt" in alone.json()["detail"]
    assert checked.taught("hurt")["version"] == 2
    assert eventually(lambda: checked.ask("hurt"))[0]["version"] == 2
    assert checked.service.http.delete("/heads/hurt/versions/1").status_code == 204


def test_an_example_that_is_sent_again_is_mended(checked):
    sent = shapes(each=5, start=4000)
    checked.taught("mended", images=sent)
    digest = hashlib.sha256(sent[0].data()).hexdigest()
    flip(blob(checked, digest))
    assert checked.service.http.get(f"/heads/mended/examples/{digest}/image").status_code >= 400
    checked.taught("mended", images=sent)
    assert checked.service.http.get(f"/heads/mended/examples/{digest}/image").content == sent[0].data()


def test_mapped_weights_that_somebody_writes_to_change_no_answer(checked):
    before = checked.ask("sound", seed=5)
    mapped = [path for path in (checked.service.home / "mapped").rglob("*") if path.is_file()]
    assert mapped, "there is nothing to write to: this shows nothing"
    for path in mapped:
        with path.open("r+b") as file:  # in place: whoever has it mapped sees it
            file.seek(path.stat().st_size // 3)
            file.write(b"\xff" * PAGE)
    after = eventually(lambda: checked.ask("sound", seed=5))
    assert [answer["label"] for answer in after] == [answer["label"] for answer in before]
    assert after[0]["score"] == pytest.approx(before[0]["score"], abs=1e-3)


@pytest.mark.parametrize("command", ["serve", "worker"])
def test_a_damaged_page_of_the_database_is_said_at_the_start_in_a_sentence(home, command):
    """A page in the middle is overwritten; the log has no traceback, and says what to do."""
    database = home / "espalier.sqlite"
    with closing(sqlite3.connect(database)) as connection:
        connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
        pages = connection.execute("PRAGMA page_count").fetchone()[0]
    with database.open("r+b") as file:
        for page in range(2, pages):
            file.seek(page * PAGE)
            file.write(b"\xaa" * PAGE)
    started = [sys.executable, "-m", "service.cli", command]
    done = subprocess.run(started, env=environment(home), capture_output=True, text=True, timeout=PATIENCE)
    assert done.returncode != 0 and "Traceback" not in done.stderr, done.stderr[-2000:]
    assert "espalier.sqlite" in done.stderr and "damaged" in done.stderr
