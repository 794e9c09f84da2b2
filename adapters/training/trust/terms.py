"""Trust: what a new version will say of its own answers, learned from the examples that it was measured on."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

from adapters import trust
from adapters.arrays import each, take
from adapters.drift import windows
from adapters.tasks import Task
from adapters.training.data.split import Split
from adapters.training.race.evaluate import Measured
from adapters.training.trust import novelty
from adapters.types import Embeddings, HeadProgram, Targets


@dataclass(frozen=True, slots=True)
class Trust:
    """The program with its novelty, and what goes beside it."""

    program: HeadProgram
    facts: dict[str, Any]  # for the manifest and the report: {"held_out", "novelty", "options", "abstain", "reference"}
    metadata: dict[str, str]  # for the graph: what sets are made from


def learn(
    program: HeadProgram,
    task: Task,
    measured: Measured,
    embeddings: Embeddings,
    targets: Targets,
    split: Split,
    dimension: int | None = None,
    unlearned: Sequence[novelty.Apart] = (),
) -> Trust:
    """Novelty, thresholds to abstain by, and what sets and intervals are made from, all from held-out examples.

    With cross-validation these are answers of fits without the example, which saw less than the final head did: its
    own are a little better, so that coverage errs to the safe side (cross-conformal, Vovk 2015). Embeddings f32 [N, R]
    are what the head reads, the first `dimension` numbers of them `pooled`; `unlearned` is what tails say that did not
    see the examples, where `pooled` is that of one that did.
    """
    novel = novelty.fit(embeddings, task.kinds(targets), split, dimension, unlearned)
    facts: dict[str, Any] = {"held_out": len(measured.index), "novelty": {"threshold": trust.NOVEL}}
    held_out = task.held_out(measured.outputs, take(targets, measured.index), measured.schema)
    facts["options"] = ["coverage"]
    if held_out.confidence is not None:
        facts |= {"options": ["coverage", "abstain"], "abstain": trust.thresholds(held_out)}
    facts["reference"] = _reference(task, measured, novel)
    return Trust(replace(program, novelty=novel.steps), facts, {trust.KEY: trust.pack(held_out.of_truth)})


def _reference(task: Task, measured: Measured, novel: novelty.Novelty) -> dict[str, Any]:
    """Counts of held-out answers by bin and by novelty: what is answered later is compared with these (see drift).

    Answers and not labels, so that the head's own mistakes are on both sides (Lipton, Wang & Smola 2018).
    """
    schema, edges = measured.schema, task.edges(measured.outputs)
    positions = {name: position for position, name in enumerate(schema.classes)}
    answers = (task.decode(answer, schema, 1)["label"] for answer in each(measured.outputs))
    found = [one for answer in answers for one in task.binned(answer, positions, edges)]
    shares = [windows.novelty_bin(share) for share in novelty.held_out(novel)]
    return {
        "labels": windows.histogram(found, len(task.bin_names(schema.classes))),
        "novelty": windows.histogram(shares, windows.NOVELTY_BINS), "edges": edges,
    }  # fmt: skip
