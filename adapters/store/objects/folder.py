"""Blobs in a local folder. What has a name here is whole and on the disk: write, fsync, rename; then `sync` the names.

A name outlives a loss of power only once its folder was synced, too (fsync(2)); who writes many does that once for all
of them. Files under `partial/` were never finished: their writer was killed, or is at work.
"""

import errno
import os
import secrets
from collections.abc import Iterable, Iterator
from datetime import UTC, datetime
from pathlib import Path

from adapters.pools import Pool
from adapters.types import StoredBlob

PARTIAL = "partial"
SYNCS = 8  # folders synced side by side: a disk's journal takes them together


def private(path: Path) -> None:
    """Make a folder that only its owner can look into: inputs, heads and hashes of keys lie there. One that is there
    keeps its mode, which somebody may have chosen.
    """
    path.mkdir(mode=0o700, parents=True, exist_ok=True)


class Folder:
    """Files by path below one folder, which is made if need be. Raises OSError."""

    def __init__(self, root: Path) -> None:
        self.root = root
        private(root)

    def write(self, path: str, data: bytes | memoryview) -> None:
        """Put a file into place, over a damaged one, too; its name is durable after `sync`."""
        target = self.root / path
        target.parent.mkdir(parents=True, exist_ok=True)
        draft = self.root / PARTIAL / f"{target.name}.{secrets.token_hex(8)}"
        draft.parent.mkdir(exist_ok=True)
        try:
            _write_through(draft, data)
            draft.replace(target)
        except BaseException:
            draft.unlink(missing_ok=True)
            raise

    def sync(self, paths: Iterable[str]) -> None:
        """Make the names of files durable, and those of the folders that they are in."""
        inner = {(self.root / path).parent for path in paths}
        if inner:
            with Pool(min(SYNCS, len(inner))) as pool:
                list(pool.map(sync_folder, sorted(inner)))
            for folder in {folder.parent for folder in inner}:
                sync_folder(folder)

    def read(self, path: str) -> bytes:
        """Raises FileNotFoundError."""
        return (self.root / path).read_bytes()

    def has(self, path: str) -> bool:
        """Whether there is a file."""
        return (self.root / path).exists()

    def delete(self, paths: Iterable[str]) -> None:
        """Remove files; those already gone are no error."""
        for path in paths:
            (self.root / path).unlink(missing_ok=True)

    def list(self, prefix: str) -> Iterator[StoredBlob]:
        """Every file below `prefix`; one that goes meanwhile is left out."""
        for file in sorted((self.root / prefix).glob("*/*")):
            try:
                facts = file.stat()
            except FileNotFoundError:
                continue
            yield StoredBlob(file.name, facts.st_size, datetime.fromtimestamp(facts.st_mtime, UTC))

    def unfinished(self) -> Iterator[tuple[Path, datetime]]:
        """Files that nobody has finished, and when they were last written to."""
        for file in sorted((self.root / PARTIAL).glob("*")):
            try:
                yield file, datetime.fromtimestamp(file.stat().st_mtime, UTC)
            except FileNotFoundError:
                continue


def _write_through(path: Path, data: bytes | memoryview) -> None:
    with path.open("xb") as file:
        file.write(data)
        file.flush()
        os.fsync(file.fileno())


def sync_file(path: Path) -> None:
    """Make what is written in a file durable, its end included."""
    with path.open("rb") as file:
        os.fsync(file.fileno())


def sync_folder(folder: Path) -> None:
    """Make the names in a folder durable, where its file system can."""
    handle = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(handle)
    except OSError as error:
        if error.errno not in (errno.EINVAL, errno.ENOTSUP):
            raise
    finally:
        os.close(handle)
