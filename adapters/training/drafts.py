"""A draft: a trained and measured head that is not yet proven. Kept as a blob between the steps of a job."""

import json
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from adapters.store.artifacts import Artifacts
from adapters.training import programs
from adapters.training.dataset import Dataset
from adapters.training.evaluate import Measured
from adapters.training.race import RaceResult
from adapters.training.split import Split
from adapters.training.trust import Trust
from adapters.types import Assignment, Example, Floats, Job


@dataclass(frozen=True, slots=True)
class Draft:
    """Everything that the later steps need of training, without arrays."""

    program: str  # digest of the program's blob
    classes: tuple[str, ...]
    method: str
    setting: dict[str, Any]
    metrics: dict[str, Any]  # the figures of the evaluation
    report: dict[str, Any]
    examples: list[Example]
    assignments: list[Assignment]
    held_out: list[str]  # SHA-256 of the examples that the figures are from
    answers: str  # digest of what the candidate said of them: probabilities f32 [M, K]
    metadata: dict[str, str]  # that the graph shall carry

    def to_bytes(self) -> bytes:
        """Canonical JSON."""
        return json.dumps(asdict(self), sort_keys=True, ensure_ascii=False).encode()


def load(artifacts: Artifacts, digest: str) -> Draft:
    """A draft from its blob. Raises CorruptArtifact."""
    facts = json.loads(artifacts.get(digest))
    facts["classes"] = tuple(facts["classes"])
    facts["examples"] = [Example(**e) for e in facts["examples"]]
    facts["assignments"] = [Assignment(**a) for a in facts["assignments"]]
    return Draft(**facts)


def of(
    job: Job,
    data: Dataset,
    classes: tuple[str, ...],
    split: Split,
    result: RaceResult,
    measured: Measured,
    trusted: Trust,
    timing: dict[str, Any],
    artifacts: Artifacts,
) -> Draft:
    """Put together what training found; the program goes to a blob of its own."""
    shas = data.sha256s
    names = split.names(len(shas))
    assignments = [Assignment(e.sha256, e.label, name) for e, name in zip(data.examples, names, strict=True)]
    facts = {"race": result.table, "temperature": result.temperature, "trust": trusted.facts}
    report = measured.figures | facts | timing
    return Draft(
        artifacts.put(programs.to_bytes(trusted.program)), classes, result.method, result.hyperparameters,
        headline(measured.figures), report, data.examples, assignments, [shas[i] for i in measured.index],
        artifacts.put(measured.probabilities.astype("<f4").tobytes()), trusted.metadata,
    )  # fmt: skip


def answers(artifacts: Artifacts, draft: Draft) -> Floats:
    """What the candidate said of its held-out examples, f32 [M, K]."""
    return np.frombuffer(artifacts.get(draft.answers), "<f4").reshape(len(draft.held_out), len(draft.classes))


def headline(measured: dict[str, Any]) -> dict[str, Any]:
    """The figures that fit on a line; tables stay in the report."""
    return {k: v for k, v in measured.items() if not isinstance(v, dict) and k != "explanation"}
