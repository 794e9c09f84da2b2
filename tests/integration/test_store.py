"""The store on real databases and a real folder: one suite for SQLite and Postgres."""

import concurrent.futures
import hashlib
import json
import threading
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import sqlalchemy as sa
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from sqlalchemy.engine import Engine
from support.databases import empty

from adapters.errors import (
    BackboneNotFound,
    Cancelled,
    Conflict,
    CorruptArtifact,
    ExampleNotFound,
    HeadNotFound,
    IdempotencyConflict,
    InvalidInput,
    JobNotFound,
    ReportNotFound,
    VersionNotFound,
)
from adapters.store import backbones, capabilities, database, examples, heads, jobs, reports
from adapters.store.embeddings import Embedded, EmbeddingCache
from adapters.store.heads import AliasMoved, Publication
from adapters.store.objects.artifacts import Artifacts
from adapters.store.objects.blobs import JobArtifacts
from adapters.store.schema import metadata
from adapters.types import Assignment, Backbone, Edit, Example, HeadRef, JobRequest, Preprocessing
from service.schemas import HeadView


def sha(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()


def accept(engine: Engine, head: str = "cats", names: str = "abcd", **options: object) -> str:
    """A job with one example for each letter."""
    items = [Example(sha(n), "even" if ord(n) % 2 else "odd", f"{n}.png") for n in names]
    key = options.pop("key", None)
    request = JobRequest(head, **options)
    return jobs.create(engine, request, items, fingerprint="f", idempotency_key=key).id


def publication(engine: Engine, job_id: str, expected: int | None = None, **changes: object) -> Publication:
    """What a finished job would publish: the data that came with it, and a graph of its own."""
    job = jobs.get(engine, job_id)
    brought = examples.of_job(engine, job_id)
    manifest = {"data": {"digest": sha(f"data of {job_id}")}, "backbone": {"digest": sha("backbone")}}
    facts = {
        "job_id": job_id, "request": job.request, "digest": sha(f"graph of {job_id}"), "manifest": manifest,
        "metrics": {"accuracy": 1.0}, "report": {}, "rejected": False, "expected_live": expected,
        "dataset": [(e, Assignment(e.sha256, e.label, "train")) for e in brought],
    }  # fmt: skip
    return Publication(**(facts | changes))


def publish(engine: Engine, head: str = "cats", names: str = "abcd", expected: int | None = None, **options) -> int:
    job_id = accept(engine, head, names, **options)
    number = heads.publish(engine, publication(engine, job_id, expected))
    jobs.release(engine, job_id)
    return number


# The schema


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


# Publishing


def test_one_job_publishes_at_most_one_version(engine):
    job_id = accept(engine)
    made = publication(engine, job_id)
    assert [heads.publish(engine, made) for _ in range(3)] == [1, 1, 1]
    assert [v.number for v in heads.summary(engine, "cats").versions] == [1]
    assert heads.current_generation(engine) == 1
    job = jobs.get(engine, job_id)
    assert (job.status, job.version, job.metrics) == ("succeeded", 1, {"accuracy": 1.0})


def test_live_moves_only_from_the_version_that_the_gate_saw(engine):
    publish(engine)
    job_id = accept(engine)
    for wrong in (None, 7):
        with pytest.raises(AliasMoved):
            heads.publish(engine, publication(engine, job_id, wrong))
    assert heads.resolve(engine, HeadRef("cats")).number == 1
    assert jobs.get(engine, job_id).status == "queued", "a lost race must leave the job as it was"
    assert len(heads.summary(engine, "cats").versions) == 1
    assert heads.publish(engine, publication(engine, job_id, 1)) == 2
    assert heads.resolve(engine, HeadRef("cats")).number == 2


def test_rejected_and_manual_versions_are_kept_but_not_live(engine):
    publish(engine)
    rejected = accept(engine)
    heads.publish(engine, publication(engine, rejected, 1, rejected=True))
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
        heads.publish(engine, made)
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


# Deleting


def test_a_page_of_heads_is_one_query_and_says_what_each_head_does(engine):
    """However many heads and versions there are, and aliases of one version."""
    shown = {"method": "ridge", "classes": ["a", "ä"], "metrics": {"accuracy": 0.5}, "backbone": {"name": "lite"}}
    for head in ("cats", "dogs", "owls"):
        for number in (1, 2):
            made = publication(engine, accept(engine, head), expected=number - 1 or None)
            heads.publish(engine, replace(made, manifest=made.manifest | shown))
    heads.set_alias(engine, "cats", "canary", 2)
    queries: list[str] = []
    sa.event.listen(engine, "before_cursor_execute", lambda *a: queries.append(a[2]))
    page = heads.page(engine, limit=2)
    assert sum(query.lstrip().startswith("SELECT") for query in queries) == 1
    assert [head.name for head in page] == ["cats", "dogs"] and page[0].aliases == {"live": 2, "canary": 2}
    assert [HeadView.of(head) for head in page] == [HeadView.of(heads.summary(engine, h.name)) for h in page]
    assert [head.name for head in heads.page(engine, limit=5, after="dogs")] == ["owls"]


def test_a_version_is_deleted_when_no_alias_needs_it(engine):
    publish(engine)
    publish(engine, expected=1)
    with pytest.raises(Conflict, match="served as live"):
        heads.delete_version(engine, "cats", 2)
    first = heads.resolve(engine, HeadRef("cats", version=1))
    assert set(heads.delete_version(engine, "cats", 1)) == {first.digest, first.manifest["data"]["digest"]}
    assert publish(engine, expected=2) == 3


def test_graphs_that_two_versions_share_are_freed_with_the_last(engine):
    shared = sha("one graph")
    for head in ("cats", "dogs"):
        job_id = accept(engine, head)
        heads.publish(engine, publication(engine, job_id, digest=shared))
        jobs.release(engine, job_id)
    assert shared not in heads.delete(engine, "cats")
    assert shared in heads.delete(engine, "dogs")


def test_images_that_two_heads_hold_are_freed_with_the_last(engine):
    """With their embeddings; those that a waiting job brought again stay too."""
    cache = EmbeddingCache(engine, "b")
    cache.put(Embedded(sha(n), np.ones(4, np.float32), np.zeros(256, np.uint8)) for n in "abcdef")
    publish(engine, "cats", "abcd")
    publish(engine, "dogs", "cdef")
    waiting = accept(engine, "birds", "ab")
    freed = heads.delete(engine, "cats")
    assert not {sha(n) for n in "abcdef"} & set(freed)
    assert cache.missing([sha(n) for n in "abcdef"]) == []
    assert set(jobs.abandon(engine, waiting, "failed", None)) == {sha("a"), sha("b")}
    assert {sha(n) for n in "cdef"} <= set(heads.delete(engine, "dogs"))
    assert len(cache.missing([sha(n) for n in "abcdef"])) == 6


def test_replaced_images_are_freed_when_the_job_lets_go(engine):
    publish(engine, "cats", "abcd")
    job_id = accept(engine, "cats", "cdxy", mode="replace")
    heads.publish(engine, publication(engine, job_id, 1))
    assert set(jobs.release(engine, job_id)) == {sha("a"), sha("b")}
    assert {e.sha256 for e, _ in examples.of_head(engine, "cats")} == {sha(n) for n in "cdxy"}


def test_versions_are_retired_with_what_only_they_held_and_aliases_follow(engine):
    """In the step that publishes their successor; the reports of their jobs are emptied, the others' stay."""
    for expected in (None, 1, 2):
        publish(engine, expected=expected)
    for alias, number in (("canary", 2), ("first", 1)):
        heads.set_alias(engine, "cats", alias, number)
    old = [heads.resolve(engine, HeadRef("cats", version=n)) for n in (2, 3)]
    job_id = accept(engine, "cats", "ab", deploy="always", edit=Edit(remove=2))
    kept = [(e, a) for e, a in examples.of_head(engine, "cats") if e.sha256 not in (sha("a"), sha("b"))]
    heads.publish(engine, publication(engine, job_id, 3, retired=(2, 3), dataset=kept))
    summary = heads.summary(engine, "cats")
    assert [v.number for v in summary.versions] == [4, 1]
    assert summary.aliases == {"live": 4, "canary": 4, "first": 1}
    report = jobs.get(engine, job_id).report
    assert report["retired"] == {"versions": [2, 3], "aliases": ["canary"]}
    made = {job.version: job.report for job in jobs.list_page(engine, limit=9)}
    assert "retired_by" in made[2] and "retired_by" in made[3] and "generation" in made[1]
    blobs = {v.digest for v in old} | {v.manifest["data"]["digest"] for v in old}
    assert set(jobs.release(engine, job_id)) == blobs | {sha("a"), sha("b")}


def test_a_graph_that_a_retired_version_shares_with_its_successor_stays(engine):
    publish(engine)
    graph = heads.resolve(engine, HeadRef("cats")).digest
    job_id = accept(engine, "cats", "a", deploy="always", edit=Edit(remove=1))
    heads.publish(engine, publication(engine, job_id, 1, retired=(1,), digest=graph))
    assert graph not in jobs.release(engine, job_id)


def test_always_moves_live_only_where_there_is_a_live_version(engine):
    publish(engine, deploy="manual")
    publish(engine, deploy="always", edit=Edit(relabel=4))
    assert heads.summary(engine, "cats").aliases == {}
    heads.set_alias(engine, "cats", "live", 1)
    publish(engine, deploy="always", expected=1)
    assert heads.resolve(engine, HeadRef("cats")).number == 3


def test_examples_are_paged_and_filtered(engine):
    publish(engine, "cats", "abcdefg")
    everything = [e.sha256 for e, _ in examples.of_head(engine, "cats")]
    first = [e.sha256 for e, _ in examples.page(engine, "cats", limit=3)]
    assert first == everything[:3]
    assert [e.sha256 for e, _ in examples.page(engine, "cats", limit=9, after=first[-1])] == everything[3:]
    assert {e.label for e, _ in examples.page(engine, "cats", limit=9, label="odd")} == {"odd"}
    assert len(examples.page(engine, "cats", limit=9, split="train")) == 7
    assert examples.page(engine, "cats", limit=9, split="none") == examples.page(engine, "dogs", limit=9) == []
    assert examples.find(engine, "cats", sha("a")).file_name == "a.png"
    with pytest.raises(ExampleNotFound):
        examples.find(engine, "dogs", sha("a"))


def test_what_a_job_wrote_goes_with_it_unless_a_version_or_another_job_needs_it(engine, tmp_path):
    store, job_id, other = Artifacts(str(tmp_path)), accept(engine), accept(engine, "dogs")
    mine = JobArtifacts(engine, store, job_id)
    draft, graph, common = (mine.put(text) for text in (b"draft", b"graph", b"common"))
    assert mine.put(b"draft") == draft and mine.get(draft) == b"draft"
    JobArtifacts(engine, store, other).put(b"common")
    heads.publish(engine, publication(engine, job_id, digest=graph))
    assert jobs.release(engine, job_id) == [draft]
    assert set(jobs.abandon(engine, other, "failed", None)) == {common}  # the images are the cats' now
    assert graph in heads.delete(engine, "cats")


def test_a_report_is_completed_once_and_goes_with_its_version(engine, tmp_path):
    store, job_id = Artifacts(str(tmp_path)), accept(engine)
    mine = JobArtifacts(engine, store, job_id)
    first, facts = mine.put(b'{"curve": null}'), publication(engine, job_id).manifest
    data = facts["data"] | {"report": first}
    heads.publish(engine, publication(engine, job_id, manifest=facts | {"data": data}))
    assert reports.load(store, heads.resolve(engine, HeadRef("cats"))) == {"curve": None}
    second = mine.put(b'{"curve": {}}')
    reports.replace(engine, job_id, second)
    assert jobs.release(engine, job_id) == [first]
    version = heads.resolve(engine, HeadRef("cats"))
    assert reports.load(store, version) == {"curve": {}}
    assert version.manifest["data"]["digest"] == data["digest"] and version.manifest["backbone"] == facts["backbone"]
    assert second in heads.delete(engine, "cats")
    with pytest.raises(VersionNotFound):
        reports.replace(engine, job_id, second)


def test_a_version_from_before_there_were_reports_says_so(engine, tmp_path):
    publish(engine)
    with pytest.raises(ReportNotFound, match="teach the head again"):
        reports.load(Artifacts(str(tmp_path)), heads.resolve(engine, HeadRef("cats")))


def test_a_head_at_work_is_not_deleted(engine):
    publish(engine)
    job_id = accept(engine)
    with pytest.raises(Conflict, match=job_id):
        heads.delete(engine, "cats")
    jobs.request_cancel(engine, job_id)
    heads.delete(engine, "cats")
    with pytest.raises(HeadNotFound):
        heads.summary(engine, "cats")


def test_a_number_is_never_used_twice_also_of_a_head_that_was_deleted(engine):
    for first in (1, 4, 5):
        assert publish(engine) == first
        if first == 1:
            publish(engine, deploy="manual"), publish(engine, deploy="manual")
            heads.delete_version(engine, "cats", 3)
        heads.delete(engine, "cats")
    assert publish(engine, "dogs") == 1


# Jobs


def test_a_job_ends_exactly_once_whoever_ends_it(engine):
    """Eight at once try; one wins, and there is one final event."""
    job_id = accept(engine)

    def end(number: int) -> bool:
        with engine.begin() as connection:
            return jobs.finish(connection, job_id, ("failed", "cancelled")[number % 2], error=None)

    with concurrent.futures.ThreadPoolExecutor(8) as pool:
        assert sorted(pool.map(end, range(8))) == [False] * 7 + [True]
    assert [e["type"] for e in jobs.events(engine, job_id)] == ["status", "final"]
    with pytest.raises(Cancelled):
        jobs.enter(engine, job_id, "training")


def test_events_are_numbered_without_gaps_also_when_told_at_once(engine):
    job_id = accept(engine)
    with concurrent.futures.ThreadPoolExecutor(8) as pool:
        list(pool.map(lambda n: jobs.tell(engine, job_id, "note", {"n": n}), range(24)))
    assert [e["id"] for e in jobs.events(engine, job_id)] == list(range(1, 26))
    assert len(jobs.events(engine, job_id, after=20)) == 5


def test_a_key_stands_for_one_job_and_one_body(engine):
    job_id = accept(engine, key="k")
    with concurrent.futures.ThreadPoolExecutor(4) as pool:
        assert set(pool.map(lambda _: accept(engine, key="k"), range(4))) == {job_id}
    with pytest.raises(IdempotencyConflict):
        jobs.create(engine, JobRequest("cats"), [], fingerprint="another", idempotency_key="k")
    assert jobs.find_by_key(engine, "cats", None, "f") is None is jobs.find_by_key(engine, "cats", "new", "f")


@pytest.mark.parametrize("phase", ["queued", "training"])
def test_cancelling_ends_a_job_at_once_and_frees_what_came_with_it(engine, phase):
    publish(engine, "cats", "ab")
    job_id = accept(engine, "dogs", "bc")
    jobs.enter(engine, job_id, phase)
    job, freed = jobs.request_cancel(engine, job_id)
    assert (job.status, job.cancel_requested, freed) == ("cancelled", True, [sha("c")])
    assert jobs.is_cancelled(engine, job_id) and jobs.is_settled(engine, job_id)
    with pytest.raises(Cancelled):
        jobs.progress(engine, job_id, 1, 2)
    again, freed = jobs.request_cancel(engine, job_id)
    assert again.finished_at == job.finished_at and freed == []
    assert [e["type"] for e in jobs.events(engine, job_id)].count("final") == 1


def test_an_unknown_job_cannot_be_cancelled(engine):
    with pytest.raises(JobNotFound):
        jobs.request_cancel(engine, "job_none")


# Embeddings, backbones


def test_embeddings_come_back_exactly_and_in_the_order_asked_for(engine):
    random = np.random.default_rng(0)
    cache, keys = EmbeddingCache(engine, "b"), [sha(str(n)) for n in range(1200)]
    vectors = random.normal(size=(1200, 8)).astype(np.float32)
    prints = random.integers(0, 256, (1200, 256), dtype=np.uint8)
    cache.put(Embedded(*row) for row in zip(keys, vectors, prints, strict=True))
    order = random.permutation(1200)
    got, thumbs = cache.get([keys[i] for i in order])
    np.testing.assert_array_equal(got, vectors[order])
    np.testing.assert_array_equal(thumbs, prints[order])
    cache.put([Embedded(keys[0], vectors[1], prints[1])])  # another worker's: the first stays
    np.testing.assert_array_equal(cache.get(keys[:1])[0][0], vectors[0])


def test_an_offered_embedding_is_a_vector_that_waits_for_its_fingerprint(engine):
    cache, print_ = EmbeddingCache(engine, "b"), np.arange(256, dtype=np.uint8)
    cache.put([Embedded(sha("a"), np.ones(4, np.float32), print_)])
    cache.offer({sha(n): np.full(4, 2, np.float32) for n in "ab"})
    assert cache.missing([sha("a"), sha("b"), sha("c")]) == [sha("b"), sha("c")]
    assert {key: v[0] for key, v in cache.vectors([sha(n) for n in "abc"]).items()} == {sha("a"): 1, sha("b"): 2}
    assert cache.find(sha("b"))[0] == 2 and cache.find(sha("c")) is None
    with pytest.raises(CorruptArtifact):
        cache.get([sha("b")])
    cache.put([Embedded(sha(n), np.full(4, 3, np.float32), print_) for n in "abc"])
    vectors, prints = cache.get([sha(n) for n in "abc"])
    assert vectors[:, 0].tolist() == [1, 3, 3] and (prints == print_).all()


def test_of_embeddings_the_first_numbers_can_be_had(engine):
    """What a head does not read is not loaded; on both databases a blob is cut by its bytes."""
    cache, vector = EmbeddingCache(engine, "b" * 64), np.arange(6, dtype=np.float32)
    cache.put([Embedded("a" * 64, vector, np.ones(256, np.uint8))])
    np.testing.assert_array_equal(cache.get(["a" * 64], 4)[0], [vector[:4]])
    np.testing.assert_array_equal(cache.get(["a" * 64])[0], [vector])


def test_embeddings_of_one_backbone_are_not_those_of_another(engine):
    EmbeddingCache(engine, "one").put([Embedded(sha("a"), np.ones(4, np.float32), np.zeros(256, np.uint8))])
    other = EmbeddingCache(engine, "two")
    assert other.missing([sha("a"), sha("a")]) == [sha("a")]
    with pytest.raises(CorruptArtifact, match=sha("a")):
        other.get([sha("a")])


def test_views_of_one_image_are_kept_apart_and_freed_together(engine):
    centre = EmbeddingCache(engine, "b")
    flipped = centre.of("flip")
    centre.put([Embedded(sha("a"), np.ones(4, np.float32), np.zeros(256, np.uint8))])
    assert flipped.missing([sha("a")]) == [sha("a")]
    flipped.put([Embedded(sha("a"), np.zeros(4, np.float32), np.zeros(256, np.uint8))])
    assert [cache.get([sha("a")])[0].tolist() for cache in (centre, flipped)] == [[[1.0] * 4], [[0.0] * 4]]
    publish(engine, "cats", "a")
    heads.delete(engine, "cats")
    assert centre.missing([sha("a")]) == flipped.missing([sha("a")]) == [sha("a")]


def test_a_backbone_in_use_is_neither_replaced_nor_removed(engine):
    preprocessing = Preprocessing(224, 0.875, "bicubic", (0.5,) * 3, (0.5,) * 3)
    backbone = Backbone("b", sha("backbone"), sha("file"), preprocessing, "fp32", 4, 4, {"licence": "MIT"})
    backbones.save(engine, backbone)
    assert backbones.find(engine, "b") == backbones.find_digest(engine, sha("backbone")) == backbone
    publish(engine)
    changed = Backbone("b", sha("other"), sha("file"), preprocessing, "fp32", 4, 4)
    for act in (lambda: backbones.save(engine, changed), lambda: backbones.remove(engine, "b")):
        with pytest.raises(Conflict):
            act()
    heads.delete(engine, "cats")
    backbones.save(engine, changed)
    assert backbones.remove(engine, "b") == changed and backbones.list_all(engine) == []


# Artifacts


@pytest.fixture(params=["folder", "memory"])
def artifacts(request: pytest.FixtureRequest, tmp_path: Path) -> Artifacts:
    """A store of each kind that needs no network."""
    return Artifacts(str(tmp_path / "artifacts") if request.param == "folder" else "memory:///")


def test_a_blob_is_known_by_its_sha256_and_storing_it_twice_is_free(artifacts):
    digest = artifacts.put(b"bytes")
    assert digest == hashlib.sha256(b"bytes").hexdigest() == artifacts.put(memoryview(b"bytes"))
    assert artifacts.has(digest) and artifacts.get(digest) == b"bytes"


def test_a_blob_that_is_missing_is_corrupt_and_deleting_it_is_no_error(artifacts):
    digest = artifacts.put(b"")
    artifacts.delete([digest, digest, sha("never")])
    assert not artifacts.has(digest)
    with pytest.raises(CorruptArtifact, match="not in the store"):
        artifacts.get(digest)


def test_an_altered_blob_is_never_given_out(tmp_path):
    artifacts = Artifacts(str(tmp_path))
    digest = artifacts.put(b"bytes")
    (tmp_path / "blobs" / digest[:2] / digest).write_bytes(b"bytez")
    with pytest.raises(CorruptArtifact, match="altered"):
        artifacts.get(digest)


def test_a_job_request_survives_the_database_as_it_is(engine):
    settings = {"l2": 1e-3, "name": "ü", "deep": {"a": [1, None]}}
    edit = Edit(rename={"ü": "a"}, merge={"b": ["c", "d"]}, drop=["e"])
    job_id = accept(engine, method="logistic", hyperparameters=settings, seed=2**31 - 1, mode="replace", edit=edit)
    stored = jobs.get(engine, job_id).request
    assert stored.edit == edit
    assert json.dumps(stored.hyperparameters, sort_keys=True) == json.dumps(settings, sort_keys=True)
    assert (stored.method, stored.seed, stored.mode, stored.deploy) == ("logistic", 2**31 - 1, "replace", "auto")


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
