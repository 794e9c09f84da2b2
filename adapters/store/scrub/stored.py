"""Whether every blob that a row refers to is there and as it was stored, and whether anything else is there."""

from collections.abc import Callable, Iterator
from datetime import datetime, timedelta
from functools import partial
from pathlib import Path
from typing import Any

import sqlalchemy as sa
from sqlalchemy.engine import Engine

from adapters.backbones import cuts
from adapters.pools import Pool
from adapters.store import backbones as backbone_store
from adapters.store.database import now, reading
from adapters.store.objects import blobs
from adapters.store.objects.artifacts import WRITERS, Artifacts
from adapters.store.objects.folder import Folder
from adapters.store.schema import (
    backbones,
    blob_holds,
    examples,
    job_blobs,
    job_examples,
    samples,
    tombstones,
    versions,
)
from adapters.store.scrub.findings import Finding
from adapters.types import Backbone

Remake = Callable[[Backbone], bool]  # builds the very graph of a backbone again and stores it; False: it cannot
# Derives the very graph of a part of a backbone again, by a version's manifest, and stores it; False: it cannot.
Derive = Callable[[dict[str, Any], cuts.Kind], bool]
RECENT = timedelta(hours=1)  # what is younger may be somebody's who is at work
SHA256 = 64  # characters of a digest


def in_use(engine: Engine) -> dict[str, tuple[str, str]]:
    """Digest → (what it is, what to do when it is lost) of all that a row refers to; of several users the first."""
    found: dict[str, tuple[str, str]] = {}
    with reading(engine) as connection:
        for user in (_of_backbones, _of_versions, _of_heads, _of_jobs, _of_samples):
            for digest, item, fix in user(connection):
                found.setdefault(digest, (item, fix))
    return found


def _of_backbones(connection: sa.Connection) -> Iterator[tuple[str, str, str]]:
    for row in connection.execute(sa.select(backbones)):
        fix = f"espalier check --repair builds it again where it can; else espalier backbones add {row.name}"
        yield row.facts["artifact"], f"the graph of the backbone {row.name}", fix


def _of_versions(connection: sa.Connection) -> Iterator[tuple[str, str, str]]:
    for row in connection.execute(sa.select(versions).order_by(versions.c.head, versions.c.number)):
        name, data = f"{row.head}@{row.number}", row.manifest.get("data", {})
        backbone = row.manifest.get("backbone", {}).get("name", "BACKBONE")
        again = f"train it anew: espalier heads rebuild {row.head} {backbone}"
        promote = f"point its aliases at another version, or {again}"
        yield row.digest, f"the graph of {name}", promote
        parts = {"digest": "the list of data", "answers": "the answers of cross-validation", "report": "the report"}
        yield from ((data[key], f"{part} of {name}", again) for key, part in parts.items() if key in data)
        for kind, digest in cuts.blobs_of(row.manifest).items():
            fix = f"espalier check --repair derives it again from the backbone; else {again}"
            yield digest, f"the {kind} that {name} reads", fix
        for digest in blobs.start_of(row.manifest):
            yield digest, f"what adding to {name} begins with", "send all its examples again with mode=replace"


def _of_heads(connection: sa.Connection) -> Iterator[tuple[str, str, str]]:
    for row in connection.execute(sa.select(examples.c.head, examples.c.sha256, examples.c.file_name)):
        fix = f"send the file again (POST /finetune), or take it back: espalier heads forget {row.head} {row.sha256}"
        yield row.sha256, f"the input {row.file_name!r} of {row.head} ({row.sha256})", fix


def _of_jobs(connection: sa.Connection) -> Iterator[tuple[str, str, str]]:
    for row in connection.execute(sa.select(job_examples.c.job_id, job_examples.c.sha256, job_examples.c.file_name)):
        yield row.sha256, f"the input {row.file_name!r} of {row.job_id}", "send the file again, or cancel the job"
    for job_id, digest in connection.execute(sa.select(job_blobs.c.job_id, job_blobs.c.digest)):
        yield digest, f"an interim result of {job_id}", "cancel the job and send it again"


def _of_samples(connection: sa.Connection) -> Iterator[tuple[str, str, str]]:
    for row in connection.execute(sa.select(samples.c.head, samples.c.sha256)):
        fix = f"take it away: espalier samples delete {row.head} {row.sha256}"
        yield row.sha256, f"a sample of {row.head} ({row.sha256})", fix


def findings(engine: Engine, artifacts: Artifacts, remake: Remake, derive: Derive) -> Iterator[Finding]:
    """Blobs that are damaged or missing, and what nobody refers to. Reads every blob once."""
    there = {blob.name: blob for blob in artifacts.list()}
    used = in_use(engine)  # after the list: what is stored meanwhile is no orphan, and what is deleted is not used
    with Pool(WRITERS) as pool:
        sound = pool.map(artifacts.is_sound, used)
        lost = [digest for digest, good in zip(used, sound, strict=True) if not good]
    still = in_use(engine) if lost else {}
    mends = _mends(engine, remake, derive) if lost else {}
    yield from (_lost(artifacts, digest, *used[digest], mends.get(digest)) for digest in lost if digest in still)
    yield from _orphans(engine, artifacts, {name: blob.modified for name, blob in there.items() if name not in used})
    yield from _unfinished(artifacts)


def _mends(engine: Engine, remake: Remake, derive: Derive) -> dict[str, Callable[[], bool]]:
    """What can be made again, by digest: graphs of backbones, and parts of them that deep versions read."""
    found: dict[str, Callable[[], bool]] = {}
    with reading(engine) as connection:
        for manifest in connection.execute(sa.select(versions.c.manifest)).scalars():
            found |= {d: partial(derive, manifest, kind) for kind, d in cuts.blobs_of(manifest).items()}
    return found | {each.artifact: partial(remake, each) for each in backbone_store.list_all(engine)}


def _lost(artifacts: Artifacts, digest: str, item: str, fix: str, mend: Callable[[], bool] | None) -> Finding:
    if artifacts.has(digest):
        return Finding("damaged", item, "its bytes are not those that were stored", fix, mend)
    return Finding("missing", item, "it is not in the store", fix, mend)


def _orphans(engine: Engine, artifacts: Artifacts, left: dict[str, datetime]) -> Iterator[Finding]:
    with reading(engine) as connection:
        known = {d for column in (blob_holds.c.digest, tombstones.c.digest) for d in _all(connection, column)}
    old = sorted(name for name, modified in left.items() if modified < now() - RECENT and name not in known)
    named = [name for name in old if len(name) == SHA256]
    if named:
        detail = f"{len(named)} that no row refers to"
        fix = "espalier check --repair deletes them"
        yield Finding("orphan", "blobs", detail, fix, partial(_bury, engine, artifacts, named))
    for name in sorted(set(old) - set(named)):
        yield Finding("orphan", f"the file {name!r} among the blobs", "it is none", "take it away by hand")


def _all(connection: sa.Connection, column: sa.Column[str]) -> set[str]:
    return set(connection.execute(sa.select(column)).scalars())


def _bury(engine: Engine, artifacts: Artifacts, digests: list[str]) -> bool:
    """As if a row had referred to them until now: what somebody has begun to need meanwhile stays."""
    with blobs.alone(engine) as connection:
        blobs.bury(connection, digests)
    blobs.sweep(engine, artifacts)
    return not any(artifacts.has(digest) and _is_buried(engine, digest) for digest in digests)


def _is_buried(engine: Engine, digest: str) -> bool:
    with reading(engine) as connection:
        return connection.execute(sa.select(tombstones).where(tombstones.c.digest == digest)).first() is not None


def _unfinished(artifacts: Artifacts) -> Iterator[Finding]:
    if not isinstance(artifacts.place, Folder):
        return
    old = [path for path, modified in artifacts.place.unfinished() if modified < now() - RECENT]
    if old:
        detail, fix = f"{len(old)} whose writers were killed", "espalier check --repair deletes them"
        yield Finding("orphan", "unfinished files", detail, fix, partial(_unlink, old))


def _unlink(paths: list[Path]) -> bool:
    for path in paths:
        path.unlink(missing_ok=True)
    return True
