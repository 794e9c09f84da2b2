"""What a backup says of itself: manifest.json, written last, so that a folder without one is no backup."""

import hashlib
import json
import os
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from adapters.errors import InvalidBackup
from adapters.store.backup.tables import Content
from adapters.store.database import known_revisions, newest_revision
from adapters.store.objects.folder import sync_folder

FILE, DATABASE = "manifest.json", "database.sqlite"
FORMAT = 1  # of the folder; raised when an earlier release could not read it any more


@dataclass(frozen=True, slots=True)
class Manifest:
    """What is in a backup, with digests of all of it."""

    release: str
    schema: str  # the revision of its tables
    created_at: str
    database: dict[str, Any]  # {"bytes", "sha256"} of the file
    tables: dict[str, Content]
    blobs: dict[str, Any]  # {"count", "bytes", "sha256"}: of all that rows refer to, the digest is that of their list
    lost: list[str]  # blobs that were damaged or missing at the source already
    answers: list[dict[str, Any]] = field(default_factory=list)  # of some heads, to compare with after restoring
    format: int = FORMAT

    def write(self, folder: Path) -> str:
        """Write it, and return its own SHA-256."""
        data = json.dumps(asdict(self), indent=2, ensure_ascii=False).encode()
        with (folder / FILE).open("xb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        sync_folder(folder)
        return hashlib.sha256(data).hexdigest()


def read(folder: Path) -> Manifest:
    """The manifest of a backup of this release or an earlier one. Raises InvalidBackup."""
    try:
        facts = json.loads((folder / FILE).read_bytes())
    except FileNotFoundError:
        raise InvalidBackup(f"{folder} is no backup, or one that was not completed: it has no {FILE}") from None
    except ValueError:
        raise InvalidBackup(f"the {FILE} of {folder} is damaged: it is not JSON", item=FILE) from None
    _refuse_newer(facts)
    try:
        tables = {name: Content(**content) for name, content in facts.pop("tables").items()}
        return Manifest(tables=tables, **facts)
    except (AttributeError, KeyError, TypeError):
        raise InvalidBackup(f"the {FILE} of {folder} is damaged: parts of it are missing", item=FILE) from None


def _refuse_newer(facts: Any) -> None:
    if not isinstance(facts, Mapping) or not isinstance(facts.get("format"), int):
        raise InvalidBackup(f"the {FILE} is none of a backup", item=FILE)
    schema = str(facts.get("schema"))[:100]
    if facts["format"] > FORMAT or schema not in known_revisions():
        release = str(facts.get("release"))[:50]
        detail = f"it is of release {release} with tables {schema}, this one has {newest_revision()}"
        raise InvalidBackup(f"the backup was made by a newer release: {detail}; restore it with that one", item=FILE)


def database_facts(folder: Path) -> dict[str, Any]:
    """Of the file that holds the rows. Raises InvalidBackup where there is none."""
    file = folder / DATABASE
    if not file.is_file():
        raise InvalidBackup(f"the backup is damaged: {DATABASE} is not there", item=DATABASE)
    with file.open("rb") as opened:
        return {"bytes": file.stat().st_size, "sha256": hashlib.file_digest(opened, "sha256").hexdigest()}


def blob_facts(sizes: Mapping[str, int], digests: Iterable[str]) -> dict[str, Any]:
    """Of the blobs that rows refer to."""
    wanted = sorted(digests)
    listed = hashlib.sha256("\n".join(wanted).encode()).hexdigest()
    return {"count": len(wanted), "bytes": sum(sizes[digest] for digest in wanted), "sha256": listed}
