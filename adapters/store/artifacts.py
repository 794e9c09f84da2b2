"""Content-addressed blobs: put gives a SHA-256, get checks it. A local folder, or any bucket that obstore knows."""

import errno
import hashlib
import re
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import obstore
from obstore.store import LocalStore, from_url

from adapters.errors import CorruptArtifact, StorageError, StorageFull

_FULL = re.compile(r"no space left|os error 28|quota exceeded|EntityTooLarge|disk quota", re.IGNORECASE)


class Artifacts:
    """Blobs by digest, under `blobs/aa/<sha256>` of one folder or bucket."""

    def __init__(self, url: str) -> None:
        self._store: Any = _open(url)

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
            data = bytes(obstore.get(self._store, _path(digest)).bytes())
        except FileNotFoundError:
            raise CorruptArtifact(f"the blob {digest} is not in the store", item=digest) from None
        except Exception as error:
            raise _translated("read", digest, error) from error
        if hashlib.sha256(data).hexdigest() != digest:
            raise CorruptArtifact(f"the blob {digest} was altered in the store", item=digest)
        return data

    def has(self, digest: str) -> bool:
        """Whether a blob is there, without reading it."""
        try:
            obstore.head(self._store, _path(digest))
        except FileNotFoundError:
            return False
        except Exception as error:
            raise _translated("look up", digest, error) from error
        return True

    def delete(self, digests: Iterable[str]) -> None:
        """Remove blobs; those already gone are no error."""
        for digest in digests:
            try:
                obstore.delete(self._store, _path(digest))
            except FileNotFoundError:
                continue

    def _do(self, verb: str, digest: str, action: Any) -> None:
        try:
            action()
        except Exception as error:
            raise _translated(verb, digest, error) from error


def _open(url: str) -> Any:
    if "://" in url and not url.startswith("file://"):
        return from_url(url)
    folder = Path(url.removeprefix("file://"))
    folder.mkdir(parents=True, exist_ok=True)
    return LocalStore(folder)


def _path(digest: str) -> str:
    return f"blobs/{digest[:2]}/{digest}"


def _translated(verb: str, digest: str, error: Exception) -> StorageError | StorageFull:
    full = isinstance(error, OSError) and error.errno in (errno.ENOSPC, errno.EDQUOT)
    if full or _FULL.search(str(error)):
        return StorageFull("there is no space left in the artifact store; free some and try again", item=digest)
    return StorageError(f"could not {verb} the blob {digest}: {error}", item=digest)
