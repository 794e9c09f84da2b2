"""The data report: what training noticed about the examples. Made from what a job has at hand anyway.

Near-duplicates with the proof that none straddles the split, suspected labels, outliers and the worst mistakes, and,
where each example has one class, classes that look alike and reliability. Every list is capped; counts are not.
"""

import json
from collections import Counter
from collections.abc import Sequence
from typing import Any

import numpy as np

from adapters.arrays import joined, row, take
from adapters.labels import MISSING
from adapters.tasks import Chosen, Task
from adapters.training.data.dataset import Dataset
from adapters.training.data.outliers import outliers
from adapters.training.data.similar_names import similar_names
from adapters.training.data.split import Split
from adapters.training.race.evaluate import Measured
from adapters.training.race.race import RaceResult
from adapters.training.trust.reliability import reliability
from adapters.types import Arrays, Embeddings, Example, Floats, Indices, Schema, Targets

FORMAT = 1
MOST = 100  # rows of a list
MOST_MEMBERS = 20  # of a group of near-duplicates
MOST_PAIRS = 20  # of classes that look alike
Json = dict[str, Any]


def data_report(
    data: Dataset,
    task: Task,
    classes: Sequence[str],
    embeddings: Embeddings,
    targets: Targets,
    copies: Indices,
    split: Split,
    result: RaceResult,
    measured: Measured,
    received: Json | None = None,
) -> Json:
    """Figures, race and findings of one job, ready for JSON; `received` is how what was sent was understood.

    Embeddings f32 [N, D], targets and groups of near-duplicates i64 [N], in the order of the data.
    """
    about = _Described(data.examples, task, measured.schema)
    report: Json = {
        "format": FORMAT, "figures": measured.figures, "race": result.table, "calibration": result.calibration,
        "winner": {
            "method": result.method, "hyperparameters": result.hyperparameters, "views": result.views,
            "reads": result.source.reads,
            "note": result.note,
        },
        "findings": {"examples": len(data.examples), "duplicates": _duplicates(about, copies, split)},
        "curve": None, "worst": _worst(about, measured, targets),
    }  # fmt: skip
    report["findings"] |= {
        "suspected_labels": _suspected(about, result, measured, targets),
        "outliers": _outliers(about, embeddings, task.kinds(targets), copies),
    }
    if received:
        report["findings"]["received"] = received
    if similar := similar_names(classes):
        report["findings"]["similar_names"] = similar[:MOST]
    if missing := sorted(MISSING.intersection(classes)):
        report["findings"]["missing_names"] = missing
    if "per_class" in measured.figures:
        report["findings"]["imbalance"] = _imbalance(data.examples, task, classes)
    chosen = task.chosen(measured.outputs, take(targets, measured.index))
    if chosen is not None:
        report["reliability"] = reliability(chosen.confidence, chosen.said == chosen.truth)
        report["findings"]["look_alikes"] = _look_alikes(chosen, embeddings, task.kinds(targets), classes)
    return report


def to_bytes(report: Json) -> bytes:
    """Canonical JSON."""
    return json.dumps(report, sort_keys=True, ensure_ascii=False, allow_nan=False).encode()


def summary(report: Json) -> Json:
    """What of the findings fits beside a job: counts."""
    found = report["findings"]
    short = {"near_duplicate_groups": found["duplicates"]["groups"], "straddling": found["duplicates"]["straddling"]}
    judged = {key: found["suspected_labels"][key] for key in ("flagged", "judged")}
    short |= {"suspected_labels": judged, "outliers": found["outliers"]["flagged"]}
    if "look_alikes" in found:
        short["look_alikes"] = [row["classes"] for row in found["look_alikes"][:3]]
    if "similar_names" in found:
        short["similar_names"] = found["similar_names"][:3]
    if "missing_names" in found:
        short["missing_names"] = found["missing_names"]
    if "imbalance" in found:
        short["imbalance_ratio"] = found["imbalance"]["ratio"]
    return short


class _Described:
    """Rows of lists: an example in the words of its owner."""

    def __init__(self, examples: Sequence[Example], task: Task, schema: Schema) -> None:
        self.examples, self.task, self.schema = examples, task, schema

    def row(self, position: int, **more: Any) -> Json:
        example = self.examples[position]
        label = self.task.shown(example.label)
        return {"sha256": example.sha256, "file_name": example.file_name, "label": label} | more

    def said(self, answer: Arrays) -> Any:
        return self.task.decode(answer, self.schema, 1)["label"]


def _unseen(result: RaceResult, measured: Measured) -> tuple[Indices, Arrays]:
    """Every example that a fit which had not seen it was asked about, once: the race's and the test set's."""
    index = np.concatenate([measured.index, result.index])
    kept, first = np.unique(index, return_index=True)
    return kept, take(joined([measured.outputs, result.outputs]), first)


# Copies
def _duplicates(about: _Described, copies: Indices, split: Split) -> Json:
    """Groups of near-duplicates, those with contradicting labels first; files equal in every byte count as one."""
    examples = about.examples
    order = np.argsort(copies, kind="stable")
    runs = np.split(order, np.flatnonzero(np.diff(copies[order])) + 1) if len(order) else []
    several = sorted((run for run in runs if len(run) > 1), key=len, reverse=True)
    contradicting = [run for run in several if len({examples[i].label for i in run}) > 1]
    agreeing = [run for run in several if len({examples[i].label for i in run}) == 1]
    listed = [_members(about, run) for run in [*contradicting, *agreeing][:MOST]]
    return {
        "groups": len(several), "examples": sum(map(len, several)), "contradicting": len(contradicting),
        "straddling": _straddling(several, split), "list": listed,
    }  # fmt: skip


def _members(about: _Described, run: Indices) -> list[Json]:
    """A group's rows, one of each label first: a contradiction is seen at once."""
    seen: Counter[str] = Counter()
    rows = []
    for position in run.tolist():
        label = about.examples[position].label
        rows.append((seen[label], label, about.row(position)))
        seen[label] += 1
    return [row for *_, row in sorted(rows, key=lambda r: r[:2])[:MOST_MEMBERS]]


def _straddling(runs: list[Indices], split: Split) -> int:
    """Groups that are trained on and measured with in one go: there must be none. Counted, not assumed."""
    pairs = [(split.rest, split.test), *split.folds]
    sides = [(set(train.tolist()), set(held.tolist())) for train, held in pairs]
    return sum(any(_both(set(run.tolist()), *side) for side in sides) for run in runs)


def _both(run: set[int], train: set[int], held: set[int]) -> bool:
    return bool(run & train) and bool(run & held)


# Classes
def _imbalance(examples: Sequence[Example], task: Task, classes: Sequence[str]) -> Json:
    counted = Counter(name for e in examples for name in task.names(e.label))
    counts = np.array([counted[name] for name in classes])
    most, least = int(counts.argmax()), int(counts.argmin())
    return {
        "counts": {label: int(count) for label, count in zip(classes, counts, strict=True)},
        "largest": classes[most], "smallest": classes[least],
        "ratio": round(float(counts[most] / max(counts[least], 1)), 2),
    }  # fmt: skip


def _look_alikes(chosen: Chosen, embeddings: Embeddings, kinds: Indices, classes: Sequence[str]) -> list[Json]:
    """Pairs of classes that the head takes for each other, most often confused first; kinds i64 [N] are the classes."""
    truth, said = chosen.truth, chosen.said
    wrong = truth != said
    mistakes = Counter(zip(truth[wrong].tolist(), said[wrong].tolist(), strict=True))
    support = np.bincount(truth, minlength=len(classes))
    pairs = Counter({(min(p), max(p)): 0 for p in mistakes})
    for (a, b), count in mistakes.items():
        pairs[min(a, b), max(a, b)] += count
    share = {p: count / int(support[list(p)].sum()) for p, count in pairs.items()}
    top = sorted(pairs, key=lambda p: (-share[p], p))[:MOST_PAIRS]
    means = _means(embeddings, kinds, {k for pair in top for k in pair})
    return [
        {
            "classes": [classes[a], classes[b]], "confused": pairs[a, b], "of": int(support[[a, b]].sum()),
            "share": share[a, b], "first_as_second": mistakes[a, b], "second_as_first": mistakes[b, a],
            "similarity": float(means[a] @ means[b]),
        }
        for a, b in top
    ]  # fmt: skip


def _means(embeddings: Embeddings, kinds: Indices, wanted: set[int]) -> dict[int, Floats]:
    """The direction f32 [D] of the mean of each class: their products are cosines."""
    means = {k: embeddings[kinds == k].mean(axis=0) for k in wanted}
    return {k: mean / max(float(np.linalg.norm(mean)), 1e-12) for k, mean in means.items()}


# Examples
def _suspected(about: _Described, result: RaceResult, measured: Measured, targets: Targets) -> Json:
    """Labels that are likely wrong, the likeliest first; judged by fits that had not seen the example."""
    index, answers = _unseen(result, measured)
    found = about.task.suspects(answers, take(targets, index), about.schema)
    flagged = np.flatnonzero(found.flagged)
    ranked = flagged[np.argsort(-found.score[flagged], kind="stable")]
    rows = [
        about.row(int(index[i]), suggested=found.suggested[i], score=_rounded(found.score[i])) for i in ranked[:MOST]
    ]
    counts = {"judged": len(index), "examples": len(about.examples), "flagged": len(flagged)}
    return counts | {"estimate": round(found.estimate, 1), "list": rows}


def _outliers(about: _Described, embeddings: Embeddings, kinds: Indices, copies: Indices) -> Json:
    found = outliers(embeddings, kinds, copies)
    flagged = np.flatnonzero(found.flagged)
    ranked = flagged[np.argsort(-found.score[flagged], kind="stable")][:MOST]
    rows = [about.row(int(i), score=_rounded(found.score[i])) for i in ranked]
    return {"judged": found.judged, "flagged": len(flagged), "list": rows}


def _worst(about: _Described, measured: Measured, targets: Targets) -> list[Json]:
    """Held-out mistakes, the surest or largest first."""
    mistakes = about.task.mistakes(measured.outputs, take(targets, measured.index), about.schema)
    wrong = np.flatnonzero(mistakes > 0)
    ranked = wrong[np.argsort(-mistakes[wrong], kind="stable")][:MOST]
    return [
        about.row(int(measured.index[i]), predicted=about.said(row(measured.outputs, i)), score=_rounded(mistakes[i]))
        for i in ranked
    ]


def _rounded(value: Any) -> float:
    return round(float(value), 4)
