"""THE FINE-TUNE PIPELINE.

labeled batch → validate → embed (same ONNX backbone, cached) → split → train (race of methods) → evaluate
→ export ONNX → verify parity → gate against the live version → publish → swap → learning curve

Each step is durable: it takes the job's id, leaves its result in the store and answers with a little JSON, so that a
worker that dies is followed by one that goes on from the last finished step. A notebook runs them `directly`.
"""

import logging
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

import numpy as np
from sqlalchemy.engine import Engine

from adapters import tasks, training_memory
from adapters.backbones import parts
from adapters.errors import CorruptArtifact, NotFound
from adapters.labels import refuse_held_out_only
from adapters.modalities import image
from adapters.runtime import resident
from adapters.runtime.backbone import Backbones
from adapters.store import backbones, blobs, heads, jobs, reports
from adapters.store.artifacts import Artifacts
from adapters.store.blobs import JobArtifacts
from adapters.store.embeddings import EmbeddingCache
from adapters.store.scale_out.shards import Shard
from adapters.tenancy import embedded_by
from adapters.training import (
    champion,
    dataset,
    drafts,
    export,
    manifest,
    programs,
    renaming,
    sharded,
    trust,
    unlearning,
    verify,
    views,
)
from adapters.training.data_report import data_report
from adapters.training.duplicates import groups
from adapters.training.embed import Embedder
from adapters.training.evaluate import evaluate
from adapters.training.narrator import Narrator
from adapters.training.race import race
from adapters.training.split import split
from adapters.training.survey import surveyed
from adapters.types import TERMINAL, Backbone, Example, Job

log = logging.getLogger("espalier.finetune")
Durably = Callable[..., Any]  # (name, step, *arguments) → the step's JSON answer


@dataclass(frozen=True, slots=True)
class Workshop:
    """What a worker has at hand."""

    engine: Engine
    artifacts: Artifacts
    backbones: Backbones
    lanes: int  # threads that decode and embed
    max_pixels: int
    memory: Callable[[], int] = resident.available  # bytes that training may take
    shard: int = sharded.SIZE  # images of a job that are embedded together, by this worker or another

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
        """The way from images to embeddings of a backbone, for a head."""
        cache = EmbeddingCache(self.engine, embedded_by(head, backbone.digest))
        return Embedder(self.backbones.get(backbone.digest), self.artifacts, cache, self.lanes, self.max_pixels)


def directly(name: str, step: Callable[..., Any], *arguments: Any) -> Any:
    """Run a step here and now, without a record."""
    return step(*arguments)


def finetune(job_id: str, shop: Workshop, durably: Durably = directly) -> str:
    """Run a job to its end and return its final status: `succeeded`, or `rejected` by the gate.

    Raises Cancelled, InvalidInput (an item cannot be used), ParityError, StorageFull; nothing is published then.
    """
    if durably("validate", validate, shop, job_id).get("renames"):
        return str(durably("rename", rename, shop, job_id))
    embedded = durably("embed", embed, shop, job_id)
    draft = durably("train", train, shop, job_id, embedded)
    proven = durably("export", prove, shop, job_id, draft)
    status = str(durably("publish", publish, shop, job_id, draft, proven))
    durably("finish", finish, shop, job_id, draft)
    return status


def validate(shop: Workshop, job_id: str) -> dict[str, Any]:
    """Look at the head's data as it is now: jobs before this one may have changed it since it was accepted.

    Raises InvalidInput of several kinds, TooMuchData among them.
    """
    narrator = Narrator(shop.engine, job_id)
    narrator.enter("validating")
    job = jobs.get(shop.engine, job_id)
    data = dataset.assemble(shop.engine, job)
    task, known = tasks.get(job.request.task), dict(zip(data.sha256s, data.known, strict=True))
    task.check_examples(data.examples)
    renames = job.request.edit is not None and bool(job.request.edit.rename)
    if not renames:
        refuse_held_out_only(data.examples, known, task.names)
        require_memory(shop, job, data.examples)
    return {"examples": len(data.examples), "renames": renames}


def require_memory(shop: Workshop, job: Job, examples: Sequence[Example]) -> None:
    """Raises TooMuchData where training on so many examples cannot fit, before the first is embedded."""
    length = max(parts.lengths(job.request.reads, shop.backbone(job), len(examples)).values())
    looks = 1 + max(map(len, compared(job, len(examples)).values()))
    outputs = len(tasks.get(job.request.task).classes([e.label for e in examples]))
    training_memory.require(shop.memory(), len(examples), length, looks, outputs)


def rename(shop: Workshop, job_id: str) -> str:
    """Other names for the classes of the live version: nothing to train, so there is nothing to measure or gate."""
    Narrator(shop.engine, job_id).enter("publishing")
    renaming.publish(jobs.get(shop.engine, job_id), shop.engine, shop.scratch(job_id))
    shop.let_go(job_id)
    return "succeeded"


def embed(shop: Workshop, job_id: str) -> dict[str, Any]:
    """Every example has an embedding afterwards, few of them views besides; those that had one are left alone."""
    narrator = Narrator(shop.engine, job_id)
    narrator.enter("embedding")
    job = jobs.get(shop.engine, job_id)
    began = time.perf_counter()
    embedder = shop.embedder(shop.backbone(job), job.request.head)
    examples = dataset.assemble(shop.engine, job).examples
    looks = views.names(compared(job, len(examples)))
    counts = sharded.embed(embedder, shop.engine, job_id, examples, narrator.progress, looks, shop.shard)
    return counts | {"seconds": round(time.perf_counter() - began, 3)}


def help_out(shop: Workshop, shard: Shard) -> None:
    """Embed a part of another worker's job, which was taken up."""
    job = jobs.get(shop.engine, shard.job_id)
    sharded.work_at(shop.embedder(shop.backbone(job), job.request.head), shop.engine, shard)


def compared(job: Job, examples: int) -> views.Names:
    """The choices of views that a job's race compares. Raises InvalidInput."""
    return views.wanted(image, job.request.views, examples)


def train(shop: Workshop, job_id: str, embedded: dict[str, Any]) -> str:
    """Split, race the methods, measure the winner on what it never saw. Returns the digest of the draft."""
    narrator = Narrator(shop.engine, job_id)
    narrator.enter("training")
    began = time.perf_counter()
    job = jobs.get(shop.engine, job_id)
    task, data = tasks.get(job.request.task), dataset.assemble(shop.engine, job)
    labels = [e.label for e in data.examples]
    classes = task.classes(labels)
    targets = task.targets(labels, classes)
    backbone = shop.backbone(job)
    lengths = parts.lengths(job.request.reads, backbone, len(labels))
    cache = EmbeddingCache(shop.engine, embedded_by(job.request.head, backbone.digest))
    embeddings, fingerprints = cache.get(data.sha256s, max(lengths.values()))
    choices = views.cached(cache, compared(job, len(labels)), data.sha256s, embeddings)
    pooled = embeddings[:, : backbone.dimension]
    grouped = groups(pooled, fingerprints, data.sha256s, [e.group for e in data.examples], narrator.cancelled)
    names = classes if targets.ndim == 1 else ()
    divided = split(task.strata(targets), grouped, data.wished, data.known, job.request.seed, names)
    result = race(
        embeddings, targets, classes, divided, task, job.request.method, job.request.hyperparameters,
        job.request.seed, partial(narrator.tell, "candidates"), narrator.cancelled, job.request.budget, choices,
        lengths,
    )  # fmt: skip
    result = replace(result, note=result.note + parts.excuse(job.request.reads, lengths, backbone))
    narrator.enter("evaluating")
    measured = evaluate(result, task, embeddings, targets, classes, divided)
    trusted = trust.learn(
        result.program, task, measured, embeddings[:, : result.reads], targets, divided, backbone.dimension
    )  # fmt: skip
    found = data_report(
        data, task, classes, pooled, fingerprints, targets, grouped, divided, result, measured, job.request.received
    )
    timing = {"embedding": embedded, "training_seconds": round(time.perf_counter() - began, 3)}
    scratch = shop.scratch(job_id)
    draft = drafts.of(job, data, classes, divided, grouped, result, measured, trusted, found, timing, scratch)
    return scratch.put(draft.to_bytes())


def prove(shop: Workshop, job_id: str, draft_digest: str) -> dict[str, Any]:
    """Export the head and show that the graph answers as the trained program does. Raises ParityError."""
    narrator = Narrator(shop.engine, job_id)
    narrator.enter("exporting")
    job = jobs.get(shop.engine, job_id)
    backbone = shop.backbone(job)
    draft = drafts.load(shop.artifacts, draft_digest)
    program = programs.from_bytes(shop.artifacts.get(draft.program))
    graph = export.to_onnx(
        program, draft.reads, draft.classes, manifest.metadata(job, backbone, draft) | draft.metadata
    )
    narrator.enter("verifying")
    cache = EmbeddingCache(shop.engine, embedded_by(job.request.head, backbone.digest))
    embeddings, _ = cache.get([a.sha256 for a in draft.assignments[: verify.LARGEST_BATCH]])
    task = tasks.get(job.request.task)
    parity = verify.verify(graph, program, embeddings, verify.LARGEST_BATCH, task, draft.schema)
    return {"digest": shop.scratch(job_id).put(graph), "parity": parity}


def publish(shop: Workshop, job_id: str, draft_digest: str, proven: dict[str, Any]) -> str:
    """Compare with the live version, then make a version of the draft: served at once, or kept as rejected."""
    job = jobs.get(shop.engine, job_id)
    if job.status in TERMINAL:  # an earlier attempt published it, and its worker died before it could say so
        return job.status
    Narrator(shop.engine, job_id).enter("publishing")
    draft = drafts.load(shop.artifacts, draft_digest)
    while True:
        live = heads.find_live(shop.engine, job.request.head)
        embedder = partial(shop.embedder, head=job.request.head)
        verdict = champion.compare(draft, job.request.task, live, shop.artifacts, embedder, shop.engine)
        lost = not verdict["passed"] and job.request.deploy == "auto"
        scratch = shop.scratch(job_id)
        retired = unlearning.holders(shop.engine, shop.artifacts, job)
        publication = manifest.publication(
            job, draft, shop.backbone(job), proven, verdict, live, lost, scratch, retired
        )
        try:
            heads.publish(shop.engine, publication)
            break
        except heads.AliasMoved:  # somebody promoted or rolled back: compare with what is live now
            continue
    return "rejected" if lost else "succeeded"


def finish(shop: Workshop, job_id: str, draft_digest: str) -> None:
    """The version is out and the job has ended: measure what nobody should wait for, and let go of what it held."""
    try:
        job, draft = jobs.get(shop.engine, job_id), drafts.load(shop.artifacts, draft_digest)
        digest = embedded_by(job.request.head, shop.backbone(job).digest)
        cache, shas = EmbeddingCache(shop.engine, digest), [e.sha256 for e in draft.examples]
        embeddings, _ = cache.get(shas, draft.reads)
        further = views.cached(cache, views.wanted(image, draft.views, len(shas)), shas, embeddings)[draft.views]
        report = surveyed(draft, embeddings, further, tasks.get(job.request.task), job.request.seed, shop.artifacts)
        reports.replace(shop.engine, job_id, shop.scratch(job_id).put(report))
    except (CorruptArtifact, NotFound):  # deleted meanwhile, by its owner or by a first try that was killed
        log.info("the version of %s is gone: no learning curve", job_id)
    shop.let_go(job_id)


def warm() -> None:
    """Train a head on noise: libraries load, thread pools start, and the first job does not wait for them."""
    targets = np.arange(200, dtype=np.int64) % 4
    embeddings = np.random.default_rng(0).normal(size=(200, 64)).astype(np.float32)
    parts = split(targets, np.arange(200), [None] * 200, [None] * 200, 0)
    race(embeddings, targets, "abcd", parts, tasks.get("classification"), "auto", {}, 0, lambda _: None, lambda: None)
