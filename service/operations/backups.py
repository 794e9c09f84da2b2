"""Backing up, restoring and moving the installation that the settings name."""

import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import sqlalchemy as sa
from sqlalchemy.engine import Engine

from adapters.errors import Conflict, CorruptArtifact, InvalidBackup, InvalidInput
from adapters.store import database
from adapters.store.backup import archive, snapshot, tables, target
from adapters.store.backup.archive import Backup, Wishes
from adapters.store.backup.manifest import Manifest
from adapters.store.backup.transfer import Tell
from adapters.store.objects import blobs
from adapters.store.objects.artifacts import Artifacts
from adapters.store.scrub import sqlite
from service import __version__
from service.operations import answers
from service.settings import Settings

Facts = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Stores:
    """A database and its blobs."""

    engine: Engine
    artifacts: Artifacts


@contextmanager
def opened(database_url: str, artifacts_url: str) -> Iterator[Stores]:
    """The stores behind two URLs. Raises DatabaseDamaged, InvalidInput for a URL that is none."""
    try:
        path = sa.make_url(database_url).database if database_url.startswith("sqlite") else None
        if path:
            sqlite.refuse_damaged(Path(path))
        engine = database.connect(database_url)
        artifacts = Artifacts(artifacts_url)
    except (sa.exc.ArgumentError, ImportError) as error:
        raise InvalidInput(f"that is no URL of a database that can be used here: {error}", item="database") from None
    try:
        yield Stores(engine, artifacts)
    finally:
        engine.dispose()


def back_up(settings: Settings, path: Path, tell: Tell, *, cache: bool, lenient: bool, heads: int) -> Facts:
    """Write a backup; returns what is in it. Raises what `archive.create` does."""
    wishes = Wishes(cache, lenient, partial(answers.of, most=heads))
    with opened(settings.database, settings.artifacts) as stores:
        made, digest = archive.create(stores.engine, stores.artifacts, path, __version__, tell, wishes)
    return _told(made) | {"path": str(path), "manifest_sha256": digest}


def restore(settings: Settings, path: Path, tell: Tell, verify: bool) -> Facts:
    """Fill the installation that the settings name from a backup, and see that it is the same. Raises InvalidBackup,
    Conflict, StorageError, StorageFull."""
    with archive.opened(path) as backup, opened(settings.database, settings.artifacts) as stores:
        digests = backup.referred()
        with _of_backup():
            target.fill(backup.rows, backup.blobs, stores.engine, stores.artifacts, digests, tell)
        other = _differences(backup, stores, digests) if verify else []
        return _told(backup.manifest) | {"differences": other, "verified": verify}


def look(path: Path) -> Facts:
    """Read all of a backup, and write nothing. Raises InvalidBackup."""
    with archive.opened(path) as backup:
        other = target.differences(backup.rows, backup.rows, backup.blobs, backup.referred())
        return _told(backup.manifest) | {"differences": other, "verified": True}


def move(settings: Settings, to_database: str, to_artifacts: str, tell: Tell) -> Facts:
    """Copy the installation into other stores, which are empty, and see that they are the same.

    Raises Conflict where somebody has written to it meanwhile, or there is something in those; CorruptArtifact,
    StorageError, StorageFull.
    """
    _refuse_same(settings, to_database, to_artifacts)
    with (
        tempfile.TemporaryDirectory(prefix="espalier-move-") as scratch,
        opened(settings.database, settings.artifacts) as old,
        opened(to_database, to_artifacts) as new,
        blobs.holding_everything(old.engine, old.artifacts) as still_here,
        opened(f"sqlite:///{scratch}/rows.sqlite", scratch) as spool,
    ):

        def told(done: int, total: int) -> None:
            still_here()
            tell(done, total)

        snapshot.take(old.engine, Path(scratch) / "rows.sqlite")
        with snapshot.frozen(spool.engine) as connection:
            digests, content = blobs.referred(connection), tables.contents(connection)
        target.fill(spool.engine, old.artifacts, new.engine, new.artifacts, digests, told)
        other = target.differences(spool.engine, new.engine, new.artifacts, digests)
        other += answers.differences(answers.of(old.engine, old.artifacts), answers.of(new.engine, new.artifacts))
        _refuse_changed(old.engine, content)
        return {"tables": _rows(content), "blobs": {"count": len(digests)}, "differences": other}


def _differences(backup: Backup, stores: Stores, digests: set[str]) -> list[str]:
    other = target.differences(backup.rows, stores.engine, stores.artifacts, digests)
    asked = len({row["head"] for row in backup.manifest.answers})
    found = answers.of(stores.engine, stores.artifacts, asked)
    return other + answers.differences(backup.manifest.answers, found)


def _refuse_same(settings: Settings, to_database: str, to_artifacts: str) -> None:
    if to_database == settings.database:
        raise InvalidInput("that is the database which it is in already", item="--to-database")
    if to_artifacts.rstrip("/") == settings.artifacts.rstrip("/"):
        why = "two databases on one store would delete each other's blobs"
        raise InvalidInput(f"name another store than the one which it is in: {why}", item="--to-artifacts")


def _refuse_changed(engine: Engine, content: dict[str, tables.Content]) -> None:
    with snapshot.frozen(engine) as connection:
        found = tables.contents(connection)
    changed = sorted(name for name in content if found[name] != content[name])
    if changed:
        advice = "stop everything that uses it, empty the new stores, and move it again"
        raise Conflict(f"it was written to while it was copied ({', '.join(changed[:5])}); {advice}")


@contextmanager
def _of_backup() -> Iterator[None]:
    try:
        yield
    except CorruptArtifact as error:
        raise InvalidBackup(f"the backup is damaged: {error.message}", item=error.item) from error


def _told(manifest: Manifest) -> Facts:
    facts = {name: getattr(manifest, name) for name in ("release", "schema", "created_at", "blobs", "lost")}
    return facts | {"tables": _rows(manifest.tables), "answers": len(manifest.answers)}


def _rows(content: dict[str, tables.Content]) -> dict[str, int]:
    return {name: found.rows for name, found in content.items()}
