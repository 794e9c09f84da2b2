"""The gate's evidence: the candidate and the live version on the same examples, which neither was trained on."""

from collections.abc import Callable
from typing import Any

from sqlalchemy.engine import Engine

from adapters import arrays, tasks
from adapters.comparison import forgetting, gate, out_of_fold
from adapters.comparison.asking import said
from adapters.comparison.trunks import Trunks
from adapters.errors import BackboneDamaged, HeadDamaged
from adapters.runtime.heads.head import Head
from adapters.spans import traced
from adapters.store import backbones, heads
from adapters.store.objects.artifacts import Artifacts
from adapters.training.embedding.embed import Embedder
from adapters.training.publish import drafts
from adapters.training.publish.drafts import Draft
from adapters.types import Arrays, Backbone, Example, HeadVersion, Schema


@traced("gate")
def compare(
    draft: Draft,
    task_name: str,
    live: HeadVersion | None,
    artifacts: Artifacts,
    embedder: Callable[[Backbone], Embedder],
    trunks: Trunks,
    engine: Engine,
) -> dict[str, Any]:
    """The verdict of the gate on a draft; a head's first version has nobody to lose against."""
    if live is None:
        return {"passed": True, "reason": "there is no live version to compare with", "examples": 0}
    if live.manifest["task"] != task_name:
        reason = f"the live version does {live.manifest['task']}: there is nothing to compare"
        return {"passed": True, "reason": reason, "examples": 0, "against": live.number}
    try:
        return _compared(draft, task_name, live, artifacts, embedder, trunks, engine) | {"against": live.number}
    except HeadDamaged:
        reason = f"version {live.number}, which is live, is damaged in the store and has no say: it loses by default"
        return {"passed": True, "reason": reason, "examples": 0, "against": live.number, "damaged": True}


def _compared(
    draft: Draft,
    task_name: str,
    live: HeadVersion,
    artifacts: Artifacts,
    embedder: Callable[[Backbone], Embedder],
    trunks: Trunks,
    engine: Engine,
) -> dict[str, Any]:
    """Raises HeadDamaged where the live version cannot be read any more."""
    heads.stored(artifacts, live)  # first: however well it did once, what cannot answer any more must not win
    remembered = out_of_fold.remembered(live, artifacts)
    rows = _comparable(draft, live, remembered, artifacts)
    examples = {e.sha256: e for e in draft.examples}
    shared = [examples[draft.held_out[row]] for row in rows]
    task = tasks.get(task_name)
    ours = arrays.take(drafts.answers(artifacts, draft, task), rows)
    theirs = _answers(live, shared, remembered, artifacts, embedder, trunks, engine)
    read = Schema(tuple(live.manifest["classes"]), live.manifest.get("decision", {}))
    labels = [e.label for e in shared]
    lost = forgetting.measured(task, theirs, read, ours, draft.schema, labels, _goes_on(draft))
    verdict = gate.compare(task, ours, draft.schema, theirs, read, labels)
    if lost is not None and _goes_on(draft):
        lost |= {"kept": live.manifest["metrics"]}  # of answers to examples that were held out then, and are no more
    return verdict if lost is None else verdict | {"forgetting": lost}


def _goes_on(draft: Draft) -> bool:
    """Whether it goes on from a version whose examples were not kept: what became of earlier classes is said always."""
    return draft.begun_at is not None


def _comparable(draft: Draft, live: HeadVersion, remembered: dict[str, Arrays], artifacts: Artifacts) -> list[int]:
    """Rows of the draft's held-out examples about which the live version has an answer that counts, too."""
    learned = out_of_fold.learned(live, artifacts) - remembered.keys()
    return [row for row, sha in enumerate(draft.held_out) if sha not in learned]


def _answers(
    live: HeadVersion,
    examples: list[Example],
    remembered: dict[str, Arrays],
    artifacts: Artifacts,
    embedder: Callable[[Backbone], Embedder],
    trunks: Trunks,
    engine: Engine,
) -> Arrays:
    """What the live version says: as remembered, or now, through its own graph on its own backbone."""
    fresh = [e for e in examples if e.sha256 not in remembered]
    known = remembered | dict(
        zip([e.sha256 for e in fresh], _ask(live, fresh, artifacts, embedder, trunks, engine), strict=True)
    )
    shapes = tasks.get(live.manifest["task"]).shapes(live.manifest["classes"])
    return arrays.stacked([known[e.sha256] for e in examples], shapes)


def _ask(
    live: HeadVersion,
    examples: list[Example],
    artifacts: Artifacts,
    embedder: Callable[[Backbone], Embedder],
    trunks: Trunks,
    engine: Engine,
) -> list[Arrays]:
    if not examples:
        return []
    head = Head.from_bytes(heads.stored(artifacts, live))
    if "deep" in live.manifest:
        return _ask_deep(head, live, examples, trunks)
    on = embedder(backbones.find_digest(engine, live.manifest["backbone"]["digest"]))
    on.embed(examples, lambda done, total: None)  # nothing to do unless the backbone differs
    return list(arrays.each(said(head, on.cache, [e.sha256 for e in examples])))


def _ask_deep(head: Head, live: HeadVersion, examples: list[Example], trunks: Trunks) -> list[Arrays]:
    """What it reads of its backbone is its own: where that is damaged, the version is."""
    try:
        return list(arrays.each(trunks.said(head, live, examples)))
    except BackboneDamaged as error:
        raise heads.damaged(live) from error
