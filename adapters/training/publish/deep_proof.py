"""Export and proof of a deep version, and the parts of its backbone that are kept for serving it."""

from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

import numpy as np
import torch

from adapters import tasks
from adapters.backbones import cuts as parts
from adapters.recipe import AUTO
from adapters.runtime.heads.pairs import Pairs
from adapters.training import programs
from adapters.training.backbone import cuts
from adapters.training.context import TrainingContext
from adapters.training.deep import interpreter
from adapters.training.progress import Progress
from adapters.training.publish import deep_export, deep_precision, drafts, manifest, verify
from adapters.training.publish.drafts import Draft
from adapters.types import Floats, Job, Rows


def prove(context: TrainingContext, job: Job, draft: Draft, progress: Progress) -> dict[str, Any]:
    """{"digest", "parity", "deep": {"trunk", "whole", "precision"}}, ready for JSON. Raises ParityError.

    `deep` has "beside", too, where the version reads embeddings.
    """
    assert draft.deep is not None
    backbone, cut, scratch = context.backbone(job), drafts.cut(draft), context.scratch(job.id)
    program, tail = (
        programs.from_bytes(context.artifacts.get(draft.program)),
        context.artifacts.get(draft.deep["tail"]),
    )
    metadata = manifest.metadata(job, backbone, draft) | draft.metadata
    whole = context.artifacts.get(backbone.artifact)
    cuts.prove_once(backbone, whole, cut)
    kept = {"trunk": scratch.put(cuts.trunk(whole, cut)), "whole": scratch.put(cuts.whole(whole, cut))}
    read = parts.read_by(backbone.digest, draft.deep | kept)
    metadata |= {"espalier.trunk": kept["trunk"], f"espalier.{read.kind}": read.artifact}

    def graph_of(tail: bytes) -> bytes:
        return deep_export.to_onnx(program, tail, cut, draft.reads, draft.classes, metadata)

    progress.enter("verifying")
    trained = deep_precision.Tail(tail, graph_of(tail), cut, tasks.get(job.request.task), draft.schema, graph_of)
    taps, count = _taps(context, draft, read, progress), len(draft.examples)
    some, reference = taps(range(min(verify.FEW, count))), partial(_in_torch, tail, draft.deep.get("beside", 0))
    parity = verify.verify_deep(
        trained.plain, program, some, reference, trained.task, trained.schema, masked=cut.kind == "sequence"
    )
    plain = _plain(job, draft, backbone.precision)
    graph, precision = deep_precision.chosen(trained, backbone.precision, taps, count, plain)
    kept |= {name: draft.deep[name] for name in ("beside",) if name in draft.deep}
    return {"digest": scratch.put(graph), "parity": parity, "deep": kept | {"precision": precision}}


def _in_torch(tail: bytes, beside: int, read: Rows, dtype: torch.dtype) -> Floats:
    """What the program reads, of taps or of `Pairs`: [N, D], or [N, D + R] with so many numbers of an embedding."""
    if not isinstance(read, Pairs):
        return interpreter.run(tail, read, dtype)
    return np.concatenate([interpreter.run(tail, read.taps, dtype), read.embeddings[:, :beside]], axis=1)


def _taps(
    context: TrainingContext, draft: Draft, read: parts.Part, progress: Progress
) -> Callable[[Sequence[int]], Rows]:
    """What the head reads of examples, by their positions."""

    def told(positions: Sequence[int]) -> Rows:
        progress.cancelled()
        return context.trunks.taps(read, [draft.examples[position] for position in positions])

    return told


def _plain(job: Job, draft: Draft, precision: str) -> str | None:
    """Why the tail is to stay in float32, if it is."""
    if precision == deep_precision.PLAIN:
        return "as the backbone is"
    if draft.setting.get("precision", AUTO) == deep_precision.PLAIN:
        return "as was asked"
    return None if job.request.keep_examples else "what is added later goes on from its weights"
