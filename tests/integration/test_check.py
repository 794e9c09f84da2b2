"""`espalier check`: whatever is harmed is found and named with the way out; `--repair` mends what costs nothing."""

import hashlib
import json
import os
import sqlite3
from collections.abc import Callable
from contextlib import closing
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import numpy as np
import pytest
import sqlalchemy as sa
from click.testing import CliRunner
from support.graphs import TINY, tiny
from support.stores import NAMES, Store, opened, sha

from adapters.store import backbones, heads
from adapters.store.embeddings import Embedded, EmbeddingCache
from adapters.store.schema import embeddings
from adapters.store.scrub import sqlite, stored
from adapters.types import HeadRef
from service.cli import main
from service.processes import setup

FOUND, SOUND = 1, 0


@pytest.fixture
def store(tmp_path: Path) -> Store:
    """A home with two heads on one backbone, and everything as it was stored."""
    made = opened(tmp_path)
    graph = tiny()
    backbones.add(made.engine, made.artifacts, replace(TINY, digest="b", artifact=_sha(graph)), graph)
    for head in ("cats", "dogs"):
        made.teach(NAMES, head)
    yield made
    made.engine.dispose()


def _sha(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


@pytest.fixture
def check(store: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., tuple[int, list[dict]]]:
    """The command: its exit code and what it found."""
    monkeypatch.setenv("ESPALIER_HOME", str(tmp_path))

    def run(*options: str) -> tuple[int, list[dict]]:
        done = CliRunner().invoke(main, ["check", "--json", *options])
        assert done.exit_code in (FOUND, SOUND), done.output
        return done.exit_code, json.loads(done.stdout)["findings"]

    return run


def path_of(store: Store, digest: str) -> Path:
    return store.artifacts.place.root / "blobs" / digest[:2] / digest


def flip(path: Path, place: int = -1) -> None:
    data = bytearray(path.read_bytes())
    data[place] ^= 1
    path.write_bytes(data)


def test_a_sound_home_is_told_so(check):
    assert check() == (SOUND, []) == check("--repair")


@pytest.mark.parametrize("harm", [flip, Path.unlink], ids=["damaged", "missing"])
def test_every_kind_of_blob_is_looked_at_and_named_with_its_user(store, check, harm):
    version = heads.resolve(store.engine, HeadRef("cats"))
    waiting = store.upload("x", "birds")
    lost = {
        version.digest: "the graph of cats@1", version.manifest["data"]["digest"]: "the list of data of cats@1",
        sha("a"): "'a.png' of cats", sha("x"): f"'x.png' of {waiting}",
    }  # fmt: skip
    for digest in lost:
        harm(path_of(store, digest))
    code, found = check("--repair")
    assert code == FOUND and len(found) == len(lost)
    for item in lost.values():
        (row,) = [row for row in found if item in row["item"]]
        assert row["kind"] == ("damaged" if harm is flip else "missing") and row["fix"] and not row["mended"]
    assert "heads rebuild cats" in next(row["fix"] for row in found if "graph" in row["item"])


def test_what_a_person_does_as_told_mends_it(store, check):
    flip(path_of(store, sha("a")))
    assert check()[0] == FOUND
    store.upload("a", "others")
    assert check() == (SOUND, [])


def test_orphans_are_deleted_unless_they_are_young_held_or_used(store, check):
    store.put("op")
    store.hold("upload", "h")
    store.put("h")
    code, found = check("--repair")
    assert (code, found) == (SOUND, []), "somebody may be about to refer to them"
    for name in "oph":
        _age(path_of(store, sha(name)))
    code, found = check()
    assert code == FOUND and [(row["kind"], row["item"]) for row in found] == [("orphan", "blobs")]
    assert check("--repair")[0] == SOUND
    assert not {sha("o"), sha("p")} & store.there() and sha("h") in store.there() and store.lost() == []


def _age(path: Path) -> None:
    moment = path.stat().st_mtime - 2 * stored.RECENT / timedelta(seconds=1)
    os.utime(path, (moment, moment))


def test_files_that_were_never_finished_and_files_that_are_no_blobs(store, check):
    draft, stranger = store.artifacts.place.root / "partial" / "x.1", path_of(store, "zz")
    for file in (draft, stranger):
        file.parent.mkdir(exist_ok=True)
        file.write_bytes(b"half")
        _age(file)
    code, found = check("--repair")
    assert code == FOUND and not draft.exists() and stranger.exists()
    assert {row["item"]: row["mended"] for row in found} == {
        "unfinished files": True,
        "the file 'zz' among the blobs": False,
    }


ROWS = {
    "UPDATE heads SET next_version = 1 WHERE name = 'cats'": "the head cats",
    "DELETE FROM version_blobs WHERE head = 'dogs'": "dogs@1",
    "UPDATE generation SET value = 0": "the generation",
    "DELETE FROM generation": "the generation",
    "INSERT INTO aliases VALUES ('cats', 'canary', 9, '2020-01-01')": "rows of aliases",
    "INSERT INTO job_blobs VALUES ('nobody', 'x')": "rows of job_blobs",
}


@pytest.mark.parametrize("statement", ROWS)
def test_rows_that_cannot_be_so_are_put_right(store, check, statement, tmp_path):
    with closing(sqlite3.connect(tmp_path / "espalier.sqlite")) as connection, connection:
        connection.execute(statement)
    code, found = check()
    assert code == FOUND and found[0]["item"] == ROWS[statement]
    assert check("--repair")[0] == SOUND and check() == (SOUND, [])


def test_embeddings_that_are_not_what_their_backbone_tells_are_forgotten(store, check):
    """They are a cache."""
    print_ = np.zeros(256, np.uint8)
    good, long = np.ones(TINY.dimension, np.float32), np.ones(99, np.float32)
    EmbeddingCache(store.engine, "b").put([Embedded(sha("a"), good, print_), Embedded(sha("b"), long, print_)])
    EmbeddingCache(store.engine, "gone").put([Embedded(sha("a"), good, print_)])
    assert len(check()[1]) == 2 and check("--repair")[0] == SOUND
    with store.engine.connect() as connection:
        rows = connection.execute(sa.select(embeddings.c.sha256, embeddings.c.backbone)).all()
    assert [tuple(row) for row in rows] == [(sha("a"), "b")]


def test_a_version_without_its_backbone_is_named(store, check):
    with store.engine.begin() as connection:
        connection.exec_driver_sql("DELETE FROM backbones")
    code, found = check("--repair")
    assert code == FOUND
    assert [row["item"] for row in found if row["kind"] == "missing"] == ["cats@1", "dogs@1"]


def test_a_backbone_is_made_again_where_it_can_be(store, check, monkeypatch):
    """By what built it; here from its bytes, in tests/e2e by the real thing."""
    (backbone,) = backbones.list_all(store.engine)
    flip(path_of(store, backbone.artifact))
    assert check("--repair")[0] == FOUND, "nothing here can build it"
    monkeypatch.setattr(setup, "remake", lambda settings, engine, artifacts, which: bool(artifacts.put(tiny())))
    assert check("--repair")[0] == SOUND and check() == (SOUND, [])


# The database's file


def _scribble(path: Path, page: int) -> None:
    with path.open("r+b") as file:
        file.seek(4096 * page)
        file.write(b"\xa5" * 4096)


@pytest.fixture
def scribbled(store: Store, tmp_path: Path) -> Path:
    """The file of a database of which one page in the middle was overwritten, all writes in it before that."""
    for number in range(30):
        store.upload(NAMES, f"head{number}")
    store.engine.dispose()
    path = tmp_path / "espalier.sqlite"
    with closing(sqlite3.connect(path)) as connection:
        connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
        root = connection.execute("SELECT rootpage FROM sqlite_master WHERE name = 'job_examples'").fetchone()[0]
    _scribble(path, root - 1)
    return path


@pytest.mark.parametrize("command", ["init", "serve", "backbones"])
def test_a_damaged_page_is_noticed_at_the_start_with_a_sentence(scribbled, command, monkeypatch, tmp_path):
    monkeypatch.setenv("ESPALIER_HOME", str(tmp_path))
    done = CliRunner().invoke(main, [command])
    assert done.exit_code == 1 and "the database espalier.sqlite is damaged" in done.stderr
    assert "backup" in done.stderr and ".recover" in done.stderr and "Traceback" not in done.output


def test_a_file_that_is_no_database_is_noticed_too(tmp_path, monkeypatch):
    monkeypatch.setenv("ESPALIER_HOME", str(tmp_path))
    (tmp_path / "espalier.sqlite").write_bytes(b"not a database at all" * 1000)
    done = CliRunner().invoke(main, ["serve"])
    assert done.exit_code == 1 and "is damaged (file is not a database)" in done.stderr


def test_check_tells_of_a_damaged_page_and_does_not_trust_the_rows(scribbled, check):
    code, found = check("--repair")
    assert code == FOUND and [row["item"] for row in found] == ["the database espalier.sqlite"]
    assert not found[0]["mended"] and "backup" in found[0]["fix"]


def test_a_damaged_index_is_made_anew_from_its_rows(store, check, tmp_path):
    store.upload(NAMES, "birds")
    _drop_entries(tmp_path / "espalier.sqlite")
    code, found = check()
    assert code == FOUND and "index" in found[0]["detail"]
    assert check("--repair")[0] == SOUND and check() == (SOUND, [])


def _drop_entries(path: Path) -> None:
    """Rows that an index does not know: it was not there when they were written."""
    with closing(sqlite3.connect(path, isolation_level=None)) as connection:
        kept = connection.execute("SELECT * FROM sqlite_master WHERE name = 'ix_job_examples_sha256'").fetchone()
        connection.execute("PRAGMA writable_schema = ON")
        connection.execute("DELETE FROM sqlite_master WHERE name = 'ix_job_examples_sha256'")
    with closing(sqlite3.connect(path, isolation_level=None)) as connection:
        connection.execute("DELETE FROM job_examples WHERE position = 0")
        connection.execute("PRAGMA writable_schema = ON")
        connection.execute("INSERT INTO sqlite_master VALUES (?, ?, ?, ?, ?)", kept)


def test_a_look_at_a_large_file_has_an_end(scribbled, monkeypatch):
    """Nobody waits for it at a start: what was not come to is left for `espalier check`."""
    monkeypatch.setattr(sqlite, "STEPS", 1)
    sqlite.refuse_damaged(scribbled, seconds=-1)
    assert list(sqlite.findings(scribbled))
