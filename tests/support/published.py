"""Jobs that are accepted and published in a store, without anything being learned."""

import hashlib

from sqlalchemy.engine import Engine

from adapters.store import examples, jobs, publishing
from adapters.store.publishing import Publication
from adapters.types import Assignment, Example, JobRequest


def sha(text: str) -> str:
    """SHA-256 of a text."""
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
    """A version that is published, and the job that made it let go; its number."""
    job_id = accept(engine, head, names, **options)
    number = publishing.publish(engine, publication(engine, job_id, expected))
    jobs.release(engine, job_id)
    return number
