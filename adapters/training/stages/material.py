"""What a job trains on: its data, their embeddings, near-duplicates and split."""

from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
from numpy.typing import NDArray

from adapters import modalities, tasks
from adapters.backbones import parts
from adapters.modalities import Modality, TrainingSide
from adapters.store import keeping
from adapters.store.embeddings import EmbeddingCache
from adapters.tasks import Task
from adapters.tenancy import embedded_by
from adapters.training.context import TrainingContext
from adapters.training.data import dataset, held_back
from adapters.training.data.data_report import data_report
from adapters.training.data.dataset import Dataset
from adapters.training.data.duplicates import groups, without_callers
from adapters.training.data.split import Split, split
from adapters.training.embedding import views
from adapters.training.embedding.views import Choices
from adapters.training.progress import Progress
from adapters.training.race.evaluate import Measured
from adapters.training.race.race import RaceResult, race
from adapters.types import Backbone, Embeddings, HeadVersion, Indices, Job, Targets


@dataclass(frozen=True, slots=True)
class Material:
    """N examples, in the order of the data."""

    job: Job
    task: Task
    backbone: Backbone
    data: Dataset
    classes: tuple[str, ...]
    targets: Targets
    embeddings: Embeddings  # f32 [N, E], as much of them as any candidate may read
    fingerprints: NDArray[Any]  # u8 [N, F]
    choices: Choices
    lengths: dict[str, int]
    grouped: Indices  # near-duplicate group of each, i64 [N]
    divided: Split
    begun: HeadVersion | None = None  # the version that the job goes on from, whose examples were not kept

    @property
    def pooled(self) -> Embeddings:
        """f32 [N, D]."""
        return self.embeddings[:, : self.backbone.dimension]

    @property
    def modality(self) -> Modality:
        """Of what the backbone reads."""
        return modalities.of(self.backbone)


def gather(context: TrainingContext, job: Job, progress: Progress) -> Material:
    """What was embedded before, split.

    Raises CorruptArtifact for what was not, Cancelled, InvalidInput, and ExamplesNotKept where an earlier version's
    would be needed.
    """
    task, data = tasks.get(job.request.task), dataset.assemble(context.engine, job)
    labels = [e.label for e in data.examples]
    classes = task.classes(labels)
    targets = task.targets(labels, classes)
    backbone = context.backbone(job)
    lengths = parts.lengths(job.request.reads, backbone, len(labels))
    cache = EmbeddingCache(context.engine, embedded_by(job.request.head, backbone.digest))
    embeddings, fingerprints = cache.get(data.sha256s, max(lengths.values()))
    choices = views.cached(cache, compared(backbone, job, len(labels)), data.sha256s, embeddings)
    pooled, theirs = embeddings[:, : backbone.dimension], [e.group for e in data.examples]
    grouped = groups(_side(backbone), pooled, fingerprints, data.sha256s, theirs, progress.cancelled)
    noun, names = modalities.of(backbone).NOUN, task.stratum_names(classes)
    divided = split(task.strata(targets), grouped, data.wished, data.known, job.request.seed, names, noun)
    begun = keeping.check(context.engine, job.request, data.examples, context.learned)
    if begun is not None:
        known = held_back.positions(task, labels, begun.manifest["classes"])
        divided = held_back.never_held_out(divided, _learned(begun, data, context), begun, known)
    return Material(
        job, task, backbone, data, classes, targets, embeddings, fingerprints, choices, lengths, grouped, divided, begun
    )


def _learned(version: HeadVersion, data: Dataset, context: TrainingContext) -> Indices:
    """Positions of the examples that a version was fitted to, or what it goes on from."""
    known = context.learned(version)
    return np.array([position for position, sha in enumerate(data.sha256s) if sha in known], np.int64)


def compared(backbone: Backbone, job: Job, examples: int) -> views.Names:
    """The choices of views that a job's race compares. Raises InvalidInput."""
    return views.wanted(modalities.of(backbone), job.request.views, examples)


def shallow(of: Material, progress: Progress) -> RaceResult:
    """The head that wins on the frozen backbone."""
    asked = of.job.request
    hyperparameters = asked.hyperparameters if asked.races == asked.method else {}
    return race(
        of.embeddings, of.targets, of.classes, of.divided, of.task, asked.races, hyperparameters, asked.seed,
        partial(progress.tell, "candidates"), progress.cancelled, asked.budget, of.choices, of.lengths,
    )  # fmt: skip


def findings(of: Material, result: RaceResult, measured: Measured) -> dict[str, Any]:
    """The report on the data, ready for JSON."""
    theirs = [e.group for e in of.data.examples]
    copies = without_callers(
        of.grouped, _side(of.backbone), of.pooled, of.fingerprints, of.data.sha256s, theirs
    )  # fmt: skip
    received = of.job.request.received
    return data_report(
        of.data, of.task, of.classes, of.pooled, of.targets, copies, of.divided, result, measured, received
    )  # fmt: skip


def _side(backbone: Backbone) -> TrainingSide:
    return modalities.training_side(backbone.modality)
