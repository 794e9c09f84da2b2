"""Any two versions of a head on the same examples, which neither learned from: is one better, where do they differ?

Labels are the present ones. A class that only one of the two knows (it came later, or was renamed in between) would
hand the other its examples for free, so only examples and answers of shared classes count, as in the gate.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from sqlalchemy.engine import Engine

from adapters import arrays, tasks
from adapters.comparison import asking, forgetting, out_of_fold, paired
from adapters.comparison.trunks import Trunks
from adapters.runtime.heads.head import Head
from adapters.store import examples as example_store
from adapters.store import heads, keeping
from adapters.store.embeddings import EmbeddingCache
from adapters.tasks import Task
from adapters.tenancy import embedded_by, shown
from adapters.types import Arrays, Example, Floats, HeadVersion, Schema

MOST_DEEP = 500  # examples that a deep version is asked about: each is decoded and goes through the trunk again


@dataclass(frozen=True, slots=True)
class _KnownAnswers:
    """SHA-256 → what a version says of what it did not learn; `silent` are those that it could say but cannot here."""

    answers: dict[str, Arrays]  # rows
    silent: set[str]  # without an embedding of its backbone


@dataclass(frozen=True, slots=True)
class _Answers:
    """The version's answers, as callers see them, and how good each is, f32 [N]."""

    said: list[dict[str, Any]]
    merits: Floats


def compare(a: HeadVersion, b: HeadVersion, engine: Engine, trunks: Trunks, limit: int) -> dict[str, Any]:
    """Ready for JSON; `changed` lists at most `limit` examples, those that `a` had right and `b` has wrong first.

    Raises ExamplesNotKept.
    """
    keeping.require(engine, a.head, "to compare versions")
    task = tasks.get(b.manifest["task"])
    shared = sorted(set(a.manifest["classes"]) & set(b.manifest["classes"]))
    held = [e for e, _ in example_store.of_head(engine, a.head) if set(task.names(e.label)) <= set(shared)]
    held = held if shared else []
    of_a, of_b = (_known_answers(version, held, engine, trunks) for version in (a, b))
    fair = [e for e in held if e.sha256 in of_a.answers and e.sha256 in of_b.answers]
    skipped = sum(_both_could(e.sha256, of_a, of_b) for e in held) - len(fair)
    answers = [_among(task, v, [t.answers[e.sha256] for e in fair], fair, shared) for v, t in ((a, of_a), (b, of_b))]
    figures = paired.figures(answers[0].merits, answers[1].merits, task.MERIT)
    changed = _changed(fair, task, *answers)
    facts = {"head": shown(a.head), "a": a.number, "b": b.number, "skipped": skipped, "classes": shared}
    facts["forgetting"] = _forgotten(task, a, b, of_a, of_b, fair)
    return facts | figures | {"changed_count": len(changed), "changed": changed[:limit]}


def _known_answers(version: HeadVersion, held: Sequence[Example], engine: Engine, trunks: Trunks) -> _KnownAnswers:
    """As remembered from cross-validation, or now, through its own graph."""
    said = out_of_fold.remembered(version, trunks.artifacts)
    closed = out_of_fold.learned(version, trunks.artifacts) | said.keys()
    fresh = [e for e in held if e.sha256 not in closed]
    if "deep" in version.manifest:
        asked, silent = fresh[:MOST_DEEP], {e.sha256 for e in fresh[MOST_DEEP:]}
    else:
        cache = EmbeddingCache(engine, embedded_by(version.head, version.manifest["backbone"]["digest"]))
        silent = set(cache.missing([e.sha256 for e in fresh]))
        asked = [e for e in fresh if e.sha256 not in silent]
    if asked:
        head, keys = Head.from_bytes(heads.stored(trunks.artifacts, version)), [e.sha256 for e in asked]
        deep = "deep" in version.manifest
        answers = trunks.said(head, version, asked) if deep else asking.said(head, cache, keys)
        said |= dict(zip(keys, arrays.each(answers), strict=True))
    return _KnownAnswers(said, silent)


def _forgotten(
    task: Task, a: HeadVersion, b: HeadVersion, of_a: _KnownAnswers, of_b: _KnownAnswers, examples: Sequence[Example]
) -> dict[str, Any] | None:
    """Of the classes that `a` knew, where `b` has learned others."""
    schemas = [_schema(version) for version in (a, b)]
    answers = [
        arrays.stacked([known.answers[e.sha256] for e in examples], task.shapes(schema.classes))
        for known, schema in zip((of_a, of_b), schemas, strict=True)
    ]
    return forgetting.measured(task, answers[0], schemas[0], answers[1], schemas[1], [e.label for e in examples])


def _schema(version: HeadVersion) -> Schema:
    return Schema(tuple(version.manifest["classes"]), version.manifest.get("decision", {}))


def _both_could(sha256: str, *both: _KnownAnswers) -> bool:
    return all(sha256 in t.answers or sha256 in t.silent for t in both)


def _among(
    task: Task, version: HeadVersion, answers: list[Arrays], examples: Sequence[Example], shared: Sequence[str]
) -> _Answers:
    """The version's answers when only shared classes may be chosen."""
    if not answers:
        return _Answers([], np.zeros(0, np.float32))
    schema = _schema(version)
    among, read = task.among(arrays.stacked(answers, task.shapes(schema.classes)), schema, shared)
    targets = task.targets([e.label for e in examples], shared)
    return _Answers([task.decode(one, read, 1) for one in arrays.each(among)], task.merits(among, targets, read))


def _changed(examples: Sequence[Example], task: Task, a: _Answers, b: _Answers) -> list[dict[str, Any]]:
    """Examples that the two answer differently: what `a` knew better, then what `b` does, then the others; the surest
    new answers first."""
    rows = [i for i in range(len(examples)) if a.said[i]["label"] != b.said[i]["label"]]
    order = sorted(rows, key=lambda i: (_rank(float(a.merits[i]), float(b.merits[i])), -(b.said[i]["score"] or 0.0)))
    return [
        {
            "sha256": examples[i].sha256, "file_name": examples[i].file_name, "label": task.shown(examples[i].label),
            "a": _brief(a.said[i]), "b": _brief(b.said[i]),
        }
        for i in order
    ]  # fmt: skip


def _rank(a: float, b: float) -> int:
    return 0 if a > b else 1 if b > a else 2


def _brief(said: dict[str, Any]) -> dict[str, Any]:
    return {"label": said["label"], "score": said["score"]}
