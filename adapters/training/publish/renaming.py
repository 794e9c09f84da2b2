"""Renaming classes: a new version with the same weights; only what its outputs are called changes."""

import json
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray
from sqlalchemy.engine import Engine

from adapters import edits, tasks
from adapters.backbones.cuts import TAP
from adapters.errors import Conflict, ParityError
from adapters.runtime.heads.head import Head
from adapters.runtime.heads.pairs import Pairs
from adapters.store import examples, heads, publishing
from adapters.store.database import now
from adapters.store.objects.artifacts import Artifacts
from adapters.store.publishing import Publication
from adapters.tenancy import shown
from adapters.training.stages import plan
from adapters.types import Edit, HeadVersion, Job, Rows

PROBES = 64  # rows of noise on which the two graphs must agree to the last bit
DEEP_PROBES = 4  # of a deep version, which has a network of its own to run
LABELS, DECISION = "labels", "espalier.decision"  # keys in metadata_props


def publish(job: Job, engine: Engine, artifacts: Artifacts) -> int:
    """Make a version of the live one, or of the newest, under other names. Raises LabelNotFound, Conflict."""
    while True:
        live = heads.find_live(engine, job.request.head)
        try:
            return publishing.publish(engine, publication(job, engine, artifacts, live))
        except heads.AliasMoved:  # somebody promoted or rolled back: rename what is live now
            continue


def publication(job: Job, engine: Engine, artifacts: Artifacts, live: HeadVersion | None) -> Publication:
    """Everything that `publishing.publish` writes; the figures are those of the version that is renamed."""
    source = live or _newest(engine, job.request.head)
    assert job.request.edit is not None
    stored = examples.of_head(engine, job.request.head)
    task = tasks.get(job.request.task)
    names = edits.names(job.request.edit, {name for example, _ in stored for name in task.names(example.label)})
    classes = _renamed(source, job.request.edit)
    facts = _manifest(job.id, job.request.edit, source, classes)
    graph = renamed(heads.stored(artifacts, source), facts, _probes(source.manifest))
    dataset = [
        (replace(e, label=str(task.renamed(e.label, names))), replace(a, label=str(task.renamed(a.label, names))))
        for e, a in stored
    ]
    report = {k: facts[k] for k in ("data", "parity", "gate", "renamed")} | {"deploy": _deployed(live)}
    expected = live.number if live else None
    return Publication(
        job.id, job.request, artifacts.put(graph), facts, facts["metrics"], report, dataset, False, expected,
        next=plan.next_stage(job.request, job.id), instead=True,
    )  # fmt: skip


def renamed(graph: bytes, facts: Mapping[str, Any], probes: Rows) -> bytes:
    """A head.onnx whose metadata names its outputs as its new manifest does; `probes` are rows of what it reads.

    Raises ParityError unless it answers exactly as before.
    """
    model = onnx.load_from_string(graph)
    told = {LABELS: json.dumps(facts["classes"], ensure_ascii=False)}
    told[DECISION] = json.dumps(facts.get("decision", {}), sort_keys=True, ensure_ascii=False)
    for entry in model.metadata_props:
        entry.value = told.get(entry.key, entry.value)
    made = model.SerializeToString(deterministic=True)
    before, after = (Head.from_bytes(one).answer(probes).arrays for one in (graph, made))
    if before.keys() != after.keys() or not all(np.array_equal(before[name], after[name]) for name in before):
        raise ParityError("the renamed graph does not answer as the one it was made from")
    return made


def _probes(manifest: Mapping[str, Any]) -> Rows:
    """Noise of the shapes that a version reads."""
    deep = manifest.get("deep")
    count, dtypes = (PROBES, {}) if deep is None else (DEEP_PROBES, {TAP: deep["cut"]["dtype"]})
    made = {
        name: _noise((count, *shape[1:]), dtypes.get(name, "float32")) for name, shape in manifest["inputs"].items()
    }
    return Pairs(made[TAP], made["embedding"]) if len(made) > 1 else next(iter(made.values()))


def _noise(shape: tuple[int, ...], dtype: str) -> NDArray[Any]:
    random = np.random.default_rng(0)
    if np.issubdtype(np.dtype(dtype), np.integer):
        return random.integers(0, 256, size=shape).astype(dtype)
    return random.normal(size=shape).astype(dtype)


def _newest(engine: Engine, head: str) -> HeadVersion:
    """The newest version that was not rejected: nothing is live, but the names may change all the same."""
    found = [v for v in heads.summary(engine, head).versions if v.status == "published"]
    if not found:
        raise Conflict(
            f"the head {shown(head)!r} has no version to rename the classes of; teach it first", item=shown(head)
        )
    return found[0]


def _renamed(source: HeadVersion, edit: Edit) -> list[str]:
    """The classes in the order of the outputs, which does not change. They may be others than the data's by now."""
    known = set(source.manifest["classes"])
    own = edits.names(Edit(rename={old: new for old, new in edit.rename.items() if old in known}), known)
    return [str(own[label]) for label in source.manifest["classes"]]


def _manifest(job_id: str, edit: Edit, source: HeadVersion, classes: list[str]) -> dict[str, Any]:
    new = dict(zip(source.manifest["classes"], classes, strict=True))
    data: dict[str, Any] = source.manifest["data"]
    counts = {new.get(label, label): count for label, count in data.get("classes", {}).items()}
    verdict = {"passed": True, "examples": 0, "reason": "the same weights under other names: nothing to compare"}
    decision = {
        key: {new.get(name, name): value for name, value in values.items()}
        for key, values in source.manifest.get("decision", {}).items()
    }
    return source.manifest | {
        "job": job_id, "created_at": now().isoformat(), "classes": classes, "decision": decision,
        "data": data | {"classes": counts},
        "gate": verdict, "renamed": {"from_version": source.number, "names": edit.rename},
    }  # fmt: skip


def _deployed(live: HeadVersion | None) -> str:
    if live is None:
        return "not served: the head has no live version that it could take the place of"
    return "served as live: the same weights under the names that its owner chose"
