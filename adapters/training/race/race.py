"""The race: every candidate is fitted on the same folds, the best by evidence is fitted again on all, calibrated.

Candidates are compared by the calibrated loss of the task's objective, not by accuracy: log-loss sees confidence as
well as decisions, so it tells candidates apart on few examples, and it is what calibration improves.
"""

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch

from adapters import methods
from adapters.backbones.parts import POOLED
from adapters.methods import Setting
from adapters.modalities import NONE
from adapters.spans import traced
from adapters.tasks import Task
from adapters.training import programs
from adapters.training.data import sample
from adapters.training.data.split import Split
from adapters.training.embedding.views import Choices, Source, no_views
from adapters.training.race.candidates import Candidate, Entry, Row
from adapters.training.race.cross_validation import Data, measure, run
from adapters.training.race.objectives import Calibration, softmax
from adapters.training.trust.calibrate import correction, spread
from adapters.training_memory import MOST
from adapters.types import Arrays, Embeddings, Floats, HeadProgram, Indices, Targets

TIE = 0.05  # standard errors: of candidates this close to the best, the more regularised one is taken
RIVALS = 16  # candidates that may win without some fold, as far as anybody cares
LEAST_SPREAD, ASKED = 1e-6, 1000  # of logits; examples that tell it

Report = Callable[[dict[str, Any]], None]


@dataclass(frozen=True, slots=True)
class RaceResult:
    """The winner, ready to export, and the evidence."""

    program: HeadProgram  # embedding → the task's output
    uncalibrated: HeadProgram  # the same without calibration
    finish: int  # how many of the program's last steps are not the method's: calibration and the task's own
    method: str
    hyperparameters: Setting
    source: Source  # what was trained on: which rows, and what part of embeddings
    reads: int  # numbers of each embedding, from the first on
    table: list[Row]  # best first, ready for JSON: see `cross_validation.measure`
    note: str  # what was tried, and what was not for want of time
    outputs: Arrays  # of the winner for `index`, M answers from fits that had not seen them
    unscaled: Arrays  # the same without calibration
    index: Indices  # [M], positions in the data that the race was given
    calibration: dict[str, Any]  # ready for JSON
    seconds: float
    losses: Floats = field(default_factory=lambda: np.zeros(0, np.float32))  # f32 [M], of calibrated `outputs`
    said: Floats = field(default_factory=lambda: np.zeros((0, 0), np.float32))  # f32 [M, K], calibrated raw outputs

    @property
    def views(self) -> str:
        """What was trained on beside the examples."""
        return self.source.views


@traced("race")
def race(
    embeddings: Embeddings,
    targets: Targets,
    classes: Sequence[str],
    split: Split,
    task: Task,
    method: str,
    hyperparameters: dict[str, Any],
    seed: int,
    report: Report,
    cancelled: Callable[[], None],
    budget: float | None = None,
    choices: Choices | None = None,
    lengths: Mapping[str, int] | None = None,
) -> RaceResult:
    """Choose and train a head on embeddings f32 [N, E] with the task's targets.

    `method` is a name or "auto", which races every method that suits the data. `report` gets
    {"method", "done", "of", "rows"} for each method; `cancelled` is called often and raises Cancelled. `budget` is in
    estimated seconds of one core, so that the same data and seed give the same race on a busy machine. `choices` are
    the views of the examples that candidates may be trained on beside them, one choice each; without it there are none.
    `lengths` are the parts of an embedding that candidates may read, each that many numbers from its first on, the most
    promising part first; without it they read all of it.
    Raises InvalidInput for a method that is unknown or cannot do the task, InvalidHyperparameter for what it does not
    take.
    """
    began = time.perf_counter()
    parts = lengths or {POOLED: embeddings.shape[1]}
    whole = split
    looks = choices or {NONE: no_views(embeddings)}
    most = MOST // max(parts.values()) // max(1 + len(views) for views in looks.values())
    split = sample.drawn(whole, task.strata(targets), most, seed)
    data = Data(embeddings, looks, parts, targets, len(classes), split, task)
    entry = Entry(method, hyperparameters, data.regimes, len(split.folds), budget, len(whole.rest))
    candidates = run(data, split, entry, seed, cancelled)
    _tell(candidates, split, data, report)
    finished = [candidate for candidate in candidates if len(candidate.folds) == len(split.folds)]
    raced = _winner(finished)
    winner = _settled(raced, finished, data)
    raw = np.concatenate(winner.folds)
    start = [winner.program] if winner.program else None
    program = _fit_final(data, winner, whole.rest, seed, cancelled, start)
    apart = _calibration(winner, finished, data, split)
    calibration = _carried_over(apart, winner, program, data, split)
    said = programs.run(HeadProgram(apart.steps), raw)
    return RaceResult(
        program=program.then(*calibration.steps, *data.finish),
        uncalibrated=program.then(*data.finish),
        finish=len(calibration.steps) + len(data.finish),
        method=winner.method,
        hyperparameters=winner.setting,
        source=winner.source,
        reads=parts[winner.source.reads],
        table=sorted((c.row for c in candidates), key=lambda row: (-row["folds"], row["loss"])),
        note=entry.note + _settlement(raced, winner) + _drawn(split, whole),
        outputs=data.answers(programs.run(HeadProgram(data.finish), said)),
        unscaled=data.answers(programs.run(HeadProgram(data.finish), raw)),
        index=np.concatenate([val for _, val in split.folds]),
        calibration=calibration.facts,
        seconds=time.perf_counter() - began,
        losses=data.goal.losses(said, data.truth[np.concatenate([val for _, val in split.folds])]),
        said=said,
    )


def _tell(candidates: list[Candidate], split: Split, data: Data, report: Report) -> None:
    """The figures of every candidate, reported method by method."""
    names = list(dict.fromkeys(candidate.method for candidate in candidates))
    for done, name in enumerate(names, start=1):
        mine = [candidate for candidate in candidates if candidate.method == name]
        for candidate in mine:
            if candidate.row.get("folds") != len(candidate.folds):
                candidate.row = measure(candidate, split, data)
        report({"method": name, "done": done, "of": len(names), "rows": [c.row for c in mine]})


def _settled(winner: Candidate, finished: list[Candidate], data: Data) -> Candidate:
    """The winner, or the one of its kind that errs least when each example is left out of all in turn.

    Folds hold a fifth of the examples back, of a class with two of them half, and what suits those is too careful for
    all; leaving one out loses none, where a closed form makes it cheap (ADR 9).
    """
    method = methods.get(winner.method)
    alike = [candidate for candidate in finished if candidate.kind == winner.kind]
    if len(alike) == 1 or not isinstance(method, methods.LeavesOut):
        return winner
    errors = data.left_out(method, [candidate.setting for candidate in alike], winner.source)
    return alike[errors.index(min(errors))] if errors else winner


def _calibration(winner: Candidate, finished: list[Candidate], data: Data, split: Split) -> Calibration:
    """Of the winner's fits to folds; a temperature allows for its having been chosen (ADR 11)."""
    if data.objective != "softmax":
        return winner.calibration
    heat = winner.calibration.facts["temperature"]
    rivals = sorted(finished, key=lambda candidate: candidate.row["loss"])[:RIVALS]
    targets = [data.truth[val] for _, val in split.folds]
    return softmax.divided(heat * correction(_calibrated(winner), [_calibrated(rival) for rival in rivals], targets))


def _calibrated(candidate: Candidate) -> list[Floats]:
    """Out-of-fold logits [M, K] of each fold, over the temperature that fits all of them."""
    return [raw / candidate.calibration.facts["temperature"] for raw in candidate.folds]


def _carried_over(apart: Calibration, winner: Candidate, program: HeadProgram, data: Data, split: Split) -> Calibration:
    """The same for the final fit, whose logits may spread more or less than those of a fit that stopped early (ADR 11).

    Both are asked about what both were fitted to. Closed forms come with a spread of their own and have no need.
    """
    if data.objective != "softmax" or methods.get(winner.method).CLOSED_FORM or winner.program is None:
        return apart
    train, _ = split.folds[-1]
    seen = data.embeddings[torch.from_numpy(train[:: 1 + len(train) // ASKED]).to(data.embeddings.device)]
    then, now = (max(spread(said), LEAST_SPREAD) for said in programs.run_all([winner.program, program], seen))
    return softmax.divided(apart.facts["temperature"] * now / then)


def _fit_final(
    data: Data,
    candidate: Candidate,
    rest: Indices,
    seed: int,
    cancelled: Callable[[], None],
    start: list[HeadProgram] | None = None,
) -> HeadProgram:
    """A candidate, fitted to everything that is not held out; that may be more than candidates were compared on."""
    whole = len(rest) > len(data.rest)
    inputs, targets = data.in_place(rest, candidate.source) if whole else data.fitted_on(rest, candidate.source)
    settings, method = [candidate.setting], methods.get(candidate.method)
    return method.fit(inputs, targets, data.classes, settings, seed, cancelled, start, True, data.objective)[0]


def _winner(finished: list[Candidate]) -> Candidate:
    """The least loss; within a tie, the more regularised of the same method: methods list those first."""
    best = min(finished, key=lambda c: c.row["loss"])
    limit = best.row["loss"] + TIE * best.row["standard_error"]
    return next(c for c in finished if (c.method, c.source) == (best.method, best.source) and c.row["loss"] <= limit)


def _drawn(split: Split, whole: Split) -> str:
    if split is whole:
        return ""
    return f"; compared on {len(split.rest):,} of {len(whole.rest):,} examples, for want of memory, and fitted to all"


def _settlement(raced: Candidate, settled: Candidate) -> str:
    if settled is raced:
        return ""
    changed = ", ".join(f"{name} {value}" for name, value in settled.setting.items() if raced.setting[name] != value)
    return f"; settled on {changed}, which errs least when each of all examples is left out in turn"
