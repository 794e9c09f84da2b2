"""What must be true of a service's rows and blobs whatever happened to it: read once everything has settled.

`violations` is a pure function over what `read` found past the service, in its database and its artifact store.
"""

import contextlib
import hashlib
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import sqlalchemy as sa

from adapters.store import database, schema
from adapters.store.objects import blobs
from adapters.store.objects.artifacts import Artifacts
from adapters.types import TERMINAL

Row = Mapping[str, Any]
TABLES = ("jobs", "job_events", "heads", "versions", "aliases", "examples", "job_examples", "job_blobs", "backbones")
KEPT = ("blob_holds", "tombstones")  # of blobs that are about to be referred to, or deleted
MADE = frozenset({"succeeded", "rejected"})  # ends of jobs that have made a version, next stages but for one


@dataclass(frozen=True, slots=True)
class History:
    """Rows of each table, and the SHA-256 of each blob by the name it is stored under."""

    rows: Mapping[str, Sequence[Row]]
    blobs: Mapping[str, str]
    accepted: Sequence[str] = ()  # ids of jobs that callers were told
    answers: Sequence[Row] = ()  # predictions that callers were given: head, version, digest
    removed: frozenset[str] = field(default_factory=frozenset)  # names of blobs that wait to be deleted

    def of(self, table: str) -> Sequence[Row]:
        """The rows of a table."""
        return self.rows.get(table, ())


def read(database_url: str, artifacts_url: str, accepted: Sequence[str] = (), answers: Sequence[Row] = ()) -> History:
    """The history of a service that has settled."""
    engine = database.connect(database_url)
    try:
        with database.reading(engine) as connection:
            tables = {name: schema.metadata.tables[name] for name in (*TABLES, *KEPT)}
            rows = {name: connection.execute(sa.select(table)).mappings().all() for name, table in tables.items()}
    finally:
        engine.dispose()
    removed = frozenset(row["digest"] for name in KEPT for row in rows[name])
    return History(rows, _hashes(Artifacts(artifacts_url)), accepted, answers, removed)


def _hashes(artifacts: Artifacts) -> dict[str, str]:
    found: dict[str, str] = {}
    for name in [blob.name for blob in artifacts.list()]:
        with contextlib.suppress(FileNotFoundError):  # swept meanwhile; it is a violation where something needs it
            found[name] = hashlib.sha256(artifacts.place.read(f"blobs/{name[:2]}/{name}")).hexdigest()
    return found


def violations(history: History) -> list[str]:
    """A sentence for each thing that must not be; empty for a history in which nothing was lost."""
    rules = (_ends, _one_version_a_job, _numbers, _order, _aliases, _events, _blobs, _orphans, _answers)
    return [sentence for rule in rules for sentence in rule(history)]


def _ends(history: History) -> Iterator[str]:
    """Every accepted job ended, in one state, and has a version if and only if that state says so."""
    yield from (f"{lost} was accepted and is gone" for lost in set(history.accepted) - _ids(history))
    for job in history.of("jobs"):
        if job["status"] not in TERMINAL:
            yield f"{job['id']} did not end: {job['status']}"
        elif job["version"] is None and job["status"] == "rejected" and _is_next_stage(job):
            continue  # it proved no better: a version that nobody could want is not made
        elif (job["version"] is not None) != (job["status"] in MADE):
            yield f"{job['id']} ended as {job['status']} with version {job['version']}"
        elif (job["error"] is not None) != (job["status"] == "failed"):
            yield f"{job['id']} ended as {job['status']} with the error {job['error']}"


def _is_next_stage(job: Row) -> bool:
    return (job.get("request") or {}).get("of") is not None


def _ids(history: History) -> set[str]:
    return {job["id"] for job in history.of("jobs")}


def _one_version_a_job(history: History) -> Iterator[str]:
    """At most one version a job, and the job knows it."""
    made = Counter(version["job_id"] for version in history.of("versions"))
    yield from (f"{job} made {count} versions" for job, count in made.items() if count > 1)
    told = {job["id"]: (job["head"], job["version"]) for job in history.of("jobs")}
    for version in history.of("versions"):
        if told.get(version["job_id"]) != (version["head"], version["number"]):
            yield f"{_name(version)} is of {version['job_id']}, which says {told.get(version['job_id'])}"


def _numbers(history: History) -> Iterator[str]:
    """A number stands for one version of a head for ever, also of one that was deleted; the next one is higher."""
    used = Counter((job["head"], job["version"]) for job in history.of("jobs") if job["version"] is not None)
    yield from (f"{head}@{number} was made {times} times" for (head, number), times in used.items() if times > 1)
    following = {head["name"]: head["next_version"] for head in history.of("heads")}
    for head, number in used:
        if number >= following.get(head, number + 1):
            yield f"{head}@{number} was made, and the next one would be {following[head]}"


def _order(history: History) -> Iterator[str]:
    """Versions of a head follow each other as their jobs were accepted, but for next stages, which let others go by."""
    numbers = defaultdict(list)
    for job in sorted(history.of("jobs"), key=_acceptance):
        if job["version"] is not None and not _is_next_stage(job):
            numbers[job["head"]].append(job["version"])
    yield from (f"{head}: versions {made} by acceptance" for head, made in numbers.items() if made != sorted(made))


def _acceptance(job: Row) -> Any:
    return job["sequence"] if "sequence" in job else job["created_at"]


def _aliases(history: History) -> Iterator[str]:
    """An alias points at a version that is there."""
    there = {_name(version) for version in history.of("versions")}
    for alias in history.of("aliases"):
        if _name(alias) not in there:
            yield f"{alias['head']}@{alias['alias']} points at {_name(alias)}, which is not there"


def _events(history: History) -> Iterator[str]:
    """A job's events have no gaps, and end with the one that is final and says how it ended."""
    events = defaultdict(list)
    for event in sorted(history.of("job_events"), key=lambda e: (e["job_id"], e["sequence"])):
        events[event["job_id"]].append(event)
    for job in history.of("jobs"):
        told = events[job["id"]]
        if [event["sequence"] for event in told] != list(range(1, len(told) + 1)):
            yield f"{job['id']} has gaps in its events: {[event['sequence'] for event in told]}"
        finals = [event["data"].get("status") for event in told if event["type"] == "final"]
        if finals != [job["status"]] or told[-1]["type"] != "final":
            yield f"{job['id']} ended as {job['status']}; told as its end: {finals}"


def _blobs(history: History) -> Iterator[str]:
    """What versions, heads' examples and backbones need is there, as it was stored."""
    for owner, digests in _needed(history):
        for digest in digests:
            if digest not in history.blobs:
                yield f"the blob {digest[:12]}… of {owner} is not there"
            elif history.blobs[digest] != digest:
                yield f"the blob {digest[:12]}… of {owner} is damaged"


def _needed(history: History) -> Iterator[tuple[str, Iterable[str]]]:
    for version in history.of("versions"):
        yield _name(version), blobs.of_version(version["digest"], version["manifest"])
    for example in history.of("examples"):
        yield f"an example of {example['head']}", [example["sha256"]]
    for backbone in history.of("backbones"):
        yield f"the backbone {backbone['name']}", [backbone["facts"]["artifact"]]


def _orphans(history: History) -> Iterator[str]:
    """What is stored is needed, or a job at work holds it, or it waits to be deleted."""
    known = {digest for _, digests in _needed(history) for digest in digests} | history.removed
    known |= {row["sha256"] for row in history.of("job_examples")} | {row["digest"] for row in history.of("job_blobs")}
    yield from (f"nothing needs the blob {name}" for name in sorted(set(history.blobs) - known))


def _answers(history: History) -> Iterator[str]:
    """An answer names the graph that its version has."""
    graphs = {_name(version): version["digest"] for version in history.of("versions")}
    for answer in history.answers:
        name = f"{answer['head']}@{answer['version']}"
        if graphs.get(name, answer["digest"]) != answer["digest"]:
            yield f"an answer of {name} is of another graph"


def _name(row: Row) -> str:
    return f"{row['head']}@{row['number']}"
