"""A task for tests, dropped in beside the others: where the four corners of a page are, and whether there is one.

Its answers are two arrays of different shapes. A label is kept as JSON, `[[x, y], …]` of four corners.
"""

import json
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from adapters.arrays import Shapes
from adapters.errors import InvalidLabel
from adapters.labels import refuse_contradictions
from adapters.suspicion import Suspects, astray
from adapters.trust import HeldOut, Terms
from adapters.types import Arrays, Example, Floats, Indices, Objective, Schema, Step, Targets

OBJECTIVE: Objective = "squared"
MERIT, SHARE, ALONG = "neg_mean_distance", "the share of corners found", 0
CORNERS, SCORE = "corners", "score"  # of answers f32 [N, 4, 2] and f32 [N]; of targets the first
FOUND = 0.1  # of a side of the picture: a corner no farther off counts as found


def parse_label(text: str, item: str) -> str:
    found = json.loads(text)
    if np.shape(found) != (4, 2):
        raise InvalidLabel(f"{item}: {text[:50]!r} is not four corners", item=item)
    return json.dumps(found)


def shown(label: str) -> list[list[float]]:
    found: list[list[float]] = json.loads(label)
    return found


def names(label: str) -> tuple[str, ...]:
    return ("page",)


def renamed(label: str, names: Mapping[str, str | None]) -> str:
    return label


def check_examples(examples: Sequence[Example]) -> None:
    refuse_contradictions(examples)


def classes(labels: Sequence[str]) -> tuple[str, ...]:
    return ("page",)


def targets(labels: Sequence[str], classes: Sequence[str]) -> Targets:
    return {CORNERS: np.array([shown(label) for label in labels], np.float32).reshape(-1, 4, 2)}


def fitted(targets: Targets) -> Floats:
    return targets[CORNERS].reshape(-1, 8)


def strata(targets: Targets) -> Indices:
    return np.zeros(len(targets[CORNERS]), np.int64)


kinds = strata


def stratum_names(classes: Sequence[str]) -> tuple[str, ...]:
    return ()


def shapes(classes: Sequence[str]) -> Shapes:
    return {CORNERS: (4, 2), SCORE: ()}


def output_steps() -> tuple[Step, ...]:
    return ()


def answers(output: Floats) -> Arrays:
    return {CORNERS: output[:, :8].reshape(-1, 4, 2), SCORE: output[:, 8]}


def decide(answers: Arrays, targets: Targets, classes: Sequence[str]) -> dict[str, Any]:
    return {}


def decode(answer: Arrays, schema: Schema, top_k: int) -> dict[str, Any]:
    return {"label": answer[CORNERS].tolist(), "score": float(answer[SCORE]), "top": []}


def promised(answer: Arrays, schema: Schema, novelty: float, terms: Terms) -> dict[str, Any]:
    return {"abstain": bool(answer[SCORE] < (terms.confidence or 0.0))}


def doubt(answers: Arrays) -> Floats:
    found: Floats = 1 - answers[SCORE]
    return found


def hesitation(answers: Arrays) -> Floats:
    found: Floats = 1 - np.abs(2 * answers[SCORE] - 1)
    return found


def among(answers: Arrays, schema: Schema, shared: Sequence[str]) -> tuple[Arrays, Schema]:
    return answers, Schema(tuple(shared), schema.decision)


def merits(answers: Arrays, targets: Targets, schema: Schema) -> Floats:
    return -_distances(answers, targets).mean(axis=1)


def agree(one: Any, other: Any, schema: Schema) -> bool:
    return bool(np.abs(np.subtract(one, other)).max() <= FOUND)


def regret(wanted: Arrays, answered: Arrays, schema: Schema) -> Floats:
    return np.zeros(len(wanted[SCORE]), np.float32)


def units(schema: Schema) -> dict[str, Floats]:
    return {CORNERS: np.ones((4, 2), np.float32), SCORE: np.ones((), np.float32)}


def edges(answers: Arrays) -> list[list[float]]:
    return []


def bin_names(classes: Sequence[str]) -> list[str]:
    return ["left", "right"]


def binned(label: Any, positions: Mapping[str, int], edges: Sequence[Sequence[float]]) -> tuple[int]:
    return (int(np.mean(label, axis=0)[0] > 0.5),)


def metrics(answers: Arrays, targets: Targets, schema: Schema) -> dict[str, Any]:
    return {"examples": len(answers[SCORE]), "mean_distance": float(_distances(answers, targets).mean())}


def shares(answers: Arrays, targets: Targets, schema: Schema) -> Floats:
    return (_distances(answers, targets) <= FOUND).mean(axis=1).astype(np.float32)


def mistakes(answers: Arrays, targets: Targets, schema: Schema) -> Floats:
    found: Floats = _distances(answers, targets).max(axis=1)
    return found


def chosen(answers: Arrays, targets: Targets) -> None:
    """None: no class is chosen."""


def suspects(answers: Arrays, targets: Targets, schema: Schema) -> Suspects:
    found = astray(mistakes(answers, targets, schema))
    return Suspects(found.score, answers[CORNERS].tolist(), found.flagged, found.estimate)


def held_out(answers: Arrays, targets: Targets, schema: Schema) -> HeldOut:
    return HeldOut(-mistakes(answers, targets, schema), answers[SCORE], shares(answers, targets, schema) == 1)


def _distances(answers: Arrays, targets: Targets) -> Floats:
    """Of each corner, f32 [N, 4]."""
    found: Floats = np.linalg.norm(answers[CORNERS] - targets[CORNERS], axis=2)
    return found
