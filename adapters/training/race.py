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
from adapters.inputs import Inputs
from adapters.methods import Regime, Setting
from adapters.tasks import Task
from adapters.training import programs
from adapters.training.calibrate import temperature
from adapters.training.split import Split
from adapters.types import Embeddings, Floats, HeadProgram, Indices, Scale

TIE = 0.05  # standard errors: of candidates this close to the best, the more regularised one is taken

SHARED_FROM = 300  # training examples a fold: from here folds share the standardisation and the eigenbasis of all
PRUNE_FROM = 300  # training examples: below it all settings run all folds, which costs little and is noisier
SURVIVORS = 3  # settings a method that run every fold

Report = Callable[[dict[str, Any]], None]
Row = dict[str, Any]


@dataclass(frozen=True, slots=True)
class RaceResult:
    """The winner, ready to export, and the evidence."""

    program: HeadProgram  # embedding → the task's output
    method: str
    hyperparameters: Setting
    table: list[
        Row
    ]  # best first, ready for JSON: method, hyperparameters, log_loss, standard_error, accuracy, folds, seconds
    probabilities: Floats  # [M, K], of the winner for `index`, from fits that had not seen them
    index: Indices  # [M], positions in the data that the race was given
    temperature: float
    seconds: float


@dataclass(frozen=True, slots=True)
class _Candidate:
    method: str
    setting: Setting
    logits: Floats  # [M, K], out of fold
    index: Indices  # [M], of what
    row: Row
    program: HeadProgram | None  # of the last fold: where the final fit may begin


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
    data = _Data(embeddings, targets, len(classes), split.rest)
    regime = _regime(data, targets, split)
    entered = _entered(method, hyperparameters, regime)
    candidates: list[_Candidate] = []
    for done, (name, settings) in enumerate(entered, start=1):
        cancelled()
        found = _candidates(data, split, name, settings, seed, cancelled)
        candidates += found
        report({"method": name, "done": done, "of": len(entered), "rows": [c.row for c in found]})
    winner = _winner(candidates, len(split.folds))
    start = [winner.program] if winner.program else None
    program = _fit(data, split.rest, winner.method, [winner.setting], seed, cancelled, start, final=True)[0]
    heat: float = winner.row["temperature"]
    return RaceResult(
        program=program.then(Scale(1 / heat), task.output_step()),
        method=winner.method,
        hyperparameters=winner.setting,
        table=sorted((c.row for c in candidates), key=lambda row: (-row["folds"], row["log_loss"])),
        probabilities=(torch.from_numpy(winner.logits) / heat).softmax(dim=1).numpy(),
        index=winner.index,
        temperature=heat,
        seconds=time.perf_counter() - began,
    )


class _Data:
    """The examples of a race. Those of the test set lend nothing, not even to a mean."""

    def __init__(self, embeddings: Embeddings, targets: Indices, classes: int, rest: Indices) -> None:
        self.embeddings = torch.from_numpy(embeddings).to(programs.device())  # f32 [N, D]
        self.targets = torch.from_numpy(targets)  # i64 [N], on the CPU
        self.classes = classes
        self.dimension = embeddings.shape[1]
        self.position = torch.full((len(targets),), -1)
        self.position[torch.from_numpy(rest)] = torch.arange(len(rest))
        self.rest = Inputs(self.rows(rest))

    def rows(self, index: Indices) -> torch.Tensor:
        """Some of the embeddings, f32 [M, D], on the device."""
        return self.embeddings[torch.from_numpy(index).to(self.embeddings.device)]

    def inputs(self, index: Indices) -> Inputs:
        """What to fit on. Many examples of the rest are seen in forms made from all of the rest, labels apart."""
        if len(index) == len(self.rest):
            return self.rest
        if len(index) < SHARED_FROM:
            return Inputs(self.rows(index))
        return self.rest.part(self.position[torch.from_numpy(index)].to(self.embeddings.device))


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
    return Regime(len(split.rest), data.dimension, data.classes, int(counts.min()), float(np.median(counts)))


def _candidates(
    data: _Data, split: Split, name: str, settings: list[Setting], seed: int, cancelled: Callable[[], None]
) -> list[_Candidate]:
    """Every setting on the first fold, and those that still may win on the others."""
    began = time.perf_counter()
    measured: list[list[Floats]] = [[] for _ in settings]  # logits of each fold, by setting
    running, programs_ = list(range(len(settings))), None
    for number, (train, val) in enumerate(split.folds):
        # Each fold begins at zero: where a fit begins is forgotten only by one that goes to the very end, and the fold
        # before has seen these answers (tried: it turned 98.8 % into 99.9 %).
        fitted = _fit(data, train, name, [settings[i] for i in running], seed, cancelled)
        programs_ = dict(zip(running, fitted, strict=True))
        for i, logits in zip(running, programs.run_all(fitted, data.rows(val)), strict=True):
            measured[i].append(logits)
        if number == 0 and len(train) >= PRUNE_FROM:
            running = _survivors(running, measured, data.targets[torch.from_numpy(val)].numpy())
    found = [
        _measure(name, setting, logits, split, data, programs_.get(i) if programs_ else None)
        for i, (setting, logits) in enumerate(zip(settings, measured, strict=True))
    ]
    seconds = (time.perf_counter() - began) / len(settings)  # they are solved together: each one's share
    for candidate in found:
        candidate.row["seconds"] = round(seconds, 4)
    return found


def _survivors(running: list[int], measured: list[list[Floats]], targets: Indices) -> list[int]:
    """The best few of the first fold: a setting far behind on a fifth of the data does not win on all of it.

    Racing as in Maron & Moore (1994), with one cut: it is what makes five folds cost about two.
    """
    losses = {i: _losses(measured[i][0], targets)[0].mean() for i in running}
    return sorted(sorted(running, key=lambda i: float(losses[i]))[:SURVIVORS])


def _fit(
    data: _Data,
    rows: Indices,
    name: str,
    settings: list[Setting],
    seed: int,
    cancelled: Callable[[], None],
    start: list[HeadProgram] | None = None,
    final: bool = False,
) -> list[HeadProgram]:
    targets = data.targets[torch.from_numpy(rows)].to(data.embeddings.device)
    return methods.get(name).fit(data.inputs(rows), targets, data.classes, settings, seed, cancelled, start, final)


def _losses(logits: Floats, targets: Indices) -> tuple[Floats, float]:
    """Calibrated log-loss of each answer, in nats, and the temperature."""
    heat = temperature(logits, targets)
    scaled = torch.from_numpy(logits) / heat
    return torch.nn.functional.cross_entropy(scaled, torch.from_numpy(targets), reduction="none").numpy(), heat


def _measure(
    name: str, setting: Setting, folds: list[Floats], split: Split, data: _Data, program: HeadProgram | None
) -> _Candidate:
    """The figures of one candidate on the folds that it ran."""
    logits = np.concatenate(folds)
    index = np.concatenate([val for _, val in split.folds[: len(folds)]])
    targets = data.targets[torch.from_numpy(index)].numpy()
    losses, heat = _losses(logits, targets)
    row = {
        "method": name,
        "hyperparameters": setting,
        "log_loss": float(losses.mean()),
        "standard_error": float(losses.std() / max(len(losses), 1) ** 0.5),
        "accuracy": float((logits.argmax(axis=1) == targets).mean()),
        "temperature": heat,
        "folds": len(folds),
    }
    return _Candidate(name, setting, logits, index, row, program)


def _winner(candidates: list[_Candidate], folds: int) -> _Candidate:
    """The least log-loss of those that ran every fold; within a tie, the more regularised of the same method.

    Methods list the more regularised first.
    """
    finished = [c for c in candidates if c.row["folds"] == folds]
    best = min(finished, key=lambda c: c.row["log_loss"])
    limit = best.row["log_loss"] + TIE * best.row["standard_error"]
    return next(c for c in finished if c.method == best.method and c.row["log_loss"] <= limit)
