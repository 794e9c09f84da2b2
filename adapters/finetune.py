"""THE FINE-TUNE PIPELINE.

labeled batch → validate → embed (same ONNX backbone, cached) → split → train (race of methods) → evaluate
→ export ONNX → verify parity → gate against the live version → publish → swap → learning curve

Each step is durable: it takes the job's id, leaves its result in the store and answers with a little JSON, so that a
worker that dies is followed by one that goes on from the last finished step. A notebook runs them `directly`.
"""

import logging
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

import numpy as np
from sqlalchemy.engine import Engine

from adapters import modalities, tasks, training_memory
from adapters.backbones import parts
from adapters.errors import CorruptArtifact, NotFound
from adapters.labels import refuse_held_out_only
from adapters.runtime import resident
from adapters.runtime.backbone import Backbones
from adapters.store import backbones, heads, jobs, publishing, reports
from adapters.store.embeddings import EmbeddingCache
from adapters.store.objects import blobs
from adapters.store.objects.artifacts import Artifacts
from adapters.store.objects.blobs import JobArtifacts
from adapters.store.scale_out.shards import Shard
from adapters.tenancy import embedded_by
from adapters.training import programs
from adapters.training.data import dataset, unlearning
from adapters.training.data.data_report import data_report
from adapters.training.data.duplicates import groups, without_callers
from adapters.training.data.late_findings import with_late_findings
from adapters.training.data.split import split
from adapters.training.embedding import sharded, views
from adapters.training.embedding.embed import Embedder
from adapters.training.progress import Progress
from adapters.training.publish import champion, drafts, export, manifest, renaming, verify
from adapters.training.race.evaluate import evaluate
from adapters.training.race.race import race
from adapters.training.trust import terms
from adapters.types import TERMINAL, Backbone, Example, Job

log = logging.getLogger("espalier.finetune")
Durably = Callable[..., Any]  # (name, step, *arguments) → the step's JSON answer


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

    def backbone(self, job: Job) -> Backbone:
        """The backbone that a job trains on. Raises BackboneNotFound."""
        return backbones.find(self.engine, str(job.request.backbone))

    def scratch(self, job_id: str) -> JobArtifacts:
        """Where a job writes: what no version holds at its end is deleted."""
        return JobArtifacts(self.engine, self.artifacts, job_id)

    def let_go(self, job_id: str) -> None:
        """Of what an ended job held and no version does."""
        jobs.release(self.engine, job_id)
        blobs.sweep(self.engine, self.artifacts)

    def embedder(self, backbone: Backbone, head: str) -> Embedder:
        """The way from inputs to embeddings of a backbone, for a head."""
        cache = EmbeddingCache(self.engine, embedded_by(head, backbone.digest))
        return Embedder(self.backbones.get(backbone.digest), self.artifacts, cache, self.lanes, self.most)


def directly(name: str, step: Callable[..., Any], *arguments: Any) -> Any:
    """Run a step here and now, without a record."""
    return step(*arguments)


def finetune(job_id: str, context: TrainingContext, durably: Durably = directly) -> str:
    """Run a job to its end and return its final status: `succeeded`, or `rejected` by the gate.

    Raises Cancelled, InvalidInput (an item cannot be used), ParityError, StorageFull; nothing is published then.
    """
    if durably("validate", validate, context, job_id).get("renames"):
        return str(durably("rename", rename, context, job_id))
    embedded = durably("embed", embed, context, job_id)
    draft = durably("train", train, context, job_id, embedded)
    proven = durably("export", prove, context, job_id, draft)
    status = str(durably("publish", publish, context, job_id, draft, proven))
    durably("finish", finish, context, job_id, draft)
    return status


def validate(context: TrainingContext, job_id: str) -> dict[str, Any]:
    """Look at the head's data as it is now: jobs before this one may have changed it since it was accepted.

    Raises InvalidInput of several kinds, TooMuchData among them.
    """
    progress = Progress(context.engine, job_id)
    progress.enter("validating")
    job = jobs.get(context.engine, job_id)
    data = dataset.assemble(context.engine, job)
    task, known = tasks.get(job.request.task), dict(zip(data.sha256s, data.known, strict=True))
    task.check_examples(data.examples)
    renames = job.request.edit is not None and bool(job.request.edit.rename)
    if not renames:
        refuse_held_out_only(data.examples, known, task.names)
        require_memory(context, job, data.examples)
    return {"examples": len(data.examples), "renames": renames}


def require_memory(context: TrainingContext, job: Job, examples: Sequence[Example]) -> None:
    """Raises TooMuchData where training on so many examples cannot fit, before the first is embedded."""
    length = max(parts.lengths(job.request.reads, context.backbone(job), len(examples)).values())
    looks = 1 + max(map(len, compared(context.backbone(job), job, len(examples)).values()))
    outputs = len(tasks.get(job.request.task).classes([e.label for e in examples]))
    training_memory.require(context.memory(), len(examples), length, looks, outputs)


def rename(context: TrainingContext, job_id: str) -> str:
    """Other names for the classes of the live version: nothing to train, so there is nothing to measure or gate."""
    Progress(context.engine, job_id).enter("publishing")
    renaming.publish(jobs.get(context.engine, job_id), context.engine, context.scratch(job_id))
    context.let_go(job_id)
    return "succeeded"


def embed(context: TrainingContext, job_id: str) -> dict[str, Any]:
    """Every example has an embedding afterwards, few of them views besides; those that had one are left alone."""
    progress = Progress(context.engine, job_id)
    progress.enter("embedding")
    job = jobs.get(context.engine, job_id)
    began = time.perf_counter()
    backbone = context.backbone(job)
    embedder = context.embedder(backbone, job.request.head)
    examples = dataset.assemble(context.engine, job).examples
    looks = views.names(compared(backbone, job, len(examples)))
    counts = sharded.embed(embedder, context.engine, job_id, examples, progress.advance, looks, context.shard)
    return counts | {"seconds": round(time.perf_counter() - began, 3)}


def help_out(context: TrainingContext, shard: Shard) -> None:
    """Embed a part of another worker's job, which was taken up."""
    job = jobs.get(context.engine, shard.job_id)
    sharded.work_at(context.embedder(context.backbone(job), job.request.head), context.engine, shard)


def compared(backbone: Backbone, job: Job, examples: int) -> views.Names:
    """The choices of views that a job's race compares. Raises InvalidInput."""
    return views.wanted(modalities.of(backbone), job.request.views, examples)


def train(context: TrainingContext, job_id: str, embedded: dict[str, Any]) -> str:
    """Split, race the methods, measure the winner on what it never saw. Returns the digest of the draft."""
    progress = Progress(context.engine, job_id)
    progress.enter("training")
    began = time.perf_counter()
    job = jobs.get(context.engine, job_id)
    task, data = tasks.get(job.request.task), dataset.assemble(context.engine, job)
    labels = [e.label for e in data.examples]
    classes = task.classes(labels)
    targets = task.targets(labels, classes)
    backbone = context.backbone(job)
    lengths = parts.lengths(job.request.reads, backbone, len(labels))
    cache = EmbeddingCache(context.engine, embedded_by(job.request.head, backbone.digest))
    embeddings, fingerprints = cache.get(data.sha256s, max(lengths.values()))
    choices = views.cached(cache, compared(backbone, job, len(labels)), data.sha256s, embeddings)
    pooled = embeddings[:, : backbone.dimension]
    side = modalities.training_side(backbone.modality)
    theirs = [e.group for e in data.examples]
    grouped = groups(side, pooled, fingerprints, data.sha256s, theirs, progress.cancelled)
    names = task.stratum_names(classes)
    noun = modalities.of(backbone).NOUN
    divided = split(task.strata(targets), grouped, data.wished, data.known, job.request.seed, names, noun)
    result = race(
        embeddings, targets, classes, divided, task, job.request.method, job.request.hyperparameters,
        job.request.seed, partial(progress.tell, "candidates"), progress.cancelled, job.request.budget, choices,
        lengths,
    )  # fmt: skip
    result = replace(result, note=result.note + parts.excuse(job.request.reads, lengths, backbone))
    progress.enter("evaluating")
    measured = evaluate(result, task, embeddings, targets, classes, divided)
    trusted = terms.learn(
        result.program, task, measured, embeddings[:, : result.reads], targets, divided, backbone.dimension
    )  # fmt: skip
    copies = without_callers(grouped, side, pooled, fingerprints, data.sha256s, theirs)
    found = data_report(data, task, classes, pooled, targets, copies, divided, result, measured, job.request.received)
    timing = {"embedding": embedded, "training_seconds": round(time.perf_counter() - began, 3)}
    scratch = context.scratch(job_id)
    draft = drafts.of(job, data, task, classes, divided, grouped, result, measured, trusted, found, timing, scratch)
    return scratch.put(draft.to_bytes())


def prove(context: TrainingContext, job_id: str, draft_digest: str) -> dict[str, Any]:
    """Export the head and show that the graph answers as the trained program does. Raises ParityError."""
    progress = Progress(context.engine, job_id)
    progress.enter("exporting")
    job = jobs.get(context.engine, job_id)
    backbone = context.backbone(job)
    draft = drafts.load(context.artifacts, draft_digest)
    program = programs.from_bytes(context.artifacts.get(draft.program))
    graph = export.to_onnx(
        program, draft.reads, draft.classes, manifest.metadata(job, backbone, draft) | draft.metadata
    )
    progress.enter("verifying")
    cache = EmbeddingCache(context.engine, embedded_by(job.request.head, backbone.digest))
    embeddings, _ = cache.get([a.sha256 for a in draft.assignments[: verify.LARGEST_BATCH]])
    task = tasks.get(job.request.task)
    parity = verify.verify(graph, program, embeddings, verify.LARGEST_BATCH, task, draft.schema)
    return {"digest": context.scratch(job_id).put(graph), "parity": parity}


def publish(context: TrainingContext, job_id: str, draft_digest: str, proven: dict[str, Any]) -> str:
    """Compare with the live version, then make a version of the draft: served at once, or kept as rejected."""
    job = jobs.get(context.engine, job_id)
    if job.status in TERMINAL:  # an earlier attempt published it, and its worker died before it could say so
        return job.status
    Progress(context.engine, job_id).enter("publishing")
    draft = drafts.load(context.artifacts, draft_digest)
    while True:
        live = heads.find_live(context.engine, job.request.head)
        embedder = partial(context.embedder, head=job.request.head)
        verdict = champion.compare(draft, job.request.task, live, context.artifacts, embedder, context.engine)
        lost = not verdict["passed"] and job.request.deploy == "auto"
        scratch = context.scratch(job_id)
        retired = unlearning.holders(context.engine, context.artifacts, job)
        publication = manifest.publication(
            job, draft, context.backbone(job), proven, verdict, live, lost, scratch, retired
        )
        try:
            publishing.publish(context.engine, publication)
            break
        except heads.AliasMoved:  # somebody promoted or rolled back: compare with what is live now
            continue
    return "rejected" if lost else "succeeded"


def finish(context: TrainingContext, job_id: str, draft_digest: str) -> None:
    """The version is out and the job has ended: measure what nobody should wait for, and let go of what it held."""
    try:
        job, draft = jobs.get(context.engine, job_id), drafts.load(context.artifacts, draft_digest)
        backbone = context.backbone(job)
        digest = embedded_by(job.request.head, backbone.digest)
        cache, shas = EmbeddingCache(context.engine, digest), [e.sha256 for e in draft.examples]
        embeddings, _ = cache.get(shas, draft.reads)
        names = views.wanted(modalities.of(backbone), draft.views, len(shas))
        further = views.cached(cache, names, shas, embeddings)[draft.views]
        task = tasks.get(job.request.task)
        noun, seed = modalities.of(backbone).NOUN, job.request.seed
        report = with_late_findings(draft, embeddings, further, task, seed, context.artifacts, noun)
        reports.replace(context.engine, job_id, context.scratch(job_id).put(report))
    except (CorruptArtifact, NotFound):  # deleted meanwhile, by its owner or by a first try that was killed
        log.info("the version of %s is gone: no learning curve", job_id)
    context.let_go(job_id)


def warm() -> None:
    """Train a head on noise: libraries load, thread pools start, and the first job does not wait for them."""
    task, labels = tasks.get("classification"), ["abcd"[row % 4] for row in range(200)]
    targets = task.targets(labels, "abcd")
    embeddings = np.random.default_rng(0).normal(size=(200, 64)).astype(np.float32)
    parts = split(task.strata(targets), np.arange(200), [None] * 200, [None] * 200, 0)
    race(embeddings, targets, "abcd", parts, task, "auto", {}, 0, lambda _: None, lambda: None)
