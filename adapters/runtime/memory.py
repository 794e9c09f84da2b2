"""Embeddings that serving remembers: the same image asked of another head, or sent again, skips the backbone.

Keyed by (backbone digest, SHA-256 of the bytes), as the embeddings are that `/finetune` keeps. It does not read those:
a look into the database would cost every image that is new, which is nearly all of them, more than a lane can spare,
to save the rare one that a head was trained on.
"""

import hashlib
import threading
from collections import OrderedDict

import numpy as np

from adapters.runtime.batcher import Asker
from adapters.runtime.inflight import Bytes
from adapters.runtime.meters import UNSEEN, Meters
from adapters.types import Floats

Key = tuple[str, bytes]
OVERHEAD = 300  # bytes of an entry beside its numbers: key, array object, place in the order


class EmbeddingMemory:
    """Embeddings f32 [D], bounded in bytes; the least recently used go first. 0 bytes: nothing is remembered."""

    def __init__(self, max_bytes: int, meters: Meters = UNSEEN) -> None:
        self._max_bytes, self._meters = max_bytes, meters
        self._known: OrderedDict[Key, Floats] = OrderedDict()
        self._lock = threading.Lock()
        self.bytes = 0

    def asked(self, backbone: str, data: Bytes, asker: Asker) -> Asker | None:
        """None where the embedding is known and `asker` settled with it, else who is to be settled instead."""
        if not self._max_bytes:
            return asker
        key = (backbone, hashlib.sha256(data).digest())
        known = self._find(key)
        if known is None:
            self._meters.cache_miss()
            return _Keeper(self, key, asker)
        self._meters.cache_hit()
        asker.settle(known)
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

    def _find(self, key: Key) -> Floats | None:
        with self._lock:
            found = self._known.get(key)
            if found is not None:
                self._known.move_to_end(key)
            return found

    def __len__(self) -> int:
        return len(self._known)


class _Keeper:
    """Remembers an answer and passes it on."""

    def __init__(self, memory: EmbeddingMemory, key: Key, asker: Asker) -> None:
        self._memory, self._key, self._asker = memory, key, asker

    @property
    def abandoned(self) -> bool:
        return self._asker.abandoned

    def settle(self, answer: Floats | Exception) -> None:
        if not isinstance(answer, Exception):
            self._memory.keep(self._key, answer)
        self._asker.settle(answer)
