"""Which graphs a request runs over its inputs, and what each of them tells.

A shallow head reads its backbone's embedding, a deep one what the trunk tells at a cut. Heads that read the same share
a pass; where both are read of one backbone, one pass of the whole tells both.
"""

from collections.abc import Collection, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any, TypeAlias

import numpy as np

from adapters.backbones.cuts import Part
from adapters.errors import EspalierError
from adapters.runtime.heads.loaded import LiveHead, Reading
from adapters.runtime.heads.pairs import Pairs
from adapters.types import Embeddings, Rows, Told


@dataclass(frozen=True, slots=True)
class ItemError:
    """One input that could not be used."""

    index: int
    code: str
    detail: str


@dataclass(frozen=True, slots=True)
class EmbeddedInputs:
    """What was told of the inputs that could be read, their positions, and what was wrong with the rest."""

    embeddings: Rows  # f32 [M, E]; of a trunk taps [M, *shape], or, where lengths vary, [M] of [T, W] each; or `Pairs`
    indices: list[int]
    errors: list[ItemError]
    dimension: int | None = None  # D, of `pooled`; None: that is all there is

    @property
    def pooled(self) -> Embeddings:
        """The first part, f32 [M, D]: without what earlier blocks saw."""
        found: Embeddings = self.embeddings[:, : self.dimension]
        return found

    def first(self, lengths: Iterable[int]) -> dict[int, Embeddings]:
        """So many numbers of each embedding, laid out for heads that read them: one copy a request, none of one input.

        An input's numbers lie side by side, so of one input the first of them already do, too.
        """
        return {length: np.ascontiguousarray(self.embeddings[:, :length]) for length in set(lengths)}

    def of(self, indices: list[int], errors: list[ItemError]) -> "EmbeddedInputs":
        """The same of some of its inputs, in their order."""
        rows = np.searchsorted(self.indices, indices)
        return replace(self, embeddings=self.embeddings[rows], indices=indices, errors=errors)


Found: TypeAlias = dict[str, EmbeddedInputs | EspalierError]  # by the digest of what told it


@dataclass(frozen=True, slots=True)
class Pass:
    """A graph, and the digests of what it tells, in the order of its outputs."""

    source: str | Part
    tells: tuple[str, ...]
    alone: tuple["Pass", ...] = ()  # that tell the same one by one, where the graph that tells all is not to be had

    @property
    def digest(self) -> str:
        """Of the graph."""
        return self.source if isinstance(self.source, str) else self.source.digest

    def columns(self, told: Sequence[Told]) -> list[Rows]:
        """What was told of M inputs, by output: [M, …] each."""
        if len(self.tells) == 1:
            return [_stacked(told)]
        return [_stacked(column) for column in zip(*told, strict=True)] if told else [_stacked(())] * len(self.tells)


def of(heads: Iterable[LiveHead], known: Collection[str] = ()) -> list[Pass]:
    """What a request for these heads runs; nothing that tells what is known. One for each backbone and cut."""
    bases: dict[str, None] = {}
    cuts: dict[str, Reading] = {}
    for head in _asked(heads):
        for digest in head.needs:
            if digest in known:
                continue
            if head.deep is None or digest == head.backbone_digest:
                bases[digest] = None
            else:
                cuts[digest] = head.deep
    return [_of_base(base) for base in bases] if not cuts else plan(bases, cuts.values())


def plan(bases: Collection[str], readings: Iterable[Reading]) -> list[Pass]:
    """Passes that tell the embeddings of some backbones, by digest, and what is read at cuts.

    Of a backbone that is cut at several places the deepest cut is told beside the embedding: its trunk would take most.
    """
    left, found = dict.fromkeys(bases), []
    for read in sorted(readings, key=lambda read: read.share):
        base, alone = read.trunk.backbone, Pass(read.trunk, (read.trunk.digest,))
        if base in left:
            del left[base]
            found.append(Pass(read.whole, (base, read.trunk.digest), (_of_base(base), alone)))
        else:
            found.append(alone)
    return [*map(_of_base, left), *found]


def aligned(found: Found, heads: Iterable[LiveHead]) -> Found:
    """What these heads read, row by row of the same inputs: those that can be read for all; the others are errors.

    Backbones refuse different inputs: one that reads alpha wants it in each, and others do not.
    """
    asked = list(_asked(heads))
    read = _of_the_same({digest: found[digest] for head in asked for digest in head.needs})
    return read | {head.source: told_to(head, read) for head in asked}


def told_to(head: LiveHead, found: Found) -> EmbeddedInputs | EspalierError:
    """What a head reads, of inputs that are the same in all that is found."""
    told = [found[digest] for digest in head.needs]
    wrong = next((one for one in told if isinstance(one, EspalierError)), None)
    if wrong is not None or len(told) == 1:
        return wrong or told[0]
    taps, whole = (one for one in told if isinstance(one, EmbeddedInputs))
    return replace(whole, embeddings=Pairs(taps.embeddings, whole.embeddings))


def _of_the_same(read: Found) -> Found:
    told = [each for each in read.values() if isinstance(each, EmbeddedInputs)]
    if all(each.indices == told[0].indices for each in told):
        return read
    indices = sorted(set[int].intersection(*(set(each.indices) for each in told)))
    wrong = {error.index: error for each in reversed(told) for error in each.errors}
    errors = [wrong[index] for index in sorted(wrong)]
    return {
        source: each.of(indices, errors) if isinstance(each, EmbeddedInputs) else each for source, each in read.items()
    }


def _of_base(digest: str) -> Pass:
    return Pass(digest, (digest,))


def _asked(heads: Iterable[LiveHead]) -> Iterator[LiveHead]:
    """The heads, and those that they are compared with in roll-outs, where these read something else."""
    for head in heads:
        yield head
        if head.trial is not None and head.trial.compare and head.trial.other is not None:
            yield head.trial.other


def _stacked(told: Sequence[Any]) -> Rows:
    """Without a copy where there is one. Sequences of several lengths stay apart, [M] of [T, …] each: a run pads what
    it reads, a few of them, to the longest of those.
    """
    if len(told) == 1:
        return told[0][np.newaxis]
    if len({one.shape for one in told}) < 2:
        return np.stack(told) if told else np.zeros((0, 0), np.float32)
    apart = np.empty(len(told), object)
    for position, one in enumerate(told):
        apart[position] = one
    return apart
