"""One head: its weights, and a session that it shares with all heads of its structure. Tens of µs a run.

That is a shallow one. A deep head is the trained last part of a backbone, too: it reads what the trunk told at a cut,
and has a session of its own, for convolutions whose weights come with each run take about twice as long (onnxruntime
#6148). A run of it is milliseconds.
"""

from dataclasses import dataclass
from typing import Any

import numpy as np

from adapters import arrays, padding
from adapters.backbones.cuts import TAP
from adapters.runtime.heads import deep_session
from adapters.runtime.heads.gathered import Gathered
from adapters.runtime.heads.pairs import Pairs
from adapters.runtime.heads.structure import Structure, Structures, metadata_of, take_apart
from adapters.types import Arrays, Device, Floats, Rows

SESSION_BYTES = 200 * 1024  # resident for a session; measured with 1,500 of them
HEAD_BYTES = 8 * 1024  # resident for a head beside its weights; measured with 10,000 heads
NOVELTY = "novelty"  # an output of a graph beside the task's; not of versions that were made before heads told it
EMBEDDING = "embedding"  # an input
UNREAD = frozenset({"logits"})  # outputs for those who run the graph without Espalier

_STRUCTURES = Structures()


@dataclass(frozen=True, slots=True)
class HeadAnswers:
    """What a head says of N embeddings: its task's arrays and the novelty, called as the graph's outputs are."""

    arrays: Arrays  # N first
    pooled: Floats | None = None  # f32 [N, D] by the head's own tail; None of a shallow head, which has none

    @property
    def novelty(self) -> Floats | None:
        """f32 [N]; None from a version that was made before heads told it."""
        return self.arrays.get(NOVELTY)

    def row(self, position: int) -> Arrays:
        """What it says of one; views, no copies."""
        return arrays.row(self.arrays, position)


class Head:
    """A head that answers. A shallow one always on the CPU provider: the graph is tiny, a trip to a GPU is not."""

    def __init__(self, structure: Structure, weights: dict[str, Floats], metadata: dict[str, str], size: int) -> None:
        self._structure, self._weights = structure, weights
        self._names = [name for name in structure.outputs if name not in UNREAD]
        self.metadata = metadata
        self.bytes = size  # resident, estimated: the cache's bound is of memory

    @property
    def reads(self) -> int:
        """How many numbers of an embedding it reads: those of `pooled`, or all."""
        return self._structure.reads

    @classmethod
    def from_bytes(cls, data: bytes, device: Device = "cpu") -> "Head":
        """Load a graph under the session options that serving uses; proving uses the same, on the CPU.

        One that names a cut is a `DeepHead`, and runs on the device where that runs all of its work.
        """
        metadata = metadata_of(data)
        if deep_session.CUT in metadata:
            tensor = deep_session.POOLED_BESIDE if deep_session.BESIDE in metadata else deep_session.POOLED
            opened, on = deep_session.opened(data, tensor, device)
            return DeepHead(opened, tensor, metadata, deep_session.resident_bytes(data), on)
        parts = take_apart(data)
        structure, made = _STRUCTURES.get(parts.structure)
        # The first of its structure pays for the session, so that a cache of heads that share nothing keeps its bound.
        size = sum(array.nbytes for array in parts.weights.values()) + HEAD_BYTES + made * SESSION_BYTES
        return cls(structure, parts.weights, parts.metadata, size)

    def answer(self, embeddings: Rows) -> HeadAnswers:
        """Embeddings f32 [N, E] → answers, in one run. Without a copy where they are as long as what it reads."""
        read = np.ascontiguousarray(embeddings[:, : self.reads], np.float32)
        given: dict[str, Any] = {EMBEDDING: read, **self._weights}
        said = self._structure.session.run(self._names, given)
        return HeadAnswers(dict(zip(self._names, said, strict=True)))


class DeepHead(Head):
    """A head that owns its backbone's last part: `tap` [N, *shape], in the dtype of the cut, → answers.

    Where the shallow head has a say it reads the first numbers of an embedding as well, so many as `beside` says.
    """

    def __init__(self, session: Any, pooled: str, metadata: dict[str, str], size: int, device: Device = "cpu") -> None:
        self._session, self._pooled, self.beside = session, pooled, int(metadata.get(deep_session.BESIDE, 0))
        self.device = device
        self._said = self._of if device == "cpu" else Gathered(self._of)
        told = [output.name for output in session.get_outputs()]
        self._names = [name for name in told if name not in UNREAD]
        self.metadata, self.bytes = metadata, size

    @property
    def reads(self) -> int:
        """Nothing of an embedding."""
        return 0

    @property
    def cut(self) -> str:
        """The name of the cut whose tap it reads."""
        return self.metadata[deep_session.CUT]

    def answer(self, read: Rows) -> HeadAnswers:
        """Taps [N, *shape], or [N] of several lengths → answers, in one run, and what the tail made of each.

        Of a head that reads embeddings as well `Pairs` of both.
        """
        told = dict(self._said(read))
        return HeadAnswers(told, told.pop(self._pooled, None))

    def _of(self, read: Rows) -> Arrays:
        taps = read.taps if isinstance(read, Pairs) else read
        given = {TAP: padding.stacked(list(taps)) if taps.dtype == object else np.ascontiguousarray(taps)}
        if isinstance(read, Pairs):
            given[EMBEDDING] = np.ascontiguousarray(read.embeddings[:, : self.beside], np.float32)
        return dict(zip(self._names, self._session.run(self._names, given), strict=True))
