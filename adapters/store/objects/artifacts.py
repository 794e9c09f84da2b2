"""Content-addressed blobs: put gives a SHA-256, get checks it. A local folder, or any bucket that obstore knows.

What `put` or `put_all` has returned from survives a loss of power, so a row may be committed that refers to it. What
is there already is read and hashed before it counts as stored, so bytes that are sent again mend a damaged blob, for
no more than their own size. Which blobs are in use, and deleting the others, is the matter of
`adapters.store.objects.blobs`.
"""

import errno
import hashlib
import logging
import re
from collections.abc import Callable, Iterable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from pathlib import Path
from typing import TYPE_CHECKING

from adapters.errors import CorruptArtifact, EspalierError, StorageError, StorageFull
from adapters.pools import Pool
from adapters.store.objects.folder import Folder
from adapters.types import StoredBlob

if TYPE_CHECKING:
    from adapters.store.objects.bucket import Bucket

log = logging.getLogger("espalier.artifacts")
WRITERS = 8  # blobs under way at a time: a bucket takes milliseconds for each, a disk syncs them together
BLOBS = "blobs/"
_FULL = re.compile(r"no space left|os error 28|quota exceeded|EntityTooLarge|disk quota", re.IGNORECASE)
Put = tuple[str, Callable[[], bytes | memoryview]]  # SHA-256, and the way to its bytes


class Artifacts:
    """Blobs by digest, under `blobs/aa/<sha256>` of one folder or bucket.

    `patience` are the seconds for which what fails in a bucket is tried again.
    """

    def __init__(self, url: str, patience: float | None = None) -> None:
        folder = _local_folder(url)
        self.place: Folder | Bucket = _bucket(url, patience) if folder is None else Folder(folder)

    def put(self, data: bytes | memoryview) -> str:
        """Store bytes durably and return their SHA-256; storing the same bytes twice is free.

        Raises StorageFull, StorageError. An interrupted put leaves nothing under the digest.
        """
        digest = hashlib.sha256(data).hexdigest()
        self._write(digest, lambda: data)
        self._sync([digest])
        return digest

    def put_all(
        self,
        blobs: Iterable[Put],
        turn: Callable[[], AbstractContextManager[None]] = nullcontext,
        look: bool = True,
    ) -> None:
        """`put` for many, side by side, each in a `turn`; all are durable at the end.

        Without a `look` they are written whether they are there or not: how long that takes tells the sender nothing of
        what others have stored (docs/adr/0019-nothing-tells-what-others-hold.md).
        Raises StorageFull, StorageError, and what a way to bytes raises.
        """

        def store(blob: Put) -> str:
            with turn():
                self._write(*blob, look=look)
            return blob[0]

        with Pool(WRITERS) as pool:
            self._sync(list(pool.map(store, blobs)))

    def get(self, digest: str) -> bytes:
        """The bytes of a digest, checked. Raises CorruptArtifact when missing or altered, StorageError."""
        with _translated("read", digest):
            data = self._read(digest)
        if hashlib.sha256(data).hexdigest() != digest:
            raise CorruptArtifact(f"the blob {digest} was altered in the store", item=digest)
        return data

    def has(self, digest: str) -> bool:
        """Whether there is a blob of that name, without reading it."""
        with _translated("look up", digest):
            return self.place.has(_path(digest))

    def is_sound(self, digest: str) -> bool:
        """Whether a blob is there and as it was stored: costs reading it. Raises StorageError."""
        try:
            self.get(digest)
        except CorruptArtifact:
            return False
        return True

    def delete(self, digests: Iterable[str]) -> None:
        """Remove blobs; those already gone are no error. Only `blobs`, beside this, knows when that is safe."""
        with _translated("delete", None):
            self.place.delete(_path(digest) for digest in digests)

    def list(self) -> Iterator[StoredBlob]:
        """Every blob that there is."""
        with _translated("list", None):
            yield from self.place.list(BLOBS)

    def _read(self, digest: str) -> bytes:
        try:
            return self.place.read(_path(digest))
        except FileNotFoundError:
            raise CorruptArtifact(f"the blob {digest} is not in the store", item=digest) from None
        except OSError as error:
            if error.errno != errno.EIO:
                raise
            raise CorruptArtifact(f"the disk cannot read the blob {digest} any more", item=digest) from error

    def _write(self, digest: str, read: Callable[[], bytes | memoryview], look: bool = True) -> None:
        if not look or not self.is_sound(digest):
            data = read()
            with _translated("store", digest):
                self.place.write(_path(digest), data)

    def _sync(self, digests: Iterable[str]) -> None:
        """Also of what was there before: who wrote that may not have come to this yet."""
        with _translated("store", None):
            self.place.sync(_path(digest) for digest in digests)


def _bucket(url: str, patience: float | None) -> "Bucket":
    from adapters.store.objects.bucket import Bucket  # 4 MiB that a folder has no use for

    return Bucket(url, patience)


def _local_folder(url: str) -> Path | None:
    """The folder of a path or a file: URL; None for a bucket."""
    return None if "://" in url and not url.startswith("file://") else Path(url.removeprefix("file://"))


def _path(digest: str) -> str:
    return f"{BLOBS}{digest[:2]}/{digest}"


@contextmanager
def _translated(verb: str, digest: str | None) -> Iterator[None]:
    """What a disk or a bucket says goes to the log; the caller learns what it means: StorageFull or StorageError."""
    try:
        yield
    except EspalierError:
        raise
    except Exception as error:
        full = isinstance(error, OSError) and error.errno in (errno.ENOSPC, errno.EDQUOT)
        if full or _FULL.search(str(error)):
            message = "there is no space left in the artifact store; free some and try again"
            raise StorageFull(message, item=digest) from error
        log.warning("could not %s the blob %s: %s", verb, digest, error)
        message = f"the artifact store does not let us {verb} blobs now; try again, the server's log has the reason"
        raise StorageError(message, item=digest) from error
