"""The store on real databases: its tables, and how versions are published. One suite for SQLite and Postgres."""

import concurrent.futures
import json
import threading
from dataclasses import replace

import pytest
import sqlalchemy as sa
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from support.databases import empty
from support.published import accept, publication, publish, sha

from adapters.errors import BackboneNotFound, Cancelled, HeadNotFound, InvalidInput, VersionNotFound
from adapters.store import backbones, capabilities, database, heads, jobs, publishing
from adapters.store.heads import AliasMoved
from adapters.store.schema import metadata
from adapters.types import HeadRef
from service.api.heads import listing
from service.api.heads.schemas import HeadPage, HeadView


def test_the_migrations_make_the_tables_that_the_code_expects(engine):
    with engine.connect() as connection:
        assert compare_metadata(MigrationContext.configure(connection), metadata) == []
    assert database.current_revision(engine) == database.newest_revision()


def test_several_processes_may_migrate_at_once(engine):
    empty(engine)
    with concurrent.futures.ThreadPoolExecutor(4) as pool:
        list(pool.map(lambda _: database.migrate(engine), range(4)))
    assert database.current_revision(engine) == database.newest_revision()


def test_sqlite_keeps_a_write_ahead_log_and_checks_foreign_keys(tmp_path):
    engine = database.connect(f"sqlite:///{tmp_path / 'new' / 'espalier.sqlite'}")
    with engine.connect() as connection:
        found = {p: connection.exec_driver_sql(f"PRAGMA {p}").scalar() for p in ("journal_mode", "foreign_keys")}
        assert found == {"journal_mode": "wal", "foreign_keys": 1}
        assert connection.exec_driver_sql("PRAGMA synchronous").scalar() == 2  # FULL: 202 survives a power cut
        assert connection.exec_driver_sql("PRAGMA secure_delete").scalar() == 1  # what was unlearned is overwritten
    engine.dispose()


def test_readers_do_not_wait_for_a_writer(engine):
    with engine.begin() as writer:
        writer.execute(metadata.tables["capabilities"].insert().values(kind="k", name="n", schema={}))
        assert capabilities.of_kind(engine, "k") == {}
    assert capabilities.of_kind(engine, "k") == {"n": {}}


def test_one_job_publishes_at_most_one_version(engine):
    job_id = accept(engine)
    made = publication(engine, job_id)
    assert [publishing.publish(engine, made) for _ in range(3)] == [1, 1, 1]
    assert [v.number for v in heads.summary(engine, "cats").versions] == [1]
    assert heads.current_generation(engine) == 1
    job = jobs.get(engine, job_id)
    assert (job.status, job.version, job.metrics) == ("succeeded", 1, {"accuracy": 1.0})


def test_live_moves_only_from_the_version_that_the_gate_saw(engine):
    publish(engine)
    job_id = accept(engine)
    for wrong in (None, 7):
        with pytest.raises(AliasMoved):
            publishing.publish(engine, publication(engine, job_id, wrong))
    assert heads.resolve(engine, HeadRef("cats")).number == 1
    assert jobs.get(engine, job_id).status == "queued", "a lost race must leave the job as it was"
    assert len(heads.summary(engine, "cats").versions) == 1
    assert publishing.publish(engine, publication(engine, job_id, 1)) == 2
    assert heads.resolve(engine, HeadRef("cats")).number == 2


def test_rejected_and_manual_versions_are_kept_but_not_live(engine):
    publish(engine)
    rejected = accept(engine)
    publishing.publish(engine, publication(engine, rejected, 1, rejected=True))
    publish(engine, deploy="manual")
    assert heads.resolve(engine, HeadRef("cats")).number == 1
    assert [v.status for v in heads.summary(engine, "cats").versions] == ["published", "rejected", "published"]
    assert heads.resolve(engine, HeadRef("cats", version=2)).digest == sha(f"graph of {rejected}")
    assert jobs.get(engine, rejected).status == "rejected"


def test_a_cancelled_job_cannot_publish(engine):
    job_id = accept(engine)
    made = publication(engine, job_id)
    jobs.request_cancel(engine, job_id)
    with pytest.raises(Cancelled):
        publishing.publish(engine, made)
    with pytest.raises(HeadNotFound):
        heads.resolve(engine, HeadRef("cats"))
    assert heads.current_generation(engine) == 0


def test_generations_grow_by_one_in_order_whoever_publishes(engine):
    """Eight publishers at once: a reader never sees a generation without those before it."""
    names = [f"head-{n}" for n in range(8)]
    seen: list[tuple[int, int]] = []
    stop = threading.Event()

    def watch() -> None:
        while not stop.is_set():
            value, changed = heads.changed_since(engine, -1)
            seen.append((value, len(changed)))

    watcher = threading.Thread(target=watch)
    watcher.start()
    try:
        with concurrent.futures.ThreadPoolExecutor(8) as pool:
            list(pool.map(lambda name: publish(engine, name), names))
    finally:
        stop.set()
        watcher.join()
    assert heads.changed_since(engine, 0) == (8, set(names))
    assert heads.changed_since(engine, 8) == (8, set())
    assert [v for v, _ in seen] == sorted(v for v, _ in seen)
    assert all(value <= count for value, count in seen)  # none that came before it is missing


def test_publishers_of_one_head_get_numbers_of_their_own(engine):
    publish(engine)
    with concurrent.futures.ThreadPoolExecutor(6) as pool:
        numbers = list(pool.map(lambda _: publish(engine, deploy="manual"), range(6)))
    assert sorted(numbers) == [2, 3, 4, 5, 6, 7]


def test_aliases_are_moved_named_and_removed(engine):
    publish(engine)
    publish(engine, expected=1)
    generation = heads.current_generation(engine)
    assert heads.set_alias(engine, "cats", "live", 1) == generation + 1
    assert heads.set_alias(engine, "cats", "canary", 2) == generation + 2
    assert [heads.resolve(engine, HeadRef("cats", alias=a)).number for a in ("live", "canary")] == [1, 2]
    heads.delete_alias(engine, "cats", "canary")
    assert heads.current_generation(engine) == generation + 3
    for act in (
        lambda: heads.resolve(engine, HeadRef("cats", alias="canary")),
        lambda: heads.delete_alias(engine, "cats", "canary"),
        lambda: heads.set_alias(engine, "cats", "live", 9),
    ):
        with pytest.raises(VersionNotFound):
            act()
    with pytest.raises(HeadNotFound):
        heads.set_alias(engine, "dogs", "live", 1)


def test_a_page_of_heads_is_one_query_and_says_what_each_head_does(engine):
    """However many heads and versions there are, and aliases of one version."""
    shown = {
        "method": "ridge",
        "classes": ["a", "ä"],
        "metrics": {"accuracy": 0.5, "none": {}},
        "backbone": {"name": "lite"},
    }
    for head in ("cats", "dogs", "owls"):
        for number in (1, 2):
            made = publication(engine, accept(engine, head), expected=number - 1 or None)
            publishing.publish(engine, replace(made, manifest=made.manifest | shown))
    heads.set_alias(engine, "cats", "canary", 2)
    queries: list[str] = []
    sa.event.listen(engine, "before_cursor_execute", lambda *a: queries.append(a[2]))
    page = heads.page(engine, limit=2)
    assert sum(query.lstrip().startswith("SELECT") for query in queries) == 1
    assert [head.name for head in page] == ["cats", "dogs"] and page[0].aliases == {"live": 2, "canary": 2}
    whole = HeadPage(heads=[HeadView.of(heads.summary(engine, head.name)) for head in page], next="dogs")
    assert HeadPage.model_validate_json(listing.written(page, "dogs")) == whole
    written, wanted = json.loads(listing.written(page, "dogs")), json.loads(whole.model_dump_json())
    assert json.dumps(written) == json.dumps(wanted), "in the same order, too"
    assert [head.name for head in heads.page(engine, limit=5, after="dogs")] == ["owls"]


def test_an_alias_is_moved_only_from_where_it_was_seen(engine):
    """Of many who saw it at version 1 one moves it, and the others learn that they came too late."""
    publish(engine)
    publish(engine, expected=1)
    heads.set_alias(engine, "cats", "live", 1, 2)
    with pytest.raises(AliasMoved, match=r"cats@live points at version 1, not at 2"):
        heads.set_alias(engine, "cats", "live", 2, 2)
    with pytest.raises(AliasMoved, match=r"cats@canary points nowhere, not at 1"):
        heads.set_alias(engine, "cats", "canary", 2, 1)

    def move(_: int) -> bool:
        try:
            return bool(heads.set_alias(engine, "cats", "canary", 2, 0))
        except AliasMoved:
            return False

    with concurrent.futures.ThreadPoolExecutor(8) as pool:
        assert sum(pool.map(move, range(8))) == 1
    assert heads.resolve(engine, HeadRef("cats", alias="canary")).number == 2


def test_a_nul_in_a_name_is_refused_or_finds_nothing(engine):
    """On both databases, read or written: it is never an error of ours."""
    with pytest.raises((BackboneNotFound, InvalidInput)):
        backbones.find(engine, "a\0b")
    with pytest.raises((HeadNotFound, InvalidInput)):
        heads.resolve(engine, HeadRef("a\0b"))


def test_errors_of_the_database_do_not_tell_what_statements_were_given(engine):
    """Labels and names of people would be in a log otherwise."""
    with pytest.raises(sa.exc.DBAPIError) as error, engine.begin() as connection:
        connection.execute(sa.text("SELECT :secret FROM nowhere"), {"secret": "somebody's name"})
    assert "somebody" not in str(error.value)
