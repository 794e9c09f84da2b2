"""Embeddings that serving remembers: the same input asked of another head, or sent again, skips the backbone.

Keyed by (backbone digest, SHA-256 of the bytes), as the embeddings are that `/finetune` keeps, and shared with those:
an input that is not remembered is looked up there (0.2 ms, which only those pay who turned the memory on), and what is
remembered of the inputs of a job is offered to it, so that inputs that were predicted first are taught without the
backbone. What a trunk tells at a cut is remembered, too, by the trunk's digest; jobs keep none of it.
"""

import hashlib
import threading
from collections import OrderedDict
from collections.abc import Callable, Iterable

import numpy as np

from adapters.runtime.batcher import Waiter
from adapters.runtime.meters import UNSEEN, Meters
from adapters.runtime.queueing.inflight import Bytes
from adapters.types import Floats, Told

Key = tuple[str, str]  # (backbone digest with the tenant's name before it, SHA-256)
Stored = Callable[[str, str], Floats | None]  # the same → f32 [E], where it is kept elsewhere
OVERHEAD = 330  # bytes of an entry beside its numbers: key, array object, place in the order


def _nothing(backbone: str, sha256: str) -> None:
    """For a memory that is on its own."""


class EmbeddingMemory:
    """Embeddings f32 [E], bounded in bytes; the least recently used go first. 0 bytes: nothing is remembered."""

    def __init__(self, max_bytes: int, meters: Meters = UNSEEN, stored: Stored = _nothing) -> None:
        self._max_bytes, self._meters, self._stored = max_bytes, meters, stored
        self._known: OrderedDict[Key, Floats] = OrderedDict()
        self._lock = threading.Lock()
        self.bytes = 0

    def look_up(self, backbone: str, data: Bytes, waiter: Waiter, taught: bool = True) -> Waiter | None:
        """None where the embedding is known and `waiter` resolved with it, else who is to be resolved instead.

        `taught`: jobs keep such embeddings, too, so that it is looked for among those.
        """
        if not self._max_bytes:
            return waiter
        key = (backbone, hashlib.sha256(data).hexdigest())
        known = self._find(key, taught)
        if known is None:
            self._meters.cache_miss()
            return _Keeper(self, (key,), waiter)
        self._meters.cache_hit()
        waiter.resolve(known)
        return None

    def look_up_pair(self, backbone: str, trunk: str, data: Bytes, waiter: Waiter) -> Waiter | None:
        """The same of an embedding and a tap that one pass tells: each is kept by itself, and both have to be known."""
        if not self._max_bytes:
            return waiter
        sha256 = hashlib.sha256(data).hexdigest()
        embedding, tap = self._find((backbone, sha256), True), self._find((trunk, sha256), False)
        if embedding is None or tap is None:
            self._meters.cache_miss()
            return _Keeper(self, ((backbone, sha256), (trunk, sha256)), waiter)
        self._meters.cache_hit()
        waiter.resolve((embedding, tap))
        return None

    def keep(self, key: Key, embedding: Floats) -> None:
        """Remember one, and forget others for it."""
        copy = np.array(embedding)  # what we are given is a row of a whole pass
        with self._lock:
            if key not in self._known:
                self._known[key] = copy
                self.bytes += copy.nbytes + OVERHEAD
            while self.bytes > self._max_bytes:
                _, old = self._known.popitem(last=False)
                self.bytes -= old.nbytes + OVERHEAD

    def known(self, backbone: str, sha256s: Iterable[str]) -> dict[str, Floats]:
        """What is remembered of some inputs, by SHA-256."""
        with self._lock:
            found = ((sha256, self._known.get((backbone, sha256))) for sha256 in sha256s)
            return {sha256: vector for sha256, vector in found if vector is not None}

    def _find(self, key: Key, taught: bool) -> Floats | None:
        with self._lock:
            found = self._known.get(key)
            if found is not None:
                self._known.move_to_end(key)
                return found
        stored = self._stored(*key) if taught else None
        if stored is not None:
            self.keep(key, stored)
        return stored

    def __len__(self) -> int:
        return len(self._known)


class _Keeper:
    """Remembers an answer, or each of a pair, and passes it on."""

    def __init__(self, memory: EmbeddingMemory, keys: tuple[Key, ...], waiter: Waiter) -> None:
        self._memory, self._keys, self._waiter = memory, keys, waiter

    @property
    def abandoned(self) -> bool:
        return self._waiter.abandoned

    def resolve(self, answer: Told | Exception) -> None:
        if not isinstance(answer, Exception):
            told = answer if isinstance(answer, tuple) else (answer,)
            for key, one in zip(self._keys, told, strict=True):
                self._memory.keep(key, one)
        self._waiter.resolve(answer)
