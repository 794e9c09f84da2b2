"""What is deleted or retired in the store frees what only it held, on SQLite and on Postgres."""

import numpy as np
import pytest
from support.published import accept, publication, publish, sha

from adapters.errors import Conflict, CorruptArtifact, ExampleNotFound, HeadNotFound, ReportNotFound, VersionNotFound
from adapters.store import examples, heads, jobs, publishing, reports
from adapters.store.embeddings import Embedded, EmbeddingCache
from adapters.store.objects.artifacts import Artifacts
from adapters.store.objects.blobs import JobArtifacts
from adapters.types import Edit, HeadRef


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
        publishing.publish(engine, publication(engine, job_id, digest=shared))
        jobs.release(engine, job_id)
    assert shared not in heads.delete(engine, "cats")
    assert shared in heads.delete(engine, "dogs")


@pytest.mark.slow
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
    publishing.publish(engine, publication(engine, job_id, 1))
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
    publishing.publish(engine, publication(engine, job_id, 3, retired=(2, 3), dataset=kept))
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
    publishing.publish(engine, publication(engine, job_id, 1, retired=(1,), digest=graph))
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
    publishing.publish(engine, publication(engine, job_id, digest=graph))
    assert jobs.release(engine, job_id) == [draft]
    assert set(jobs.abandon(engine, other, "failed", None)) == {common}  # the images are the cats' now
    assert graph in heads.delete(engine, "cats")


def test_a_report_is_completed_once_and_goes_with_its_version(engine, tmp_path):
    store, job_id = Artifacts(str(tmp_path)), accept(engine)
    mine = JobArtifacts(engine, store, job_id)
    first, facts = mine.put(b'{"curve": null}'), publication(engine, job_id).manifest
    data = facts["data"] | {"report": first}
    publishing.publish(engine, publication(engine, job_id, manifest=facts | {"data": data}))
    at_first = heads.resolve(engine, HeadRef("cats"))
    assert reports.load(engine, store, at_first) == {"curve": None}
    second = mine.put(b'{"curve": {}}')
    reports.replace(engine, job_id, second)
    assert jobs.release(engine, job_id) == [first]
    version = heads.resolve(engine, HeadRef("cats"))
    store.delete([first])
    assert reports.load(engine, store, version) == {"curve": {}}
    assert reports.load(engine, store, at_first) == {"curve": {}}  # looked up before it was replaced
    store.delete([second])
    with pytest.raises(CorruptArtifact, match="rebuild makes a new one"):
        reports.load(engine, store, version)
    assert version.manifest["data"]["digest"] == data["digest"] and version.manifest["backbone"] == facts["backbone"]
    assert second in heads.delete(engine, "cats")
    with pytest.raises(VersionNotFound):
        reports.replace(engine, job_id, second)


def test_a_report_of_an_earlier_release_is_read_under_the_names_of_today(engine, tmp_path):
    store, job_id = Artifacts(str(tmp_path)), accept(engine)
    was = JobArtifacts(engine, store, job_id).put(b'{"curve": {"more_images": "yes", "answer": "Most likely yes."}}')
    facts = publication(engine, job_id).manifest
    publishing.publish(engine, publication(engine, job_id, manifest=facts | {"data": facts["data"] | {"report": was}}))
    found = reports.load(engine, store, heads.resolve(engine, HeadRef("cats")))
    assert found == {"curve": {"more_inputs": "yes", "answer": "Most likely yes."}}


def test_a_version_from_before_there_were_reports_says_so(engine, tmp_path):
    publish(engine)
    with pytest.raises(ReportNotFound, match="teach the head again"):
        reports.load(engine, Artifacts(str(tmp_path)), heads.resolve(engine, HeadRef("cats")))


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
