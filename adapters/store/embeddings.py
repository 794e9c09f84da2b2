"""Embeddings by (SHA-256 of the input, backbone digest, view): the same view is never embedded twice.

Serving may offer vectors that it remembers. It makes no fingerprints, so an offer is a row without one until a job that
needs it completes it.
"""

import logging
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import sqlalchemy as sa
from numpy.typing import NDArray
from sqlalchemy.engine import Engine

from adapters.errors import CorruptArtifact
from adapters.store.database import reading
from adapters.store.schema import embeddings
from adapters.types import Embeddings, Floats

log = logging.getLogger("espalier.embeddings")
CENTRE = "centre"  # the view of plain serving; augmented views get names of their own
_CHUNK = 500  # keys a query: under every database's limit on parameters
_NO_FINGERPRINT = np.zeros(0, np.uint8)
_WHOLE = embeddings.c.fingerprint != b""


@dataclass(frozen=True, slots=True)
class Embedded:
    """One cached input: vector f32 [E] and a fingerprint, u8 [F], for finding near-duplicates."""

    sha256: str
    vector: Floats
    fingerprint: NDArray[np.uint8]


class EmbeddingCache:
    """The table of embeddings of one backbone."""

    def __init__(self, engine: Engine, backbone_digest: str, view: str = CENTRE) -> None:
        self._engine, self._backbone, self._view = engine, backbone_digest, view

    def find(self, sha256: str) -> Floats | None:
        """The vector of one input, complete or offered."""
        return self.vectors([sha256]).get(sha256)

    def vectors(self, sha256s: Sequence[str]) -> dict[str, Floats]:
        """Vectors f32 [E] of those that have one, complete or offered, by SHA-256."""
        found: dict[str, Floats] = {}
        with reading(self._engine) as connection:
            for chunk in _chunks(sha256s):
                rows = connection.execute(self._select((embeddings.c.sha256, embeddings.c.vector), chunk))
                found |= {key: np.frombuffer(vector, "<f4") for key, vector in rows}
        return found

    def offered(self, sha256s: Sequence[str]) -> set[str]:
        """Those of which there is a vector but no fingerprint yet."""
        found: set[str] = set()
        with reading(self._engine) as connection:
            for chunk in _chunks(sha256s):
                query = self._select(embeddings.c.sha256, chunk).where(~_WHOLE)
                found |= set(connection.execute(query).scalars())
        return found

    def offer(self, vectors: Mapping[str, Floats]) -> None:
        """Vectors that are known already, f32 [E] each; those that are there stay as they are."""
        try:
            self.put([Embedded(key, vector, _NO_FINGERPRINT) for key, vector in vectors.items()])
        except sa.exc.IntegrityError:  # another stored one of them at the same moment: it is only an offer
            log.debug("embeddings were offered twice at a time")

    def of(self, view: str) -> "EmbeddingCache":
        """The same for another view of the inputs."""
        return EmbeddingCache(self._engine, self._backbone, view)

    def missing(self, sha256s: Sequence[str]) -> list[str]:
        """Those not cached yet, or only offered, in order, each once."""
        known: set[str] = set()
        with reading(self._engine) as connection:
            for chunk in _chunks(sha256s):
                known |= set(connection.execute(self._complete(embeddings.c.sha256, chunk)).scalars())
        return [key for key in dict.fromkeys(sha256s) if key not in known]

    def put(self, items: Iterable[Embedded]) -> None:
        """Store vectors; one that another worker stored meanwhile is kept."""
        rows = [self._row(item) for item in items]
        if not rows:
            return
        keys = [str(row["sha256"]) for row in rows]
        with self._engine.begin() as connection:
            if rows[0]["fingerprint"]:
                connection.execute(embeddings.delete().where(*self._named(keys), ~_WHOLE))
            known = set(connection.execute(self._select(embeddings.c.sha256, keys)).scalars())
            fresh = [row for row in rows if row["sha256"] not in known]
            if fresh:
                connection.execute(embeddings.insert(), fresh)

    def get(self, sha256s: Sequence[str], length: int | None = None) -> tuple[Embeddings, NDArray[np.uint8]]:
        """Vectors f32 [N, E] and fingerprints u8 [N, F], in the order asked for; with a `length` the first so many
        numbers of each vector, f32 [N, length].

        Raises CorruptArtifact when one is missing: embed first.
        """
        vector = embeddings.c.vector if length is None else _beginning(length)
        columns = (embeddings.c.sha256, vector, embeddings.c.fingerprint)
        stacked = _Stack(len(sha256s))
        with reading(self._engine) as connection:
            for chunk in _chunks(sha256s):
                found = {row[0]: row[1:] for row in connection.execute(self._complete(columns, chunk))}
                stacked.add(chunk, found)
        return stacked.vectors, stacked.fingerprints

    def _select(self, columns: object, keys: Sequence[str]) -> sa.Select:
        wanted = columns if isinstance(columns, tuple) else (columns,)
        return sa.select(*wanted).where(*self._named(keys))

    def _complete(self, columns: object, keys: Sequence[str]) -> sa.Select:
        return self._select(columns, keys).where(_WHOLE)

    def _named(self, keys: Sequence[str]) -> tuple[sa.ColumnElement[bool], ...]:
        table = embeddings.c
        return table.backbone == self._backbone, table.view == self._view, table.sha256.in_(keys)

    def _row(self, item: Embedded) -> dict[str, object]:
        return {
            "sha256": item.sha256, "backbone": self._backbone, "view": self._view,
            "vector": np.ascontiguousarray(item.vector, dtype="<f4").tobytes(),
            "fingerprint": item.fingerprint.tobytes(),
        }  # fmt: skip


def _beginning(length: int) -> sa.ColumnElement[bytes]:
    return sa.func.substr(embeddings.c.vector, 1, 4 * length, type_=sa.LargeBinary)


class _Stack:
    """Rows of two arrays, filled a chunk at a time: of 100,000 vectors there is never a second copy."""

    def __init__(self, count: int) -> None:
        self._count, self._filled = count, 0
        self.vectors = np.zeros((count, 0), np.float32)  # [N, E]
        self.fingerprints = np.zeros((count, 0), np.uint8)  # [N, F]

    def add(self, keys: Sequence[str], found: Mapping[str, Sequence[bytes]]) -> None:
        """The next rows. Raises CorruptArtifact when one is missing."""
        for key in keys:
            if key not in found:
                raise CorruptArtifact(f"the input {key} has no embedding", item=key)
            vector, fingerprint = np.frombuffer(found[key][0], "<f4"), np.frombuffer(found[key][1], np.uint8)
            if not self._filled:
                self.vectors = np.empty((self._count, len(vector)), np.float32)
                self.fingerprints = np.empty((self._count, len(fingerprint)), np.uint8)
            self.vectors[self._filled], self.fingerprints[self._filled] = vector, fingerprint
            self._filled += 1


def _chunks(keys: Sequence[str]) -> Iterator[Sequence[str]]:
    for start in range(0, len(keys), _CHUNK):
        yield keys[start : start + _CHUNK]
