"""Images of a job → cached embeddings, through the very graph and decoder that serve."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial

import numpy as np

from adapters.errors import EspalierError, InvalidInput
from adapters.modalities import image
from adapters.runtime.backbone import BackboneSession
from adapters.runtime.batcher import Batcher
from adapters.store.artifacts import Artifacts
from adapters.store.embeddings import Embedded, EmbeddingCache
from adapters.training.duplicates import fingerprint
from adapters.types import Example, Floats

CHUNK = 64  # images between looks at the clock, the owner's wish to cancel, and writes to the cache


@dataclass(frozen=True, slots=True)
class Embedder:
    """What embedding needs: the loaded backbone, where bytes are, and how many threads may decode."""

    session: BackboneSession
    artifacts: Artifacts
    cache: EmbeddingCache
    lanes: int
    max_pixels: int

    def embed(self, examples: Sequence[Example], report: Callable[[int, int], None]) -> dict[str, int]:
        """Embed what is not cached yet; `report(done, total)` after every chunk. Returns {"new", "cached"}.

        What serving has offered goes past the backbone, too: its pixels are needed for the fingerprint alone.
        Raises InvalidImage naming the file. What was embedded before an error or a crash stays cached.
        """
        named = {example.sha256: example for example in examples}
        missing = self.cache.missing(list(named))
        offered = self.cache.vectors(missing)
        report(0, len(missing))
        batcher = Batcher(self.session)
        with ThreadPoolExecutor(self.lanes, thread_name_prefix="embed") as pool:
            done = 0
            work = partial(self._one, batcher, offered)
            for chunk in self._ahead(pool, work, [named[sha] for sha in missing]):
                self.cache.put(chunk)
                done += len(chunk)
                report(done, len(missing))
        new = len(missing) - len(offered)
        return {"new": new, "cached": len(named) - new}

    def _ahead(
        self, pool: ThreadPoolExecutor, work: Callable[[Example], Embedded], examples: list[Example]
    ) -> Iterator[list[Embedded]]:
        """Chunks in order; the next is at work while the caller stores the last."""
        pending: list[list[Future[Embedded]]] = []
        for start in range(0, len(examples), CHUNK):
            pending.append([pool.submit(work, e) for e in examples[start : start + CHUNK]])
            if len(pending) == 2:
                yield _results(pending.pop(0))
        for chunk in pending:
            yield _results(chunk)

    def _one(self, batcher: Batcher, offered: Mapping[str, Floats], example: Example) -> Embedded:
        try:
            data = self.artifacts.get(example.sha256)
            pixels = image.decode(data, self.session.backbone.preprocessing, max_pixels=self.max_pixels)
        except InvalidInput as error:
            raise type(error)(f"{example.file_name}: {error.message}", item=example.file_name) from None
        known = offered.get(example.sha256)
        vector = batcher.embed(pixels) if known is None else known
        return Embedded(example.sha256, np.asarray(vector, np.float32), fingerprint(pixels))


def _results(chunk: list[Future[Embedded]]) -> list[Embedded]:
    try:
        return [future.result() for future in chunk]
    except EspalierError:
        for future in chunk:
            future.cancel()
        raise
