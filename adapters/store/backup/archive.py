"""Backups in a folder, or in a tar file of one: written whole or not at all, and read with suspicion."""

import os
import shutil
import tarfile
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from sqlalchemy.engine import Engine

from adapters.errors import Conflict, InvalidBackup
from adapters.store import blobs, database
from adapters.store.artifacts import Artifacts
from adapters.store.backup import manifest, snapshot, tables, transfer
from adapters.store.backup.manifest import DATABASE, Manifest
from adapters.store.backup.transfer import Tell
from adapters.store.folder import sync_folder

TAR = ".tar"
Ask = Callable[[Engine, Artifacts], list[dict[str, Any]]]  # what some heads of an installation answer


def _nothing(engine: Engine, artifacts: Artifacts) -> list[dict[str, Any]]:
    return []


@dataclass(frozen=True, slots=True)
class Wishes:
    """How a backup is to be made."""

    cache: bool = True  # with cached embeddings
    lenient: bool = False  # go on without blobs that are damaged or missing, and list them
    ask: Ask = _nothing


def create(
    engine: Engine, artifacts: Artifacts, path: Path, release: str, tell: Tell, wishes: Wishes | None = None
) -> tuple[Manifest, str]:
    """Write a backup of an installation to a new folder or .tar file while others use it.

    Returns its manifest and the SHA-256 of that. Raises Conflict where there is something already, CorruptArtifact for
    a blob that is not as it was stored, StorageError, StorageFull, OSError.
    """
    if path.exists():
        raise Conflict(f"{path} is there already; name another, or take it away", item=str(path))
    path.parent.mkdir(parents=True, exist_ok=True)
    draft = Path(tempfile.mkdtemp(prefix=f".{path.name}.", dir=path.parent))  # for the owner's eyes only
    try:
        made, digest = _write(engine, artifacts, draft, release, tell, wishes or Wishes())
        if path.suffix == TAR:
            _pack(draft, path)
        else:
            draft.replace(path)
        sync_folder(path.parent)
    finally:
        shutil.rmtree(draft, ignore_errors=True)
    return made, digest


def _write(
    engine: Engine, artifacts: Artifacts, draft: Path, release: str, tell: Tell, wishes: Wishes
) -> tuple[Manifest, str]:
    created_at, copies = database.now().isoformat(timespec="seconds"), Artifacts(str(draft))
    with blobs.holding_everything(engine, artifacts) as still_here:

        def told(done: int, total: int) -> None:
            still_here()
            tell(done, total)

        snapshot.take(engine, draft / DATABASE, lambda: None, wishes.cache)
        still_here()
        with _rows(draft / DATABASE) as rows:
            digests, content = _referred(rows), _contents(rows)
            lost = transfer.copy(artifacts, copies, digests, told, wishes.lenient)
            answers = wishes.ask(rows, copies)
    shutil.rmtree(draft / "partial", ignore_errors=True)
    facts = manifest.blob_facts(transfer.sizes(copies), digests - set(lost))
    made = Manifest(
        release, database.newest_revision(), created_at, manifest.database_facts(draft), content, facts, lost, answers
    )  # fmt: skip
    return made, made.write(draft)


@contextmanager
def opened(path: Path) -> Iterator["Backup"]:
    """A backup to restore from. Raises InvalidBackup where it is none, damaged, or of a newer release."""
    with tempfile.TemporaryDirectory(prefix="espalier-backup-") as scratch:
        folder = _unpacked(path, Path(scratch)) if path.is_file() else path
        found = manifest.read(folder)
        if manifest.database_facts(folder) != found.database:
            raise InvalidBackup(f"the backup is damaged: {DATABASE} is not as it was written", item=DATABASE)
        copy = Path(scratch) / "rows.sqlite"
        shutil.copyfile(folder / DATABASE, copy)  # of an older release it is brought up to date, the backup never is
        with _rows(copy) as rows:
            database.migrate(rows)
            yield Backup(found, rows, Artifacts(str(folder)))


@dataclass(frozen=True, slots=True)
class Backup:
    """One that is open."""

    manifest: Manifest
    rows: Engine  # brought up to this release's tables
    blobs: Artifacts

    def referred(self) -> set[str]:
        """Digests of the blobs that it has. Raises InvalidBackup where they are not those of the manifest."""
        digests = _referred(self.rows) - set(self.manifest.lost)
        there = transfer.sizes(self.blobs)
        missing = sorted(digests - there.keys())
        if missing:
            raise InvalidBackup(f"the backup is damaged: {len(missing)} blobs are missing", item=missing[0])
        if manifest.blob_facts(there, digests) != self.manifest.blobs:
            raise InvalidBackup("the backup is damaged: its blobs are not those that its manifest tells of")
        return digests


def _contents(engine: Engine) -> dict[str, tables.Content]:
    with snapshot.frozen(engine) as connection:
        return tables.contents(connection)


def _referred(engine: Engine) -> set[str]:
    with snapshot.frozen(engine) as connection:
        return blobs.referred(connection)


@contextmanager
def _rows(file: Path) -> Iterator[Engine]:
    """A SQLite file as a database; afterwards it is one file again."""
    engine = database.connect(f"sqlite:///{file}")
    try:
        yield engine
    finally:
        engine.dispose()
        snapshot.close(file)


def _pack(folder: Path, path: Path) -> None:
    draft = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        with open(draft, "xb", opener=_private) as file, tarfile.open(fileobj=file, mode="w") as archive:
            archive.add(folder, path.stem)
            file.flush()
            os.fsync(file.fileno())
        draft.replace(path)
    finally:
        draft.unlink(missing_ok=True)


def _private(path: str, flags: int) -> int:
    return os.open(path, flags, 0o600)


def _unpacked(path: Path, scratch: Path) -> Path:
    """The folder in a tar file, which may hold nothing that leads out of it. Raises InvalidBackup."""
    try:
        with tarfile.open(path, "r:") as archive:
            archive.extractall(scratch / "unpacked", filter="data")
    except (tarfile.TarError, EOFError) as error:
        raise InvalidBackup(f"{path} is no tar file of a backup, or a damaged one: {error}", item=path.name) from None
    found = sorted((scratch / "unpacked").glob(f"*/{manifest.FILE}"))
    return found[0].parent if len(found) == 1 else scratch / "unpacked"
