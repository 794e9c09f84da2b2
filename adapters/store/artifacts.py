"""Content-addressed blobs: put gives a SHA-256, get checks it. A local folder, or any bucket that obstore knows."""

import errno
import hashlib
import re
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path
from typing import Any

import obstore
from obstore.store import LocalStore, from_url

from adapters.errors import CorruptArtifact, StorageError, StorageFull

WRITERS = 8  # blobs under way at a time: a bucket takes milliseconds for each
_FULL = re.compile(r"no space left|os error 28|quota exceeded|EntityTooLarge|disk quota", re.IGNORECASE)


class Artifacts:
    """Blobs by digest, under `blobs/aa/<sha256>` of one folder or bucket."""

    def __init__(self, url: str) -> None:
        self._folder = _local_folder(url)
        self._store: Any = from_url(url) if self._folder is None else LocalStore(self._folder)

    def put(self, data: bytes | memoryview) -> str:
        """Store bytes and return their SHA-256; storing the same bytes twice is free.

        Raises StorageFull, StorageError. An interrupted put leaves nothing under the digest.
        """
        digest = hashlib.sha256(data).hexdigest()
        if not self.has(digest):
            self._do(
                "store",
                digest,
                lambda: obstore.put(self._store, _path(digest), bytes(data), use_multipart=False),
            )
        return digest

    def get(self, digest: str) -> bytes:
        """The bytes of a digest, checked. Raises CorruptArtifact when missing or altered, StorageError."""
        try:
            data = self._read(_path(digest))
        except FileNotFoundError:
            raise CorruptArtifact(f"the blob {digest} is not in the store", item=digest) from None
        except Exception as error:
            raise _translated("read", digest, error) from error
        if hashlib.sha256(data).hexdigest() != digest:
            raise CorruptArtifact(f"the blob {digest} was altered in the store", item=digest)
        return data

    def has(self, digest: str) -> bool:
        """Whether a blob is there, without reading it."""
        if self._folder is not None:
            return (self._folder / _path(digest)).exists()
        try:
            obstore.head(self._store, _path(digest))
        except FileNotFoundError:
            return False
        except Exception as error:
            raise _translated("look up", digest, error) from error
        return True

    def put_all(
        self,
        blobs: Iterable[tuple[str, Callable[[], bytes | memoryview]]],
        turn: Callable[[], AbstractContextManager[None]] = nullcontext,
    ) -> None:
        """Store what is not there yet of (digest, the way to its bytes), each in a `turn`.

        Raises StorageFull, StorageError.
        """

        def store(blob: tuple[str, Callable[[], bytes | memoryview]]) -> None:
            with turn():
                if not self.has(blob[0]):
                    self.put(blob[1]())

        with ThreadPoolExecutor(WRITERS) as pool:
            list(pool.map(store, blobs))

    def has_all(self, digests: Sequence[str]) -> list[bool]:
        """`has` for many, side by side where each is a request to a bucket."""
        if self._folder is not None:
            return [self.has(digest) for digest in digests]
        with ThreadPoolExecutor(WRITERS) as pool:
            return list(pool.map(self.has, digests))

    def delete(self, digests: Iterable[str]) -> None:
        """Remove blobs; those already gone are no error."""
        for digest in digests:
            try:
                obstore.delete(self._store, _path(digest))
            except FileNotFoundError:
                continue

    def _read(self, path: str) -> bytes:
        # A plain file is read, and looked for, in a fraction of the time that obstore's thread pool takes.
        if self._folder is not None:
            return (self._folder / path).read_bytes()
        return bytes(obstore.get(self._store, path).bytes())

    def _do(self, verb: str, digest: str, action: Any) -> None:
        try:
            action()
        except Exception as error:
            raise _translated(verb, digest, error) from error


def _local_folder(url: str) -> Path | None:
    """The folder of a path or a file: URL, made if need be; None for a bucket."""
    if "://" in url and not url.startswith("file://"):
        return None
    folder = Path(url.removeprefix("file://"))
    folder.mkdir(parents=True, exist_ok=True)
    return folder


def _path(digest: str) -> str:
    return f"blobs/{digest[:2]}/{digest}"


def _translated(verb: str, digest: str, error: Exception) -> StorageError | StorageFull:
    full = isinstance(error, OSError) and error.errno in (errno.ENOSPC, errno.EDQUOT)
    if full or _FULL.search(str(error)):
        return StorageFull("there is no space left in the artifact store; free some and try again", item=digest)
    return StorageError(f"could not {verb} the blob {digest}: {error}", item=digest)
