"""Any two versions of a head on the same examples, which neither learned from: is one better, where do they differ?

Labels are the present ones. A class that only one of the two knows (it came later, or was renamed in between) would
hand the other its examples for free, so only examples and answers of shared classes count, as in the gate.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from sqlalchemy.engine import Engine

from adapters.comparison import honest, paired
from adapters.runtime.head import Head
from adapters.store import examples as example_store
from adapters.store.artifacts import Artifacts
from adapters.store.embeddings import EmbeddingCache
from adapters.types import Example, Floats, HeadVersion


@dataclass(frozen=True, slots=True)
class _Testimony:
    """What a version honestly says, f32 [K] by SHA-256; `silent` are those that it could say but cannot here."""

    answers: dict[str, Floats]
    silent: set[str]  # without an embedding of its backbone


@dataclass(frozen=True, slots=True)
class _Choices:
    """The best of the shared classes, i64 [N], and its probability, f32 [N]."""

    chosen: NDArray[np.int64]
    score: Floats


def compare(a: HeadVersion, b: HeadVersion, engine: Engine, artifacts: Artifacts, limit: int) -> dict[str, Any]:
    """Ready for JSON; `changed` lists at most `limit` examples, those that `a` had right and `b` has wrong first."""
    shared = sorted(set(a.manifest["classes"]) & set(b.manifest["classes"]))
    held = [e for e, _ in example_store.of_head(engine, a.head) if e.label in set(shared)]
    of_a, of_b = (_testimony(version, held, engine, artifacts) for version in (a, b))
    fair = [e for e in held if e.sha256 in of_a.answers and e.sha256 in of_b.answers]
    skipped = sum(_both_could(e.sha256, of_a, of_b) for e in held) - len(fair)
    truth = np.array([shared.index(e.label) for e in fair], dtype=np.int64)
    choices = [_among(v, [t.answers[e.sha256] for e in fair], shared) for v, t in ((a, of_a), (b, of_b))]
    figures = paired.figures(*(c.chosen == truth for c in choices))
    changed = _changed(fair, shared, truth, *choices)
    facts = {"head": a.head, "a": a.number, "b": b.number, "skipped": skipped, "classes": shared}
    return facts | figures | {"changed_count": len(changed), "changed": changed[:limit]}


def _testimony(version: HeadVersion, held: Sequence[Example], engine: Engine, artifacts: Artifacts) -> _Testimony:
    """As remembered from cross-validation, or now, through its own graph on cached embeddings."""
    said = honest.remembered(version, artifacts)
    closed = honest.learned(version, artifacts) | said.keys()
    fresh = [e.sha256 for e in held if e.sha256 not in closed]
    cache = EmbeddingCache(engine, version.manifest["backbone"]["digest"])
    silent = set(cache.missing(fresh))
    asked = [sha256 for sha256 in fresh if sha256 not in silent]
    if asked:
        outputs = Head.from_bytes(artifacts.get(version.digest)).run(cache.get(asked)[0])
        said |= dict(zip(asked, outputs, strict=True))
    return _Testimony(said, silent)


def _both_could(sha256: str, *testimonies: _Testimony) -> bool:
    return all(sha256 in t.answers or sha256 in t.silent for t in testimonies)


def _among(version: HeadVersion, answers: list[Floats], shared: Sequence[str]) -> _Choices:
    """The version's choices when only shared classes may be chosen."""
    classes = version.manifest["classes"]
    columns = [classes.index(label) for label in shared]
    table = np.stack(answers)[:, columns] if answers else np.zeros((0, max(len(shared), 1)), np.float32)
    return _Choices(table.argmax(axis=1), table.max(axis=1))


def _changed(
    examples: Sequence[Example], shared: Sequence[str], truth: NDArray[np.int64], a: _Choices, b: _Choices
) -> list[dict[str, Any]]:
    """Examples that the two answer differently: what `a` knew and `b` does not, then the other way round, then both
    wrong; the surest new answers first."""
    rows = np.flatnonzero(a.chosen != b.chosen)
    rank = np.where(a.chosen == truth, 0, np.where(b.chosen == truth, 1, 2))
    order = rows[np.lexsort((-b.score[rows], rank[rows]))]
    return [
        {
            "sha256": examples[i].sha256, "file_name": examples[i].file_name, "label": examples[i].label,
            "a": {"label": shared[a.chosen[i]], "score": float(a.score[i])},
            "b": {"label": shared[b.chosen[i]], "score": float(b.score[i])},
        }
        for i in order.tolist()
    ]  # fmt: skip
