"""Heads, versions, aliases. What changes what is served raises the generation in the same transaction."""

import hashlib
from dataclasses import dataclass
from typing import Any

import sqlalchemy as sa
from pydantic_core import from_json
from sqlalchemy.engine import Engine

from adapters.errors import Conflict, CorruptArtifact, HeadDamaged, HeadNotFound, VersionNotFound
from adapters.store import examples as example_store
from adapters.store import jobs as job_store
from adapters.store import next_stages
from adapters.store.audit.recording import record
from adapters.store.database import aware, now, reading
from adapters.store.objects import blobs
from adapters.store.objects.artifacts import Artifacts
from adapters.store.replicas import notices
from adapters.store.rollouts import changes as rollout_changes
from adapters.store.sampling import samples as sample_store
from adapters.store.schema import aliases, changes, deleted_heads, generation, heads, versions
from adapters.store.whose import ANYBODYS, Whose
from adapters.tenancy import shown
from adapters.types import HeadRef, HeadVersion

LIVE = "live"
ANY = ""  # in place of a head's name: of changes so long ago that nobody knows any more which heads they were of


class AliasMoved(Conflict):
    """The alias no longer points where the caller last saw it: look again and decide again."""

    code = "alias_moved"


def _keep_number(connection: sa.Connection, name: str) -> None:
    """Before a head is deleted."""
    number = connection.execute(sa.select(heads.c.next_version).where(heads.c.name == name)).scalar_one()
    connection.execute(deleted_heads.delete().where(deleted_heads.c.name_sha256 == digest_of(name)))
    connection.execute(deleted_heads.insert().values(name_sha256=digest_of(name), next_version=number))


def digest_of(name: str) -> str:
    """How the name of a head that was deleted is kept."""
    return hashlib.sha256(name.encode()).hexdigest()


def swap(connection: sa.Connection, head: str, alias: str, number: int, expected: int | None) -> None:
    """Point an alias at a version if it points at the expected one, None being nowhere. Raises AliasMoved."""
    where = (aliases.c.head == head, aliases.c.alias == alias)
    values = {"number": number, "updated_at": now()}
    if expected is None:
        if connection.execute(sa.select(aliases.c.number).where(*where)).scalar() is not None:
            raise AliasMoved(f"{shown(head)}@{alias} appeared meanwhile", item=shown(head))
        connection.execute(aliases.insert().values(head=head, alias=alias, **values))
        return
    moved = connection.execute(aliases.update().where(*where, aliases.c.number == expected).values(**values))
    if moved.rowcount != 1:
        raise AliasMoved(f"{shown(head)}@{alias} no longer is version {expected}", item=shown(head))


def bump(connection: sa.Connection, head: str) -> int:
    """One change more to what is served of a head; returns the generation. The last thing that a transaction locks."""
    connection.execute(generation.update().values(value=generation.c.value + 1))
    value = int(connection.execute(sa.select(generation.c.value)).scalar_one())
    connection.execute(changes.insert().values(generation=value, head=head, created_at=now()))
    notices.send(connection, value)
    return value


def current_generation(engine: Engine) -> int:
    """The number of changes so far to what is served."""
    with reading(engine) as connection:
        return int(connection.execute(sa.select(generation.c.value)).scalar_one())


def changed_since(engine: Engine, seen: int) -> tuple[int, set[str] | None]:
    """The present generation, and the heads that changed after the one already seen; None: any may have."""
    with reading(engine) as connection:
        value = int(connection.execute(sa.select(generation.c.value)).scalar_one())
        if value == seen:
            return value, set()
        query = sa.select(changes.c.head).where(changes.c.generation > seen).distinct()
        names = set(connection.execute(query).scalars())
        return value, None if ANY in names else names


def resolve(engine: Engine, ref: HeadRef) -> HeadVersion:
    """The version that a reference means now. Raises HeadNotFound, VersionNotFound."""
    with reading(engine) as connection:
        if connection.execute(sa.select(heads.c.name).where(heads.c.name == ref.name)).scalar() is None:
            raise missing(ref.name)
        query = sa.select(versions).where(versions.c.head == ref.name)
        if ref.version is not None:
            query = query.where(versions.c.number == ref.version)
        else:
            alias = (aliases.c.head == versions.c.head) & (aliases.c.number == versions.c.number)
            query = query.join(aliases, alias).where(aliases.c.alias == ref.alias)
        row = connection.execute(query).mappings().first()
    if row is None:
        what = f"version {ref.version}" if ref.version is not None else f"version under the alias {ref.alias!r}"
        raise VersionNotFound(
            f"the head {shown(ref.name)!r} has no {what}; GET /heads/{shown(ref.name)} lists what it has", item=str(ref)
        )
    return version_of(row)


def missing(name: str) -> HeadNotFound:
    """The error for a name that no head has."""
    return HeadNotFound(f"no head is called {shown(name)!r}; GET /heads lists them", item=shown(name))


def damaged(version: HeadVersion) -> HeadDamaged:
    """The error for a version of which something stored is not as it was stored."""
    name, where = f"{shown(version.head)}@{version.number}", f"/heads/{shown(version.head)}"
    return HeadDamaged(
        f"version {version.number} of the head {shown(version.head)!r} is damaged in the store; point its alias at "
        f"another version (PUT {where}/aliases/live) or train it anew (POST {where}/rebuild)",
        item=name,
    )


def stored(artifacts: Artifacts, version: HeadVersion, digest: str | None = None) -> bytes:
    """The graph of a version, or another blob that its manifest names. Raises HeadDamaged, StorageError."""
    try:
        return artifacts.get(digest or version.digest)
    except CorruptArtifact as error:
        raise damaged(version) from error


def find_live(engine: Engine, name: str) -> HeadVersion | None:
    """The version that is served by default, or None."""
    try:
        return resolve(engine, HeadRef(name))
    except (HeadNotFound, VersionNotFound):
        return None


@dataclass(frozen=True, slots=True)
class HeadSummary:
    """A head with its aliases and versions, newest first."""

    name: str
    task: str
    created_at: Any
    aliases: dict[str, int]
    versions: list[HeadVersion]


def summary(engine: Engine, name: str) -> HeadSummary:
    """Everything known of one head. Raises HeadNotFound."""
    with reading(engine) as connection:
        head = connection.execute(sa.select(heads).where(heads.c.name == name)).mappings().first()
        if head is None:
            raise missing(name)
        query = sa.select(versions).where(versions.c.head == name).order_by(versions.c.number.desc())
        rows = connection.execute(query).mappings().all()
        named = connection.execute(sa.select(aliases.c.alias, aliases.c.number).where(aliases.c.head == name)).all()
    moments = aware(head["created_at"])
    return HeadSummary(name, head["task"], moments, {a: n for a, n in named}, [version_of(row) for row in rows])


def find_task(engine: Engine, name: str) -> str | None:
    """What a head does; None where there is no such head."""
    with reading(engine) as connection:
        found: str | None = connection.execute(sa.select(heads.c.task).where(heads.c.name == name)).scalar()
        return found


@dataclass(slots=True)
class Written:
    """A part of a manifest as the JSON that the database keeps."""

    text: str


SHOWN = ("method", "classes", "metrics")  # of a manifest, where heads are listed; and names of backbone and cut


def page(engine: Engine, *, limit: int, after: str = "", whose: Whose = ANYBODYS) -> list[HeadSummary]:
    """Heads in alphabetical order, a page at a time; of the manifests of their versions only what lists show.

    One query, however many heads and versions: the database picks those parts out of the manifests, as text, since
    Python takes longer to read a thousand manifests than for all the rest. The long parts, classes and metrics, stay
    text (`Written`): nobody reads them but who asked for the list.
    """
    mine = whose.of(heads.c.name)
    names = sa.select(heads).where(heads.c.name > after, *mine).order_by(heads.c.name).limit(limit).subquery()
    paths: list[Any] = [*SHOWN, ("backbone", "name"), ("deep", "cut", "name")]
    parts = [sa.cast(versions.c.manifest[path], sa.Text).label(f"part_{n}") for n, path in enumerate(paths)]
    plain = (versions.c.number, versions.c.digest, versions.c.status, versions.c.created_at.label("made"))
    joined = names.outerjoin(versions, versions.c.head == names.c.name).outerjoin(
        aliases, (aliases.c.head == versions.c.head) & (aliases.c.number == versions.c.number)
    )
    query = sa.select(names.c.name, names.c.task, names.c.created_at, aliases.c.alias, *plain, *parts)
    with reading(engine) as connection:
        rows = connection.execute(query.select_from(joined).order_by(names.c.name, versions.c.number.desc())).all()
    found: dict[str, HeadSummary] = {}
    for row in rows:
        _list(found, *row)
    return list(found.values())


def _list(found: dict[str, HeadSummary], name: str, task: str, made: Any, alias: str | None, *version: Any) -> None:
    """One row of a page: a version with one of the aliases that point at it, or a head without versions."""
    head = found.get(name)
    if head is None:
        head = found[name] = HeadSummary(name, task, aware(made), {}, [])
    number, digest, status, moment, *parts = version
    if number is not None and (not head.versions or head.versions[-1].number != number):
        method, classes, metrics, backbone, cut = parts
        shown = {"method": _read(method), "classes": Written(classes or "[]"), "metrics": Written(metrics or "{}")}
        shown["backbone"] = {"name": _read(backbone)}
        if cut is not None:
            shown["deep"] = {"cut": {"name": _read(cut)}}
        head.versions.append(HeadVersion(name, number, digest, status, shown, aware(moment)))
    if alias is not None:
        head.aliases[alias] = number


def _read(part: str | None) -> Any:
    return None if part is None else from_json(part)


def set_alias(engine: Engine, name: str, alias: str, number: int, expected: int | None = None) -> int:
    """Point an alias at a version (promote, roll back) and return the new generation.

    With `expected` only if it points at that version now, 0 being none: else raises AliasMoved. Raises HeadNotFound,
    VersionNotFound.
    """
    resolve(engine, HeadRef(name, version=number))
    with engine.begin() as connection:
        if alias == LIVE:
            next_stages.hold(connection, name)
        wanted = sa.select(versions.c.number).where(versions.c.head == name, versions.c.number == number)
        if connection.execute(wanted.with_for_update()).scalar() is None:
            raise VersionNotFound(
                f"version {number} of {shown(name)!r} was deleted just now", item=f"{shown(name)}@{number}"
            )
        where = (aliases.c.head == name, aliases.c.alias == alias)
        present = connection.execute(sa.select(aliases.c.number).where(*where).with_for_update()).scalar()
        if expected is not None and (present or 0) != expected:
            there = f"at version {present}" if present else "nowhere"
            raise AliasMoved(
                f"{shown(name)}@{alias} points {there}, not at {expected or 'none'}", item=f"{shown(name)}@{alias}"
            )
        values = {"number": number, "updated_at": now()}
        if connection.execute(aliases.update().where(*where).values(**values)).rowcount == 0:
            _insert_alias(connection, name, alias, values)
        record(connection, "alias.set", head=name, alias=alias, version=number, before=present)
        if alias == LIVE:
            rollout_changes.live_moved(connection, name, number)
        if alias == LIVE and number != present:
            next_stages.supersede(connection, name, f"{shown(name)}@live was pointed at version {number} by its owner")
        return bump(connection, name)


def _insert_alias(connection: sa.Connection, name: str, alias: str, values: dict[str, Any]) -> None:
    try:
        connection.execute(aliases.insert().values(head=name, alias=alias, **values))
    except sa.exc.IntegrityError as error:  # on Postgres, another at the same moment
        raise AliasMoved(f"{shown(name)}@{alias} appeared meanwhile", item=f"{shown(name)}@{alias}") from error


def delete_alias(engine: Engine, name: str, alias: str) -> None:
    """Remove an alias. Raises VersionNotFound."""
    with engine.begin() as connection:
        if alias == LIVE:
            next_stages.hold(connection, name)
        gone = connection.execute(aliases.delete().where(aliases.c.head == name, aliases.c.alias == alias)).rowcount
        if not gone:
            raise VersionNotFound(f"the head {shown(name)!r} has no alias {alias!r}", item=f"{shown(name)}@{alias}")
        record(connection, "alias.delete", head=name, alias=alias)
        if alias == LIVE:
            rollout_changes.live_removed(connection, name)
            next_stages.supersede(connection, name, f"the alias {shown(name)}@live was removed")
        bump(connection, name)


def delete_version(engine: Engine, name: str, number: int) -> list[str]:
    """Remove a version; returns digests that nothing uses any more, for `blobs.sweep` to delete.

    Raises HeadNotFound, VersionNotFound; Conflict while an alias points at it.
    """
    version = resolve(engine, HeadRef(name, version=number))
    with blobs.alone(engine) as connection:
        pointing = sa.select(aliases.c.alias).where(aliases.c.head == name, aliases.c.number == number)
        names = list(connection.execute(pointing).scalars())
        if names:
            raise Conflict(
                f"version {number} is served as {', '.join(names)}; move the alias first",
                item=f"{shown(name)}@{number}",
            )
        rollout_changes.refuse_deletion(connection, name, number)
        connection.execute(versions.delete().where(versions.c.head == name, versions.c.number == number))
        record(connection, "version.delete", head=name, version=number)
        bump(connection, name)
        return blobs.bury(connection, blobs.of_version(version.digest, version.manifest))


def delete(engine: Engine, name: str) -> list[str]:
    """Remove a head with all versions, examples and jobs; returns digests that nothing uses now, for `blobs.sweep`.

    Raises HeadNotFound; Conflict while a job is at work on it.
    """
    with blobs.alone(engine) as connection:
        if connection.execute(sa.select(heads.c.name).where(heads.c.name == name).with_for_update()).scalar() is None:
            raise missing(name)
        running = job_store.unfinished(connection, name)
        if running:
            raise Conflict(f"the job {running[0]} is at work on {shown(name)!r}; cancel it first", item=shown(name))
        next_stages.supersede(connection, name, "the head was deleted")
        digests = blobs.of_head(connection, name)
        connection.execute(aliases.delete().where(aliases.c.head == name))
        connection.execute(versions.delete().where(versions.c.head == name))
        freed = sample_store.drop(connection, name) + example_store.drop_head(connection, name)
        job_store.drop_head(connection, name)
        _keep_number(connection, name)
        connection.execute(heads.delete().where(heads.c.name == name))
        record(connection, "head.delete", head=name)
        bump(connection, name)
        return blobs.bury(connection, digests) + freed


def version_of(row: Any) -> HeadVersion:
    """What a row of `versions` says."""
    made = aware(row["created_at"])
    return HeadVersion(row["head"], row["number"], row["digest"], row["status"], row["manifest"], made)
