"""A draft: a trained and measured head that is not yet proven. Kept as a blob between the steps of a job."""

import json
from dataclasses import asdict, dataclass, replace
from typing import Any

import numpy as np

from adapters import arrays
from adapters.store.objects.artifacts import Artifacts
from adapters.tasks import Task
from adapters.training import programs
from adapters.training.data import data_report
from adapters.training.data.dataset import Dataset
from adapters.training.data.split import Split
from adapters.training.deep.outcome import DeepResult
from adapters.training.race.evaluate import Measured
from adapters.training.race.learning_curve import Trial
from adapters.training.race.race import RaceResult
from adapters.training.trust.terms import Trust
from adapters.types import Arrays, Assignment, Cut, Example, Indices, Job, Schema


@dataclass(frozen=True, slots=True)
class Draft:
    """Everything that the later steps need of training, without arrays."""

    program: str  # digest of the program's blob
    classes: tuple[str, ...]
    decision: dict[str, Any]  # of the schema
    finish: int  # how many of the program's last steps are not the method's
    method: str
    setting: dict[str, Any]
    views: str  # what was trained on beside the examples
    reads: int  # numbers of each embedding, from the first on
    metrics: dict[str, Any]  # the figures of the evaluation
    report: dict[str, Any]
    examples: list[Example]
    assignments: list[Assignment]
    held_out: list[str]  # SHA-256 of the examples that the figures are from
    answers: str  # digest of what the candidate said of them, as `arrays.flat` has it: f32 [M, S]
    findings: str  # digest of the data report
    groups: list[int]  # near-duplicate group of each example
    folds: list[list[int]]  # positions held out together: the test set, or each fold of cross-validation
    metadata: dict[str, str]  # that the graph shall carry
    later: bool = False  # whether a next stage begins once it is live
    begun_at: dict[str, Any] | None = None  # {"version", "data": digest of its list}: what it goes on from
    shallow: str | None = None  # of a deep head, digest of the draft of the race's winner, which lost to it
    # Of a deep head {"cut", "tail": digest of its trained tail, "evidence"}, and "beside" where it reads embeddings.
    deep: dict[str, Any] | None = None

    @property
    def schema(self) -> Schema:
        """How answers are read."""
        return Schema(self.classes, self.decision)

    def to_bytes(self) -> bytes:
        """Canonical JSON."""
        return json.dumps(asdict(self), sort_keys=True, ensure_ascii=False).encode()


def load(artifacts: Artifacts, digest: str) -> Draft:
    """A draft from its blob. Raises CorruptArtifact."""
    facts = json.loads(artifacts.get(digest))
    facts["classes"] = tuple(facts["classes"])
    facts["examples"] = [Example(**e) for e in facts["examples"]]
    facts["assignments"] = [Assignment(**a) for a in facts["assignments"]]
    if "reads" not in facts:  # of a job that was at work when Espalier was upgraded to a release with taps
        facts["reads"] = programs.reads(programs.from_bytes(artifacts.get(facts["program"])))
    return Draft(**facts)


def of(
    job: Job,
    data: Dataset,
    task: Task,
    classes: tuple[str, ...],
    split: Split,
    groups: Indices,
    result: RaceResult,
    measured: Measured,
    trusted: Trust,
    found: dict[str, Any],
    timing: dict[str, Any],
    artifacts: Artifacts,
) -> Draft:
    """Put together what training found; the program goes to a blob of its own."""
    shas = data.sha256s
    names = split.names(len(shas))
    assignments = [Assignment(e.sha256, e.label, name) for e, name in zip(data.examples, names, strict=True)]
    race = {"race": result.table, "race_note": result.note, "calibration": result.calibration}
    report = measured.figures | race | {"trust": trusted.facts} | timing
    report["data_report"] = data_report.summary(found)
    held = [split.test] if split.evaluation == "holdout" else [val for _, val in split.folds]
    return Draft(
        artifacts.put(programs.to_bytes(trusted.program)), classes, measured.schema.decision, result.finish,
        result.method, result.hyperparameters, result.views, result.reads,
        headline(measured.figures), report, data.examples, assignments, [shas[i] for i in measured.index],
        artifacts.put(arrays.flat(measured.outputs, task.shapes(classes)).tobytes()),
        artifacts.put(data_report.to_bytes(found)),
        groups.tolist(), [positions.tolist() for positions in held], trusted.metadata,
    )  # fmt: skip


def staged(draft: Draft, said: dict[str, Any] | None, later: bool) -> Draft:
    """With what the job's answer says of its stage; None where deep is not wanted."""
    return draft if said is None else replace(draft, report=draft.report | {"deep": said}, later=later)


def deepened(draft: Draft, found: DeepResult, artifacts: Artifacts) -> Draft:
    """One whose program reads `pooled` of a trained tail, which goes to a blob of its own."""
    beside = 0 if found.beside is None else found.beside.shape[1]
    told = {"cut": asdict(found.cut), "tail": artifacts.put(found.tail), "evidence": found.evidence}
    return replace(draft, deep=told | ({"beside": beside} if beside else {}))


def cut(draft: Draft) -> Cut:
    """Where the backbone of a deep one is cut."""
    assert draft.deep is not None
    return Cut(**draft.deep["cut"] | {"shape": tuple(draft.deep["cut"]["shape"])})


def trials(draft: Draft) -> list[Trial]:
    """How the draft was measured: what was trained on, and what was asked, in the order of its answers."""
    learned = np.array([i for i, a in enumerate(draft.assignments) if a.split in ("train", "val")], dtype=np.int64)
    held = [np.array(positions, dtype=np.int64) for positions in draft.folds]
    return [Trial(np.setdiff1d(learned, positions), positions) for positions in held]


def answers(artifacts: Artifacts, draft: Draft, task: Task) -> Arrays:
    """What the candidate said of its held-out examples."""
    shapes = task.shapes(draft.classes)
    table = np.frombuffer(artifacts.get(draft.answers), "<f4").reshape(len(draft.held_out), arrays.numbers(shapes))
    return arrays.unflat(table, shapes)


def headline(measured: dict[str, Any]) -> dict[str, Any]:
    """The figures that fit on a line; tables stay in the report."""
    return {k: v for k, v in measured.items() if not isinstance(v, dict) and k != "explanation"}
