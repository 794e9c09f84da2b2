"""Export and proof of a deep version, and the parts of its backbone that are kept for serving it."""

from collections.abc import Sequence
from functools import partial
from typing import Any

from numpy.typing import NDArray

from adapters import tasks
from adapters.backbones import cuts as parts
from adapters.recipe import AUTO
from adapters.training import programs
from adapters.training.backbone import cuts
from adapters.training.context import TrainingContext
from adapters.training.deep import interpreter
from adapters.training.progress import Progress
from adapters.training.publish import deep_export, deep_precision, drafts, manifest, verify
from adapters.training.publish.drafts import Draft
from adapters.types import Job


def prove(context: TrainingContext, job: Job, draft: Draft, progress: Progress) -> dict[str, Any]:
    """{"digest", "parity", "deep": {"trunk", "whole", "precision"}}, ready for JSON. Raises ParityError."""
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
    trunk = parts.part(backbone.digest, draft.deep | kept, "trunk")
    metadata |= {"espalier.trunk": kept["trunk"]}

    def graph_of(tail: bytes) -> bytes:
        return deep_export.to_onnx(program, tail, cut, draft.reads, draft.classes, metadata)

    def taps(positions: Sequence[int]) -> NDArray[Any]:
        return context.trunks.taps(trunk, [draft.examples[position] for position in positions])

    progress.enter("verifying")
    plain, task = graph_of(tail), tasks.get(job.request.task)
    some = taps(range(min(verify.FEW, len(draft.examples))))
    parity = verify.verify_deep(plain, program, some, partial(interpreter.run, tail), task, draft.schema)
    trained = deep_precision.Tail(tail, plain, cut, task, draft.schema, graph_of)
    graph, facts = deep_precision.chosen(
        trained, backbone.precision, taps, len(draft.examples), _plain(job, draft, backbone.precision)
    )
    return {"digest": scratch.put(graph), "parity": parity, "deep": kept | {"precision": facts}}


def _plain(job: Job, draft: Draft, precision: str) -> str | None:
    """Why the tail is to stay in float32, if it is."""
    if precision == deep_precision.PLAIN:
        return "as the backbone is"
    if draft.setting.get("precision", AUTO) == deep_precision.PLAIN:
        return "as was asked"
    return None if job.request.keep_examples else "what is added later goes on from its weights"
