"""The gate's evidence: the candidate and the live version on the same examples, which neither was trained on."""

import json
from collections.abc import Callable
from typing import Any

import numpy as np
from sqlalchemy.engine import Engine

from adapters.runtime.head import Head
from adapters.store import backbones
from adapters.store.artifacts import Artifacts
from adapters.training import drafts, gate
from adapters.training.drafts import Draft
from adapters.training.embed import Embedder
from adapters.types import Backbone, Example, Floats, HeadVersion


def compare(
    draft: Draft,
    live: HeadVersion | None,
    artifacts: Artifacts,
    embedder: Callable[[Backbone], Embedder],
    engine: Engine,
) -> dict[str, Any]:
    """The verdict of the gate on a draft; a head's first version has nobody to lose against."""
    if live is None:
        return {"passed": True, "reason": "there is no live version to compare with", "examples": 0}
    unseen = _unseen(draft, live, artifacts)
    examples = {e.sha256: e for e in draft.examples}
    shared = [examples[draft.held_out[row]] for row in unseen]
    ours = drafts.answers(artifacts, draft)[unseen]
    theirs = _answers(live, shared, artifacts, embedder, engine)
    verdict = gate.compare(ours, draft.classes, theirs, live.manifest["classes"], [e.label for e in shared])
    return verdict | {"against": live.number}


def _unseen(draft: Draft, live: HeadVersion, artifacts: Artifacts) -> list[int]:
    """Rows of the draft's held-out examples that the live version has not learned from either."""
    parts = json.loads(artifacts.get(live.manifest["data"]["digest"]))
    learned = {sha for sha, part in parts if part in ("train", "val")}
    return [row for row, sha in enumerate(draft.held_out) if sha not in learned]


def _answers(
    live: HeadVersion,
    examples: list[Example],
    artifacts: Artifacts,
    embedder: Callable[[Backbone], Embedder],
    engine: Engine,
) -> Floats:
    """What the live version says, through its own graph on its own backbone, f32 [N, K]."""
    if not examples:
        return np.zeros((0, len(live.manifest["classes"])), np.float32)
    on = embedder(backbones.find_digest(engine, live.manifest["backbone"]["digest"]))
    on.embed(examples, lambda done, total: None)  # nothing to do unless the backbone differs
    embeddings, _ = on.cache.get([e.sha256 for e in examples])
    return Head.from_bytes(artifacts.get(live.digest)).run(embeddings)
