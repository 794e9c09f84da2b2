"""What a deep round is given to learn from."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from adapters.backbones.parts import POOLED
from adapters.modalities import NONE
from adapters.tasks import Task
from adapters.training.data.split import Split
from adapters.training.deep import taps
from adapters.training.embedding.views import no_views
from adapters.training.race.cross_validation import Data
from adapters.types import Embeddings, Indices, Targets


@dataclass(frozen=True, slots=True, eq=False)
class Examples:
    """N examples of a job, and what is known of them."""

    look: taps.Look  # the tensors of the example at a position, as served; called from threads
    embeddings: Embeddings  # f32 [N, E], `pooled` first
    dimension: int  # D, of `pooled`
    targets: Targets
    classes: Sequence[str]
    split: Split  # the race's own
    task: Task
    lengths: Indices | None = None  # of sequences, i64 [N], in what the backbone reads

    def pooled(self) -> Data:
        """The race's data, of which only `pooled` is read."""
        pooled = np.ascontiguousarray(self.embeddings[:, : self.dimension])
        choices, lengths = {NONE: no_views(pooled)}, {POOLED: self.dimension}
        return Data(pooled, choices, lengths, self.targets, len(self.classes), self.split, self.task)
