"""Jobs that leave what is deeper to a next stage, published straight into a store."""

from dataclasses import replace

from sqlalchemy.engine import Engine

from adapters.store import jobs, leases, publishing
from adapters.store.leases import Lease
from adapters.store.publishing import Publication
from adapters.types import Job, JobRequest

MANIFEST = {"task": "classification", "data": {}, "backbone": {"digest": "b"}, "classes": []}


def accept(engine: Engine, head: str = "cats") -> Job:
    return jobs.create(engine, JobRequest(head, deep="auto"), [], fingerprint="f")


def claim(engine: Engine) -> Lease:
    lease = leases.claim(engine, "one")
    assert lease is not None
    return lease


def publication(job: Job, live: int | None = None, **more: object) -> Publication:
    """Of a job that leaves what is deeper to a next stage."""
    following = replace(job.request, of=job.id)
    report = {"deep": {"stage": "shallow", "next": None, "why": "the data suffice"}}
    made = Publication(job.id, job.request, "0" * 64, MANIFEST, {}, report, [], False, live, next=following)
    return replace(made, **more)


def done(engine: Engine, job: Job, live: int | None = None, **more: object) -> dict:
    """What the report of a job says of its stages once it has published."""
    lease = claim(engine)
    assert lease.job_id == job.id
    publishing.publish(leases.fenced(engine, lease), publication(job, live, **more))
    jobs.release(engine, job.id)
    return jobs.get(engine, job.id).report.get("deep", {})
