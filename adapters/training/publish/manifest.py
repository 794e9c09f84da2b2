"""The manifest: JSON beside each version that says where it comes from and how it was proven."""

import json
import platform
from collections import Counter
from collections.abc import Sequence
from importlib.metadata import version
from typing import Any

import numpy as np

from adapters import arrays, tasks
from adapters.backbones import parts
from adapters.backbones.cuts import TAP
from adapters.backbones.facts import told
from adapters.store.database import now
from adapters.store.objects.artifacts import Artifacts
from adapters.store.publishing import Publication
from adapters.tasks import Task
from adapters.training.publish import drafts
from adapters.training.publish.drafts import Draft
from adapters.training.stages import plan
from adapters.types import Backbone, Deploy, HeadVersion, Job

FORMAT = 1
TOOLS = ("torch", "onnx", "onnxruntime", "numpy", "timm", "pillow", "simplejpeg")


def metadata(job: Job, backbone: Backbone, draft: Draft) -> dict[str, str]:
    """What a head.onnx says of itself, for those who meet it without Espalier."""
    return {
        "espalier.format": str(FORMAT), "espalier.head": job.request.head, "espalier.task": job.request.task,
        "espalier.backbone": backbone.name, "espalier.backbone_digest": backbone.digest,
        "espalier.reads": _reads(draft, backbone),
        "espalier.decision": json.dumps(draft.decision, sort_keys=True, ensure_ascii=False),
    }  # fmt: skip


def _reads(draft: Draft, backbone: Backbone) -> str:
    if draft.deep is not None:
        beside = f"; embedding: the first {draft.deep['beside']} numbers" if "beside" in draft.deep else ""
        return f"{TAP}: what the {'whole' if beside else 'trunk'} tells at {draft.deep['cut']['name']}{beside}"
    return f"{parts.named(draft.reads, backbone)}: the first {draft.reads} of {backbone.length} numbers"


def dataset_bytes(draft: Draft, earlier: Sequence[Sequence[Any]] = ()) -> bytes:
    """Which examples a version was trained on (train, val) and measured on (test); its digest is the data's digest.

    `earlier`: those that what it goes on from was fitted to, behind its own.
    """
    return json.dumps([*([a.sha256, a.split] for a in draft.assignments), *earlier]).encode()


def _earlier(draft: Draft, artifacts: Artifacts) -> list[list[str]]:
    """What the version that it goes on from, or one before that, was fitted to, and did not come again."""
    if draft.begun_at is None:
        return []
    own = {a.sha256 for a in draft.assignments}
    listed = json.loads(artifacts.get(draft.begun_at["data"]))
    return [[sha, part] for sha, part in listed if sha not in own and part in ("train", "val")]


def publication(
    job: Job,
    draft: Draft,
    backbone: Backbone,
    proven: dict[str, Any],
    verdict: dict[str, Any],
    live: HeadVersion | None,
    lost: bool,
    artifacts: Artifacts,
    retired: Sequence[int] = (),
) -> Publication:
    """Everything that `publishing.publish` writes."""
    task = tasks.get(job.request.task)
    report = draft.report | {"gate": verdict, "parity": proven["parity"], "data": _data(draft, task, artifacts)}
    report["data"] |= {"classes": _counts(draft, task)} | ({} if job.request.keep_examples else {"kept": False})
    report["deploy"] = _deployed(job.request.deploy, lost, live)
    facts = {
        "format": FORMAT, "job": job.id, "created_at": now().isoformat(), "task": job.request.task,
        "method": draft.method, "hyperparameters": draft.setting, "views": draft.views,
        "reads": TAP if draft.deep else parts.named(draft.reads, backbone), "seed": job.request.seed,
        "classes": list(draft.classes), "decision": draft.decision,
        "metrics": draft.metrics, "parity": proven["parity"], "data": report["data"] | {"report": draft.findings},
        "backbone": {"name": backbone.name, "digest": backbone.digest, "precision": backbone.precision}
        | told(backbone.modality),
        "inputs": _inputs(draft),
        "outputs": _outputs(task, draft.classes),
        "trust": draft.report["trust"], "gate": verdict, "tools": _tools(),
    }  # fmt: skip
    if draft.deep is not None:
        report["deep"] = report.get("deep", {}) | {"precision": proven["deep"]["precision"]}
        facts["deep"] = proven["deep"] | {name: draft.deep[name] for name in ("cut", "evidence")}
        if not job.request.keep_examples:  # what is added later goes on from
            facts["deep"] |= {"program": draft.program, "finish": draft.finish}
    dataset = list(zip(draft.examples, draft.assignments, strict=True))
    expected = live.number if live else None
    return Publication(
        job.id, job.request, proven["digest"], facts, draft.metrics, report, dataset, lost, expected, retired,
        plan.next_stage(job.request, job.id) if draft.later else None,
    )  # fmt: skip


def _inputs(draft: Draft) -> dict[str, list[Any]]:
    """The shapes of what the graph is given."""
    if draft.deep is None:
        return {"embedding": ["batch", draft.reads]}
    beside = {"embedding": ["batch", draft.deep["beside"]]} if "beside" in draft.deep else {}
    return {TAP: ["batch", *draft.deep["cut"]["shape"]]} | beside


def _outputs(task: Task, classes: Sequence[str]) -> dict[str, list[Any]]:
    """The shapes of what the graph answers with."""
    return {name: ["batch", *shape] for name, shape in task.shapes(classes).items()} | {"novelty": ["batch"]}


def _deployed(deploy: Deploy, lost: bool, live: HeadVersion | None) -> str:
    """What became of the version, in a sentence for its owner."""
    if deploy == "manual":
        return "not served: deploy=manual gates nothing and moves no alias"
    if deploy == "always" and live is None:
        return "not served: the head has no live version that it could take the place of"
    if deploy == "always":
        return "served as live whatever the gate says: the owner of the head asked for this change of its data"
    return "kept as rejected: it lost against the live version" if lost else "served as live: it passed the gate"


def _data(draft: Draft, task: Task, artifacts: Artifacts) -> dict[str, Any]:
    earlier = _earlier(draft, artifacts)
    facts = {
        "digest": artifacts.put(dataset_bytes(draft, earlier)), "examples": len(draft.examples),
        "splits": dict(sorted(Counter(a.split or "left out" for a in draft.assignments).items())),
    }  # fmt: skip
    if draft.report["evaluation"] == "cross-validation":
        facts["answers"] = artifacts.put(_in_order(draft, task, artifacts, len(earlier)))
    return facts


def _counts(draft: Draft, task: Task) -> dict[str, int]:
    """How many examples speak of each class."""
    return dict(sorted(Counter(name for e in draft.examples for name in task.names(e.label)).items()))


def _in_order(draft: Draft, task: Task, artifacts: Artifacts, unasked: int) -> bytes:
    """Out-of-fold answers in the order of the data, for the gate of the next version: f32 [N, S], see `arrays.flat`."""
    shapes = task.shapes(draft.classes)
    answers = dict(zip(draft.held_out, arrays.flat(drafts.answers(artifacts, draft, task), shapes), strict=True))
    unknown = np.full(arrays.numbers(shapes), np.nan, np.float32)  # copies that were left out
    rows = [answers.get(a.sha256, unknown) for a in draft.assignments] + [unknown] * unasked
    return np.stack(rows).astype("<f4").tobytes()


def _tools() -> dict[str, str]:
    found = {"python": platform.python_version()}
    for name in TOOLS:
        try:
            found[name] = version(name)
        except Exception:  # onnxruntime-gpu goes by another name
            continue
    return found
