"""One head as an ONNX session: tens of µs a run, ¼ MB resident with few classes, so thousands fit beside a backbone."""

from dataclasses import dataclass
from typing import Any

import numpy as np

from adapters.runtime import session
from adapters.types import Embeddings, Floats

SESSION_BYTES = 160 * 1024  # resident for a session, beside its graph; measured with 300 of 2, 4, 20 and 100 classes
OUTPUTS, NOVELTY = ("probabilities", "values"), "novelty"  # of a graph: one of the first, perhaps the second


@dataclass(frozen=True, slots=True)
class HeadAnswers:
    """What a head says of N embeddings."""

    output: Floats  # [N, K], the task's
    novelty: Floats | None  # [N]; None from a version that was made before heads told it


class Head:
    """A head that answers. Always on the CPU provider: the graph is tiny, a trip to a GPU is not."""

    def __init__(self, ort_session: Any, size: int) -> None:
        self._session = ort_session
        self._names = [o.name for o in ort_session.get_outputs() if o.name in (*OUTPUTS, NOVELTY)]
        self.metadata: dict[str, str] = dict(ort_session.get_modelmeta().custom_metadata_map)
        self.bytes = SESSION_BYTES + size * 3 // 2  # resident, estimated: the cache's bound is of memory

    @classmethod
    def from_bytes(cls, data: bytes) -> "Head":
        """Load a graph under the session options that serving uses; proving uses the same."""
        # Ten thousand arenas are too many; weights packed for speed are a copy of them, and a head is no faster for it:
        # without, a session of 4 classes takes 0.24 MB, not 0.37.
        return cls(session.create(data, "cpu", arena=False, prepack=False), len(data))

    def run(self, embeddings: Embeddings) -> Floats:
        """Embeddings f32 [N, D] → the task's output f32 [N, K]."""
        return self.answer(embeddings).output

    def answer(self, embeddings: Embeddings) -> HeadAnswers:
        """The same and the novelty, in one run."""
        given = {"embedding": np.ascontiguousarray(embeddings, np.float32)}
        outputs: dict[str, Any] = dict(zip(self._names, self._session.run(self._names, given), strict=True))
        novelty = outputs.pop(NOVELTY, None)
        return HeadAnswers(next(iter(outputs.values())), novelty)
