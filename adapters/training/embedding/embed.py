"""Inputs of a job → cached embeddings, through the very graph and decoder that serve."""

from collections.abc import Callable, Iterator, Mapping, Sequence, Set
from concurrent.futures import Future
from dataclasses import dataclass
from functools import partial
from typing import cast

import numpy as np

from adapters import modalities
from adapters.errors import EspalierError, InvalidInput
from adapters.modalities import Augmented, Modality
from adapters.pools import Pool
from adapters.problems import Problems, naming
from adapters.runtime.backbone import BackboneSession
from adapters.runtime.batcher import Batcher
from adapters.store.embeddings import CENTRE, Embedded, EmbeddingCache
from adapters.store.examples import stored
from adapters.store.objects.artifacts import Artifacts
from adapters.types import Example, Floats, Tensors

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
    most: Mapping[str, int]  # UNITs of one input, by modality

    @property
    def modality(self) -> Modality:
        """Of what the backbone reads."""
        return modalities.of(self.session.backbone)

    @property
    def noun(self) -> str:
        """What messages call one input."""
        return self.modality.NOUN

    def embed(
        self, examples: Sequence[Example], report: Callable[[int, int], None], views: Sequence[str] = ()
    ) -> dict[str, int]:
        """Embed what is not cached yet, as served and in further views; `report(done, total)` after every chunk.

        Returns {"new", "cached", "views"}: inputs by what serving sees, and how many further views were embedded.
        What serving has offered goes past the backbone, too: its tensors are needed for the fingerprint alone.
        Raises a kind of InvalidInput naming every file that cannot be read, when the others are done. They stay cached,
        as does what was embedded before a crash.
        """
        work = self.lacking(examples, views)
        counts = self.counts(examples, work)
        bad = self.embed_usable(work, report, views)
        bad.raise_any(f"{bad.count} of {len(work)} {self.noun}s cannot be used")
        return counts

    def lacking(self, examples: Sequence[Example], views: Sequence[str] = ()) -> list[Work]:
        """Each input that is not cached yet in all views, with those that it lacks."""
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
        """Do such work, and say what is wrong with inputs that cannot be used."""
        offered = self._offered(work)
        report(0, len(work))
        batcher, bad = Batcher(self.session), Problems()
        with Pool(self.lanes, thread_name_prefix="embed") as pool:
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
        """The views that each input lacks; inputs that lack none are left out."""
        lacking: dict[str, list[str]] = {sha256: [] for sha256 in sha256s}
        for view in views:
            for sha256 in self.cache.of(view).missing(sha256s):
                lacking[sha256].append(view)
        return {sha256: looks for sha256, looks in lacking.items() if looks}

    def _ahead(
        self,
        pool: Pool,
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
        data = stored(self.artifacts, example)
        try:
            with naming(example.file_name):
                looks = self._decoded(data, views)
        except InvalidInput as error:
            return error
        # Looked up one by one: all of them at once may be more than memory holds.
        known = self.cache.find(example.sha256) if example.sha256 in offered else None
        return {
            view: self._embedded(example, data, tensors, batcher, known if view == CENTRE else None)
            for view, tensors in zip(views, looks, strict=True)
        }

    def _embedded(
        self, example: Example, data: bytes, tensors: Tensors, batcher: Batcher, known: Floats | None
    ) -> Embedded:
        vector = batcher.embed(tensors) if known is None else known
        fingerprint = self.modality.fingerprint(tensors, data)
        return Embedded(example.sha256, np.asarray(vector, self.session.backbone.outputs[0].dtype), fingerprint)

    def _decoded(self, data: bytes, views: list[str]) -> list[Tensors]:
        """What serving sees is asked for in serving's way: a modality without views has no other."""
        backbone = self.session.backbone
        most = modalities.most_of(backbone.modality, self.most)
        if views == [CENTRE]:
            return [self.modality.decode(data, backbone.spec, most=most)]
        return cast(Augmented, self.modality).decode_views(data, backbone.spec, views, most=most)

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
