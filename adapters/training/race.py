"""The race: every candidate is fitted on the same folds, the best by evidence is fitted again on all, calibrated.

Candidates are compared by calibrated log-loss, not by accuracy: it sees confidence as well as decisions, so it tells
candidates apart on few examples, and it is what the temperature improves.
"""

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch

from adapters import methods
from adapters.errors import InvalidHyperparameter
from adapters.methods import Regime, Setting
from adapters.tasks import Task
from adapters.training import programs
from adapters.training.calibrate import temperature
from adapters.training.split import Split
from adapters.types import Embeddings, Floats, HeadProgram, Indices, Scale

TIE = 0.05  # standard errors: of candidates this close to the best, the more regularised one is taken

Report = Callable[[dict[str, Any]], None]
Row = dict[str, Any]


@dataclass(frozen=True, slots=True)
class RaceResult:
    """The winner, ready to export, and the evidence."""

    program: HeadProgram  # embedding → the task's output
    method: str
    hyperparameters: Setting
    table: list[Row]  # best first, ready for JSON: method, hyperparameters, log_loss, standard_error, accuracy, seconds
    probabilities: Floats  # [M, K], of the winner for `index`, from fits that had not seen them
    index: Indices  # [M], positions in the data that the race was given
    temperature: float
    seconds: float


@dataclass(frozen=True, slots=True)
class _Candidate:
    method: str
    setting: Setting
    logits: Floats  # [M, K], out of fold
    temperature: float
    row: Row


def race(
    embeddings: Embeddings,
    targets: Indices,
    classes: Sequence[str],
    split: Split,
    task: Task,
    method: str,
    hyperparameters: dict[str, Any],
    seed: int,
    report: Report,
    cancelled: Callable[[], None],
) -> RaceResult:
    """Choose and train a head on embeddings f32 [N, D] with targets i64 [N].

    `method` is a name or "auto", which races every method that suits the data. `report` gets
    {"method", "done", "of", "rows"} after each method; `cancelled` is called often and raises Cancelled.
    Raises InvalidInput for an unknown method, InvalidHyperparameter for what it does not take.
    """
    began = time.perf_counter()
    data = _Data(torch.from_numpy(embeddings).to(programs.device()), torch.from_numpy(targets), len(classes))
    regime = _regime(data, targets, split)
    entered = _entered(method, hyperparameters, regime)
    candidates: list[_Candidate] = []
    for done, (name, settings) in enumerate(entered, start=1):
        cancelled()
        found = _candidates(data, split, name, settings, seed, cancelled)
        candidates += found
        report({"method": name, "done": done, "of": len(entered), "rows": [c.row for c in found]})
    winner = _winner(candidates)
    program = _fit(data, split.rest, winner.method, [winner.setting], seed, cancelled)[0]
    scaled = torch.from_numpy(winner.logits) / winner.temperature
    return RaceResult(
        program=program.then(Scale(1 / winner.temperature), task.output_step()),
        method=winner.method,
        hyperparameters=winner.setting,
        table=sorted((c.row for c in candidates), key=lambda row: row["log_loss"]),
        probabilities=scaled.softmax(dim=1).numpy(),
        index=_measured(split),
        temperature=winner.temperature,
        seconds=time.perf_counter() - began,
    )


@dataclass(frozen=True, slots=True)
class _Data:
    embeddings: torch.Tensor  # f32 [N, D], on the device
    targets: torch.Tensor  # i64 [N], on the CPU
    classes: int


def _entered(method: str, hyperparameters: dict[str, Any], regime: Regime) -> list[tuple[str, list[Setting]]]:
    """Each method that takes part, with its candidates."""
    if method != "auto":
        checked = methods.check(method, hyperparameters)
        return [(method, methods.get(method).settings(checked, regime))]
    if hyperparameters:
        first = next(iter(hyperparameters))[:80]
        raise InvalidHyperparameter(f"hyperparameter {first!r} needs a method; `auto` takes none", item=first)
    suited = [name for name in methods.names() if methods.get(name).suits(regime)]
    return [(name, methods.get(name).settings(methods.check(name, {}), regime)) for name in suited]


def _regime(data: _Data, targets: Indices, split: Split) -> Regime:
    counts = np.bincount(targets[split.rest], minlength=data.classes)
    return Regime(len(split.rest), data.embeddings.shape[1], data.classes, int(counts.min()), float(np.median(counts)))


def _candidates(
    data: _Data, split: Split, name: str, settings: list[Setting], seed: int, cancelled: Callable[[], None]
) -> list[_Candidate]:
    began = time.perf_counter()
    index = _measured(split)
    logits = np.empty((len(settings), len(index), data.classes), dtype=np.float32)
    row = 0
    for train, val in split.folds:
        fitted = _fit(data, train, name, settings, seed, cancelled)
        held_out = data.embeddings[torch.from_numpy(val).to(data.embeddings.device)]
        for position, program in enumerate(fitted):
            logits[position, row : row + len(val)] = programs.run(program, held_out)
        row += len(val)
    found = [_measure(name, s, z, data.targets[index].numpy()) for s, z in zip(settings, logits, strict=True)]
    seconds = (time.perf_counter() - began) / len(settings)  # they are solved together: each one's share
    for candidate in found:
        candidate.row["seconds"] = round(seconds, 4)
    return found


def _fit(
    data: _Data, rows: Indices, name: str, settings: list[Setting], seed: int, cancelled: Callable[[], None]
) -> list[HeadProgram]:
    where = data.embeddings.device
    chosen = torch.from_numpy(rows)
    inputs, targets = data.embeddings[chosen.to(where)], data.targets[chosen].to(where)
    return methods.get(name).fit(inputs, targets, data.classes, settings, seed, cancelled)


def _measured(split: Split) -> Indices:
    return np.concatenate([val for _, val in split.folds])


def _measure(name: str, setting: Setting, logits: Floats, targets: Indices) -> _Candidate:
    heat = temperature(logits, targets)
    losses = torch.nn.functional.cross_entropy(
        torch.from_numpy(logits) / heat, torch.from_numpy(targets), reduction="none"
    ).numpy()
    row = {
        "method": name,
        "hyperparameters": setting,
        "log_loss": float(losses.mean()),
        "standard_error": float(losses.std() / max(len(losses), 1) ** 0.5),
        "accuracy": float((logits.argmax(axis=1) == targets).mean()),
        "temperature": heat,
    }
    return _Candidate(name, setting, logits, heat, row)


def _winner(candidates: list[_Candidate]) -> _Candidate:
    """The least log-loss; within a tie, the more regularised of the same method, as methods list those first."""
    best = min(candidates, key=lambda c: c.row["log_loss"])
    limit = best.row["log_loss"] + TIE * best.row["standard_error"]
    return next(c for c in candidates if c.method == best.method and c.row["log_loss"] <= limit)
