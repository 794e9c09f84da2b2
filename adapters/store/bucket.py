"""Blobs in any bucket that obstore knows. A put that has returned is durable: the bucket's own promise."""

from collections.abc import Iterable, Iterator
from typing import Any

import obstore
from obstore.store import from_url

from adapters.types import StoredBlob


class Bucket:
    """Objects by path below one URL. Raises obstore's errors, FileNotFoundError among them."""

    def __init__(self, url: str) -> None:
        self._store: Any = from_url(url)

    def write(self, path: str, data: bytes | memoryview) -> None:
        """Put an object into place, whole or not at all."""
        obstore.put(self._store, path, bytes(data), use_multipart=False)

    def sync(self, paths: Iterable[str]) -> None:
        """Nothing to do."""

    def read(self, path: str) -> bytes:
        """Raises FileNotFoundError."""
        return bytes(obstore.get(self._store, path).bytes())

    def has(self, path: str) -> bool:
        """Whether there is an object, without reading it."""
        try:
            obstore.head(self._store, path)
        except FileNotFoundError:
            return False
        return True

    def delete(self, paths: Iterable[str]) -> None:
        """Remove objects, in few requests where the bucket can; those already gone are no error."""
        wanted = list(dict.fromkeys(paths))
        try:
            obstore.delete(self._store, wanted)
        except FileNotFoundError:  # by stores that take them one by one
            for path in wanted:
                self._delete_one(path)

    def list(self, prefix: str) -> Iterator[StoredBlob]:
        """Every object below `prefix`."""
        for page in obstore.list(self._store, prefix=prefix):
            for found in page:
                yield StoredBlob(found["path"].rpartition("/")[2], found["size"], found["last_modified"])

    def _delete_one(self, path: str) -> None:
        try:
            obstore.delete(self._store, path)
        except FileNotFoundError:
            pass
