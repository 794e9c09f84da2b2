"""What ended jobs leave is forgotten in time, and deleted heads leave nothing, on SQLite and on Postgres."""

import sqlite3
from contextlib import closing
from datetime import timedelta

import numpy as np
import pytest
import sqlalchemy as sa
from support.published import accept, publication, publish, sha

from adapters.errors import JobNotFound
from adapters.store import database, events, examples, heads, jobs, publishing
from adapters.store.embeddings import Embedded, EmbeddingCache
from adapters.store.objects.artifacts import Artifacts
from adapters.store.objects.blobs import JobArtifacts
from adapters.store.schema import changes, embeddings, job_events, metadata
from adapters.store.schema import jobs as jobs_table
from adapters.store.upkeep import compaction, retention
from adapters.store.upkeep.retention import Keep
from adapters.types import HeadRef

LONG = Keep(days=30, jobs=10_000)
KEPT = {"counters", "deleted_heads", "generation", "alembic_version", "compatibility"}  # of a head that is gone
KEPT |= {"audit", "audit_chain_end", "audit_stubs"}  # who deleted it, for as long as `audit_days` says


@pytest.fixture
def artifacts(tmp_path):
    return Artifacts(str(tmp_path))


def count(engine, table) -> int:
    with database.reading(engine) as connection:
        return connection.execute(sa.select(sa.func.count()).select_from(table)).scalar_one()


def age(engine, table, column: str, by: timedelta) -> None:
    with engine.begin() as connection:
        connection.execute(table.update().values({column: database.now() - by}))


def test_ended_jobs_go_when_they_are_old_and_their_versions_stay(engine, artifacts):
    publish(engine)
    publish(engine, "cats", "ab", 1)
    recipe = examples.job_of_head(engine, "cats")
    waits = accept(engine, "dogs")
    age(engine, jobs_table, "finished_at", timedelta(days=29))
    retention.sweep(engine, artifacts, LONG)
    assert count(engine, jobs_table) == 3
    age(engine, jobs_table, "finished_at", timedelta(days=31))
    with engine.begin() as connection:
        connection.execute(jobs_table.update().where(jobs_table.c.id == waits).values(finished_at=None))
    retention.sweep(engine, artifacts, LONG)
    assert {job.id for job in jobs.list_page(engine, limit=9)} == {waits, recipe}  # changes of data need the second
    assert heads.resolve(engine, HeadRef("cats")).number == 2 and len(heads.summary(engine, "cats").versions) == 2
    assert publish(engine, expected=2) == 3


def test_of_too_many_ended_jobs_the_oldest_go_with_events_and_keys(engine, artifacts):
    ids = [accept(engine, "cats", key=f"k{i}") for i in range(5)]
    for job_id in ids:
        jobs.abandon(engine, job_id, "failed", {"code": "x", "message": "x", "item": None})
    retention.sweep(engine, artifacts, Keep(30, 2))
    assert {job.id for job in jobs.list_page(engine, limit=9)} == set(ids[3:])
    assert {row["id"] for row in events.of_job(engine, ids[0])} == set() and events.of_job(engine, ids[4])
    assert accept(engine, "cats", key="k0") not in ids  # the key went with its job
    retention.sweep(engine, artifacts, Keep(30, 0))
    assert [job.status for job in jobs.list_page(engine, limit=9)] == ["queued"]


def test_a_job_at_its_last_step_stays_until_it_has_let_go(engine, artifacts):
    job_id = accept(engine)
    JobArtifacts(engine, artifacts, job_id).put(b"draft")
    publishing.publish(engine, publication(engine, job_id, rejected=True))
    retention.sweep(engine, artifacts, Keep(30, 0))
    assert jobs.get(engine, job_id).status == "rejected"
    age(engine, jobs_table, "finished_at", timedelta(days=2))  # whoever ran it never came back
    retention.sweep(engine, artifacts, Keep(30, 0))
    with pytest.raises(JobNotFound):
        jobs.get(engine, job_id)
    assert not artifacts.has(sha("draft"))


def test_a_deleted_head_leaves_nothing(engine, artifacts):
    for letters, expected in (("ab", None), ("abc", 1)):
        publish(engine, "cats", letters, expected)
    failed = accept(engine, "cats", key="once")
    jobs.abandon(engine, failed, "failed", {"code": "x", "message": "of a.png", "item": "a.png"})
    cache = EmbeddingCache(engine, "b" * 64)
    cache.put([Embedded(sha("a"), np.zeros(3, np.float32), np.zeros(256, np.uint8))])
    heads.delete(engine, "cats")
    age(engine, changes, "created_at", timedelta(hours=2))
    retention.sweep(engine, artifacts, LONG)
    left = {table.name: count(engine, table) for table in metadata.sorted_tables if table.name not in KEPT}
    assert left.pop("changes") == 1 and set(left.values()) == {0}
    with database.reading(engine) as connection:
        assert connection.execute(sa.select(changes.c.head)).scalars().all() == [heads.ANY]


def test_a_head_deleted_while_its_job_lets_go_leaves_nothing_either(engine, artifacts):
    job_id = accept(engine)
    scratch = JobArtifacts(engine, artifacts, job_id)
    scratch.put(b"draft")
    publishing.publish(engine, publication(engine, job_id))
    other = accept(engine, "dogs")
    heads.delete(engine, "cats")
    scratch.put(b"report")  # it does not know yet
    assert jobs.get(engine, job_id).report is None
    artifacts.delete(jobs.release(engine, job_id))
    with pytest.raises(JobNotFound):
        jobs.get(engine, job_id)
    assert not artifacts.has(sha("draft")) and not artifacts.has(sha("report"))
    assert jobs.get(engine, other).status == "queued" and count(engine, job_events) == 1


def test_changes_long_ago_are_any_heads_for_a_replica_that_was_away(engine, artifacts):
    for name in ("cats", "dogs"):
        publish(engine, name)
    age(engine, changes, "created_at", timedelta(hours=2))
    publish(engine, "eels")
    retention.sweep(engine, artifacts, LONG)
    assert count(engine, changes) == 2
    assert heads.changed_since(engine, 2) == (3, {"eels"}) and heads.changed_since(engine, 3) == (3, set())
    assert heads.changed_since(engine, 1) == (3, None)


def test_embeddings_that_nobody_holds_are_dropped(engine, artifacts):
    publish(engine, "cats", "a")
    cache = EmbeddingCache(engine, "b" * 64)
    for view in ("centre", "mirrored"):
        for name in ("a", "z"):
            vector = np.zeros(3, np.float32)
            cache.of(view).put([Embedded(sha(name), vector, np.zeros(256, np.uint8))])
    retention.sweep(engine, artifacts, LONG)
    with database.reading(engine) as connection:
        assert set(connection.execute(sa.select(embeddings.c.sha256)).scalars()) == {sha("a")}


def test_a_file_of_sqlite_gives_back_what_was_deleted(tmp_path):
    path = tmp_path / "new.sqlite"
    made = database.connect(f"sqlite:///{path}")
    database.migrate(made)
    fill_and_empty(made)
    grown = path.stat().st_size
    compaction.compact(path)
    assert path.stat().st_size < grown / 2
    made.dispose()


@pytest.mark.parametrize("size, converted", [(1 << 30, True), (1 << 10, False)])
def test_an_old_file_learns_to_where_that_takes_little(tmp_path, monkeypatch, size, converted):
    path = tmp_path / "old.sqlite"
    with closing(sqlite3.connect(path)) as connection:
        connection.execute("PRAGMA auto_vacuum=NONE")
        connection.execute("CREATE TABLE mine (a)")
    made = database.connect(f"sqlite:///{path}")
    database.migrate(made)
    fill_and_empty(made)
    monkeypatch.setattr(compaction, "CHEAP", size)
    compaction.convert(path)
    compaction.compact(path)
    with closing(sqlite3.connect(path)) as connection:
        assert (connection.execute("PRAGMA auto_vacuum").fetchone()[0] == compaction.INCREMENTAL) is converted
        assert connection.execute("SELECT count(*) FROM mine").fetchone() == (0,)
    made.dispose()


def test_a_writer_at_work_is_not_waited_for(tmp_path):
    path = tmp_path / "busy.sqlite"
    made = database.connect(f"sqlite:///{path}")
    database.migrate(made)
    fill_and_empty(made)
    with made.begin():
        compaction.compact(path)
    made.dispose()


def fill_and_empty(made) -> None:
    cache = EmbeddingCache(made, "b" * 64)
    for start in range(0, 2000, 500):
        keys = [sha(str(n)) for n in range(start, start + 500)]
        cache.put([Embedded(key, np.zeros(4000, np.float32), np.zeros(256, np.uint8)) for key in keys])
    with made.begin() as connection:
        connection.execute(embeddings.delete())
