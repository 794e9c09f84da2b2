"""Which blobs are in use, and how one goes, so that none is lost whoever works beside us or is killed between steps.

1. `hold`: a row says that somebody is about to refer to a blob. Only then is it looked for, and written where missing.
2. The transaction that refers to it lets the hold go (`settle`).
3. A transaction that ceases to refer to it leaves a tombstone (`bury`), in case nobody is left to do the next step.
4. `sweep` deletes blobs that have a tombstone and that nobody holds or refers to, inside a transaction during which
   nobody can begin to: who comes before is seen, who comes after finds that the blob is gone, and writes it again.

SQLite has one writer at a time. On Postgres a lock does the same; it is the first that such a transaction takes, or two
could wait for each other: one with the lock for a row, the other with the row for the lock.
"""

import hashlib
import logging
import secrets
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager
from datetime import timedelta
from functools import partial
from typing import Any

import sqlalchemy as sa
from sqlalchemy.engine import Engine

from adapters.backbones import cuts
from adapters.errors import StorageError
from adapters.store.database import locked, now, reading, unchecked
from adapters.store.objects.artifacts import Artifacts
from adapters.store.quotas.tables import blob_sizes
from adapters.store.schema import (
    backbones,
    blob_holds,
    embeddings,
    examples,
    job_blobs,
    job_examples,
    samples,
    tombstones,
    version_blobs,
)

log = logging.getLogger("espalier.blobs")
PATIENCE = timedelta(days=1)  # with whoever holds blobs and is not heard of again: longer than any upload
EVERYTHING = "0" * 64  # in place of a digest: who holds it keeps every blob where it is
SILENCE = timedelta(minutes=10)  # with whoever holds everything and does not say that it still does
_EVERYTHING = blob_holds.c.digest == EVERYTHING
_PASSING = 3  # of _referring(), the first so many: what goes in time, of jobs and samples
_CHUNK = 500  # digests a query, and blobs deleted in one transaction
_OF_DATA = ("digest", "answers", "report")  # of a manifest's data: the list of it, cross-validated answers, the report


class JobArtifacts(Artifacts):
    """The artifact store as one job writes to it: what it puts is noted first, so that nothing outlives its use."""

    def __init__(self, engine: Engine, artifacts: Artifacts, job_id: str) -> None:
        self.place, self._engine, self._job_id = artifacts.place, engine, job_id

    def put(self, data: bytes | memoryview) -> str:
        """Store bytes until the job lets go of them, or for good when a version holds them by then."""
        with together(self._engine) as connection:
            note(connection, self._job_id, [hashlib.sha256(data).hexdigest()])
        digest = super().put(data)
        if not _any(self._engine, (job_blobs.c.job_id == self._job_id) & (job_blobs.c.digest == digest)):
            self._take_back(digest)
        return digest

    def _take_back(self, digest: str) -> None:
        """The job was cancelled while we wrote, and let go of what was not there yet."""
        with alone(unchecked(self._engine)) as connection:
            buried = bury(connection, [digest])
        if buried:
            sweep(self._engine, self)


def together(engine: Engine) -> AbstractContextManager[sa.Connection]:
    """A transaction that holds blobs or refers to them: nobody is deleting any then."""
    return locked(engine, "shared")


def alone(engine: Engine) -> AbstractContextManager[sa.Connection]:
    """A transaction that ceases to refer to blobs, or deletes some: nobody begins to refer to any then."""
    return locked(engine, "exclusive")


@contextmanager
def holding(engine: Engine, artifacts: Artifacts, digests: Iterable[str]) -> Iterator[str]:
    """Blobs that are about to be stored and referred to stay until the end; gives the name under which they are held.

    Whoever fails leaves nothing behind: what nobody else uses is deleted. Of a store that does not answer, later: the
    caller has waited for it once (benchmarks/outages.py had 4.6 s instead of 2).
    """
    holder, answers = secrets.token_hex(16), True
    hold(engine, holder, digests)
    try:
        yield holder
    except StorageError:
        answers = False
        raise
    finally:
        try:
            let_go(engine, artifacts if answers else None, holder)
        except sa.exc.SQLAlchemyError as error:  # what happened inside is what the caller must learn of
            log.warning("blobs stay held until their time is up: %s", error)


def hold(engine: Engine, holder: str, digests: Iterable[str]) -> None:
    """From now on these blobs are not deleted, for as long as PATIENCE lasts."""
    moment = now()
    rows = [{"holder": holder, "digest": digest, "since": moment} for digest in dict.fromkeys(digests)]
    with together(engine) as connection:
        if rows:
            connection.execute(blob_holds.insert(), rows)


@contextmanager
def holding_everything(engine: Engine, artifacts: Artifacts) -> Iterator[Callable[[], None]]:
    """No blob is deleted until the end, whatever ceases to be needed meanwhile.

    Gives what says that we are still there, to be called more often than SILENCE lasts; it raises StorageError where
    that came too late.
    """
    holder = secrets.token_hex(16)
    hold(engine, holder, [EVERYTHING])
    mine = blob_holds.c.holder == holder
    try:
        yield partial(_still_here, engine, mine)
    finally:
        with together(engine) as connection:
            connection.execute(blob_holds.delete().where(mine))
        sweep(engine, artifacts)


def is_all_held(connection: sa.Connection) -> bool:
    """Whether somebody holds everything, and was heard of lately."""
    return connection.execute(sa.select(blob_holds.c.digest).where(_EVERYTHING, ~_silent())).first() is not None


def _still_here(engine: Engine, mine: sa.ColumnElement[bool]) -> None:
    with together(engine) as connection:
        if not connection.execute(blob_holds.update().where(mine).values(since=now())).rowcount:
            raise StorageError("this took so long without a word that blobs may have been deleted; start it again")


def settle(connection: sa.Connection, holder: str, digests: Iterable[str]) -> None:
    """In the transaction that refers to them: they need not be held any more.

    Raises StorageError when the hold has run out: they may be gone.
    """
    released = connection.execute(blob_holds.delete().where(blob_holds.c.holder == holder)).rowcount
    if released < len(set(digests)):
        raise StorageError("what was sent took too long to store and is not there any more; send it again")


def let_go(engine: Engine, artifacts: Artifacts | None, holder: str) -> None:
    """Blobs that were held need not be; what nobody else uses is deleted. None: by whoever sweeps next."""
    held = blob_holds.c.holder == holder
    if not _any(engine, held):
        return
    with alone(engine) as connection:
        digests = list(connection.execute(sa.select(blob_holds.c.digest).where(held)).scalars())
        connection.execute(blob_holds.delete().where(held))
        buried = bury(connection, digests)
    if buried and artifacts is not None:
        sweep(engine, artifacts)


def note(connection: sa.Connection, job_id: str, digests: Iterable[str]) -> None:
    """Put blobs into a job's care: what nothing else uses at its end is deleted then."""
    known = set(connection.execute(sa.select(job_blobs.c.digest).where(job_blobs.c.job_id == job_id)).scalars())
    fresh = [{"job_id": job_id, "digest": digest} for digest in dict.fromkeys(digests) if digest not in known]
    if fresh:
        connection.execute(job_blobs.insert(), fresh)


def drop_job(connection: sa.Connection, job_id: str) -> list[str]:
    """Forget what a job wrote; returns the digests that nothing else uses."""
    digests = list(connection.execute(sa.select(job_blobs.c.digest).where(job_blobs.c.job_id == job_id)).scalars())
    connection.execute(job_blobs.delete().where(job_blobs.c.job_id == job_id))
    return bury(connection, digests)


def drop(connection: sa.Connection, job_id: str, digest: str) -> None:
    """Forget one blob that a job wrote. To be called under `alone`."""
    connection.execute(job_blobs.delete().where(job_blobs.c.job_id == job_id, job_blobs.c.digest == digest))
    bury(connection, [digest])


def keep_version(connection: sa.Connection, head: str, number: int, digest: str, manifest: dict[str, Any]) -> None:
    """A version refers to its graph and to what its manifest names; the rows go with it."""
    mine = (version_blobs.c.head == head, version_blobs.c.number == number)
    connection.execute(version_blobs.delete().where(*mine))
    rows = [{"head": head, "number": number, "digest": one} for one in dict.fromkeys(of_version(digest, manifest))]
    connection.execute(version_blobs.insert(), rows)


def of_version(digest: str, manifest: dict[str, Any]) -> list[str]:
    """What a version keeps in the artifact store: its graph, what _OF_DATA says, and of a deep one what it reads."""
    data = manifest.get("data", {})
    own = [data[name] for name in _OF_DATA if name in data]
    return [digest, *own, *cuts.blobs_of(manifest).values(), *start_of(manifest)]


def start_of(manifest: Mapping[str, Any]) -> list[str]:
    """What a fit goes on from where a deep version's examples were not kept: its head's program, as a blob."""
    deep = manifest.get("deep", {})
    return [deep["program"]] if "program" in deep else []


def of_head(connection: sa.Connection, head: str) -> list[str]:
    """What all versions of a head keep."""
    return list(connection.execute(sa.select(version_blobs.c.digest).where(version_blobs.c.head == head)).scalars())


def bury(connection: sa.Connection, digests: Iterable[str]) -> list[str]:
    """Tombstones for those of the blobs that nobody needs; returns their digests. To be called under `alone`."""
    moment, unused = now(), []
    for chunk in _chunks(sorted(set(digests))):
        free = sorted(set(chunk) - in_use(connection, chunk))
        there = set(_found(connection, tombstones.c.digest, free))
        rows = [{"digest": digest, "since": moment} for digest in free if digest not in there]
        if rows:
            connection.execute(tombstones.insert(), rows)
        unused += free
    return unused


def in_use(connection: sa.Connection, digests: Sequence[str]) -> set[str]:
    """Those that somebody holds or that a row refers to; at most _CHUNK. The one list of all that can is here."""
    columns = (blob_holds.c.digest, *_referring())
    return {digest for column in columns for digest in _found(connection, column, digests)}


def referred(connection: sa.Connection, passing: bool = True) -> set[str]:
    """All that rows refer to, those of jobs and samples among them or not."""
    columns = _referring()[0 if passing else _PASSING :]
    return {digest for column in columns for digest in connection.execute(sa.select(column).distinct()).scalars()}


def _referring() -> tuple[Any, ...]:
    return (
        job_blobs.c.digest, job_examples.c.sha256, samples.c.sha256,  # _PASSING
        version_blobs.c.digest, examples.c.sha256,
        backbones.c.facts["artifact"].as_string(),
    )  # fmt: skip


def sweep(engine: Engine, artifacts: Artifacts) -> int:
    """Delete blobs that have a tombstone and that nobody needs; returns how many. Cheap where there are none.

    What the store does not let go of now stays buried for the next time. A worker need not have its job any more.
    """
    engine, count = unchecked(engine), 0
    try:
        while _expire(engine) or _any(engine, tombstones.c.digest.is_not(None)):
            if (some := _sweep_some(engine, artifacts)) is None:
                break  # a backup is being made: whoever ends it sweeps
            count += some
    except StorageError as error:
        log.warning("unneeded blobs are kept for now: %s", error.message)
    return count


def _any(engine: Engine, where: sa.ColumnElement[bool]) -> bool:
    with reading(engine) as connection:
        return connection.execute(sa.select(sa.literal(1)).where(where).limit(1)).first() is not None


def _expire(engine: Engine) -> bool:
    """Holds of those who were not heard of again become tombstones; False where there are none."""
    if _any(engine, _silent()):
        with alone(engine) as connection:
            connection.execute(blob_holds.delete().where(_silent()))
    old = (blob_holds.c.since < now() - PATIENCE) & (blob_holds.c.digest != EVERYTHING)
    if not _any(engine, old):
        return False
    with alone(engine) as connection:
        digests = list(connection.execute(sa.select(blob_holds.c.digest).where(old)).scalars())
        connection.execute(blob_holds.delete().where(old))
        bury(connection, digests)
    return True


def _silent() -> sa.ColumnElement[bool]:
    return _EVERYTHING & (blob_holds.c.since < now() - SILENCE)


def _sweep_some(engine: Engine, artifacts: Artifacts) -> int | None:
    """How many; None where somebody holds everything."""
    with alone(engine) as connection:
        if _found(connection, blob_holds.c.digest, [EVERYTHING]):
            return None
        buried = list(connection.execute(sa.select(tombstones.c.digest).limit(_CHUNK)).scalars())
        unused = sorted(set(buried) - in_use(connection, buried))
        artifacts.delete(unused)
        connection.execute(embeddings.delete().where(embeddings.c.sha256.in_(unused)))
        connection.execute(blob_sizes.delete().where(blob_sizes.c.digest.in_(unused)))
        connection.execute(tombstones.delete().where(tombstones.c.digest.in_(buried)))
    return len(unused)


def _found(connection: sa.Connection, column: Any, digests: Sequence[str]) -> Iterable[str]:
    return connection.execute(sa.select(column).where(column.in_(digests)).distinct()).scalars().all()


def _chunks(digests: Sequence[str]) -> Iterator[Sequence[str]]:
    for start in range(0, len(digests), _CHUNK):
        yield digests[start : start + _CHUNK]
