"""After the version is live: the data report, completed by what takes too long to wait for."""

import json

import numpy as np

from adapters.store.artifacts import Artifacts
from adapters.tasks import Task
from adapters.training import drafts
from adapters.training.curve import learner, learning_curve
from adapters.training.data_report import to_bytes
from adapters.training.drafts import Draft
from adapters.types import Embeddings


def surveyed(draft: Draft, embeddings: Embeddings, task: Task, seed: int, artifacts: Artifacts) -> bytes:
    """A draft's data report with its learning curve, as bytes; embeddings f32 [N, D] in the order of its examples.

    Raises CorruptArtifact when the draft was let go of already.
    """
    report = json.loads(artifacts.get(draft.findings))
    if "reliability" in report:  # else the answers are not one class of several, and right is not yes or no
        targets = task.targets([e.label for e in draft.examples], draft.classes)
        learn = learner(embeddings, targets, len(draft.classes), draft.method, draft.setting, seed)
        answers, groups = drafts.answers(artifacts, draft), np.array(draft.groups, dtype=np.int64)
        trials = drafts.trials(draft)
        report["curve"] = learning_curve(targets, draft.classes, groups, trials, answers, learn, seed)
    return to_bytes(report)
