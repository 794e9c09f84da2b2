"""One head: its weights, and a session that it shares with all heads of its structure. Tens of µs a run."""

from dataclasses import dataclass
from typing import Any

import numpy as np

from adapters.runtime.heads.structure import Structure, Structures, take_apart
from adapters.types import Embeddings, Floats

SESSION_BYTES = 200 * 1024  # resident for a session; measured with 1,500 of them
HEAD_BYTES = 8 * 1024  # resident for a head beside its weights; measured with 10,000 heads
OUTPUTS, NOVELTY = ("probabilities", "values"), "novelty"  # of a graph: one of the first, perhaps the second

_STRUCTURES = Structures()


@dataclass(frozen=True, slots=True)
class HeadAnswers:
    """What a head says of N embeddings."""

    output: Floats  # [N, K], the task's
    novelty: Floats | None  # [N]; None from a version that was made before heads told it


class Head:
    """A head that answers. Always on the CPU provider: the graph is tiny, a trip to a GPU is not."""

    def __init__(self, structure: Structure, weights: dict[str, Floats], metadata: dict[str, str], size: int) -> None:
        self._structure, self._weights = structure, weights
        self._names = [name for name in structure.outputs if name in (*OUTPUTS, NOVELTY)]
        self.metadata = metadata
        self.bytes = size  # resident, estimated: the cache's bound is of memory

    @property
    def reads(self) -> int:
        """How many numbers of an embedding it reads: those of `pooled`, or all."""
        return self._structure.reads

    @classmethod
    def from_bytes(cls, data: bytes) -> "Head":
        """Load a graph under the session options that serving uses; proving uses the same."""
        parts = take_apart(data)
        structure, made = _STRUCTURES.get(parts.structure)
        # The first of its structure pays for the session, so that a cache of heads that share nothing keeps its bound.
        size = sum(array.nbytes for array in parts.weights.values()) + HEAD_BYTES + made * SESSION_BYTES
        return cls(structure, parts.weights, parts.metadata, size)

    def run(self, embeddings: Embeddings) -> Floats:
        """Embeddings f32 [N, E] → the task's output f32 [N, K]."""
        return self.answer(embeddings).output

    def answer(self, embeddings: Embeddings) -> HeadAnswers:
        """The same and the novelty, in one run. Without a copy where the embeddings are as long as what it reads."""
        read = np.ascontiguousarray(embeddings[:, : self.reads], np.float32)
        given: dict[str, Any] = {"embedding": read, **self._weights}
        said = self._structure.session.run(self._names, given)
        outputs: dict[str, Any] = dict(zip(self._names, said, strict=True))
        novelty = outputs.pop(NOVELTY, None)
        return HeadAnswers(next(iter(outputs.values())), novelty)
