"""Jobs that are the next stage of another: who makes them, when it is their turn, what ends them, where they go on."""

import threading

import pytest
import sqlalchemy as sa
from sqlalchemy.engine import Engine
from support.next_stages import accept, claim, done, publication

from adapters.errors import Cancelled
from adapters.store import checkpoints, heads, jobs, leases, publishing
from adapters.store.objects.artifacts import Artifacts
from adapters.store.objects.blobs import JobArtifacts
from adapters.store.scale_out import shards
from adapters.store.schema import jobs as table
from adapters.types import Job, JobRequest
from service.api.job_schemas import JobView
from service.processes.worker import Worker
from service.settings import Settings


def test_the_transaction_that_puts_a_version_live_queues_its_next_stage(engine):
    first = accept(engine)
    following = jobs.get(engine, done(engine, first)["next"])
    assert following.status == "queued" and following.request.of == first.id
    assert following.sequence == first.sequence + 1
    told, its = (JobView.of(jobs.get(engine, job_id)).deep for job_id in (first.id, following.id))
    assert (told.stage, told.next, told.why) == ("shallow", following.id, "the data suffice")
    assert (its.stage, its.of, its.next) == ("deep", first.id, None)


@pytest.mark.slow
@pytest.mark.parametrize("change", [{"rejected": True}, {"next": None}, {"instead": True}])
def test_what_loses_wants_none_or_replaces_none_has_no_next_stage(engine, change):
    first = accept(engine)
    assert done(engine, first, **change).get("next") is None
    assert [job.id for job in jobs.list_page(engine, limit=9)] == [first.id]


def test_a_next_stage_waits_for_all_that_somebody_asked_for_and_holds_up_none_of_it(engine):
    following = done(engine, accept(engine))["next"]
    assert not leases.others_wait(engine)
    others = [accept(engine, "dogs"), accept(engine)]
    assert leases.others_wait(engine)
    assert [claim(engine).job_id for _ in others] == [job.id for job in others]
    assert not leases.others_wait(engine) and leases.claim(engine, "one") is None  # its own head is at work
    for job in others:
        jobs.abandon(engine, job.id, "failed", None)
    assert claim(engine).job_id == following


def shared(engine: Engine, head: str = "dogs") -> Job:
    """A job at work whose inputs anybody may embed, in two parts."""
    job = accept(engine, head)
    assert claim(engine).job_id == job.id
    jobs.enter(engine, job.id, "embedding")
    shards.plan(engine, job.id, [[("1" * 64, "a")], [("2" * 64, "b")]], [])
    return job


def test_a_next_stage_gives_way_to_a_part_of_a_job_that_somebody_asked_for(engine):
    """As many workers as there are parts help, and then it goes on; parts of another next stage are no reason."""
    done(engine, accept(engine))
    job = shared(engine)
    for _ in range(2):
        assert leases.others_wait(engine)
        shards.finish(engine, shards.claim(engine), [])
    assert not leases.others_wait(engine)
    shards.plan(engine, job.id, [[("1" * 64, "a")]], [])
    with engine.begin() as connection:
        connection.execute(table.update().where(table.c.id == job.id).values(stage=1))
    assert not leases.others_wait(engine) and shards.claim(engine) is not None


@pytest.mark.slow
def test_an_idle_worker_helps_before_it_takes_up_a_next_stage(engine, tmp_path, monkeypatch):
    following, did = done(engine, accept(engine))["next"], []
    shared(engine)
    worker = Worker(Settings(home=tmp_path))
    worker.engine = engine
    monkeypatch.setattr(
        worker, "_help_with", lambda shard: (did.append(shard.position), shards.finish(engine, shard, []))
    )
    monkeypatch.setattr(
        worker, "_work_at", lambda lease, stop: (did.append(lease.job_id), jobs.release(engine, lease.job_id))
    )
    worker.work_off(threading.Event())
    assert did == [0, 1, following]


def test_other_data_end_the_next_stage_and_begin_another(engine):
    old = done(engine, accept(engine))["next"]
    second = accept(engine)
    new = done(engine, second, live=1)["next"]
    ended = jobs.get(engine, old)
    assert ended.status == "cancelled" and second.id in ended.report["deep"]["why"]
    assert second.id in JobView.of(ended).deep.why
    assert jobs.get(engine, new).status == "queued"
    lease = claim(engine)  # the first that ended lets go of what it held
    assert lease.job_id == old
    jobs.abandon(engine, old, "cancelled", None)
    assert claim(engine).job_id == new


def test_a_next_stage_that_is_at_work_then_publishes_nothing(engine):
    following = jobs.get(engine, done(engine, accept(engine))["next"])
    lease = claim(engine)
    assert lease.job_id == following.id
    done(engine, accept(engine), live=1)
    with pytest.raises(Cancelled):
        publishing.publish(leases.fenced(engine, lease), publication(following, 2, next=None))
    assert [version.number for version in heads.summary(engine, "cats").versions] == [2, 1]


def test_a_job_that_loses_leaves_the_next_stage_alone(engine):
    following = done(engine, accept(engine))["next"]
    done(engine, accept(engine), live=1, rejected=True)
    assert jobs.get(engine, following).status == "queued"


def test_other_names_put_a_next_stage_in_the_place_of_the_one_that_waits(engine):
    old = done(engine, accept(engine))["next"]
    new = done(engine, accept(engine), live=1, instead=True)["next"]
    assert (jobs.get(engine, old).status, jobs.get(engine, new).status) == ("cancelled", "queued")


def test_a_head_is_deleted_whatever_its_next_stage_is_at(engine):
    done(engine, accept(engine))
    lease = claim(engine)
    heads.delete(engine, "cats")
    with pytest.raises(Cancelled):
        jobs.enter(leases.fenced(engine, lease), lease.job_id, "training")
    jobs.abandon(engine, lease.job_id, "cancelled", None)
    assert jobs.list_page(engine, limit=9) == []


def test_next_stages_take_no_place_among_the_jobs_that_may_wait(engine):
    done(engine, accept(engine))
    assert jobs.unfinished_by_stage(engine) == (0, 1)
    assert jobs.count_unfinished(engine) == 1 and jobs.count_unfinished(engine, asked_for=True) == 0


def test_each_checkpoint_takes_the_place_of_the_one_before_and_the_last_goes_with_the_job(engine, tmp_path):
    job = accept(engine)
    store = Artifacts(str(tmp_path / "blobs"))
    scratch = JobArtifacts(engine, store, job.id)
    assert checkpoints.find(engine, scratch, job.id) is None
    for state in (b"first", b"second", b"second"):
        checkpoints.keep(engine, scratch, job.id, state)
        assert checkpoints.find(engine, scratch, job.id) == state
    assert len(list(store.list())) == 1
    lease = claim(engine)
    leases.give_back(engine, lease)  # it stays for whoever takes the job up
    assert checkpoints.find(engine, scratch, job.id) == b"second"
    jobs.abandon(engine, job.id, "cancelled", None)
    assert checkpoints.find(engine, scratch, job.id) is None


def test_a_damaged_checkpoint_is_as_good_as_none(engine, tmp_path):
    job = accept(engine)
    scratch = JobArtifacts(engine, Artifacts(str(tmp_path / "blobs")), job.id)
    checkpoints.keep(engine, scratch, job.id, b"state")
    (path,) = (p for p in (tmp_path / "blobs").rglob("*") if p.is_file())
    path.chmod(0o600)
    path.write_bytes(b"other")
    assert checkpoints.find(engine, scratch, job.id) is None


def test_a_request_without_anything_new_is_kept_as_before_and_what_is_newer_is_not_looked_at(engine):
    """Of the release before and of one to come: processes of both are at work during an upgrade."""
    kept = jobs.create(engine, JobRequest("plain"), [], fingerprint="f")
    with engine.begin() as connection:
        row = connection.execute(sa.select(table.c.request).where(table.c.id == kept.id)).scalar_one()
        assert not {"deep", "of"} & row.keys()
        connection.execute(table.update().where(table.c.id == kept.id).values(request=row | {"later": 1}))
    assert jobs.get(engine, kept.id).request == JobRequest("plain")
