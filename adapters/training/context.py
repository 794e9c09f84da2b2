"""What a worker has at hand for its jobs."""

import tempfile
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from sqlalchemy.engine import Engine

from adapters.comparison import out_of_fold
from adapters.comparison.trunks import Trunks
from adapters.runtime import resident
from adapters.runtime.backbone import Backbones
from adapters.store import backbones, jobs
from adapters.store.embeddings import EmbeddingCache
from adapters.store.objects import blobs
from adapters.store.objects.artifacts import Artifacts
from adapters.store.objects.blobs import JobArtifacts
from adapters.tenancy import embedded_by
from adapters.training.embedding import sharded
from adapters.training.embedding.embed import Embedder
from adapters.training.leaving import Leaving
from adapters.training.progress import Progress
from adapters.training.signs import Signs
from adapters.types import Backbone, HeadVersion, Job


def _somewhere() -> Path:
    return Path(tempfile.gettempdir()) / "espalier"


@dataclass(frozen=True, slots=True)
class TrainingContext:
    """What a worker has at hand."""

    engine: Engine
    artifacts: Artifacts
    backbones: Backbones
    lanes: int  # threads that decode and embed
    most: Mapping[str, int]  # UNITs of one input, by modality; else the modality's MOST
    memory: Callable[[], int] = resident.available  # bytes that training may take
    shard: int = sharded.SIZE  # inputs of a job that are embedded together, by this worker or another
    leaving: Leaving = field(default_factory=Leaving)  # told when the worker is to stop
    signs: Signs = field(default_factory=Signs)  # that the job at work goes on
    folder: Path = field(default_factory=_somewhere)  # on a local disk, for what a job computes again where it is gone
    scratch_bytes: int | None = None  # that may be in it; None: what the disk has free

    def backbone(self, job: Job) -> Backbone:
        """The backbone that a job trains on. Raises BackboneNotFound."""
        return backbones.find(self.engine, str(job.request.backbone))

    def progress(self, job_id: str) -> Progress:
        """What a job's owner is told of, and hears from, while its steps run."""
        return Progress(self.engine, job_id, self.signs)

    def scratch(self, job_id: str) -> JobArtifacts:
        """Where a job writes: what no version holds at its end is deleted."""
        return JobArtifacts(self.engine, self.artifacts, job_id)

    @property
    def trunks(self) -> Trunks:
        """The way from stored examples to what deep versions read."""
        return Trunks(self.backbones, self.artifacts, self.most)

    def learned(self, version: HeadVersion) -> set[str]:
        """SHA-256 of what a version's weights were fitted to or chosen by. Raises HeadDamaged."""
        return out_of_fold.learned(version, self.artifacts)

    def let_go(self, job_id: str) -> None:
        """Of what an ended job held and no version does."""
        jobs.release(self.engine, job_id)
        blobs.sweep(self.engine, self.artifacts)

    def embedder(self, backbone: Backbone, head: str) -> Embedder:
        """The way from inputs to embeddings of a backbone, for a head."""
        cache = EmbeddingCache(self.engine, embedded_by(head, backbone.digest))
        return Embedder(self.backbones.get(backbone.digest), self.artifacts, cache, self.lanes, self.most)
