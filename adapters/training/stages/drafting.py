"""What won, measured on what it never saw and put together as a draft."""

import time
from dataclasses import replace
from typing import Any

from adapters import arrays
from adapters.store.objects.artifacts import Artifacts
from adapters.training import programs
from adapters.training.data.split import Split
from adapters.training.deep.outcome import Declined, DeepResult
from adapters.training.publish import drafts
from adapters.training.publish.drafts import Draft
from adapters.training.race.evaluate import Read, evaluate
from adapters.training.race.race import RaceResult
from adapters.training.stages import deep, material
from adapters.training.stages.material import Material
from adapters.training.stages.plan import Plan
from adapters.training.trust import terms
from adapters.types import Embeddings

Json = dict[str, Any]


def draft(
    of: Material, shallow: RaceResult, plan: Plan, found: DeepResult | Declined | None, embedded: Json, began: float,
    scratch: Artifacts,
) -> Draft:  # fmt: skip
    """The shallow winner, or what the deep round made of it; `began` is when training did (time.perf_counter)."""
    result, read, compared = _won(of, shallow, found)
    measured = evaluate(result, of.task, read, of.targets, of.classes, _explained(of.divided, result))
    trusted = terms.learn(
        result.program, of.task, measured, compared, of.targets, of.divided, of.backbone.dimension,
        found.unlearned if isinstance(found, DeepResult) else (),
    )  # fmt: skip
    report = material.findings(of, result, measured)
    if found is not None:
        report["deep"] = _told(of, found) | deep.found_out(found)
    spent = time.perf_counter() - began + (0.0 if found is None else found.earlier)
    timing = {"embedding": embedded, "training_seconds": round(spent, 3)}
    made = drafts.of(
        of.job, of.data, of.task, of.classes, of.divided, of.grouped, result, measured, trusted, report, timing, scratch
    )
    if isinstance(found, DeepResult):
        beside = scratch.put(_beside(made, of, shallow, scratch).to_bytes())
        made = drafts.deepened(made, found, scratch)
        made = replace(made, shallow=beside)
    if of.begun is not None:
        made = replace(made, begun_at={"version": of.begun.number, "data": of.begun.manifest["data"]["digest"]})
    return drafts.staged(made, _said(of, plan, found), plan.later)


def _beside(made: Draft, of: Material, shallow: RaceResult, scratch: Artifacts) -> Draft:
    """What a learning curve of the race's winner needs, where a deep version is made of the same examples."""
    measured = evaluate(shallow, of.task, of.embeddings[:, : shallow.reads], of.targets, of.classes, of.divided)
    answers = arrays.flat(measured.outputs, of.task.shapes(of.classes))
    shas = of.data.sha256s
    return replace(
        made, program=scratch.put(programs.to_bytes(shallow.program)), decision=measured.schema.decision,
        finish=shallow.finish, method=shallow.method, setting=shallow.hyperparameters, views=shallow.views,
        reads=shallow.reads, held_out=[shas[i] for i in measured.index], answers=scratch.put(answers.tobytes()),
    )  # fmt: skip


def _won(of: Material, shallow: RaceResult, found: DeepResult | Declined | None) -> tuple[RaceResult, Read, Embeddings]:
    """The winner, what it reads of each example, f32 [N, R], and what of that examples are compared by."""
    if isinstance(found, DeepResult):
        return deep.as_race(found, shallow), found.read, found.pooled
    read = of.embeddings[:, : shallow.reads]
    return shallow, read, read


def _explained(split: Split, result: RaceResult) -> Split:
    """A deep version's fits may answer fewer folds than the race's: then its figures are from fewer examples."""
    count = len(result.index)
    if split.evaluation == "holdout" or count == sum(len(unseen) for _, unseen in split.folds):
        return split
    return replace(split, explanation=f"{split.explanation} The deep version was measured on {count:,} of them.")


def _told(of: Material, found: DeepResult | Declined) -> Json:
    return deep.told(found, of.job) | ({} if of.begun is None else {"begun_at": of.begun.number})


def _said(of: Material, plan: Plan, found: DeepResult | Declined | None) -> Json | None:
    """What the job's answer says of its stage; None where deep is not wanted."""
    if found is not None:
        return _told(of, found)
    return None if plan.why is None else {"stage": "shallow", "next": None, "why": plan.why}
