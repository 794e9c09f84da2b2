"""Images of a job → cached embeddings, through the very graph and decoder that serve."""

from collections.abc import Callable, Iterator, Sequence, Set
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial

import numpy as np

from adapters.errors import EspalierError, InvalidInput
from adapters.modalities import image
from adapters.problems import Problems
from adapters.runtime.backbone import BackboneSession
from adapters.runtime.batcher import Batcher
from adapters.store.embeddings import CENTRE, Embedded, EmbeddingCache
from adapters.store.examples import stored
from adapters.store.objects.artifacts import Artifacts
from adapters.training.data.duplicates import fingerprint
from adapters.types import Example, Floats, Pixels

CHUNK = 64  # views between looks at the clock, the owner's wish to cancel, and writes to the cache

Work = tuple[Example, list[str]]  # with the views that it lacks
_Done = dict[str, Embedded]  # by view


@dataclass(frozen=True, slots=True)
class Embedder:
    """What embedding needs: the loaded backbone, where bytes are, and how many threads may decode."""

    session: BackboneSession
    artifacts: Artifacts
    cache: EmbeddingCache
    lanes: int
    max_pixels: int

    def embed(
        self, examples: Sequence[Example], report: Callable[[int, int], None], views: Sequence[str] = ()
    ) -> dict[str, int]:
        """Embed what is not cached yet, as served and in further views; `report(done, total)` after every chunk.

        Returns {"new", "cached", "views"}: images by what serving sees, and how many further views were embedded.
        What serving has offered goes past the backbone, too: its pixels are needed for the fingerprint alone.
        Raises InvalidImage naming every file that cannot be read, when the others are done. They stay cached, as does
        what was embedded before a crash.
        """
        work = self.lacking(examples, views)
        counts = self.counts(examples, work)
        bad = self.embed_usable(work, report, views)
        bad.raise_any(f"{bad.count} of {len(work)} images cannot be used")
        return counts

    def lacking(self, examples: Sequence[Example], views: Sequence[str] = ()) -> list[Work]:
        """Each image that is not cached yet in all views, with those that it lacks."""
        named = {example.sha256: example for example in examples}
        missing = self._missing(list(named), (CENTRE, *views))
        return [(named[sha256], looks) for sha256, looks in missing.items()]

    def counts(self, examples: Sequence[Example], work: Sequence[Work]) -> dict[str, int]:
        """{"new", "cached", "views"} of such work, before it is done."""
        centres = sum(CENTRE in looks for _, looks in work)
        new = centres - len(self._offered(work))
        cached = len({example.sha256 for example in examples}) - new
        return {"new": new, "cached": cached, "views": sum(len(looks) for _, looks in work) - centres}

    def embed_usable(
        self, work: Sequence[Work], report: Callable[[int, int], None], views: Sequence[str] = ()
    ) -> Problems:
        """Do such work, and say what is wrong with images that cannot be used."""
        offered = self._offered(work)
        report(0, len(work))
        batcher, bad = Batcher(self.session), Problems()
        with ThreadPoolExecutor(self.lanes, thread_name_prefix="embed") as pool:
            done = 0
            one = partial(self._one, batcher, offered)
            for chunk in self._ahead(pool, one, work, max(1, CHUNK // (1 + len(views)))):
                self._store([looks for looks in chunk if isinstance(looks, dict)])
                for error in chunk:
                    if isinstance(error, InvalidInput):
                        bad.add(error)
                done += len(chunk)
                report(done, len(work))
        return bad

    def _offered(self, work: Sequence[Work]) -> set[str]:
        return self.cache.offered([example.sha256 for example, looks in work if CENTRE in looks])

    def _missing(self, sha256s: list[str], views: Sequence[str]) -> dict[str, list[str]]:
        """The views that each image lacks; images that lack none are left out."""
        lacking: dict[str, list[str]] = {sha256: [] for sha256 in sha256s}
        for view in views:
            for sha256 in self.cache.of(view).missing(sha256s):
                lacking[sha256].append(view)
        return {sha256: looks for sha256, looks in lacking.items() if looks}

    def _ahead(
        self,
        pool: ThreadPoolExecutor,
        one: Callable[[Example, list[str]], _Done | InvalidInput],
        work: Sequence[Work],
        size: int,
    ) -> Iterator[list[_Done | InvalidInput]]:
        """Chunks in order; the next is at work while the caller stores the last."""
        pending: list[list[Future[_Done | InvalidInput]]] = []
        for start in range(0, len(work), size):
            pending.append([pool.submit(one, *item) for item in work[start : start + size]])
            if len(pending) == 2:
                yield _results(pending.pop(0))
        for chunk in pending:
            yield _results(chunk)

    def _one(self, batcher: Batcher, offered: Set[str], example: Example, views: list[str]) -> _Done | InvalidInput:
        try:
            looks = self._decoded(stored(self.artifacts, example), views)
        except InvalidInput as error:
            return type(error)(f"{example.file_name}: {error.message}", item=example.file_name)
        # Looked up one by one: all of them at once may be more than memory holds.
        known = self.cache.find(example.sha256) if example.sha256 in offered else None
        return {
            view: self._embedded(example, pixels, batcher, known if view == CENTRE else None)
            for view, pixels in zip(views, looks, strict=True)
        }

    def _embedded(self, example: Example, pixels: Pixels, batcher: Batcher, known: Floats | None) -> Embedded:
        vector = batcher.embed(pixels) if known is None else known
        return Embedded(example.sha256, np.asarray(vector, np.float32), fingerprint(pixels))

    def _decoded(self, data: bytes, views: list[str]) -> list[Pixels]:
        """What serving sees is asked for in serving's way: a modality without views has no other."""
        preprocessing = self.session.backbone.preprocessing
        if views == [CENTRE]:
            return [image.decode(data, preprocessing, max_pixels=self.max_pixels)]
        return image.decode_views(data, preprocessing, views, max_pixels=self.max_pixels)

    def _store(self, chunk: list[_Done]) -> None:
        for view in {view for done in chunk for view in done}:
            self.cache.of(view).put(done[view] for done in chunk if view in done)


def _results(chunk: list[Future[_Done | InvalidInput]]) -> list[_Done | InvalidInput]:
    try:
        return [future.result() for future in chunk]
    except EspalierError:
        for future in chunk:
            future.cancel()
        raise
