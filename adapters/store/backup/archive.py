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

from adapters.errors import InvalidBackup, InvalidInput
from adapters.store import database
from adapters.store.backup import draft, manifest, snapshot, tables, transfer
from adapters.store.backup.manifest import DATABASE, Manifest
from adapters.store.backup.transfer import Tell
from adapters.store.objects import blobs
from adapters.store.objects.artifacts import Artifacts
from adapters.store.objects.folder import sync_file, sync_folder

TAR, PACKED = ".tar", (".gz", ".tgz", ".bz2", ".xz", ".zst", ".zip")
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

    Returns its manifest and the SHA-256 of that. Raises InvalidInput for a name that asks for another kind of file,
    Conflict where there is something already, CorruptArtifact for a blob that is not as it was stored, StorageError,
    StorageFull, OSError.
    """
    if path.suffix in PACKED:
        raise InvalidInput(f"a backup is a folder or a {TAR} file; compress it afterwards", item=path.name)
    if path.exists() or path.is_symlink():
        raise draft.taken(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    with draft.drafted(path) as place:
        folder = place / path.stem
        folder.mkdir(mode=0o700)
        made, digest = _write(engine, artifacts, folder, release, tell, wishes or Wishes())
        draft.close_to_others(folder)
        draft.give_name(_packed(folder, place) if path.suffix == TAR else folder, path)
        sync_folder(path.parent)
    return made, digest


def _write(
    engine: Engine, artifacts: Artifacts, folder: Path, release: str, tell: Tell, wishes: Wishes
) -> tuple[Manifest, str]:
    created_at, copies = database.now().isoformat(timespec="seconds"), Artifacts(str(folder))
    with blobs.holding_everything(engine, artifacts) as still_here:

        def told(done: int, total: int) -> None:
            still_here()
            tell(done, total)

        snapshot.take(engine, folder / DATABASE, lambda: None, wishes.cache)
        still_here()
        with _rows(folder / DATABASE) as rows:
            digests, content = _referred(rows), _contents(rows)
            lost = transfer.copy(artifacts, copies, digests, told, wishes.lenient)
            answers = wishes.ask(rows, copies)
    shutil.rmtree(folder / "partial", ignore_errors=True)
    facts = manifest.blob_facts(transfer.sizes(copies), digests - set(lost))
    made = Manifest(
        release, database.newest_revision(), created_at, manifest.database_facts(folder), content, facts, lost, answers
    )  # fmt: skip
    return made, made.write(folder)


@contextmanager
def opened(path: Path) -> Iterator["Backup"]:
    """A backup to restore from. Raises InvalidBackup where it is none, damaged, or of a newer release."""
    with tempfile.TemporaryDirectory(prefix="espalier-backup-") as scratch:
        folder = _unpacked(path, Path(scratch)) if path.is_file() else path
        draft.refuse_odd(folder)
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


def _packed(folder: Path, place: Path) -> Path:
    made = place / f".{folder.name}{TAR}"
    with open(made, "xb", opener=_private) as file, tarfile.open(fileobj=file, mode="w") as archive:
        archive.add(folder, folder.name)
    sync_file(made)
    return made


def _private(path: str, flags: int) -> int:
    return os.open(path, flags, 0o600)


def _plain(member: tarfile.TarInfo, place: str) -> tarfile.TarInfo:
    """No links, nor pipes or devices, nor files that would grow as they are unpacked. Raises InvalidBackup."""
    if member.issparse() or not (member.isreg() or member.isdir()):
        name = member.name[:200]
        raise InvalidBackup(f"the backup is damaged: {name} is neither a file nor a folder", item=name)
    return tarfile.data_filter(member, place)


def _unpacked(path: Path, scratch: Path) -> Path:
    """The folder in a tar file, which may hold nothing that leads out of it. Raises InvalidBackup."""
    try:
        with tarfile.open(path, "r:") as archive:
            archive.extractall(scratch / "unpacked", filter=_plain)
    except (tarfile.TarError, EOFError) as error:
        raise InvalidBackup(f"{path} is no tar file of a backup, or a damaged one: {error}", item=path.name) from None
    found = sorted((scratch / "unpacked").glob(f"*/{manifest.FILE}"))
    return found[0].parent if len(found) == 1 else scratch / "unpacked"
