"""Export and proof of a deep version, and the parts of its backbone that are kept for serving it."""

from functools import partial
from typing import Any

from adapters import tasks
from adapters.backbones import cuts as parts
from adapters.training import programs
from adapters.training.backbone import cuts
from adapters.training.context import TrainingContext
from adapters.training.deep import interpreter
from adapters.training.progress import Progress
from adapters.training.publish import deep_export, drafts, manifest, verify
from adapters.training.publish.drafts import Draft
from adapters.types import Job


def prove(context: TrainingContext, job: Job, draft: Draft, progress: Progress) -> dict[str, Any]:
    """{"digest", "parity", "deep": {"trunk", "whole"}}, ready for JSON. Raises ParityError."""
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
    graph = deep_export.to_onnx(
        program, tail, cut, draft.reads, draft.classes, metadata | {"espalier.trunk": kept["trunk"]}
    )  # fmt: skip
    progress.enter("verifying")
    taps = context.trunks.taps(trunk, draft.examples[: verify.FEW])
    reference = partial(interpreter.run, tail)
    parity = verify.verify_deep(graph, program, taps, reference, tasks.get(job.request.task), draft.schema)
    return {"digest": scratch.put(graph), "parity": parity, "deep": kept}
