"""`espalier check` on Postgres and S3: the same is found and mended as on a disk."""

import hashlib
import json
from collections.abc import Callable, Iterator
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import numpy as np
import pytest
import sqlalchemy as sa
from click.testing import CliRunner
from support import object_store
from support.graphs import TINY, tiny
from support.stores import NAMES, Store, sha

from adapters.store import backbones, database, heads
from adapters.store.embeddings import Embedded, EmbeddingCache
from adapters.store.objects.artifacts import Artifacts
from adapters.store.schema import generation, version_blobs
from adapters.store.schema import heads as heads_table
from adapters.store.scrub import stored
from adapters.types import HeadRef
from service.cli import main

pytestmark = pytest.mark.postgres
Check = Callable[..., list[dict]]


@pytest.fixture(scope="module")
def bucket(tmp_path_factory: pytest.TempPathFactory) -> Iterator[object_store.ObjectStore]:
    with object_store.running(tmp_path_factory.mktemp("bucket")) as running:
        yield running


@pytest.fixture
def store(empty_postgres, bucket, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Store]:
    """Two heads on one backbone, and everything as it was stored."""
    settings = {"ESPALIER_DATABASE_URL": empty_postgres, "ESPALIER_ARTIFACTS_URL": bucket.url(tmp_path.name)}
    for name, value in (settings | bucket.environment() | {"ESPALIER_HOME": str(tmp_path)}).items():
        monkeypatch.setenv(name, value)
    engine = database.connect(empty_postgres)
    database.migrate(engine)
    made = Store(engine, Artifacts(settings["ESPALIER_ARTIFACTS_URL"]))
    graph = tiny()
    tiny_one = replace(TINY, digest="b", artifact=hashlib.sha256(graph).hexdigest())
    backbones.add(engine, made.artifacts, tiny_one, graph)
    for head in ("cats", "dogs"):
        made.teach(NAMES, head)
    yield made
    engine.dispose()


def check(*options: str) -> list[dict]:
    done = CliRunner().invoke(main, ["check", "--json", *options])
    found: list[dict] = json.loads(done.stdout)["findings"]
    left = [row for row in found if not row["mended"]]
    assert done.exit_code == bool(left), done.output
    return found


def harm(store: Store, digest: str) -> None:
    store.artifacts.place.write(f"blobs/{digest[:2]}/{digest}", b"other bytes")


def test_a_sound_installation_is_told_so(store) -> None:
    assert check() == [] == check("--repair")


def test_damaged_and_missing_blobs_are_named_with_their_users(store) -> None:
    version = heads.resolve(store.engine, HeadRef("cats"))
    harm(store, version.digest)
    store.artifacts.delete([sha("a")])
    found = {(row["kind"], row["item"]) for row in check("--repair")}
    assert ("damaged", "the graph of cats@1") in found and len(found) == 2
    assert any(kind == "missing" and "'a.png'" in item for kind, item in found)
    store.put("a")  # sent again, it is mended
    assert [row["item"] for row in check()] == ["the graph of cats@1"]


def test_what_nobody_refers_to_is_deleted_when_it_is_old(store, monkeypatch) -> None:
    store.put("x")
    store.artifacts.place.write("blobs/no/note.txt", b"left by hand")
    assert check() == []  # somebody may be at work
    monkeypatch.setattr(stored, "RECENT", timedelta(seconds=-60))
    told = {row["item"]: row["mended"] for row in check("--repair")}
    assert told == {"blobs": True, "the file 'note.txt' among the blobs": False}
    assert not store.artifacts.has(sha("x")) and store.lost() == []


def test_rows_that_cannot_be_so_are_put_right(store) -> None:
    EmbeddingCache(store.engine, "b").put([Embedded(sha("a"), np.zeros(3, np.float32), np.zeros(256, np.uint8))])
    with store.engine.begin() as connection:
        connection.execute(heads_table.update().where(heads_table.c.name == "cats").values(next_version=1))
        connection.execute(version_blobs.delete().where(version_blobs.c.head == "dogs"))
        connection.execute(generation.update().values(value=0))
    items = {"the head cats", "dogs@1", "the backbone b…", "the generation"}
    assert {row["item"] for row in check()} == items
    assert all(row["mended"] for row in check("--repair")) and check() == []
    with database.reading(store.engine) as connection:
        assert connection.execute(sa.select(generation.c.value)).scalar_one() == 2
