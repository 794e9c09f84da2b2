"""THE FINE-TUNE PIPELINE.

labeled batch → validate → embed (same ONNX backbone, cached) → split → train (race of methods; deeper where that is
wanted) → evaluate → export ONNX → verify parity → gate against the live version → publish → swap → learning curve

Each step is durable: it takes the job's id, leaves its result in the store and answers with a little JSON, so that a
worker that dies is followed by one that goes on from the last finished step. A notebook runs them `directly`.
"""

import logging
import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import partial
from typing import Any

import numpy as np

from adapters import modalities, tasks, training_memory
from adapters.backbones import parts
from adapters.errors import CorruptArtifact, NotFound
from adapters.labels import refuse_held_out_only
from adapters.store import heads, jobs, keeping, publishing, reports
from adapters.store.embeddings import EmbeddingCache
from adapters.store.scale_out.shards import Shard
from adapters.tenancy import embedded_by
from adapters.training import programs
from adapters.training.context import TrainingContext as TrainingContext  # for who runs a job from a notebook
from adapters.training.data import dataset, unlearning
from adapters.training.data.late_findings import with_curve, with_late_findings
from adapters.training.data.split import split
from adapters.training.deep.outcome import Declined
from adapters.training.embedding import sharded, views
from adapters.training.publish import champion, deep_proof, drafts, export, manifest, renaming, verify
from adapters.training.race.race import race
from adapters.training.stages import deep, drafting, material, plan
from adapters.types import TERMINAL, Example, Job

log = logging.getLogger("espalier.finetune")
Durably = Callable[..., Any]  # (name, step, *arguments) → the step's JSON answer


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
    if not draft:  # a next stage that proved no better
        deep.clear(context, job_id)
        context.let_go(job_id)
        return "rejected"
    proven = durably("export", prove, context, job_id, draft)
    status = str(durably("publish", publish, context, job_id, draft, proven))
    durably("finish", finish, context, job_id, draft)
    return status


def validate(context: TrainingContext, job_id: str) -> dict[str, Any]:
    """Look at the head's data as it is now: jobs before this one may have changed it since it was accepted.

    Raises InvalidInput of several kinds, TooMuchData among them.
    """
    progress = context.progress(job_id)
    progress.enter("validating")
    job = jobs.get(context.engine, job_id)
    data = dataset.assemble(context.engine, job)
    keeping.check(context.engine, job.request, data.examples, context.learned)
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
    looks = 1 + max(map(len, material.compared(context.backbone(job), job, len(examples)).values()))
    outputs = len(tasks.get(job.request.task).classes([e.label for e in examples]))
    training_memory.require(context.memory(), len(examples), length, looks, outputs)


def rename(context: TrainingContext, job_id: str) -> str:
    """Other names for the classes of the live version: nothing to train, so there is nothing to measure or gate."""
    context.progress(job_id).enter("publishing")
    renaming.publish(jobs.get(context.engine, job_id), context.engine, context.scratch(job_id))
    context.let_go(job_id)
    return "succeeded"


def embed(context: TrainingContext, job_id: str) -> dict[str, Any]:
    """Every example has an embedding afterwards, few of them views besides; those that had one are left alone."""
    progress = context.progress(job_id)
    progress.enter("embedding")
    job = jobs.get(context.engine, job_id)
    began = time.perf_counter()
    backbone = context.backbone(job)
    embedder = context.embedder(backbone, job.request.head)
    examples = dataset.assemble(context.engine, job).examples
    looks = views.names(material.compared(backbone, job, len(examples)))
    counts = sharded.embed(embedder, context.engine, job_id, examples, progress.advance, looks, context.shard)
    return counts | {"seconds": round(time.perf_counter() - began, 3)}


def help_out(context: TrainingContext, shard: Shard) -> None:
    """Embed a part of another worker's job, which was taken up."""
    job = jobs.get(context.engine, shard.job_id)
    sharded.work_at(context.embedder(context.backbone(job), job.request.head), context.engine, shard)


def train(context: TrainingContext, job_id: str, embedded: dict[str, Any]) -> str:
    """Split, race the methods, train deeper where that is wanted, measure what won on what it never saw.

    Returns the digest of the draft; nothing where a next stage proved no better, and the job has ended.
    """
    progress = context.progress(job_id)
    progress.enter("training")
    began = time.perf_counter()
    job = jobs.get(context.engine, job_id)
    of = material.gather(context, job, progress)
    shallow = material.shallow(of, progress)
    shallow = replace(shallow, note=shallow.note + parts.excuse(job.request.reads, of.lengths, of.backbone))
    wish = plan.of(of, shallow, heads.find_live(context.engine, job.request.head))
    found = deep.run(context, of, shallow, progress, wish.always) if wish.now else None
    if isinstance(found, Declined) and job.request.of is not None:
        deep.decline(context, job, found)
        return ""
    progress.enter("evaluating")
    scratch = context.scratch(job_id)
    return scratch.put(drafting.draft(of, shallow, wish, found, embedded, began, scratch).to_bytes())


def prove(context: TrainingContext, job_id: str, draft_digest: str) -> dict[str, Any]:
    """Export the head and show that the graph answers as the trained program does. Raises ParityError."""
    progress = context.progress(job_id)
    progress.enter("exporting")
    job = jobs.get(context.engine, job_id)
    draft = drafts.load(context.artifacts, draft_digest)
    if draft.deep is not None:
        return deep_proof.prove(context, job, draft, progress)
    backbone = context.backbone(job)
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
    context.progress(job_id).enter("publishing")
    draft = drafts.load(context.artifacts, draft_digest)
    while True:
        live = heads.find_live(context.engine, job.request.head)
        embedder = partial(context.embedder, head=job.request.head)
        verdict = champion.compare(
            draft, job.request.task, live, context.artifacts, embedder, context.trunks, context.engine
        )
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
    deep.clear(context, job_id)
    try:
        job, draft = jobs.get(context.engine, job_id), drafts.load(context.artifacts, draft_digest)
        report = _with_curve(context, job, draft)
        reports.replace(context.engine, job_id, context.scratch(job_id).put(report))
    except (CorruptArtifact, NotFound):  # deleted meanwhile, by its owner or by a first try that was killed
        log.info("the version of %s is gone: no learning curve", job_id)
    context.let_go(job_id)


def _with_curve(context: TrainingContext, job: Job, draft: drafts.Draft) -> bytes:
    about = {}
    if draft.deep is not None:  # its own would take several more fits of the backbone
        if (known := deep.curve(context, job, draft)) is not None:
            return with_curve(draft, known, context.artifacts)
        draft, about = drafts.load(context.artifacts, str(draft.shallow)), deep.OF_SHALLOW
    backbone = context.backbone(job)
    cache = EmbeddingCache(context.engine, embedded_by(job.request.head, backbone.digest))
    shas = [e.sha256 for e in draft.examples]
    embeddings, _ = cache.get(shas, draft.reads)
    names = views.wanted(modalities.of(backbone), draft.views, len(shas))
    further = views.cached(cache, names, shas, embeddings)[draft.views]
    task, noun = tasks.get(job.request.task), modalities.of(backbone).NOUN
    return with_late_findings(draft, embeddings, further, task, job.request.seed, context.artifacts, noun, about)


def warm() -> None:
    """Train a head on noise: libraries load, thread pools start, and the first job does not wait for them."""
    task, labels = tasks.get("classification"), ["abcd"[row % 4] for row in range(200)]
    targets = task.targets(labels, "abcd")
    embeddings = np.random.default_rng(0).normal(size=(200, 64)).astype(np.float32)
    parts = split(task.strata(targets), np.arange(200), [None] * 200, [None] * 200, 0)
    race(embeddings, targets, "abcd", parts, task, "auto", {}, 0, lambda _: None, lambda: None)
