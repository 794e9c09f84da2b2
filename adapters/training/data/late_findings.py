"""After the version is live: the data report, completed by what takes too long to wait for."""

import json
from collections.abc import Mapping
from typing import Any

import numpy as np

from adapters.store.objects.artifacts import Artifacts
from adapters.tasks import Task
from adapters.training import programs
from adapters.training.data.data_report import to_bytes
from adapters.training.publish import drafts
from adapters.training.publish.drafts import Draft
from adapters.training.race.learning_curve import judge, learner, learning_curve
from adapters.types import Embeddings


def with_late_findings(
    draft: Draft,
    embeddings: Embeddings,
    views: Embeddings,
    task: Task,
    seed: int,
    artifacts: Artifacts,
    noun: str,
    about: Mapping[str, Any],
) -> bytes:
    """A draft's data report with its learning curve, as bytes.

    Embeddings f32 [N, R], as much of them as the head reads, and the views f32 [V, N, E] that it was trained on beside
    them, in the order of its examples; `noun` is what one is called; `about` is told beside the curve.
    Raises CorruptArtifact when the draft was let go of already.
    """
    targets = task.targets([e.label for e in draft.examples], draft.classes)
    steps = programs.from_bytes(artifacts.get(draft.program)).steps
    further = views[..., : draft.reads]
    finish = steps[-draft.finish :]
    learn = learner(
        embeddings, further, targets, len(draft.classes), draft.method, draft.setting, seed, task, finish
    )  # fmt: skip
    curve = learning_curve(
        task.strata(targets), draft.classes, np.array(draft.groups, dtype=np.int64), drafts.trials(draft),
        drafts.answers(artifacts, draft, task), learn, judge(task, targets, draft.schema), task.SHARE, seed, noun,
    )  # fmt: skip
    return with_curve(draft, curve | dict(about), artifacts)


def with_curve(draft: Draft, curve: dict[str, Any], artifacts: Artifacts) -> bytes:
    """A draft's data report with that learning curve. Raises CorruptArtifact."""
    report = json.loads(artifacts.get(draft.findings))
    return to_bytes(report | {"curve": curve})
