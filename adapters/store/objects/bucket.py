"""Blobs in any bucket that obstore knows. A put that has returned is durable: the bucket's own promise."""

from collections.abc import Iterable, Iterator
from datetime import timedelta
from typing import Any

import obstore
from obstore.store import from_url

from adapters.types import StoredBlob


class Bucket:
    """Objects by path below one URL. Raises obstore's errors, FileNotFoundError among them.

    What fails at once is tried again for `patience` seconds, by default for obstore's own three minutes. How long a
    bucket may say nothing is for the environment to tell (AWS_READ_TIMEOUT), as are its keys: obstore's options in
    code would replace all of those.
    """

    def __init__(self, url: str, patience: float | None = None) -> None:
        bounded: Any = {} if patience is None else {
            "retry_config": {"max_retries": 2, "retry_timeout": timedelta(seconds=patience)}
        }  # fmt: skip
        self._store: Any = from_url(url, **bounded)

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
